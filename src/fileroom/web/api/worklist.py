"""`/worklist`: what modalities see of what is scheduled, why something is not on it, and the views."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Query
from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.web.api.models import INTEGRAL, Asked, Flag, NameInPath, ShortText, Shown
from fileroom.web.api.operations import Api
from fileroom.worklist import step_list, why_not, worklist_views

State = Literal["scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"]
_WAITING: Final[tuple[State, ...]] = ("scheduled", "arrived")
_Text = Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Texts = Annotated[
    list[Annotated[str, Field(strict=True, max_length=worklist_views.TEXT_CHARS_MAX)]],
    Field(max_length=worklist_views.LIST_MAX),
]


class ShownWorklistLine(Shown):
    """A scheduled step, as a modality is answered. Dates, times and names in DICOM's forms."""

    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    procedure_id: str
    procedure: str
    step_id: str
    description: str
    modality: str
    station_aets: list[str]
    location: str
    start_date: str
    start_time: str
    priority: str
    state: State
    study_instance_uid: str


class WorklistLines(Shown):
    """Scheduled steps in the order of their start."""

    items: list[ShownWorklistLine]


class ShownTraceFinding(Shown):
    """One thing that was looked at. A `cause` keeps the step from the worklist."""

    stage: Literal["message", "patient", "order", "step", "view", "question", "caller"]
    mark: Literal["fine", "cause", "note"]
    words: str
    at: Annotated[str, Field(description="When, RFC 3339 in UTC; empty where that does not matter.")]
    number: Annotated[int, Field(description="The row of a message or order; 0: none.")]


class ShownTrace(Shown):
    """Why something is not on a worklist: the answer in one sentence, and everything that was looked at."""

    accession: str
    patient: str
    caller: str
    answer: str
    is_on: bool
    view: str
    asked_at: str
    asked_keys: str
    findings: list[ShownTraceFinding]


class AskedWorklistView(Asked):
    """What some modalities see. Lists may hold wildcards; an empty one limits nothing."""

    aets: Annotated[_Texts, Field(description="Calling AE titles; empty: everybody.")] = Field(default_factory=list)
    modalities: _Texts = Field(default_factory=list)
    stations: Annotated[_Texts, Field(description="AE titles that steps are scheduled for.")] = Field(
        default_factory=list
    )
    station_names: _Texts = Field(default_factory=list)
    locations: _Texts = Field(default_factory=list)
    begins: Annotated[ShortText, Field(description="today, today-3, -2h; empty: no limit.")] = ""
    ends: Annotated[ShortText, Field(description="today, today+7, +12h; empty: no limit.")] = ""
    own_aet: Annotated[Flag, Field(description="Only steps for the caller's own AE title.")] = False
    unassigned: Annotated[Flag, Field(description="Steps without a station are everybody's.")] = False
    states: Annotated[list[State], Field(max_length=6)] = Field(default_factory=lambda: [*_WAITING])
    results_max: Annotated[int, Field(strict=True, ge=1, le=worklist_views.RESULTS_MAX), INTEGRAL] = (
        worklist_views.RESULTS_MAX
    )
    charset: Annotated[ShortText, Field(description="Specific Character Set of the answers.")] = ""
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ShownWorklistView(AskedWorklistView):
    """A view as it is kept."""

    name: str
    version: int
    changed_by: str


class WorklistViews(Shown):
    """All views, by name."""

    items: list[ShownWorklistView]


def add_worklist(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("worklist", "What modalities see of what is scheduled, and why something is not on it.")

    @resource.get("/worklist", "all", Permission.ORDER_READ)
    async def lines(
        aet: Annotated[_Text, Query(description="What this AE title sees; empty: everything that waits.")] = "",
        modality: _Text = "",
        date: Annotated[_Text, Query(description="A day or a range: 20261122-20261129.")] = "",
        limit: Annotated[int, Query(ge=1, le=step_list.LINES_MAX)] = step_list.LINES_MAX,
    ) -> WorklistLines:
        """The worklist, as it would be answered now."""
        found = await step_list.list_worklist(archive, caller=aet, modality=modality, date=date, limit=limit)
        return WorklistLines(items=[ShownWorklistLine.model_validate(one) for one in found])

    @resource.get("/worklist/why", "why", Permission.ORDER_READ)
    async def why(
        aet: Annotated[str, Query(min_length=1, max_length=16, pattern=r"^[^\x00-\x1f\x7f\\]*$")],
        accession: _Text = "",
        patient: _Text = "",
    ) -> ShownTrace:
        """Why an order, or a patient, is not on the worklist of a modality."""
        return ShownTrace.model_validate(await why_not.explain(archive, aet, accession=accession, patient=patient))

    @resource.get("/worklist/views", "views", Permission.ORDER_READ)
    async def views() -> WorklistViews:
        """All views, by name."""
        return WorklistViews(items=[_view(one) for one in await worklist_views.list_views(archive)])

    @resource.get("/worklist/views/{name}", "view", Permission.ORDER_READ)
    async def view(name: NameInPath) -> ShownWorklistView:
        """One view."""
        return _view(await worklist_views.get_view(archive, name))

    @resource.put("/worklist/views/{name}", "save_view", Permission.ORDER_MANAGE)
    async def save_view(name: NameInPath, asked: AskedWorklistView) -> ShownWorklistView:
        """Add a view, or replace it."""
        return _view(await worklist_views.put_view(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/worklist/views/{name}", "remove_view", Permission.ORDER_MANAGE)
    async def remove_view(name: NameInPath) -> None:
        """Remove a view; its callers see what the next that fits them shows."""
        await worklist_views.remove_view(archive, name)


def _view(one: Entry) -> ShownWorklistView:
    return ShownWorklistView(
        **one.fields, enabled=one.enabled, name=one.name, version=one.version, changed_by=one.changed_by
    )
