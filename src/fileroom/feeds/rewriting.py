"""What a receiver needs otherwise than it was written: lines of a feed out that change a message as it leaves.

    MSH-5 = RIS2              this value there
    PV1-2: I = INPATIENT      that value instead of I; * stands for any other one
    PID-4 = $PID-3.1          what stands at another place
    drop ZPI                  without these segments

Lines are carried out one after another. Of segments that come several times the first is meant, where the path does not name
another (OBX(2)-5); `drop` means all of them. A place that is not there yet is made, but a line for a segment that is not there
does nothing. The message in the outbox stays as it was, so that a mended line is used when it is sent again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import Hl7Error, InvalidRequestError, told
from fileroom.hl7.message import Message, parse_message
from fileroom.hl7.path import read_path
from fileroom.hl7.scan import find_header

LINES_MAX: Final = 200
LINE_CHARS_MAX: Final = 400
ANY: Final = "*"
_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_LINE_END: Final = re.compile(rb"[\r\n]+")
_LINE: Final = re.compile(r"(?P<place>[A-Z][A-Z0-9]{2}[^:=\s]*)\s*(?::\s*(?P<old>[^=]+?)\s*)?=\s*(?P<new>.*)")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One line. `drop`: the segment to leave out; else `new` (or what stands at `source`) goes to `place`, where that says
    `old` (None: whatever it says)."""

    place: str = ""
    new: str = ""
    source: str = ""
    old: str | None = None
    drop: str = ""


def read_rewrites(lines: Sequence[str]) -> tuple[Rewrite, ...]:
    """The lines as they are carried out. Raises InvalidRequestError with the line that cannot be."""
    return tuple(_read(line.strip()) for line in lines if line.strip())


def rewritten(raw: bytes, lines: Sequence[str]) -> bytes:
    """The message as this receiver needs it. Raises Hl7Error, with the line, for what cannot be written."""
    if not lines:
        return raw
    message, begun = parse_message(raw), set[str]()
    for line, one in zip([line for line in lines if line.strip()], read_rewrites(lines), strict=True):
        try:
            message = _carried_out(message, one, begun)
        except Hl7Error as error:
            raise Hl7Error(
                told("The line {line} cannot be carried out: {reason}", line=line, reason=str(error))
            ) from error
    return message.raw


def _read(line: str) -> Rewrite:
    verb, _, segment = line.partition(" ")
    if verb == "drop" and _SEGMENT.fullmatch(segment.strip()) and segment.strip() != "MSH":
        return Rewrite(drop=segment.strip())
    found = _LINE.fullmatch(line)
    try:
        if found is None:
            raise Hl7Error(told("it is none of the four forms"))
        path = read_path(found["place"])
        if not path.field:
            raise Hl7Error(told("it names no field"))
        if path.segment == "MSH" and path.field <= 2:
            raise Hl7Error(told("MSH-1 and MSH-2 say how all the rest is written"))
        new = found["new"].strip()
        source = new[1:] if new.startswith("$") else ""
        if source:
            read_path(source)
        return Rewrite(found["place"], "" if source else new, source, found["old"])
    except Hl7Error as error:
        raise InvalidRequestError(
            told(
                "The line {line} is no change of a message ({reason}). Write MSH-5 = RIS2, PV1-2: I = INPATIENT, "
                "PID-4 = $PID-3.1 or drop ZPI.",
                line=line[:LINE_CHARS_MAX],
                reason=str(error),
            )
        ) from error


def _carried_out(message: Message, one: Rewrite, begun: set[str]) -> Message:
    """`begun`: places whose table has found its value: the lines of one table are alternatives."""
    if one.drop:
        return _without(message, one.drop)
    if message.first(one.place[:3]) is None:
        return message
    if one.old is not None:
        said = message.get(one.place)
        if one.place in begun or not (said == one.old or (one.old == ANY and said)):
            return message
        begun.add(one.place)
    return message.with_value(one.place, message.get(one.source) if one.source else one.new)


def _without(message: Message, segment: str) -> Message:
    if message.first(segment) is None:
        return message
    if find_header(message.raw)[2]:
        raise Hl7Error(told("segments cannot be left out of a message in UTF-16 or UTF-32"))
    name = segment.encode("ascii")
    kept = [part for part in _LINE_END.split(message.raw) if part and part[:3] != name]
    return parse_message(b"\r".join(kept) + b"\r", assumed_charset=message.charset)
