"""Multipart bodies, written and read piece by piece (RFC 2046 5.1, RFC 2387 multipart/related, RFC 7578 form-data).

Writing: `MultipartWriter` makes the few bytes around each part; the caller streams the part's body between them.

    head = writer.part_head("application/dicom", ...)   body ...   PART_TAIL   head   body ...   PART_TAIL   writer.tail

Reading: `MultipartParser.feed(chunk)` returns events. A part's body is not gathered: it is handed out as views of the
chunks that came in, so a large part costs a search for the boundary in each chunk and no copy.

Lines that end with LF alone, padding after the boundary, a preamble and an epilogue are tolerated. What cannot be
understood raises InvalidRequestError, what is past a limit TooLargeError; after either the parser is of no more use.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.limits import (
    MULTIPART_BOUNDARY_CHARS_MAX,
    MULTIPART_HEADER_BYTES_MAX,
    MULTIPART_PARTS_MAX,
    MULTIPART_PREAMBLE_BYTES_MAX,
)
from fileroom.dicomweb.media_types import MediaType

PART_TAIL: Final = b"\r\n"
"""Stands after each part's body."""


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins. `headers` are in their order; names in lower case, values without folds."""

    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part's body: a view of the chunk that was fed, good until that chunk is changed."""

    data: memoryview


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part's body is complete."""


@dataclass(frozen=True, slots=True)
class End:
    """The closing boundary was seen; what follows is ignored."""


Event = PartBegin | PartData | PartEnd | End

_PART_END: Final = PartEnd()
_END: Final = End()


class MultipartWriter:
    """Makes the bytes between the parts of one body.

    `boundary` must not occur in any part: take it from a random source, 32 hexadecimal digits are enough.
    """

    def __init__(self, boundary: str) -> None:
        if not re.fullmatch(r"[0-9A-Za-z]{8,70}", boundary):
            raise ValueError(f"boundary {boundary!r} must have 8 to 70 letters and digits")
        self.boundary = boundary
        self.tail: Final = f"--{boundary}--\r\n".encode("ascii")
        """Closes the body."""

    def part_head(
        self, content_type: str, location: str | None = None, headers: Iterable[tuple[str, str]] = ()
    ) -> bytes:
        """The boundary and the headers of one part; `location` is its Content-Location."""
        lines = [f"--{self.boundary}", f"Content-Type: {content_type}"]
        if location is not None:
            lines.append(f"Content-Location: {location}")
        lines.extend(f"{name}: {value}" for name, value in headers)
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a part header must not hold a line break")
        return "\r\n".join((*lines, "", "")).encode("utf-8")


class _State(enum.Enum):
    PREAMBLE = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    EPILOGUE = enum.auto()


# Blanks after a boundary come from mail gateways that fill up lines; HTTP peers send none, 64 are plenty.
_AFTER_BOUNDARY: Final = re.compile(rb"--|[ \t]{0,64}\r?\n")
_MAYBE_AFTER_BOUNDARY: Final = re.compile(rb"-?|[ \t]{0,64}\r?")
_HEADERS_END: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(rb"\r?\n[ \t]+")


class MultipartParser:
    """Reads one multipart body. Feed it every chunk, then call `close`.

    `boundary` is the parameter of the Content-Type, see `boundary_of`.
    """

    def __init__(self, boundary: str, parts_max: int = MULTIPART_PARTS_MAX) -> None:
        if (
            not 1 <= len(boundary) <= MULTIPART_BOUNDARY_CHARS_MAX
            or not boundary.isascii()
            or not boundary.isprintable()
        ):
            raise InvalidRequestError(
                f"multipart boundary {boundary[:80]!r} must have 1 to {MULTIPART_BOUNDARY_CHARS_MAX} characters of"
                " printable ASCII"
            )
        self._needle = b"\n--" + boundary.encode("ascii")
        self._parts_max = parts_max
        self._parts = 0
        self._preamble_bytes = 0
        self._state = _State.PREAMBLE
        # The first boundary may stand at the very start, without the line break that belongs to every other one.
        self._held = b"\n"
        self._lead = 1

    def feed(self, chunk: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes; return what they brought, in order.

        Raises:
            InvalidRequestError: a part's headers are malformed.
            TooLargeError: too many parts, or headers or preamble too long.
        """
        events: list[Event] = []
        data = chunk if isinstance(chunk, (bytes, bytearray)) else bytes(chunk)
        if self._held:
            data = self._held + data
        pos: int | None = 0
        while pos is not None:
            if self._state is _State.EPILOGUE:
                break
            read = self._read_headers if self._state is _State.HEADERS else self._read_body
            pos = read(data, pos, events)
        return events

    def close(self) -> None:
        """Say that no more bytes will come.

        Raises:
            InvalidRequestError: the closing boundary is missing, so the last part may be cut.
        """
        if self._state is _State.PREAMBLE:
            raise InvalidRequestError(
                "the body holds no part: the boundary that Content-Type names does not occur in it;"
                " check the boundary parameter"
            )
        if self._state is not _State.EPILOGUE:
            raise InvalidRequestError(
                f"the body ends within part {self._parts}, before the closing boundary;"
                " it was cut on the way, send it again"
            )

    def _read_headers(self, data: bytes | bytearray, pos: int, events: list[Event]) -> int | None:
        """Read a header block; `data[pos]` is the line feed before it. Returns where to go on, None for more bytes."""
        match = _HEADERS_END.search(data, pos, pos + MULTIPART_HEADER_BYTES_MAX)
        if match is None:
            if len(data) - pos >= MULTIPART_HEADER_BYTES_MAX:
                raise TooLargeError(f"part {self._parts} has more than {MULTIPART_HEADER_BYTES_MAX} bytes of headers")
            self._held, self._lead = bytes(data[pos:]), 1
            return None
        events.append(PartBegin(_headers(bytes(data[pos + 1 : match.start()]), self._parts)))
        self._state = _State.BODY
        # An empty body may lack the line break before its boundary: the one that ends the headers then serves as it.
        self._lead = 1
        return match.end() - 1

    def _read_body(self, data: bytes | bytearray, pos: int, events: list[Event]) -> int | None:
        """Hand out body bytes up to the next boundary. The first `_lead` bytes at `pos` are known not to be body."""
        begin = pos + self._lead
        search = pos
        while (at := data.find(self._needle, search)) >= 0:
            after = at + len(self._needle)
            match = _AFTER_BOUNDARY.match(data, after)
            if match is not None:
                body_end = at - 1 if at > begin and data[at - 1] == 0x0D else at
                self._emit(data, begin, body_end, events)
                return self._end_part(closing=match[0] == b"--", after=match.end(), events=events)
            if _MAYBE_AFTER_BOUNDARY.fullmatch(data, after):
                break
            search = at + 1
        held_from = self._uncertain_from(data, begin, search) if at < 0 else self._before_line_feed(data, begin, at)
        self._emit(data, begin, held_from, events)
        self._hold(data, pos, begin, held_from)
        return None

    def _uncertain_from(self, data: bytes | bytearray, begin: int, search: int) -> int:
        """Where a boundary may begin whose rest is still to come; the end of `data` if nowhere."""
        end = len(data)
        line_feed = data.rfind(b"\n", max(search, end - len(self._needle) + 1))
        if line_feed >= 0 and self._needle.startswith(data[line_feed:]):
            return self._before_line_feed(data, begin, line_feed)
        if end > begin and data[end - 1] == 0x0D:
            return end - 1
        return end

    @staticmethod
    def _before_line_feed(data: bytes | bytearray, begin: int, line_feed: int) -> int:
        if line_feed > begin and data[line_feed - 1] == 0x0D:
            return line_feed - 1
        return line_feed

    def _hold(self, data: bytes | bytearray, pos: int, begin: int, held_from: int) -> None:
        """Keep what is undecided for the next chunk, with the lead if no body byte was seen yet."""
        if held_from < begin:
            self._held, self._lead = bytes(data[pos:]), begin - pos
        else:
            self._held, self._lead = bytes(data[held_from:]), 0

    def _emit(self, data: bytes | bytearray, begin: int, end: int, events: list[Event]) -> None:
        if end <= begin:
            return
        if self._state is _State.BODY:
            events.append(PartData(memoryview(data)[begin:end]))
            return
        self._preamble_bytes += end - begin
        if self._preamble_bytes > MULTIPART_PREAMBLE_BYTES_MAX:
            raise InvalidRequestError(
                f"no part begins within {MULTIPART_PREAMBLE_BYTES_MAX} bytes: the boundary that Content-Type names"
                " does not occur in the body; check the boundary parameter"
            )

    def _end_part(self, *, closing: bool, after: int, events: list[Event]) -> int:
        """Go from a part (or the preamble) to the next one or to the end. Returns where to go on."""
        if self._state is _State.BODY:
            events.append(_PART_END)
        self._held, self._lead = b"", 0
        if closing:
            self._state = _State.EPILOGUE
            events.append(_END)
            return after
        self._parts += 1
        if self._parts > self._parts_max:
            raise TooLargeError(f"the body has more than {self._parts_max} parts; send fewer objects in one request")
        self._state = _State.HEADERS
        return after - 1


def boundary_of(content_type: MediaType) -> str:
    """The boundary of a multipart Content-Type.

    Raises:
        InvalidRequestError: the type is not multipart or names no boundary.
    """
    boundary = content_type.parameter("boundary")
    if not content_type.essence.startswith("multipart/"):
        raise InvalidRequestError(f"Content-Type {content_type.essence!r} is not multipart; send multipart/related")
    if not boundary:
        raise InvalidRequestError(f"Content-Type {content_type.essence!r} has no boundary parameter; add boundary=...")
    return boundary


def _headers(block: bytes, part: int) -> tuple[tuple[str, str], ...]:
    """The header lines of one part. Folded lines are joined (RFC 9112 5.2)."""
    pairs = []
    for line in _FOLD.sub(b" ", block).splitlines():
        if not line:
            continue
        name, colon, value = line.partition(b":")
        text = name.decode("ascii", "replace").strip().lower()
        if not colon or not text or not text.isascii() or not text.isprintable() or " " in text:
            raise InvalidRequestError(
                f"part {part} has a header line that is not 'Name: value'; check how the body is written"
            )
        pairs.append((text, value.decode("utf-8", "replace").strip()))
    return tuple(pairs)
