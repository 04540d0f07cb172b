"""Queries for patients by HL7: who is it (PDQ), under which numbers is the same person known (PIX), and the old QRY^A19.

    QBP^Q22  IHE ITI-21: patients by name, number, birth date ...        RSP^K22
    QBP^ZV1  IHE ITI-22: the same, each visit a hit                      RSP^ZV2
    QBP^Q23  IHE ITI-9: the other numbers of a person                    RSP^K23
    QRY^A19  HL7 v2.5.1 3.3.19                                           ADR^A19
    QCN^J01  whoever asked wants no more; nothing was kept of the query  ACK

Nothing is kept between a query and its continuation: the pointer (DSC-1) names the last row that was told and what was asked.
What cannot be answered is answered with AE and an ERR that says where the question is wrong, as the profiles have it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.core.errors import told
from fileroom.feeds.answers import Body, OwnAnswer
from fileroom.feeds.mapping_fields import Mapping
from fileroom.feeds.query_segments import Domain, domain_of, patient_segments, reference_segment
from fileroom.hl7.acknowledge import ErrorLine, response_kind
from fileroom.hl7.build import Value, field_value
from fileroom.hl7.message import Message, Repetition, Segment
from fileroom.hl7.values import dicom_date
from fileroom.worklist.facts import Identifier
from fileroom.worklist.patient_query import PatientWanted, cross_reference, find_patients, known_authorities

ANSWERED: Final = ("QBP^Q22", "QBP^ZV1", "QBP^Q23", "QRY^A19", "QCN^J01")
TYPES: Final = frozenset(("QRY", "QBP", "QCN", "QSB", "QVR", "SPQ", "VQQ", "EQQ", "RQQ"))
"""Message types that ask."""
PAGE_DEFAULT: Final = 100
PAGE_MAX: Final = 500
"""Patients in one answer; a person chooses from ten, and a program comes again."""
PARAMETERS_MAX: Final = 50
_VALUE_CHARS_MAX: Final = 200
_PARAMETER: Final = re.compile(r"@?([A-Z0-9]{3})\.(\d{1,2})(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?")
_POINTER: Final = re.compile(r"([1-9]\d{0,17})-([0-9a-f]{16})")
_UNKNOWN_KEY: Final = "204"
_MISSING: Final = "101"
_WRONG_DATA: Final = "102"

_ASKED: Final[dict[tuple[str, int, int], str]] = {
    ("PID", 5, 1): "family",
    ("PID", 5, 2): "given",
    ("PID", 5, 3): "middle",
    ("PID", 7, 1): "birth_date",
    ("PID", 8, 1): "sex",
    ("PID", 18, 1): "visit_number",
    ("PV1", 2, 1): "patient_class",
    ("PV1", 3, 1): "location",
    ("PV1", 7, 2): "attending",
    ("PV1", 8, 2): "referring",
    ("PV1", 19, 1): "visit_number",
}
"""Which place of a patient's or visit's segments is which question; PID-3 and PID-11 are read apart."""


@dataclass(slots=True)
class _Parameters:
    """QPD-3 taken apart."""

    wanted: PatientWanted
    number: str = ""
    domain: tuple[str, str, str] = ("", "", "")


class _RefusedError(Exception):
    """The question is wrong; `errors` say where."""

    def __init__(self, *errors: ErrorLine) -> None:
        super().__init__()
        self.errors = errors


def is_query(message: Message) -> bool:
    """Whether a message asks for an answer instead of telling something."""
    return message.get("MSH-9.1").strip().upper() in TYPES


async def answer_query(connection: AsyncConnection[Any], message: Message, mapping: Mapping) -> OwnAnswer | None:
    """The answer to one of `ANSWERED`; None: a plain acknowledgement is one. Raises NotAllowedError, psycopg.Error.

    Authorities are named as the feed's mapping has them.
    """
    match message.kind:
        case "QBP^Q22" | "QBP^ZV1":
            return await _patients(connection, message, mapping)
        case "QBP^Q23":
            return await _reference(connection, message, mapping)
        case "QRY^A19":
            return await _old_query(connection, message, mapping)
    return None


# --- PDQ ---


async def _patients(connection: AsyncConnection[Any], message: Message, mapping: Mapping) -> OwnAnswer:
    kind = response_kind(message)
    try:
        wanted = _wanted(message, mapping)
        domains = await _domains(connection, message, 8, mapping)
        after = _place(message, _question(message))
    except _RefusedError as refused:
        return _refused(kind, message, refused.errors)
    limit = _limit(message.get("RCP-2.1"), message.get("RCP-2.2"))
    by_visit = message.kind == "QBP^ZV1"
    found = await find_patients(connection, wanted, by_visit=by_visit, after=after, limit=limit + 1)
    shown, rest = found.patients[:limit], len(found.patients) > limit
    body: list[tuple[str, dict[int, Value]]] = [
        (name, fields)
        for number, one in enumerate(shown, 1)
        for name, fields in patient_segments(one, number, domains, with_visit=by_visit)
    ]
    if rest:
        body.append(("DSC", {1: _pointer(shown[-1].key, _question(message)), 2: "I"}))
    head = _head(message, "OK" if shown else "NF", counts=(found.total, len(shown)))
    return OwnAnswer(kind, (*head, *body), words=_words(len(shown)))


def _wanted(message: Message, mapping: Mapping) -> PatientWanted:
    segment = _parameters(message)
    found = _Parameters(PatientWanted())
    repetitions = segment.field(3).repetitions
    if len(repetitions) > PARAMETERS_MAX:
        raise _RefusedError(ErrorLine("QPD-3", _WRONG_DATA, told("More than {most} parameters.", most=PARAMETERS_MAX)))
    for number, one in enumerate(repetitions, 1):
        if one.raw:
            _read_parameter(found, one, f"QPD-3[{number}]")
    wanted = found.wanted
    if found.number:
        wanted = replace(wanted, numbers=((found.number, domain_of(found.domain, mapping).authority),))
    if wanted.is_empty:
        raise _RefusedError(ErrorLine("QPD-3", _MISSING, told("The query does not say who is sought.")))
    return wanted


def _read_parameter(found: _Parameters, one: Repetition, where: str) -> None:
    """One `@PID.5.1.1^SMITH`."""
    said = _PARAMETER.fullmatch(one.component(1).strip().upper())
    value = one.whole(2).strip()
    if said is None or len(value) > _VALUE_CHARS_MAX or "\x00" in value:
        raise _RefusedError(
            ErrorLine(where, _WRONG_DATA, told("A parameter is written @PID.5.1.1 and its value after a ^."))
        )
    segment, field, component, sub = said[1], int(said[2]), int(said[3] or 1), int(said[4] or 1)
    if not value.strip("*"):
        return
    if (segment, field) == ("PID", 3):
        if component == 1:
            found.number = value
        elif component == 4:
            # Namespace, universal ID and its type are parameters of their own, or stand in one.
            parts = [*value.split("&"), "", ""] if "&" in value else list(found.domain)
            if "&" not in value:
                parts[min(sub, 3) - 1] = value
            found.domain = (parts[0], parts[1], parts[2])
        return
    if (segment, field) == ("PID", 11):
        found.wanted = replace(found.wanted, address=value)
        return
    name = _ASKED.get((segment, field, component))
    if name is None:
        raise _RefusedError(
            ErrorLine(where, _WRONG_DATA, told("{parameter} cannot be asked for.", parameter=said[0][:20]))
        )
    if name == "birth_date":
        read = dicom_date(value) if len(value) >= 8 else value
        if not isinstance(read, str) or not read.isascii() or not read.isdigit():
            raise _RefusedError(ErrorLine(where, _WRONG_DATA, told("The date of birth is no date.")))
        value = read
    elif name == "sex":
        value = value.upper()
    said_now: dict[str, Any] = {name: value}
    found.wanted = replace(found.wanted, **said_now)


# --- PIX ---


async def _reference(connection: AsyncConnection[Any], message: Message, mapping: Mapping) -> OwnAnswer:
    kind = response_kind(message)
    try:
        asked = await _asked_identifier(connection, message, mapping)
        domains = await _domains(connection, message, 4, mapping)
        found = await cross_reference(connection, asked)
        if not found.is_known:
            raise _RefusedError(
                ErrorLine("QPD-3[1].1", _UNKNOWN_KEY, told("Nobody is known under this number in this domain."))
            )
    except _RefusedError as refused:
        return _refused(kind, message, refused.errors)
    wanted = {one.authority for one in domains}
    others = [
        one
        for one in found.identifiers
        if one.authority
        and (one.value, one.authority) != (asked.value, asked.authority)
        and (not wanted or one.authority in wanted)
    ]
    if not others:
        return OwnAnswer(kind, _head(message, "NF", counts=(0, 0)), words=_words(0))
    head = _head(message, "OK", counts=(1, 1))
    return OwnAnswer(kind, (*head, reference_segment(others, domains)), words=_words(1))


async def _asked_identifier(connection: AsyncConnection[Any], message: Message, mapping: Mapping) -> Identifier:
    field = _parameters(message).field(3)
    one = field.repetitions[0]
    value = one.component(1).strip()
    if not value or "\x00" in value:
        raise _RefusedError(ErrorLine("QPD-3", _MISSING, told("The query does not say whose numbers are sought.")))
    domain = domain_of((one.sub(4, 1), one.sub(4, 2), one.sub(4, 3)), mapping)
    if not domain.authority or not await _is_known(connection, domain, mapping):
        raise _RefusedError(ErrorLine("QPD-3[1].4", _UNKNOWN_KEY, told("This domain is not known.")))
    return Identifier(value, domain.authority)


# --- QRY ---


async def _old_query(connection: AsyncConnection[Any], message: Message, mapping: Mapping) -> OwnAnswer:
    kind = response_kind(message)
    definition = message.first("QRD")
    try:
        if definition is None:
            raise _RefusedError(ErrorLine("QRD", _MISSING, told("The query has no QRD segment.")))
        wanted = _who(definition, mapping)
        after = _place(message, definition.raw)
    except _RefusedError as refused:
        return _refused(kind, message, refused.errors)
    limit = _limit(definition.get("7.1"), definition.get("7.2"))
    found = await find_patients(connection, wanted, after=after, limit=limit + 1)
    shown, rest = found.patients[:limit], len(found.patients) > limit
    body: list[tuple[str, dict[int, Value]]] = [
        (name, fields)
        for number, one in enumerate(shown, 1)
        for name, fields in patient_segments(one, number, (), with_visit=True, is_candidate=False)
    ]
    if rest:
        body.append(("DSC", {1: _pointer(shown[-1].key, definition.raw), 2: "I"}))
    head = _head(message, "OK" if shown else "NF", counts=(found.total, len(shown)))
    return OwnAnswer(kind, (*head, *body), words=_words(len(shown)))


def _who(definition: Segment, mapping: Mapping) -> PatientWanted:
    """QRD-8: an XCN with number, name and authority; some write a name alone."""
    one = definition.field(8).repetitions[0]
    number, family, given = (one.component(place).strip()[:_VALUE_CHARS_MAX] for place in (1, 2, 3))
    domain = domain_of((one.sub(9, 1), one.sub(9, 2), one.sub(9, 3)), mapping)
    wanted = PatientWanted(((number, domain.authority),) if number else (), family, given)
    if wanted.is_empty or "\x00" in f"{number}{family}{given}":
        raise _RefusedError(ErrorLine("QRD-8", _MISSING, told("The query does not say who is sought.")))
    return wanted


# --- helpers ---


def _parameters(message: Message) -> Segment:
    found = message.first("QPD")
    if found is None:
        raise _RefusedError(ErrorLine("QPD", _MISSING, told("The query has no QPD segment.")))
    return found


async def _domains(
    connection: AsyncConnection[Any], message: Message, field: int, mapping: Mapping
) -> tuple[Domain, ...]:
    """Those whose numbers are wanted, all if none is named. Raises _RefusedError with a line for each that nobody knows."""
    asked = [
        (number, domain_of((one.sub(4, 1), one.sub(4, 2), one.sub(4, 3)), mapping))
        for number, one in enumerate(_parameters(message).field(field).repetitions[:PARAMETERS_MAX], 1)
        if one.raw
    ]
    wrong = [
        ErrorLine(f"QPD-{field}[{number}]", _UNKNOWN_KEY, told("This domain is not known."))
        for number, domain in asked
        if not await _is_known(connection, domain, mapping)
    ]
    if wrong:
        raise _RefusedError(*wrong)
    return tuple(domain for _, domain in asked)


async def _is_known(connection: AsyncConnection[Any], domain: Domain, mapping: Mapping) -> bool:
    """Whether the authority has assigned a number, or the feed's mapping speaks of it."""
    if not domain.authority:
        return False
    if domain.authority in mapping.authorities.values():
        return True
    if any(path.fixed == domain.authority for path in mapping.authority.get("patient", ())):
        return True
    return bool(await known_authorities(connection, [domain.authority]))


def _limit(quantity: str, unit: str) -> int:
    """RCP-2 or QRD-7: how many records are wanted in one answer; other units (lines, pages) are not records."""
    if unit.strip().upper() in ("", "RD") and quantity.strip().isascii() and quantity.strip().isdigit():
        return min(int(quantity.strip()[:6]), PAGE_MAX) or PAGE_DEFAULT
    return PAGE_DEFAULT


def _question(message: Message) -> bytes:
    """What must be the same in a continuation."""
    segment = message.first("QPD")
    return segment.raw if segment is not None else b""


def _pointer(key: int, question: bytes) -> str:
    return f"{key}-{hashlib.sha256(question).hexdigest()[:16]}"


def _place(message: Message, question: bytes) -> int:
    """The row to go on behind. Raises _RefusedError for a pointer that is none of this query's."""
    given = message.get("DSC-1").strip()
    if not given:
        return 0
    said = _POINTER.fullmatch(given)
    if said is None or _pointer(int(said[1]), question) != given:
        raise _RefusedError(
            ErrorLine("DSC-1", _UNKNOWN_KEY, told("This continuation pointer belongs to no such query. Ask anew."))
        )
    return int(said[1])


def _head(message: Message, status: str, *, counts: tuple[int, int] | None = None) -> Body:
    """QAK and the question again: QPD, or QRD and QRF."""
    definition = message.first("QPD")
    old = message.first("QRD")
    tag: Value = ""
    name: Value = ""
    if definition is not None:
        name, tag = field_value(definition.field(1)), field_value(definition.field(2))
    elif old is not None:
        tag = field_value(old.field(4))
    fields: dict[int, Value] = {1: tag, 2: status, 3: name}
    if counts is not None:
        total, here = counts
        fields |= {4: str(total), 5: str(here), 6: str(max(total - here, 0))}
    echoed = [one for one in (definition, old, message.first("QRF") if old is not None else None) if one is not None]
    return (("QAK", fields), *((one.name, _all_fields(one)) for one in echoed))


def _all_fields(segment: Segment) -> dict[int, Value]:
    return {number: field_value(segment.field(number)) for number in range(1, segment.field_count + 1)}


def _refused(kind: str, message: Message, errors: tuple[ErrorLine, ...]) -> OwnAnswer:
    words = f"answered the query with AE: {'; '.join(dict.fromkeys(str(one.words) for one in errors))}"
    return OwnAnswer(kind, _head(message, "AE"), "AE", errors, words)


def _words(count: int) -> str:
    return f"answered the query; found: {count}"
