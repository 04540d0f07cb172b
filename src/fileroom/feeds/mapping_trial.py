"""A message read by a mapping for somebody to look at: where each fact came from, what is used, what it asks for, in words.

Nothing is written. What people see here is what `read_changes` gives the inbox: it is the same reading, with its account.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import RequestError, told
from fileroom.feeds.changes import Change
from fileroom.feeds.mapping import ORDER_TYPES, is_ignored, kind_of, read_into, shown_kind
from fileroom.feeds.mapping_facts import Part, fact_named
from fileroom.feeds.mapping_fields import Mapping
from fileroom.feeds.read_reports import REPORT_TYPES
from fileroom.feeds.reading import Found, Reading
from fileroom.hl7.message import Message
from fileroom.reports.facts import PutReport
from fileroom.reports.writing import STATE_WORDS as REPORT_STATE_WORDS
from fileroom.worklist.changes import (
    ChangeIdentifier,
    LinkPatients,
    MergePatients,
    MoveVisit,
    Nothing,
    PutOrder,
    PutPatient,
    RemoveVisit,
    UnmergePatients,
)
from fileroom.worklist.facts import Identifier, OrderFacts, PatientFacts, StepFacts, VisitState
from fileroom.worklist.order_states import STATE_WORDS

_MERGES: Final = frozenset(
    {"A18", "A34", "A35", "A36", "A39", "A40", "A41", "A43", "A44", "A45", "A46", "A47", "A49", "A50"}
)


@dataclass(frozen=True, slots=True)
class FactLine:
    """A fact: `path` is empty where no place says it; `places` are all that were to be looked at."""

    fact: str
    words: str
    path: str
    raw: str
    used: str
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Warning:
    """A value that is not used, with the field that it stands in and why."""

    fact: str
    words: str
    path: str
    raw: str
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What a message is understood as. `error`: why it would fail; empty: it would not."""

    kind: str
    facts: tuple[FactLine, ...]
    changes: tuple[str, ...]
    warnings: tuple[Warning, ...]
    notes: tuple[str, ...]
    error: str = ""


def try_mapping(message: Message, mapping: Mapping) -> Trial:
    """Read the message as a feed with this mapping would. Raises nothing that a message can cause."""
    reading = Reading()
    error = ""
    try:
        read_into(reading, message, mapping)
    except RequestError as failure:
        error = failure.sentence
    return Trial(
        shown_kind(message),
        (*_lines(reading.found, mapping), *_unsaid(reading, message, mapping)),
        tuple(sentence for one in reading.changes for sentence in describe_change(one)),
        tuple(
            Warning(one.fact, _words(one.fact), one.path, one.raw, one.words) for one in dict.fromkeys(reading.unusable)
        ),
        (*message.warnings, *reading.notes),
        error,
    )


def describe_change(change: Change) -> list[str]:
    """What a change asks for, in sentences."""
    match change:
        case PutPatient():
            return _put_patient(change)
        case PutOrder():
            return _put_order(change)
        case PutReport():
            return _put_report(change)
        case MoveVisit():
            return [_move_visit(change)]
        case Nothing():
            return [change.why]
    return [_about_patients(change)]


def _about_patients(
    change: MergePatients | UnmergePatients | LinkPatients | ChangeIdentifier | RemoveVisit,
) -> str:
    match change:
        case MergePatients():
            return told(
                "Patient {retired} becomes part of patient {survivor}.",
                retired=_number(change.retired),
                survivor=_patient(change.survivor),
            )
        case UnmergePatients():
            return told(
                "Patients {one} and {other} are two again.", one=_number(change.one), other=_number(change.other)
            )
        case LinkPatients():
            return told(
                "Patients {one} and {other} are one person.", one=_patient(change.one), other=_patient(change.other)
            )
        case ChangeIdentifier():
            return told("Patient ID {old} is {new} now.", old=_number(change.old), new=_number(change.new))
        case RemoveVisit():
            return told(
                "Visit {visit} of patient {patient} is removed.",
                visit=_number(change.visit),
                patient=_patient(change.patient),
            )


def _put_patient(change: PutPatient) -> list[str]:
    said: list[str] = [told("Patient {patient} is made or brought up to date.", patient=_patient(change.patient))]
    if change.visit is not None:
        number, state = _number(change.visit.number), change.visit.state
        if state is None:
            said.append(told("Visit {visit} is brought up to date.", visit=number))
        else:
            said.append(told("Visit {visit} is {state}.", visit=number, state=_VISIT_STATES[state]))
    return said


def _move_visit(change: MoveVisit) -> str:
    patient, source = _patient(change.target), _number(change.source)
    if change.visit is None:
        return told("All that patient {source} has becomes patient {patient}'s.", source=source, patient=patient)
    visit = _number(change.visit)
    if change.new_number is None:
        return told(
            "Visit {visit} of {source} becomes patient {patient}'s.", visit=visit, source=source, patient=patient
        )
    return told(
        "Visit {visit} of {source} becomes patient {patient}'s, as {number}.",
        visit=visit,
        source=source,
        patient=patient,
        number=_number(change.new_number),
    )


def _put_order(change: PutOrder) -> list[str]:
    order = _order(change.order)
    said: list[str]
    if change.patient is None:
        said = [told("Order {order} is made or brought up to date.", order=order)]
    else:
        patient = _patient(change.patient)
        said = [told("Order {order} of patient {patient} is made or brought up to date.", order=order, patient=patient)]
    if change.state is not None:
        said.append(told("It is {state}.", state=told(STATE_WORDS[change.state])))
    said += [told("A step: {step}.", step=_step(one)) for one in change.order.steps or ()]
    return said


def _put_report(change: PutReport) -> list[str]:
    number, state = change.number, told(REPORT_STATE_WORDS[change.state])
    said: list[str]
    if change.is_addendum:
        said = [told("The report {number} gets an addendum and is {state}.", number=number, state=state)]
    else:
        said = [
            told("The report {number} is made or gets a new version, which is {state}.", number=number, state=state)
        ]
    named = next((one for one in (change.accession, change.placer, change.filler) if one is not None), None)
    if named is not None:
        said.append(told("It belongs to the order {order}.", order=_number(named)))
    said += [
        told("A section: {heading} ({count} characters).", heading=one.heading or "-", count=len(one.text))
        for one in change.content.sections
    ]
    said += [told("An addendum of {count} characters.", count=len(one.text)) for one in change.content.addenda]
    if change.content.document:
        kind, count = change.content.document_type, len(change.content.document)
        said.append(told("A document: {kind}, {count} bytes.", kind=kind, count=count))
    if change.is_critical:
        said.append(told("It is marked as critical."))
    return said


def _step(one: StepFacts) -> str:
    parts = (one.step_id, one.modality, one.start, ", ".join(one.station_aets or ()), one.location, one.description)
    return " ".join(part for part in parts if part)


_VISIT_STATES: Final = {
    VisitState.SCHEDULED: told("scheduled"),
    VisitState.ADMITTED: told("admitted"),
    VisitState.DISCHARGED: told("discharged"),
    VisitState.CANCELLED: told("cancelled"),
}


def _patient(facts: PatientFacts) -> str:
    return _number(facts.identifiers[0])


def _order(facts: OrderFacts) -> str:
    return _number(next(one for one in (facts.accession, facts.placer, facts.filler) if one is not None))


def _number(one: Identifier) -> str:
    return f"{one.value} ({one.authority})" if one.authority else one.value


def _words(fact: str) -> str:
    found = fact_named(fact)
    return found.words if found is not None else fact


def _lines(found: Iterable[Found], mapping: Mapping) -> list[FactLine]:
    return [
        FactLine(one.fact, _words(one.fact), one.path, one.raw, one.used, _places(one.fact, mapping))
        for one in dict.fromkeys(found)
    ]


def _unsaid(reading: Reading, message: Message, mapping: Mapping) -> list[FactLine]:
    """Facts that this kind of message could say, and does not."""
    if is_ignored(message, mapping):
        return []
    structure, event = kind_of(message, mapping)
    if structure == "ADT":
        parts = {Part.PATIENT, Part.VISIT} | ({Part.PRIOR} if event in _MERGES else set())
    elif structure in ORDER_TYPES or structure == "SIU":
        parts = set(Part) - {Part.PRIOR, Part.REPORT}
    elif structure in REPORT_TYPES:
        parts = {Part.PATIENT, Part.REPORT}
    else:
        return []
    said = {one.fact for one in reading.found}
    facts = (fact_named(name) for name in mapping.facts if name not in said)
    return [
        FactLine(one.name, one.words, "", "", "", _places(one.name, mapping))
        for one in facts
        if one is not None and one.part in parts
    ]


def _places(fact: str, mapping: Mapping) -> tuple[str, ...]:
    return tuple(path.text for path in mapping.facts.get(fact, ()))
