"""Frames around messages on a connection (HL7 Minimal Lower Layer Protocol, release 1 and 2, block format).

A frame is 0BH, the message, 1CH 0DH. Senders forget parts of it, and none of that may hold up or lose a message: a new
start before the end closes what was open as an error with its bytes, bytes outside of frames are an error with their
bytes, a message that only lacks its start is taken, and an end block without its 0DH is told by `Deframer.has_end_mark`, so
that the connection need not wait for it.

0BH is also the line end that word processors leave in reports. So it begins a frame only before MSH, FHS or BHS.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import told

START: Final = b"\x0b"
END: Final = b"\x1c\r"
HEAD_BYTES_KEPT: Final = 64 * 1024
"""Of a message that is too large, so that people see which it was and the answer can name it."""
_HEADERS: Final = (b"MSH", b"FHS", b"BHS")
_NEXT_START: Final = re.compile(rb"\x0b[\r\n ]{0,8}(?:MSH|FHS|BHS)")
_LOOKAHEAD_BYTES: Final = 1 + 8 + 3
_BLANK: Final = b"\r\n\t \x00"
_LEADING_BLANK: Final = re.compile(rb"[\r\n\t \x00]+")


@dataclass(frozen=True, slots=True)
class Frame:
    """A complete frame; `raw` is what stood between start and end."""

    raw: bytes


class FrameFault(enum.StrEnum):
    """What may be wrong with a frame."""

    NO_START = "no_start"
    NO_END = "no_end"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class FrameError:
    """Bytes that are no frame. `raw`: what came, of large ones the beginning; `size`: how many bytes there were."""

    fault: FrameFault
    raw: bytes
    size: int
    reason: str


def frame(raw: bytes) -> bytes:
    """A message in its frame."""
    return START + raw + END


class Deframer:
    """Takes bytes as they come and gives frames. One for a connection."""

    def __init__(self, bytes_max: int) -> None:
        """`bytes_max`: of one message; more is left out up to its end."""
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._looked_to = 0
        self._is_inside = False
        self._dropped = 0

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return len(self._buffer)

    @property
    def is_inside(self) -> bool:
        """A frame, or something that is none, has begun and not ended."""
        return self._is_inside or bool(self._buffer)

    @property
    def has_end_mark(self) -> bool:
        """All that came ends with 1CH: if nothing follows soon, `finish` the frame."""
        return self._is_inside and self._buffer.endswith((b"\x1c", b"\x1c\n"))

    def receive(self, data: bytes | bytearray | memoryview) -> list[Frame | FrameError]:
        """What is complete with these bytes, in order."""
        self._buffer += data
        found: list[Frame | FrameError] = []
        while self._buffer:
            step = self._inside() if self._is_inside else self._outside()
            if step is None:
                break
            found += step
        return found

    def finish(self) -> list[Frame | FrameError]:
        """Nothing more comes for now: a frame that only lacks its last 0DH is complete, anything else is an error."""
        if self.has_end_mark:
            raw = bytes(self._buffer.rstrip(b"\n")[:-1])
            self._buffer.clear()
            return self._ended(raw)
        rest = bytes(self._buffer)
        self._buffer.clear()
        if self._is_inside:
            return self._ended(rest, FrameFault.NO_END)
        return _junk(rest)

    # --- states ---

    def _outside(self) -> list[Frame | FrameError] | None:
        """Before a frame. None: more bytes are needed."""
        buffer = self._buffer
        if blank := _LEADING_BLANK.match(buffer):
            del buffer[: blank.end()]
            self._looked_to = max(0, self._looked_to - blank.end())
        if buffer.startswith(_HEADERS):
            self._is_inside, self._looked_to = True, 0  # only 0BH is missing, and that can be done without
            return []
        start = buffer.find(START, self._looked_to, HEAD_BYTES_KEPT + 1)
        end = buffer.find(END, max(0, self._looked_to - 1), HEAD_BYTES_KEPT + 1)
        if end >= 0 and not 0 <= start < end:
            return self._take_junk(end, end + len(END))
        if start >= 0:
            self._is_inside = True
            return self._take_junk(start, start + 1)
        if len(buffer) > HEAD_BYTES_KEPT:
            return self._take_junk(HEAD_BYTES_KEPT, HEAD_BYTES_KEPT)
        self._looked_to = len(buffer)
        return None  # `finish` tells it, when nothing more comes

    def _take_junk(self, end: int, upto: int) -> list[Frame | FrameError]:
        before = bytes(self._buffer[:end])
        del self._buffer[:upto]
        self._looked_to = 0
        return _junk(before)

    def _inside(self) -> list[Frame | FrameError] | None:
        while not self._looked_to and self._buffer.startswith(START):
            del self._buffer[:1]  # the start twice
        end = self._buffer.find(END, max(0, self._looked_to - 1))
        again = self._next_start(end if end >= 0 else len(self._buffer))
        if again >= 0:
            raw = bytes(self._buffer[:again])
            del self._buffer[:again]
            stripped = raw.rstrip(b"\r\n")
            if stripped.endswith(b"\x1c"):
                return self._ended(stripped[:-1])
            return self._ended(raw, FrameFault.NO_END)
        if end >= 0:
            raw = bytes(self._buffer[:end])
            del self._buffer[: end + len(END)]
            return self._ended(raw)
        self._looked_to = max(0, len(self._buffer) - _LOOKAHEAD_BYTES)
        if self._dropped or len(self._buffer) > self._bytes_max:
            self._drop()
        return None

    def _next_start(self, end: int) -> int:
        found = _NEXT_START.search(self._buffer, self._looked_to, end)
        return found.start() if found is not None else -1

    def _drop(self) -> None:
        """Keep the beginning and enough of the end to see the end block or the next start come."""
        keep = HEAD_BYTES_KEPT + _LOOKAHEAD_BYTES
        if len(self._buffer) > 2 * keep:
            cut = len(self._buffer) - _LOOKAHEAD_BYTES - HEAD_BYTES_KEPT
            del self._buffer[HEAD_BYTES_KEPT : HEAD_BYTES_KEPT + cut]
            self._dropped += cut
            self._looked_to = HEAD_BYTES_KEPT + 1  # what is joined here never stood together

    def _ended(self, raw: bytes, fault: FrameFault | None = None) -> list[Frame | FrameError]:
        size = len(raw) + self._dropped
        self._is_inside, self._looked_to, self._dropped = False, 0, 0
        if size > self._bytes_max:
            reason = told(
                "a message of {size} bytes came, and {limit} are taken; raise the limit, or let the sender send a reference",
                size=size,
                limit=self._bytes_max,
            )
            return [FrameError(FrameFault.TOO_LARGE, raw[:HEAD_BYTES_KEPT], size, reason)]
        if fault is None:
            return [Frame(raw)]
        if not raw.strip(_BLANK):
            return []
        reason = told(
            "a message came without its end block (1CH 0DH); the sender must send it, or the connection was cut"
        )
        return [FrameError(fault, raw, size, reason)]


def _junk(raw: bytes) -> list[Frame | FrameError]:
    if not raw.strip(_BLANK + b"\x1c"):
        return []
    reason = told("{size} bytes came outside of a frame; the sender must begin each message with 0BH", size=len(raw))
    return [FrameError(FrameFault.NO_START, raw[:HEAD_BYTES_KEPT], len(raw), reason)]
