"""Several messages in one: batches (FHS, BHS, messages, BTS, FTS; HL7 v2.5.1 2.10.3), and senders who put two messages in one
frame."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from fileroom.core.errors import Hl7Error, told
from fileroom.hl7.build import MessageBuilder, Value, field_value
from fileroom.hl7.segment import Segment, segment_of

BATCH_MESSAGES_MAX: Final = 20_000
"""In one frame. A night's batch of a large hospital has some thousand."""
_MARK: Final = rb"[ \t\x00]{0,8}(MSH|FHS|BHS|BTS|FTS)(?=[!-/:-@\[-`{-~]|[\r\n]|\Z)"
_FIRST_MARK: Final = re.compile(_MARK)
_MARKS: Final = re.compile(rb"[\r\n]" + _MARK)
"""That it begins with a line end makes it many times faster in a long field."""
_BLANK: Final = b" \t\r\n\x00\x0b\x1c"


@dataclass(frozen=True, slots=True)
class Batch:
    """What came in one frame. `file` and `header`: FHS and BHS where there are any; `warnings`: sentences."""

    messages: tuple[bytes, ...]
    file: Segment | None = None
    header: Segment | None = None
    warnings: tuple[str, ...] = ()

    @property
    def is_batch(self) -> bool:
        """Its sender calls it a batch."""
        return self.file is not None or self.header is not None


def split_messages(raw: bytes) -> Batch:
    """The messages in these bytes, byte for byte. Bytes without MSH are one message, which cannot be read."""
    marks = []
    first = _FIRST_MARK.match(raw)
    for found in chain((first,) if first is not None else (), _MARKS.finditer(raw)):
        marks.append((found.start(1), found.group(1)))
        if len(marks) > BATCH_MESSAGES_MAX:
            words = told("it has more than {number} messages; they were not parted", number=BATCH_MESSAGES_MAX)
            return Batch((raw,), warnings=(words,))
    if len([name for _, name in marks if name == b"MSH"]) <= 1 and {name for _, name in marks} <= {b"MSH"}:
        return Batch((raw,))
    ends = [*(place for place, _ in marks[1:]), len(raw)]
    parts = [(name, raw[place:end]) for (place, name), end in zip(marks, ends, strict=True)]
    before = raw[: marks[0][0]]
    messages = [part for name, part in parts if name == b"MSH"]
    if before.strip(_BLANK):
        messages.insert(0, before)
    return Batch(
        tuple(messages), _header(parts, b"FHS"), _header(parts, b"BHS"), tuple(_warnings(parts, len(messages)))
    )


def join_answers(batch: Batch, answers: Sequence[bytes], *, now: dt.datetime, control_id: str) -> bytes:
    """The answers to a batch, as a batch: sender and receiver changed over, its control ID as reference."""
    pieces = list(answers)
    for header, end, count in ((batch.header, "BTS", len(answers)), (batch.file, "FTS", 1)):
        if header is not None:
            pieces.insert(0, _answer_header(header, now, control_id))
            pieces.append(MessageBuilder().segment(end, {1: str(count)}).build())
    return b"".join(pieces)


def _header(parts: Sequence[tuple[bytes, bytes]], wanted: bytes) -> Segment | None:
    for name, part in parts:
        if name == wanted:
            try:
                return segment_of(part)
            except Hl7Error:
                return None
    return None


def _warnings(parts: Sequence[tuple[bytes, bytes]], count: int) -> list[str]:
    names = [name for name, _ in parts]
    warnings: list[str] = []
    if set(names) == {b"MSH"}:
        warnings.append(told("{number} messages came in one frame; each was taken", number=count))
    if (b"BHS" in names) != (b"BTS" in names) or (b"FHS" in names) != (b"FTS" in names):
        warnings.append(told("the batch has a header or a trailer without the other; it may not be complete"))
    said = sum(_count(part) for name, part in parts if name == b"BTS")
    if said and said != count:
        warnings.append(told("the batch says that it has {said} messages, and it has {count}", said=said, count=count))
    return warnings


def _count(trailer: bytes) -> int:
    found = re.match(rb"BTS.([0-9]{1,9})", trailer)
    return int(found.group(1)) if found is not None else 0


def _answer_header(header: Segment, now: dt.datetime, control_id: str) -> bytes:
    fields: dict[int, Value] = {
        new: field_value(header.field(old)) for new, old in ((3, 5), (4, 6), (5, 3), (6, 4), (12, 11))
    }
    fields |= {7: now.strftime("%Y%m%d%H%M%S"), 11: control_id}
    return MessageBuilder(separators=header.separators).segment(header.name, fields).build()
