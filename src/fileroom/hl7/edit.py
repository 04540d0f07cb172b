"""Another value in a message, every other byte as it was: what stands around the place is copied, not written anew.

Separators are looked for in a mask: the bytes of the message, with those that are inside a character of several bytes made
unlike any separator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fileroom.core.errors import Hl7Error, told
from fileroom.hl7.charsets import Charset
from fileroom.hl7.escapes import escape
from fileroom.hl7.path import Path
from fileroom.hl7.scan import LINE_ENDS, find_header, segment_spans
from fileroom.hl7.separators import Separators

_HEADERS: Final = (b"MSH", b"FHS", b"BHS")


def replace_value(raw: bytes, separators: Separators, charset: Charset, path: Path, text: str) -> bytes:
    """The message with `text`, escaped, at `path`.

    Raises Hl7Error for places that cannot be and texts that cannot be written.
    """
    if not path.field:
        raise Hl7Error(told("{path} is a whole segment; name a field, like {path}-3", path=path))
    _, start, codec = find_header(raw)
    if codec:
        return _replace_in_unicode(raw, separators, path, text, codec)
    value = _encoded(text, separators, charset)
    mask = _mask(raw, charset)
    begin, end, before = _segment(mask, start, separators, path)
    if path.segment.encode("ascii") in _HEADERS and path.field <= 2:
        raise Hl7Error(told("{path} says how all the rest is written; it cannot be changed alone", path=path))
    place = path.field - 1 if mask[begin : begin + 3] in _HEADERS else path.field
    steps = [(separators.field, place), (separators.repetition, path.repetition - 1)]
    if path.component:
        steps += [(separators.component, path.component - 1)]
    if path.sub:
        steps += [(separators.subcomponent, path.sub - 1)]
    for sign, index in steps:
        if index and not sign:
            raise Hl7Error(told("{path} cannot be written: the message's MSH-2 has no separator for it", path=path))
        begin, end, missing = _piece(mask, begin, end, sign, index)
        before += missing
    return raw[:begin] + before + value + raw[end:]


def _piece(mask: bytes, begin: int, end: int, sign: bytes, index: int) -> tuple[int, int, bytes]:
    """The index-th piece between separators, and the separators that are missing before it."""
    for passed in range(index):
        found = mask.find(sign, begin, end)
        if found < 0:
            return end, end, sign * (index - passed)
        begin = found + 1
    found = mask.find(sign, begin, end) if sign else -1
    return begin, found if found >= 0 else end, b""


def _segment(mask: bytes, start: int, separators: Separators, path: Path) -> tuple[int, int, bytes]:
    """Begin and end of the segment; where it is made, how it begins."""
    name = path.segment.encode("ascii")
    spans = segment_spans(mask, start, separators.field)
    found = [span for span in spans if mask[span[0] : span[0] + 3].upper() == name]
    if path.occurrence <= len(found):
        return *found[path.occurrence - 1], b""
    if path.occurrence > len(found) + 1:
        raise Hl7Error(
            told("there is no {path}: the message has {count} segments of that name", path=path, count=len(found))
        )
    last = spans[-1][1]
    tail = mask[last:]
    line_end = tail[: len(tail) - len(tail.lstrip(LINE_ENDS))][:2] or b"\r"
    if line_end != b"\r\n":
        line_end = line_end[:1]
    return last, last, line_end + name


def _encoded(text: str, separators: Separators, charset: Charset) -> bytes:
    try:
        return charset.encode(escape(text, separators))
    except UnicodeEncodeError as error:
        raise Hl7Error(
            told(
                "the message is written in {charset}, which has no {letter}; write it differently, or change MSH-18 first",
                charset=charset.said or charset.codec,
                letter=repr(text[error.start : error.start + 1] or "?"),
            )
        ) from error


def _replace_in_unicode(raw: bytes, separators: Separators, path: Path, text: str, codec: str) -> bytes:
    """UTF-16 and UTF-32, whose every character is a character."""
    blank = len(raw) - len(raw.lstrip(LINE_ENDS))
    body = raw[blank:]
    if codec in _MARKS:  # Python's codec would write the mark and the byte order of this machine
        codec = next(exact for mark, exact in _MARKS[codec] if body.startswith(mark))
    try:
        work = body.decode(codec, "surrogatepass").encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Hl7Error(
            told(
                "the message is damaged: not all of it is {codec}, so that no single value can be changed", codec=codec
            )
        ) from error
    edited = replace_value(work, separators, Charset("", "utf-8"), path, text)
    return raw[:blank] + edited.decode("utf-8", "surrogatepass").encode(codec, "surrogatepass")


_MARKS: Final[Mapping[str, tuple[tuple[bytes, str], ...]]] = {
    "utf-16": ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")),
    "utf-32": ((b"\xff\xfe\x00\x00", "utf-32-le"), (b"\x00\x00\xfe\xff", "utf-32-be")),
}


# --- the mask ---


_CHARACTERS: Final[Mapping[str, re.Pattern[bytes]]] = {
    "shift_jis": re.compile(rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"),
    "gbk": re.compile(rb"[\x81-\xfe][\x40-\x7e\x80-\xfe]"),
    "gb18030": re.compile(rb"[\x81-\xfe](?:[\x40-\x7e\x80-\xfe]|[0-9][\x81-\xfe][0-9])"),
    "big5": re.compile(rb"[\x81-\xfe][\x40-\x7e\xa1-\xfe]"),
}
_SHIFTED: Final = re.compile(rb"\x1b\$[^\x1b\r\n]*(?:\x1b\([A-Z@-_])?")
"""ISO 2022 characters of two bytes: from their escape sequence to the next, at most to the end of the line."""


def _mask(raw: bytes, charset: Charset) -> bytes:
    characters = _CHARACTERS.get(charset.codec)
    if characters is not None:
        raw = characters.sub(_blank_out, raw)
    if b"\x1b$" in raw:
        raw = _SHIFTED.sub(_blank_out, raw)
    return raw


def _blank_out(found: re.Match[bytes]) -> bytes:
    return b"\xff" * len(found.group())
