"""What messages with reports ask for: ORU R01 and R30 (HL7 v2.5.1 7.3), MDM T02, T06, T11 and their like (9.6).

Each OBR of an ORU is a report of its own, with the ORC before it and the OBX behind it; several that name the same report are
one, and those without a text of their own share that of the one that has it (one dictation for several examinations). An MDM is
one report. Numbers and states are read by the mapping; what is no report yet asks for nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds import forms
from fileroom.feeds.changes import Change
from fileroom.feeds.paths import Scope
from fileroom.feeds.read_adt import parted
from fileroom.feeds.read_persons import read_patient
from fileroom.feeds.reading import Found, Reader
from fileroom.feeds.report_body import Body, read_body
from fileroom.hl7.message import Segment
from fileroom.reports.facts import Addendum, PutReport, ReportContent, ReportState
from fileroom.reports.receive import NO_TIME
from fileroom.worklist.changes import Nothing, PutOrder
from fileroom.worklist.facts import OrderFacts, OrderState, PatientFacts

REPORT_TYPES: Final = ("ORU", "MDM")
GROUPS_MAX: Final = 200
"""Reports of one message."""
_MEASURED: Final = ("OBX", "NTE")


@dataclass(frozen=True, slots=True)
class _Report:
    """A report with what is said of it, and why it is none yet."""

    change: PutReport
    is_empty: bool
    why_not: str = ""


def read_reports(reader: Reader, structure: str, event: str, segments: Sequence[Segment]) -> list[Change]:
    """The changes of a message with reports. Raises InvalidRequestError where it does not say which, or in what state."""
    table = reader.mapping.values.get("report_event")
    deed = (table.get(event) if table is not None else None) or ""
    if deed in ("", "nothing"):
        return [Nothing(told("{kind} asks for nothing here.", kind=f"{structure}^{event or '-'}"))]
    found: list[_Report] = []
    for head, groups in _patients(structure, segments):
        patient = _patient(reader, head)
        some = [_one_report(reader, deed, structure, head, own, patient) for own in groups]
        found += _shared(some)
    if not found:
        raise InvalidRequestError(told("The message has no OBR segment, so it has no report."))
    changes: list[Change] = []
    for change in _joined([one for one in found if not one.why_not]):
        changes.append(change)
        changes += _order_after(reader, change)
    return [*changes, *(Nothing(why) for why in dict.fromkeys(one.why_not for one in found if one.why_not))]


# --- groups ---


def _patients(structure: str, segments: Sequence[Segment]) -> list[tuple[list[Segment], list[list[Segment]]]]:
    """For each patient what stands before the reports, and the segments of each report."""
    before, persons = parted(segments, "PID")
    found = []
    for person in persons or [[]]:
        every = [*before, *person]
        if structure == "MDM":
            found.append((every, [every]))
            continue
        head: list[Segment] = []
        groups: list[list[Segment]] = []
        for segment in every:
            is_next = bool(groups) and any(one.name == "OBR" for one in groups[-1])
            if segment.name == "ORC" or (segment.name == "OBR" and (is_next or not groups)):
                groups.append([segment])
            else:
                (groups[-1] if groups else head).append(segment)
        groups = [one for one in groups if any(segment.name == "OBR" for segment in one)]
        if len(groups) > GROUPS_MAX:
            raise InvalidRequestError(told("The message has more than {most} reports.", most=GROUPS_MAX))
        found.append((head, groups))
    return found


def _patient(reader: Reader, head: Sequence[Segment]) -> PatientFacts | None:
    if not any(segment.name == "PID" for segment in head):
        reader.reading.note(told("The message has no PID segment: the report belongs to the patient of its order."))
        return None
    return read_patient(reader.within(Scope(head)))


def _shared(some: Sequence[_Report]) -> list[_Report]:
    """One text for several examinations: it stands once, and is of all of them."""
    full = [one for one in some if not one.is_empty]
    if len(some) < 2 or len(full) != 1:
        return list(some)
    content = full[0].change.content
    return [
        replace(one, change=replace(one.change, content=content, is_critical=full[0].change.is_critical))
        if one.is_empty
        else one
        for one in some
    ]


def _joined(some: Sequence[_Report]) -> list[PutReport]:
    """Groups that name the same report say it together."""
    by_number: dict[str, PutReport] = {}
    for one in some:
        change = one.change
        before = by_number.get(change.number)
        if before is None:
            by_number[change.number] = change
            continue
        old, new = before.content, change.content
        if old == new:
            continue
        content = replace(
            old if old.document else replace(old, document=new.document, document_type=new.document_type),
            sections=(*old.sections, *new.sections),
            addenda=(*old.addenda, *new.addenda),
        )
        by_number[change.number] = replace(
            before, content=content, is_critical=before.is_critical or change.is_critical
        )
    return list(by_number.values())


# --- one report ---


def _one_report(
    whole: Reader,
    deed: str,
    structure: str,
    head: Sequence[Segment],
    own: Sequence[Segment],
    patient: PatientFacts | None,
) -> _Report:
    inherited = [segment for segment in head if segment.name not in _MEASURED]
    z_segments = [segment for segment in head if segment.name[:1] == "Z"]
    reader = whole.within(Scope(own, inherited, z_segments))
    state, why_not = _state(reader, deed, own)
    body = Body()
    if not why_not and state is not ReportState.CANCELLED:
        body = read_body(reader, own, _withdrawn(reader))
        for note in body.notes:
            reader.reading.note(note)
    author, signer = reader.value("report_author") or "", reader.value("report_signer") or ""
    if not state.is_signed:
        author, signer = author or signer, ""
    reported_at = reader.value("reported_at") or ""
    if reported_at and reader.mapping.zone is not None:
        reported_at = _with_offset(reported_at, reader)
    at = _time(reported_at)
    content = ReportContent(
        tuple(body.sections),
        tuple(Addendum(text, signer or author, at) for text in body.addenda),
        body.document,
        body.document_type,
        author or signer,
        signer,
    )
    change = PutReport(
        "" if why_not else _number(reader, deed),
        state,
        content,
        reader.value("report_title") or "",
        reader.identifier("placer", "placer", "") or reader.identifier("report_placer", "placer", ""),
        reader.identifier("filler", "filler", "") or reader.identifier("report_filler", "filler", ""),
        reader.identifier("accession", "accession", "") or reader.identifier("report_accession", "accession", ""),
        reader.value("study_uid") or reader.value("report_study") or "",
        patient,
        reported_at,
        _is_critical(reader),
        is_addendum=deed == "addendum",
    )
    return _Report(change, body.is_empty and structure != "MDM", why_not)


def _number(reader: Reader, deed: str) -> str:
    """What the sender calls the report. Raises InvalidRequestError where it does not say."""
    found = reader.identifier("parent_number", "filler", "") if deed == "addendum" else None
    found = found or reader.identifier("report_number", "filler", "")
    if found is None:
        places = ", ".join(path.text for path in reader.mapping.facts.get("report_number", ())) or "-"
        raise InvalidRequestError(
            told(
                "The message does not say which report it is: {places} say nothing. If the sender has its number elsewhere, "
                "change report_number in the mapping of the feed.",
                places=places,
            )
        )
    return found.value


def _state(reader: Reader, deed: str, own: Sequence[Segment]) -> tuple[ReportState, str]:
    """The state, and why there is no report yet. Raises InvalidRequestError for a state that nobody knows."""
    if deed == "cancel" or reader.value("report_withdrawn") == ReportState.CANCELLED:
        return ReportState.CANCELLED, ""
    before = len(reader.reading.unusable)
    said = reader.value("report_state")
    unknown = [one.raw for one in reader.reading.unusable[before:] if one.fact == "report_state"]
    table = reader.mapping.values.get("report_state")
    lines = [segment.get("11").strip().upper() for segment in own if segment.name == "OBX"]
    of_lines = {used for one in lines if one and table is not None and (used := table.get(one)) is not None}
    if said is None and not unknown:
        unknown = [one for one in lines if one and (table is None or table.get(one) is None)]
        said = _strongest(of_lines)
    elif said == ReportState.FINAL and ReportState.CORRECTED in of_lines:
        said = ReportState.CORRECTED
    if unknown and not said:
        raise InvalidRequestError(
            told(
                "The state {state} of the report is not known: give it a line in the table report_state of the feed's mapping.",
                state=repr(unknown[0])[:40],
            )
        )
    if said is None:
        places = [path.text for path in reader.mapping.facts.get("report_state", ())]
        raise InvalidRequestError(
            told(
                "The message does not say whether the report is preliminary or final: {places} say nothing. If the sender "
                "never says it, let report_state be a fixed value in the mapping of the feed, such as =final.",
                places=", ".join([*places, "OBX-11"]),
            )
        )
    if not said:
        return ReportState.PRELIMINARY, told("There is no report yet: its state says that nothing was found so far.")
    return ReportState(said), ""


def _strongest(states: set[str]) -> str | None:
    """Of the lines of a report: unsigned where one of them is, withdrawn only where all are."""
    order = (ReportState.PRELIMINARY, ReportState.CORRECTED, ReportState.FINAL, ReportState.CANCELLED, "")
    return next((str(one) for one in order if one in states), None)


def _withdrawn(reader: Reader) -> frozenset[str]:
    table = reader.mapping.values.get("report_state")
    known = ("D", "X", "W")
    return frozenset(one for one in known if table is not None and table.get(one) == ReportState.CANCELLED)


def _is_critical(reader: Reader) -> bool:
    """Whether any place of the mapping has one of its marks; a text has it at the beginning of a line."""
    table = reader.mapping.values.get("critical")
    for path in reader.mapping.facts.get("critical", ()):
        for one in reader.scope.at(path):
            texts = one.text.splitlines() if path.field == 5 and not path.component else [forms.plain(one, path)]
            marked = next((text for text in texts if table is not None and table.get(text)), None)
            if marked is not None:
                if reader.reading.is_traced:
                    reader.reading.found.append(Found("critical", path.text, marked[:200], "yes"))
                return True
    return False


def _order_after(reader: Reader, change: PutReport) -> list[PutOrder]:
    """What becomes of the order, if the mapping says so; else a report changes nothing of it."""
    table = reader.mapping.values.get("order_after_report")
    state = table.get(change.state.value) if table is not None else None
    if not state or not (change.placer or change.filler or change.accession):
        return []
    order = OrderFacts(change.placer, change.filler, change.accession)
    return [PutOrder(order, change.patient, state=OrderState(state), must_be="known")]


def _with_offset(said: str, reader: Reader) -> str:
    """The hospital's clock with its offset, so that it is the same time on every machine."""
    zone = reader.mapping.zone
    try:
        found = dt.datetime.strptime((said + "000000")[:14], "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return said
    return f"{said[:14]}{found:%z}" if len(said) >= 12 else said


def _time(said: str) -> dt.datetime:
    try:
        form = "%Y%m%d%H%M%S%z" if said[14:] else "%Y%m%d%H%M%S"
        found = dt.datetime.strptime((said + "000000")[:14] + said[14:], form)
    except ValueError:
        return NO_TIME
    return found if found.tzinfo else found.astimezone()
