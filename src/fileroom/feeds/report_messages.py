"""A version of a report as message: ORU^R01 (HL7 v2.5.1 7.3.1), or MDM of chapter 9: T02, T06 and T11 with their like.

    ORU   MSH PID PV1 ORC OBR OBX...           OBR-25 says how far it is: P F C X
    MDM   MSH EVN PID PV1 ORC OBR TXA OBX...   T02 new, T08 edited while unsigned, T06 addendum, T10 replaced, T11 cancelled

Text is one OBX a line (TX), its section in OBX-3 and OBX-4; a PDF is one OBX (ED). The study is said as IHE RAD-28 does it.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Final

from fileroom.dicom.charset import clean, clean_lines
from fileroom.hl7.build import MessageBuilder, Value, hl7_time
from fileroom.hl7.message import Message, parse_message
from fileroom.hl7.values import xcn, xpn
from fileroom.reports.facts import Addendum, ReportState
from fileroom.reports.headings import ADDENDUM, Concept, heading_of
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.structured import TITLE, sections_said
from fileroom.reports.subject import Subject

SENDER: Final = ("FILEROOM", "FILEROOM")
AUTHORITY: Final = "FILEROOM"
"""Who numbers reports."""
_RESULT_STATES: Final = {
    ReportState.PRELIMINARY: "P",
    ReportState.FINAL: "F",
    ReportState.CORRECTED: "C",
    ReportState.CANCELLED: "X",
}
"""HL7 table 0123 (OBR-25), 0085 (OBX-11)."""
_DOCUMENT_STATES: Final = {
    ReportState.PRELIMINARY: "PA",
    ReportState.FINAL: "LA",
    ReportState.CORRECTED: "LA",
    ReportState.CANCELLED: "CA",
}
"""HL7 table 0271 (TXA-17)."""


@dataclass(frozen=True, slots=True)
class ToTell:
    """What is told: a version of a report, the one that the receiver was told before, and the document that goes with it."""

    report: ReportRow
    version: ReportVersion
    subject: Subject
    before: ReportVersion | None = None
    pdf: bytes = b""
    """Empty: none is sent."""
    with_text: bool = True
    again: int = 0
    """How often it was asked for once more: another control ID, so that the receiver takes it."""

    @property
    def control_id(self) -> str:
        """At most 20 characters (MSH-10)."""
        return f"FRR{self.report.id}.{self.version.version}{f'.{self.again}' if self.again else ''}"


def result_message(told: ToTell, now: dt.datetime) -> Message:
    """ORU^R01. `now` has an offset."""
    builder = _begin("ORU^R01^ORU_R01", told, now)
    state = _RESULT_STATES[told.version.state]
    _order(builder, told, state, now)
    _observations(builder, told, state, told.version.content.addenda)
    return parse_message(builder.build())


def document_message(told: ToTell, now: dt.datetime) -> Message:
    """MDM: which event it is follows from what the receiver knows."""
    event = _event(told)
    builder = _begin(f"MDM^{event}^{'MDM_T01' if event == 'T11' else 'MDM_T02'}", told, now)
    _order(builder, told, _RESULT_STATES[told.version.state], now)
    _document(builder, told, event, now)
    if event == "T11":
        return parse_message(builder.build())
    addenda = told.version.content.addenda
    if event == "T06" and told.before is not None:
        _observations(builder, told, "F", addenda[len(told.before.content.addenda) :], is_addendum=True)
    else:
        _observations(builder, told, _RESULT_STATES[told.version.state], addenda)
    return parse_message(builder.build())


# --- segments ---


def _begin(kind: str, told: ToTell, now: dt.datetime) -> MessageBuilder:
    subject = told.subject
    builder = MessageBuilder().header(kind, control_id=told.control_id, now=now, sender=SENDER)
    if kind.startswith("MDM"):
        builder.segment("EVN", {1: kind.split("^")[1], 2: hl7_time(now)})
    name = xpn(subject.patient_name)
    builder.segment(
        "PID",
        {
            1: "1",
            3: [(one.value, "", "", one.authority, one.kind) for one in subject.identifiers] or [("",)],
            5: list(name) if isinstance(name, list) else name or None,
            7: subject.birth_date,
            8: subject.sex,
            18: (subject.visit.number, "", "", subject.visit.authority) if subject.visit else None,
        },
    )
    visit: dict[int, Value] = {1: "1", 2: "U", 8: _person(subject.referring_physician)}
    if subject.visit is not None:
        visit |= {
            2: subject.visit.patient_class or "U",
            3: (subject.visit.location, "", "", subject.visit.institution),
            7: _person(subject.visit.attending),
            19: (subject.visit.number, "", "", subject.visit.authority),
        }
    return builder.segment("PV1", visit)


def _order(builder: MessageBuilder, told: ToTell, state: str, now: dt.datetime) -> None:
    subject, content, order = told.subject, told.version.content, told.subject.order
    placer = (order.placer_number, order.placer_authority) if order and order.placer_number else None
    filler = (order.filler_number, order.filler_authority) if order and order.filler_number else _number_of(told)
    ordering = _person(order.ordering_physician) if order else None
    if order is not None and order.procedure_code:
        procedure: Value = (order.procedure_code, order.procedure_meaning, order.procedure_scheme)
    else:
        procedure = (TITLE.value, subject.description or TITLE.meaning, TITLE.scheme)
    builder.segment(
        "ORC",
        {1: "RE", 2: placer, 3: filler, 5: "CA" if state == "X" else "IP" if state == "P" else "CM", 12: ordering},
    )
    title = clean(told.report.title)
    builder.segment(
        "OBR",
        {
            1: "1",
            2: placer,
            3: filler,
            4: procedure,
            7: f"{subject.study_date}{subject.study_time.split('.')[0]}" if subject.study_date else None,
            16: ordering,
            18: subject.accession_number,
            22: hl7_time(_moment(told, now)),
            24: subject.modality,
            25: state,
            32: (_named(content.signer or content.author),) if content.signer or content.author else None,
            33: (_named(content.author),) if content.author and content.signer else None,
            44: ("", title) if title else None,
        },
    )


def _document(builder: MessageBuilder, told: ToTell, event: str, now: dt.datetime) -> None:
    content, order = told.version.content, told.subject.order
    number = _number_of(told)
    is_addendum = event == "T06"
    author, signer = _person(content.author), _person(content.signer or content.author)
    when = hl7_time(_moment(told, now))
    is_signed = told.version.state.is_signed
    fields: dict[int, Value] = {
        1: "1",
        2: "DI",
        3: "TX" if told.with_text else "AP",
        4: when,
        6: when,
        9: author,
        10: signer,
        12: (f"{number[0]}.{told.version.version}", AUTHORITY) if is_addendum else number,
        13: number if is_addendum else None,
        14: (order.placer_number, order.placer_authority) if order and order.placer_number else None,
        15: (order.filler_number, order.filler_authority) if order and order.filler_number else None,
        17: _DOCUMENT_STATES[told.version.state],
        19: "CA" if event == "T11" else "AV" if is_signed else "UN",
    }
    if is_signed and isinstance(signer, tuple):
        fields[22] = (*signer, *("",) * (14 - len(signer)), when)
    builder.segment("TXA", fields)


def _observations(
    builder: MessageBuilder, told: ToTell, state: str, addenda: tuple[Addendum, ...], *, is_addendum: bool = False
) -> None:
    """OBX: study, text by sections and addenda, PDF."""
    number = 1
    if told.subject.study_instance_uid:
        study: dict[int, Value] = {
            1: "1",
            2: "HD",
            3: ("113014", "DICOM Study", "DCM"),
            5: told.subject.study_instance_uid,
        }
        builder.segment("OBX", {**study, 11: "O"})
        number += 1
    parts: list[tuple[Concept, str, str, Addendum | None]] = []
    if told.with_text:
        if not is_addendum:
            said = sections_said(told.version)
            parts = [(heading_of(heading).section, heading, text, None) for heading, text in said]
        if told.version.state is not ReportState.CANCELLED:
            parts += [(ADDENDUM.section, "", one.text, one) for one in addenda]
    for place, (concept, heading, text, addendum) in enumerate(parts, 1):
        for line in clean_lines(text).splitlines() or [""]:
            fields: dict[int, Value] = {
                1: str(number),
                2: "TX",
                3: (concept.value, clean(heading) or concept.meaning, concept.scheme),
                4: str(place),
                5: line,
                8: "AA" if told.report.is_critical and heading_of(heading).section.value == _IMPRESSIONS else None,
                11: state,
            }
            if addendum is not None:
                fields |= {14: hl7_time(addendum.at.astimezone()), 16: _person(addendum.by)}
            builder.segment("OBX", fields)
            number += 1
    if told.pdf:
        document = ("FILEROOM", "application", "pdf", "Base64", base64.b64encode(told.pdf).decode("ascii"))
        title = (TITLE.value, TITLE.meaning, TITLE.scheme)
        builder.segment("OBX", {1: str(number), 2: "ED", 3: title, 5: document, 11: state})


# --- values ---

_IMPRESSIONS: Final = "19005-8"


def _event(told: ToTell) -> str:
    state, before = told.version.state, told.before
    if state is ReportState.CANCELLED:
        return "T11"
    if before is None:
        return "T02"
    if not before.state.is_signed:
        return "T08"
    now, then = told.version.content, before.content
    is_longer = len(now.addenda) > len(then.addenda) and now.addenda[: len(then.addenda)] == then.addenda
    return "T06" if is_longer and now.sections == then.sections else "T10"


def _number_of(told: ToTell) -> tuple[str, str]:
    return str(told.report.id), AUTHORITY


def _moment(told: ToTell, now: dt.datetime) -> dt.datetime:
    return (told.version.signed_at or told.version.made_at or now).astimezone()


def _person(name: str) -> Value:
    return tuple(xcn(name)) if clean(name) else None


def _named(name: str) -> tuple[str, ...]:
    """CNN, a component of NDL (2.A.47)."""
    return tuple(xcn(name))
