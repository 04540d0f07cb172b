"""`/orders` and `/scheduled-steps`: orders of the RIS or entered here, and what is scheduled."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.web.api.models import INTEGRAL, Asked, Moment, NumberInPath, ShortText, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor
from fileroom.worklist import order_search, orders
from fileroom.worklist.changes import Effect, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState, PatientFacts, StepFacts
from fileroom.worklist.identifiers import VALUE_CHARS_MAX
from fileroom.worklist.order_values import STEPS_MAX

State = Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]
Priority = Literal["STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"]
_TEXT: Final = r"^[^\x00]*$"
_LINE: Final = r"^[^\x00-\x1f\x7f\\]*$"
_Identifying = Annotated[str, Field(strict=True, max_length=VALUE_CHARS_MAX, pattern=_LINE)]
_LongText = Annotated[str, Field(strict=True, max_length=4000, pattern=_TEXT)]
_Text = Annotated[str, Query(max_length=order_search.TEXT_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Uid = Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]
_Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1), INTEGRAL]
_Day = Annotated[str, Query(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", examples=["2026-11-22"])]


class OrderNumber(Asked):
    """A number with who assigned it."""

    value: _Identifying
    authority: _Identifying = ""


class CodedEntry(Asked):
    """A code with its scheme and meaning."""

    value: _Identifying
    scheme: _Identifying = ""
    meaning: _Identifying = ""


class AskedStep(Asked):
    """A scheduled procedure step; one without an ID is the next one that the others do not name, or a new one."""

    step_id: _Identifying = ""
    modality: ShortText | None = None
    station_aets: Annotated[list[ShortText], Field(max_length=50)] | None = None
    station_name: ShortText | None = None
    location: ShortText | None = None
    start: Annotated[ShortText, Field(description="By the hospital's clock.", examples=["202611221030"])] | None = None
    performing_physician: ShortText | None = None
    description: ShortText | None = None
    comments: _LongText | None = None
    pre_medication: ShortText | None = None
    contrast_agent: ShortText | None = None
    protocol_codes: Annotated[list[CodedEntry], Field(max_length=20)] | None = None


class AskedPatient(Asked):
    """Whose order it is: known by the number, made from these facts where it is not."""

    patient_id: Annotated[str, Field(strict=True, min_length=1, max_length=VALUE_CHARS_MAX, pattern=_LINE)]
    authority: _Identifying = ""
    name: Annotated[ShortText, Field(examples=["Lovelace^Ada"])] | None = None
    birth_date: Annotated[str, Field(strict=True, pattern=r"^([0-9]{8})?$", examples=["18151210"])] | None = None
    sex: Annotated[str, Field(strict=True, pattern=r"^[A-Z]?$", examples=["F"])] | None = None


class AskedOrder(Asked):
    """An order, or what shall change of it: a member that is absent stays as it is, an empty text takes the value away."""

    placer: OrderNumber | None = None
    filler: OrderNumber | None = None
    accession: OrderNumber | None = None
    procedure_id: _Identifying | None = None
    study_instance_uid: _Uid | None = None
    procedure: CodedEntry | None = None
    priority: Priority | None = None
    ordering_physician: ShortText | None = None
    referring_physician: ShortText | None = None
    reason: _LongText | None = None
    clinical_information: _LongText | None = None
    department: ShortText | None = None
    institution: ShortText | None = None
    body_part: ShortText | None = None
    laterality: ShortText | None = None
    transport: ShortText | None = None
    danger: _LongText | None = None
    steps: Annotated[list[AskedStep], Field(max_length=STEPS_MAX)] | None = None
    patient: AskedPatient | None = None

    def change(self) -> PutOrder:
        """As the service takes it."""
        texts = self.model_dump(exclude={"placer", "filler", "accession", "procedure", "steps", "patient"})
        facts = OrderFacts(
            placer=_number(self.placer),
            filler=_number(self.filler),
            accession=_number(self.accession),
            procedure=None if self.procedure is None else Code(**self.procedure.model_dump()),
            steps=None if self.steps is None else tuple(_step(one) for one in self.steps),
            **texts,
        )
        return PutOrder(facts, None if self.patient is None else _patient(self.patient))


class OrderEdit(AskedOrder):
    """A change of an order. `version`: as it was when the edit began."""

    version: _Version | None = None


class OrderStateChange(Asked):
    """What an order is now. From a final state `scheduled` reopens it."""

    state: State
    reason: Annotated[str, Field(strict=True, max_length=orders.REASON_CHARS_MAX, pattern=_TEXT)] = ""
    version: _Version | None = None


class ShownCode(Shown):
    """A coded entry."""

    value: str
    scheme: str
    meaning: str


class ShownStep(Shown):
    """A scheduled procedure step. Days and times are DA and TM by the hospital's clock."""

    id: int
    step_id: str
    modality: str
    station_aets: list[str]
    station_name: str
    location: str
    start_date: str
    start_time: str
    minutes: int
    performing_physician: str
    description: str
    comments: str
    pre_medication: str
    contrast_agent: str
    protocol_codes: list[ShownCode]
    state: State


class ShownOrder(Shown):
    """An order with its requested procedure and steps."""

    id: int
    version: int
    state: State
    placer_number: str
    placer_authority: str
    filler_number: str
    filler_authority: str
    accession_number: str
    accession_authority: str
    procedure_id: str
    study_instance_uid: str
    procedure_code: str
    procedure_scheme: str
    procedure_meaning: str
    priority: str
    ordering_physician: str
    referring_physician: str
    reason: str
    clinical_information: str
    department: str
    institution: str
    body_part: str
    laterality: str
    transport: str
    danger: str
    patient: Annotated[int | None, Field(description="The patient's row; none: not told yet.")]
    patient_id: str
    patient_name: str
    changed_by: str
    steps: list[ShownStep]


class OrderPage(Page[ShownOrder]):
    """Orders, the newest first."""


class OrderDone(Shown):
    """What was done, in words."""

    id: int
    effects: list[str]


class ShownOrderChange(Shown):
    """What became of an order once."""

    message: int | None
    changed_by: str
    changed_at: Moment
    sentences: list[str]


class OrderHistory(Shown):
    """The latest first."""

    items: list[ShownOrderChange]


class ListedStep(Shown):
    """A scheduled step with its order and patient."""

    id: int
    order: int
    step_id: str
    accession_number: str
    placer_number: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    start_date: str
    start_time: str
    minutes: int
    modality: str
    station_aets: list[str]
    station_name: str
    location: str
    what: str
    priority: str
    state: State
    order_state: State


class StepPage(Page[ListedStep]):
    """Scheduled steps in the order of their start."""


def add_orders(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("orders", "Orders of the RIS or entered here, and what is scheduled.")

    @resource.get("/orders", "all", Permission.ORDER_READ)
    async def all_orders(
        request: Request,
        text: Annotated[_Text, Query(description="Begins a number, a Patient ID or a name.")] = "",
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
        patient_id: _Text = "",
        study: Annotated[str, Query(pattern=r"^[0-9.]*$", max_length=UID_CHARS_MAX)] = "",
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> OrderPage:
        """Orders, the newest first."""
        place = read_cursor(cursor, int)
        wanted = order_search.OrderFilter(
            text, (OrderState(state),) if state else (), patient_id=patient_id, study_instance_uid=study
        )
        limit = min(limit, order_search.LIST_MAX)
        before = int(str(place[0])) if place else None
        found = await order_search.search_orders(archive, wanted, limit=limit, before=before)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return OrderPage(items=[ShownOrder.model_validate(one) for one in found], next=next_address(request, behind))

    @resource.add("/orders", "add", Permission.ORDER_MANAGE)
    async def add_order(asked: AskedOrder) -> OrderDone:
        """Enter an order by hand. Without any number it gets an accession number."""
        number, effects = await orders.save_order(archive, asked.change())
        return _done(number, effects)

    @resource.get("/orders/{number}", "get", Permission.ORDER_READ)
    async def get_order(number: NumberInPath) -> ShownOrder:
        """One order."""
        return ShownOrder.model_validate(await order_search.get_order(archive, number))

    @resource.patch("/orders/{number}", "change", Permission.ORDER_MANAGE)
    async def change_order(number: NumberInPath, asked: OrderEdit) -> OrderDone:
        """Change what is named of an order."""
        change = AskedOrder(**{name: getattr(asked, name) for name in AskedOrder.model_fields}).change()
        number, effects = await orders.save_order(archive, change, number=number, version=asked.version)
        return _done(number, effects)

    @resource.post("/orders/{number}/steps/{step}/state", "set_step_state", Permission.ORDER_MANAGE)
    async def set_step_state(number: NumberInPath, step: NumberInPath, asked: OrderStateChange) -> OrderDone:
        """Say what one step of an order is now; the order follows its steps."""
        effects = await orders.set_step_state(
            archive, number, step, OrderState(asked.state), version=asked.version, reason=asked.reason
        )
        return _done(number, effects)

    @resource.post("/orders/{number}/state", "set_state", Permission.ORDER_MANAGE)
    async def set_state(number: NumberInPath, asked: OrderStateChange) -> OrderDone:
        """Say that an order has arrived, is in progress, completed, cancelled; or reopen it."""
        effects = await orders.set_order_state(
            archive, number, OrderState(asked.state), version=asked.version, reason=asked.reason
        )
        return _done(number, effects)

    @resource.get("/orders/{number}/history", "history", Permission.ORDER_READ)
    async def history(number: NumberInPath) -> OrderHistory:
        """What became of an order, the latest first."""
        found = await order_search.read_history(archive, number)
        return OrderHistory(items=[ShownOrderChange.model_validate(one) for one in found])

    @resource.get("/scheduled-steps", "steps", Permission.ORDER_READ)
    async def scheduled_steps(
        request: Request,
        from_day: _Day = "",
        to_day: _Day = "",
        modality: _Text = "",
        station: Annotated[_Text, Query(description="An AE title, a station's name or a room.")] = "",
        text: _Text = "",
        state: State | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> StepPage:
        """Scheduled procedure steps in the order of their start."""
        place = read_cursor(cursor, int)
        states = (OrderState(state),) if state else ()
        wanted = order_search.StepFilter(from_day, to_day, modality, station, text, states)
        limit = min(limit, order_search.LIST_MAX)
        after = int(str(place[0])) if place else None
        found = await order_search.search_steps(archive, wanted, limit=limit, after=after)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return StepPage(items=[ListedStep.model_validate(one) for one in found], next=next_address(request, behind))


def _number(asked: OrderNumber | None) -> Identifier | None:
    return None if asked is None or not asked.value.strip() else Identifier(asked.value, asked.authority)


def _step(asked: AskedStep) -> StepFacts:
    values: dict[str, Any] = asked.model_dump(exclude={"station_aets", "protocol_codes"})
    stations, codes = asked.station_aets, asked.protocol_codes
    return StepFacts(
        **values,
        station_aets=None if stations is None else tuple(stations),
        protocol_codes=None if codes is None else tuple(Code(**one.model_dump()) for one in codes),
    )


def _patient(asked: AskedPatient) -> PatientFacts:
    return PatientFacts((Identifier(asked.patient_id, asked.authority),), asked.name, asked.birth_date, asked.sex)


def _done(number: int, effects: list[Effect]) -> OrderDone:
    return OrderDone(id=number, effects=[one.words for one in effects])
