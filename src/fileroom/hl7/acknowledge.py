"""Acknowledgements (HL7 v2.5.1 2.9, 2.14): what is answered, and whether it is wanted, in original and enhanced mode.

The answer is written as the message was: its separators, character set and version, sender and receiver changed over. ERR
has the form of that version: one field before 2.5, location, code, severity and text from then on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fileroom.core.errors import Hl7Error, told
from fileroom.hl7.build import MessageBuilder, Part, Value, field_value
from fileroom.hl7.charsets import Charset
from fileroom.hl7.message import Message, Segment, parse_message
from fileroom.hl7.path import read_path
from fileroom.hl7.separators import USUAL

_ENHANCED: Final[Mapping[str, str]] = {"AA": "CA", "AE": "CE", "AR": "CR"}
_MESSAGE_TEXT_CHARS_MAX: Final = 80
"""MSA-3 in v2.1 to v2.6."""
_ERROR_TEXT_CHARS_MAX: Final = 250
"""ERR-8."""
_ERRORS_MAX: Final = 20
"""ERR segments of one answer. Who has more errors than that has one, somewhere else."""

INTERNAL: Final = "207"
_ERROR_NAMES: Final[Mapping[str, str]] = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""HL7 table 0357."""

_RESPONSES: Final[Mapping[str, str]] = {
    "ORM^O01": "ORR^O02^ORR_O02",
    "OMG^O19": "ORG^O20^ORG_O20",
    "OMI^O23": "ORI^O24^ORI_O24",
    "QBP^Q22": "RSP^K22^RSP_K21",
    "QBP^ZV1": "RSP^ZV2^RSP_ZV2",
    "QBP^Q23": "RSP^K23^RSP_K23",
    "QRY^A19": "ADR^A19^ADR_A19",
}
"""Messages that have an answer of their own (v2.5.1 ch. 3, 4; IHE ITI-22). Most places acknowledge orders by a plain ACK."""


class ErrorLine(NamedTuple):
    """One ERR: a path like PID-3.1 or "", a code of table 0357, and what it is in words."""

    location: str
    code: str
    words: str


def acknowledge(
    message: Message | bytes,
    code: str,
    *,
    now: dt.datetime,
    control_id: str,
    reason: str = "",
    errors: Sequence[tuple[str, str, str]] = (),
    enhanced: bool = False,
    kind: str = "",
    body: Sequence[tuple[str, Mapping[int, Value]]] = (),
) -> bytes:
    """The answer to a message, or to bytes that are none.

    `code`: AA taken and committed, AE in error, AR not taken; with `enhanced` it becomes CA, CE or CR. `errors`: see
    `ErrorLine`. `kind` and `body`: MSH-9 and what follows MSA and ERR, where the message has an answer of its own
    (`response_kind`).
    """
    found = _as_message(message)
    version = found.version if found is not None else "2.5"
    separators = found.separators if found is not None else USUAL
    written = _ENHANCED.get(code, code) if enhanced else code
    lines = [ErrorLine(*error) for error in errors[:_ERRORS_MAX]]
    if not lines and code != "AA":
        lines = [ErrorLine("", INTERNAL, reason)]
    charset = found.encoding if found is not None else Charset("", "ascii")
    builder = MessageBuilder(version=version, charset=charset, separators=separators, replaces=True)
    _write_header(builder, found, now, control_id, kind)
    _write_answer(builder, found, written, reason, lines, number_of(version))
    for name, fields in body:
        builder.segment(name, fields)
    return builder.build()


def response_kind(message: Message) -> str:
    """MSH-9 of the answer of its own that an order or a query has; "" without one."""
    kind = _RESPONSES.get(message.kind, "")
    return kind if number_of(message.version) >= (2, 3, 1) else kind.rpartition("^")[0]


def is_enhanced(message: Message) -> bool:
    """MSH-15 or MSH-16 say which answers are wanted."""
    return bool(message.get("MSH-15") or message.get("MSH-16"))


def wants_accept(message: Message, *, is_good: bool) -> bool:
    """Whether an accept acknowledgement (CA, CE, CR) is wanted for it; always an answer in original mode."""
    return _wants(message.get("MSH-15"), is_good=is_good) if is_enhanced(message) else True


def wants_application(message: Message, *, is_good: bool) -> bool:
    """Whether an application acknowledgement (AA, AE, AR) is wanted for it."""
    return _wants(message.get("MSH-16"), is_good=is_good) if is_enhanced(message) else True


def wants_later_answer(message: Message) -> bool:
    """Whether an application acknowledgement follows the accept acknowledgement of a message that is accepted.

    With SU or ER nobody knows before whether one comes: then the accept acknowledgement is all there is to wait for.
    """
    return is_enhanced(message) and message.get("MSH-16").strip().upper() == "AL"


def number_of(version: str) -> tuple[int, ...]:
    """2.5.1 as (2, 5, 1), to compare; what is no version is the oldest."""
    parts = version.strip().split(".")[:4]
    return tuple(int(part) for part in parts) if all(part.isascii() and part.isdigit() for part in parts) else (2, 1)


def _wants(condition: str, *, is_good: bool) -> bool:
    match condition.strip().upper():
        case "AL":
            return True
        case "ER":
            return not is_good
        case "SU":
            return is_good
    return False


def _as_message(message: Message | bytes) -> Message | None:
    if isinstance(message, Message):
        return message
    try:
        return parse_message(message)
    except Hl7Error:
        return None


def _write_header(
    builder: MessageBuilder, message: Message | None, now: dt.datetime, control_id: str, kind: str
) -> None:
    header = message.first("MSH") if message is not None else None
    if message is None or header is None:
        builder.header("ACK", control_id=control_id, now=now)
        return

    def given(number: int) -> Value:
        return field_value(header.field(number))

    builder.header(
        kind or _kind(message),
        control_id=control_id,
        now=now,
        sender=(given(5), given(6)),
        receiver=(given(3), given(4)),
        processing=given(11),
        more={12: given(12)},
    )


def _kind(message: Message) -> str:
    """MSH-9: the event since 2.2, the structure since 2.3.1."""
    event, version = message.get("MSH-9.2"), number_of(message.version)
    if not event or version < (2, 2):
        return "ACK"
    return f"ACK^{event}^ACK" if version >= (2, 3, 1) else f"ACK^{event}"


def _write_answer(
    builder: MessageBuilder,
    message: Message | None,
    code: str,
    reason: str,
    errors: Sequence[ErrorLine],
    version: tuple[int, ...],
) -> None:
    acknowledged: dict[int, Value] = {1: code, 2: message.control_id if message is not None else ""}
    if version < (2, 7):
        acknowledged[3] = reason[:_MESSAGE_TEXT_CHARS_MAX]
    builder.segment("MSA", acknowledged)
    if version < (2, 5):
        if errors:
            builder.segment("ERR", {1: [_location_and_code(error) for error in errors]})
        return
    for error in errors:
        builder.segment(
            "ERR",
            {2: _location(error.location), 3: _code(error.code), 4: "E", 8: error.words[:_ERROR_TEXT_CHARS_MAX]},
        )


def _location(path: str) -> tuple[Part, ...]:
    """ERL: segment, which one, field, repetition, component, subcomponent."""
    if not path:
        return ()
    where = read_path(path)
    place: tuple[Part, ...] = (where.segment, str(where.occurrence))
    if where.field:
        place += (str(where.field), str(where.repetition))
    return place + tuple(str(part) for part in (where.component, where.sub) if part)


def _code(code: str) -> tuple[Part, ...]:
    return (code, _ERROR_NAMES.get(code, ""), "HL70357")


def _location_and_code(error: ErrorLine) -> tuple[Part | tuple[Part, ...], ...]:
    """ELD: segment, which one, field, code."""
    where = read_path(error.location) if error.location else None
    if where is None:
        return ("", "", "", _code(error.code))
    return (where.segment, str(where.occurrence), str(where.field or ""), _code(error.code))


# --- the other way: answers to us ---


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver says to a message of ours. `code`: AA, AE, AR, CA, CE or CR; `reason`: its words."""

    raw: bytes
    code: str
    control_id: str
    reason: str

    @property
    def is_good(self) -> bool:
        """It has taken the message."""
        return self.code in ("AA", "CA")


def read_answer(raw: bytes) -> Answer:
    """An acknowledgement. Raises Hl7Error where there is no MSA."""
    message = parse_message(raw)
    said = message.first("MSA")
    if said is None:
        raise Hl7Error(told("a message of type {kind} came, and no acknowledgement (MSA)", kind=message.kind or "?"))
    words = [said.field(3).text] if said.field(3).is_present else []
    for error in message.all("ERR")[:_ERRORS_MAX]:
        words.append(error.field(8).text or error.get("3.2") or error.get("3.1") or _old_error(error))
    reason = "; ".join(dict.fromkeys(word for word in words if word))
    return Answer(raw, said.field(1).text.strip().upper(), said.field(2).text.strip(), reason)


def _old_error(error: Segment) -> str:
    """ERR-1 before 2.5: where, and a code with its text."""
    where = error.get("1.1") and f"{error.get('1.1')}-{error.get('1.3')}: "
    return where + (error.get("1.4.2") or error.get("1.4"))
