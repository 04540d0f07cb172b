"""Where a message begins in what came, and where its segments do."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Final

from fileroom.core.errors import Hl7Error, told

SEGMENTS_MAX: Final = 50_000
"""Of one message. A report with every line in an OBX has some thousand."""
BLANK: Final = b" \t\r\n\x00\x0b\x1c"
"""What may stand around a message."""
LINE_ENDS: Final = b"\r\n"
_JUNK_BYTES_MAX: Final = 4096
"""How far a header is looked for behind something else."""
_TEXT_SHOWN_MAX: Final = 40


def find_header(raw: bytes) -> tuple[bytes, int, str]:
    """The bytes to be read, where MSH stands in them, and the codec of a message in UTF-16 or UTF-32."""
    if raw[:3] == b"MSH":
        return raw, 0, ""
    for mark, codec in _UNICODE_STARTS:
        if raw.lstrip(b"\r\n")[: len(mark)] == mark:
            text = raw.lstrip(b"\r\n").decode(codec, "replace").lstrip("\ufeff")
            work = text.encode("utf-8", "replace")
            return work, _header_place(work), codec
    return raw, _header_place(raw), ""


_UNICODE_STARTS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"M\x00\x00\x00S\x00", "utf-32-le"),
    (b"\x00\x00\x00M\x00\x00", "utf-32-be"),
    (b"M\x00S\x00H\x00", "utf-16-le"),
    (b"\x00M\x00S\x00H", "utf-16-be"),
)
_HEADER: Final = re.compile(rb"(?:\A|[\r\n\x0b]|\xef\xbb\xbf)[ \t\x00]{0,64}(MSH)[^A-Za-z0-9 \t\r\n]")


def _header_place(raw: bytes) -> int:
    blank = len(raw) - len(raw.lstrip(BLANK))
    found = _HEADER.search(raw, max(0, blank - 1), blank + _JUNK_BYTES_MAX)
    if found is not None:
        return found.start(1)
    rest = raw[blank : blank + 3]
    if rest == b"MSH":
        return blank  # the separators will tell what is wrong
    if rest in (b"FHS", b"BHS"):
        raise Hl7Error(told("this is a batch and not one message; its messages are read one by one"))
    shown = raw[blank : blank + _TEXT_SHOWN_MAX].decode("latin-1")
    raise Hl7Error(
        told(
            "this is no HL7 message: it begins with {shown} and not with MSH; see whether the sender sends something else "
            "to this port",
            shown=repr(shown) if shown else "nothing",
        )
    )


@lru_cache(maxsize=64)
def _starts_pattern(field: bytes) -> re.Pattern[bytes]:
    """A line end before a segment's name. Lines that begin otherwise go on with the text before them."""
    sign = re.escape(field)
    return re.compile(rb"[\r\n](?=[A-Z][A-Z0-9]{2}(?:" + sign + rb"|[\r\n]|\Z)|[A-Za-z][A-Za-z0-9]{2}" + sign + rb")")


def segment_spans(work: bytes, start: int, field: bytes) -> list[tuple[int, int]]:
    """Begin and end of each segment from the header at `start` on, line ends left out, one more than are read."""
    if b"\n" not in work and work.count(b"\r") <= SEGMENTS_MAX:
        return _spans_by_lines(work, start, field)
    starts = [start]
    starts += (found.start() + 1 for found in islice(_starts_pattern(field).finditer(work, start), SEGMENTS_MAX))
    spans = []
    for begin, end in zip(starts, [*starts[1:], len(work)], strict=True):
        while end > begin and work[end - 1] in LINE_ENDS:
            end -= 1
        spans.append((begin, end))
    return spans


def _spans_by_lines(work: bytes, start: int, field: bytes) -> list[tuple[int, int]]:
    """The same, for messages whose lines end as they should; a line at a time is several times faster."""
    spans: list[tuple[int, int]] = []
    begin = start
    for line in work[start:].split(b"\r"):
        end = begin + len(line)
        if begin == start or _is_segment(line, field):
            spans.append((begin, end))
        elif line:
            spans[-1] = (spans[-1][0], end)  # text that goes on
        begin = end + 1
    return spans


def _is_segment(line: bytes, field: bytes) -> bool:
    name = line[:3]
    if not (name.isalnum() and name[:1].isalpha()):
        return False
    return line[3:4] == field or (len(line) == 3 and name.isupper())
