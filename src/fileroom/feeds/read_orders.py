"""What messages about orders ask for: ORM O01, OMG O19, OMI O23 (HL7 v2.5.1 chapter 4; IHE RAD TF-2 4.2 to 4.4).

An order is the requested procedure of one placer, filler and accession number. IHE's senders repeat ORC and OBR for each step
and protocol code of one procedure, others for each procedure: groups that name the same order are one, with several steps.
ZDS stands once at the end and is meant for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.mapping_facts import Part
from fileroom.feeds.paths import Scope
from fileroom.feeds.read_adt import parted
from fileroom.feeds.read_persons import read_patient, read_visit
from fileroom.feeds.reading import Reader
from fileroom.hl7.message import Segment
from fileroom.worklist.changes import Change, Nothing, PutOrder
from fileroom.worklist.facts import OrderFacts, OrderState, PatientFacts, StepFacts, VisitFacts

GROUPS_MAX: Final = 500
"""Orders and steps of one message."""
_ON_HOLD: Final = frozenset({"HD", "OH", "HR"})
_NOT_INHERITED: Final = frozenset({"NTE", "OBX"})
"""What stands before the first order says something of the patient."""


@dataclass(frozen=True, slots=True)
class OneStep:
    """What one group of segments says: an order, and the step of it that it is about."""

    order: OrderFacts
    state: OrderState | None
    must_be: str
    step: StepFacts | None

    @property
    def key(self) -> tuple[object, ...]:
        """Groups of the same key are about one order."""
        one = self.order
        return one.placer, one.filler, one.accession, one.procedure_id, self.state, self.must_be


def read_orders(reader: Reader, segments: Sequence[Segment]) -> list[Change]:
    """The changes of a message with orders. Raises InvalidRequestError where it does not say which order, or of whom."""
    head, groups = _groups(segments)
    if not groups:
        raise InvalidRequestError(told("The message has no ORC and no OBR segment, so it speaks of no order."))
    patient, visit = read_subject(reader, head, segments)
    last = _said_once(segments)
    steps: list[OneStep] = []
    whys: list[str] = []
    inherited = [segment for segment in head if segment.name not in _NOT_INHERITED]
    for layers, own in groups:
        one = reader.within(Scope(*layers, inherited, last))
        control = one.value("control") or ""
        deed = _deed(one, control)
        why = _not_wanted(one, control, deed)
        if why:
            whys.append(why)
        else:
            steps.append(_one_step(one, own, control, deed))
    return [*join_steps(steps, patient, visit), *(Nothing(why) for why in dict.fromkeys(whys))]


def read_subject(
    reader: Reader, head: Sequence[Segment], segments: Sequence[Segment]
) -> tuple[PatientFacts | None, VisitFacts | None]:
    """Whom the order is for. Raises InvalidRequestError where two are named, or one without a number."""
    count = sum(segment.name == "PID" for segment in segments)
    if count == 0:
        reader.reading.note(told("The message has no PID segment: the order stays with the patient that it has."))
        return None, None
    if count > 1:
        raise InvalidRequestError(
            told("The message names {count} patients; an order is for one. Send one message for each.", count=count)
        )
    one = reader.within(Scope(head, segments))
    z_segments = [segment for segment in head if segment.name[:1] == "Z"]
    return read_patient(one, z_segments), read_visit(one)


def join_steps(steps: Sequence[OneStep], patient: PatientFacts | None, visit: VisitFacts | None) -> Iterator[PutOrder]:
    """One change for each order, with its steps in the order of the message."""
    by_order: dict[tuple[object, ...], list[OneStep]] = {}
    for one in steps:
        by_order.setdefault(one.key, []).append(one)
    for some in by_order.values():
        order = some[0].order
        for one in some[1:]:
            order = replace(order, details={**one.order.details, **order.details})
        said = _merged([one.step for one in some if one.step is not None])
        yield PutOrder(replace(order, steps=said or None), patient, visit, some[0].state, some[0].must_be)


def read_order(reader: Reader, segments: list[Segment]) -> OrderFacts:
    """An order without its steps. Raises InvalidRequestError where no number says which one."""
    placer = reader.identifier("placer", "placer", "")
    filler = reader.identifier("filler", "filler", "")
    accession = reader.identifier("accession", "accession", "")
    if placer is None and filler is None and accession is None:
        places = [
            path.text for name in ("placer", "filler", "accession") for path in reader.mapping.facts.get(name, ())
        ]
        raise InvalidRequestError(
            told(
                "The message does not say which order: {places} say nothing. If the sender has its number elsewhere, change "
                "placer, filler or accession in the mapping of the feed.",
                places=", ".join(dict.fromkeys(places)) or "-",
            )
        )
    return OrderFacts(
        placer,
        filler,
        accession,
        procedure_id=reader.value("procedure_id"),
        study_instance_uid=reader.value("study_uid") or None,
        procedure=reader.code("procedure"),
        priority=reader.value("priority") or None,
        ordering_physician=reader.value("ordering_physician"),
        referring_physician=reader.value("referring_physician"),
        reason=reader.value("reason"),
        clinical_information=reader.value("clinical_information"),
        department=reader.value("department"),
        institution=reader.value("institution"),
        body_part=reader.value("body_part"),
        laterality=reader.value("laterality"),
        transport=reader.value("transport"),
        danger=reader.value("danger"),
        details={**reader.details(Part.ORDER), **reader.kept(segments)},
    )


def read_step(reader: Reader) -> StepFacts | None:
    """A scheduled step; None where the message only says what the procedure says anyway."""
    step = StepFacts(
        reader.value("step_id") or "",
        reader.value("modality"),
        reader.ae_titles("station_aets"),
        reader.value("station_name"),
        reader.value("step_location"),
        reader.value("start"),
        reader.value("performing_physician"),
        reader.value("step_description"),
        reader.codes("protocol_codes"),
        reader.value("pre_medication"),
        reader.value("contrast_agent"),
        reader.value("comments"),
    )
    return None if replace(step, description=None) == StepFacts() else step


def state_word(reader: Reader, deed: str) -> OrderState | None:
    """The state after a deed ("scheduled", "same" ...): a final one is meant, else what the message's states say first."""
    meant = OrderState(deed) if deed != "same" else None
    if meant is not None and meant.is_final:
        return meant
    said = reader.value("state")
    return OrderState(said) if said else meant


def _one_step(reader: Reader, own: list[Segment], control: str, deed: str) -> OneStep:
    table = reader.mapping.values.get("must_be")
    if control in _ON_HOLD and deed == "same":
        reader.reading.note(told("An order on hold stays on the worklist: there is no such state here."))
    return OneStep(
        read_order(reader, own),
        state_word(reader, deed),
        (table.get(control) if table is not None else None) or "",
        read_step(reader),
    )


def _deed(reader: Reader, control: str) -> str:
    table = reader.mapping.values.get("control")
    deed = table.get(control) if table is not None else None
    if deed is None:
        raise InvalidRequestError(
            told(
                "The order control {control} (ORC-1) is not known: give it a line in the table control of the feed's mapping.",
                control=repr(control)[:40],
            )
        )
    return deed


def _not_wanted(reader: Reader, control: str, deed: str) -> str:
    """Why nothing is to be done for a group of segments; empty: something is."""
    for one in reader.mapping.only:
        texts = [repetition.whole(one.path.component or 1).strip() for repetition in reader.scope.at(one.path)]
        if not any(one.table.get(text) is not None for text in texts):
            return told("The feed takes no order with this {path}.", path=one.path.text)
    if deed == "nothing":
        return told("An order control {control} asks for nothing here.", control=control)
    return ""


def _groups(segments: Sequence[Segment]) -> tuple[list[Segment], list[tuple[tuple[list[Segment], ...], list[Segment]]]]:
    """What stands before the first order; then for each step its layers of segments, nearest first, and those of its own."""
    has_control = any(segment.name == "ORC" for segment in segments)
    head, orders = parted(segments, "ORC" if has_control else "OBR")
    found: list[tuple[tuple[list[Segment], ...], list[Segment]]] = []
    for order in orders:
        common, requests = parted(order, "OBR")
        for request in requests or [[]]:
            shared, procedures = parted(request, "IPC")
            for procedure in procedures or [[]]:
                found.append(((procedure, shared, common), [*procedure, *shared, *common]))
        if len(found) > GROUPS_MAX:
            raise InvalidRequestError(
                told("The message has more than {most} orders; send them in several messages.", most=GROUPS_MAX)
            )
    return head, found


def _said_once(segments: Sequence[Segment]) -> list[Segment]:
    """Segments that the message has once for all its orders, wherever they stand: ZDS and other Z segments, IPC."""
    names = [segment.name for segment in segments]
    return [one for one in segments if (one.name[:1] == "Z" or one.name == "IPC") and names.count(one.name) == 1]


def _merged(steps: Sequence[StepFacts]) -> tuple[StepFacts, ...]:
    """Steps of the same ID are one with all their protocol codes; of those without an ID equal ones are one."""
    by_id: dict[str, StepFacts] = {}
    unnamed: list[StepFacts] = []
    for one in steps:
        if not one.step_id:
            if one not in unnamed:
                unnamed.append(one)
            continue
        before = by_id.get(one.step_id)
        if before is None:
            by_id[one.step_id] = one
        elif before.protocol_codes or one.protocol_codes:
            codes = dict.fromkeys([*(before.protocol_codes or ()), *(one.protocol_codes or ())])
            by_id[one.step_id] = replace(before, protocol_codes=tuple(codes))
    return (*by_id.values(), *unnamed)
