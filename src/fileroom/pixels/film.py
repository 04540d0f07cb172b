"""Films (PS3.5 8.2.5 to 8.2.12): MPEG-2, H.264 and HEVC to frames, and pictures to an H.264 MP4.

FFmpeg does both, in a child process for each film (`film_child`, where the bounds of what it may do are written): the
streams come from strangers, and a thread can be neither stopped nor outlived when it crashes. The child asks for the
bytes that it needs, so a film of 2 GB costs no more memory than a short one. Calls here block; they belong in a thread.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from fileroom.core.errors import InvalidObjectError, NotFoundError, RequestError, TooLargeError, UnsupportedError
from fileroom.core.limits import (
    FILM_BYTES_MAX,
    FILM_FRAMES_MAX,
    FILM_MEMORY_BYTES_MAX,
    FILM_PIXELS_MAX,
    FILM_TIMEOUT_S,
)
from fileroom.pixels.frames import FrameTable, Segment
from fileroom.pixels.request import QUALITY_DEFAULT
from fileroom.pixels.source import Read

Picture = NDArray[np.uint8]

_PROGRAM: Final = str(Path(__file__).with_name("film_child.py"))
_MESSAGE: Final = struct.Struct("<cQ")
_WANTED: Final = struct.Struct("<QI")
_FRAME: Final = struct.Struct("<IIIId")
_MESSAGE_BYTES_MAX: Final = max(4 * FILM_PIXELS_MAX, FILM_BYTES_MAX) + 4096
_READ_BYTES_MAX: Final = 1 << 20
_SIDE_MIN: Final = 16
_KINDS: Final[dict[bytes, type[RequestError]]] = {
    b"I": InvalidObjectError,
    b"N": NotFoundError,
    b"T": TooLargeError,
    b"U": UnsupportedError,
}
_THREADS_TO_ENCODE: Final = min(os.cpu_count() or 1, 4)


@dataclass(frozen=True, slots=True)
class FilmFrame:
    """A decoded frame: `index` from 0, `rgb` (rows, columns, 3) of 8 bits, `shown_ms` as the stream says it, or None."""

    index: int
    rgb: Picture
    shown_ms: float | None


def film_frames(
    table: FrameTable,
    read: Read,
    wanted: Sequence[int] = (),
    *,
    frames_max: int = FILM_FRAMES_MAX,
    or_last: bool = False,
    timeout_s: float = FILM_TIMEOUT_S,
) -> Iterator[FilmFrame]:
    """The frames `wanted` (from 0, in any order) of a video object, or all of them; one at a time is in memory.

    `or_last`: if the film ends before the frame that is wanted, its last one comes instead. Raises NotFoundError for
    frames that it has not, InvalidObjectError when nothing can be decoded, TooLargeError past a limit of size, number
    or time, UnsupportedError where the decoder is not installed.
    """
    deadline = time.monotonic() + timeout_s
    stream = _Stream(table.segments(0), read)
    for run in _ascending(wanted) if wanted else [()]:
        numbers = (stream.bytes_total, FILM_PIXELS_MAX, frames_max, int(or_last), *run)
        with _child("decode", numbers, deadline) as child:
            for letter, body in _messages(child, stream):
                if letter != b"F":
                    raise InvalidObjectError("the decoder of films answered with something else than a frame")
                yield _film_frame(body)


def encode_film(pictures: Iterable[tuple[Picture, float]], quality: int | None = None) -> bytes:
    """Pictures of one size, gray or RGB, each with its milliseconds, as an MP4 (H.264 High Profile, index in front).

    An odd side is made even by repeating its last line. Raises TooLargeError past FILM_FRAMES_MAX, FILM_PIXELS_MAX,
    FILM_BYTES_MAX or FILM_TIMEOUT_S, UnsupportedError where the encoder is not installed.
    """
    crf = round(45 - 0.3 * (quality or QUALITY_DEFAULT))
    deadline = time.monotonic() + FILM_TIMEOUT_S
    coming = iter(pictures)
    first = next(coming)
    rows, columns = (max(side + side % 2, _SIDE_MIN) for side in first[0].shape[:2])
    if rows * columns > FILM_PIXELS_MAX:
        raise TooLargeError(f"a film of {columns} x {rows} pixels is larger than players show; ask for a viewport")
    numbers = (columns, rows, crf, FILM_BYTES_MAX, _THREADS_TO_ENCODE)
    with _child("encode", numbers, deadline) as child:
        for count, (picture, shown_ms) in enumerate(_chained(first, coming)):
            if count == FILM_FRAMES_MAX:
                raise TooLargeError(f"more than {FILM_FRAMES_MAX} frames were asked for; name some of them")
            try:
                child.write(struct.pack("<Q", round(1000 * shown_ms)), _padded_rgb(picture, rows, columns))
            except BrokenPipeError:
                break  # It has ended, and said why.
        child.close_input()
        for letter, body in _messages(child, None):
            if letter == b"M":
                return body
    raise InvalidObjectError("the encoder of films made nothing")


# --- frames ---


def _ascending(wanted: Sequence[int]) -> list[list[int]]:
    """Cut where the order goes back: a film is decoded forwards."""
    runs: list[list[int]] = []
    for index in wanted:
        if runs and index > runs[-1][-1]:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs


def _film_frame(body: bytes) -> FilmFrame:
    index, columns, rows, line_bytes, shown_ms = _FRAME.unpack_from(body)
    if not columns or not rows or line_bytes < 3 * columns or len(body) - _FRAME.size < rows * line_bytes:
        raise InvalidObjectError("the decoder of films made a frame without pixels; the film is damaged")
    lines = np.frombuffer(body, np.uint8, rows * line_bytes, _FRAME.size).reshape(rows, line_bytes)
    rgb = lines[:, : 3 * columns].reshape(rows, columns, 3)
    return FilmFrame(index, rgb, shown_ms if 0 < shown_ms < 1e9 else None)


class _Stream:
    """The fragments as one stream."""

    def __init__(self, segments: Sequence[Segment], read: Read) -> None:
        self._segments = segments
        self._ends = list(accumulate(length for _, length in segments))
        self._read = read
        self.bytes_total = self._ends[-1] if self._ends else 0

    def bytes_at(self, offset: int, length: int) -> bytes:
        """At most `length` bytes; fewer at the end of the stream, or when the object ends early."""
        pieces = []
        at = bisect_right(self._ends, offset)
        while length and at < len(self._ends):
            place, size = self._segments[at]
            end = self._ends[at]
            piece = self._read(place + size - (end - offset), min(length, end - offset))
            if not piece:
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
            at += offset == end
        return b"".join(pieces)


# --- pictures ---


def _chained(first: tuple[Picture, float], others: Iterator[tuple[Picture, float]]) -> Iterator[tuple[Picture, float]]:
    yield first
    yield from others


def _padded_rgb(picture: Picture, rows: int, columns: int) -> bytes:
    """RGB of the film's size. A picture of another size than the first (no object has such) is cut."""
    picture = picture[:rows, :columns]
    gap = (0, rows - picture.shape[0]), (0, columns - picture.shape[1])
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    if any(after for _, after in gap):
        picture = np.pad(picture, (*gap, (0, 0)), "edge")
    return picture.tobytes()


# --- the child ---


class _Child:
    """The process and what became of it."""

    def __init__(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        self.process = process
        self.is_late = False
        self._timeout_s = timeout_s
        self._input: IO[bytes] = _pipe(process.stdin)
        self._output: IO[bytes] = _pipe(process.stdout)

    def kill_late(self) -> None:
        """Called by the clock."""
        self.is_late = True
        self.process.kill()

    def write(self, *parts: bytes) -> None:
        """To its standard input."""
        for part in parts:
            self._input.write(part)
        self._input.flush()

    def close_input(self) -> None:
        """Tell it that nothing more comes."""
        with suppress(BrokenPipeError):
            self._input.close()

    def message(self) -> tuple[bytes, bytes]:
        """The next message. Raises TooLargeError when its time is over, InvalidObjectError when it crashed."""
        head = self._output.read(_MESSAGE.size)
        if len(head) == _MESSAGE.size:
            letter, length = _MESSAGE.unpack(head)
            if length <= _MESSAGE_BYTES_MAX:
                body = self._output.read(length)
                if len(body) == length:
                    return letter, body
        if self.is_late:
            raise TooLargeError(
                f"the film took more than {self._timeout_s:.0f} seconds; ask for fewer frames or a smaller viewport"
            )
        raise InvalidObjectError("the film makes its decoder fail; it is damaged, and only sent as it was stored")

    def end(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        for pipe in (self._input, self._output):
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the child was started without pipes")
    return pipe


@contextmanager
def _child(job: str, numbers: Sequence[int], deadline: float) -> Iterator[_Child]:
    """A child at work until `deadline` (of the monotonic clock); dead when the context ends."""
    left_s = max(deadline - time.monotonic(), 0.001)
    processor_s = (int(left_s) + 1) * _THREADS_TO_ENCODE
    arguments = [FILM_MEMORY_BYTES_MAX, processor_s, *numbers]
    process = subprocess.Popen(
        [sys.executable, "-I", _PROGRAM, job, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name in _ENVIRONMENT},
    )
    child = _Child(process, left_s)
    alarm = threading.Timer(left_s, child.kill_late)
    alarm.daemon = True
    alarm.start()
    try:
        yield child
    finally:
        alarm.cancel()
        child.end()


_ENVIRONMENT: Final = frozenset({"PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT"})
"""What a process needs to start; passwords in other variables are not its business."""


def _messages(child: _Child, stream: _Stream | None) -> Iterator[tuple[bytes, bytes]]:
    """What the child says until it is done, its questions for bytes answered, its errors raised."""
    while True:
        letter, body = child.message()
        if letter == b"Z":
            return
        if letter == b"E":
            raise _KINDS.get(body[:1], InvalidObjectError)(body[1:].decode("utf-8", "replace"))
        if letter == b"R" and stream is not None and len(body) == _WANTED.size:
            offset, length = _WANTED.unpack(body)
            data = stream.bytes_at(offset, min(length, _READ_BYTES_MAX))
            with suppress(BrokenPipeError):
                child.write(struct.pack("<I", len(data)), data)
        else:
            yield letter, body
