"""Video objects for tests: films made with FFmpeg whose every frame tells its own number, in each of DICOM's codings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from pixel_objects import color_header, encapsulated_file

ROWS, COLUMNS = 96, 160
FRAMES = 30
_BITS = 10
SYNTAX = "1.2.840.10008.1.2.4."
KINDS = {
    "mpeg2 in a program stream": ("100", "mpeg2video", "mpeg", "yuv420p"),
    "mpeg2 elementary": ("101", "mpeg2video", "mpeg2video", "yuv420p"),
    "mpeg2 in a transport stream, fragmentable": ("100.1", "mpeg2video", "mpegts", "yuv420p"),
    "h264 in mp4": ("102", "libx264", "mp4", "yuv420p"),
    "h264 in a transport stream, fragmentable": ("103.1", "libx264", "mpegts", "yuv420p"),
    "h264 elementary": ("104", "libx264", "h264", "yuv420p"),
    "hevc in mp4": ("107", "libx265", "mp4", "yuv420p"),
    "hevc main 10 elementary": ("108", "libx265", "hevc", "yuv420p10le"),
}
"""What it is: the end of its transfer syntax, encoder, container, pixel format."""


def numbered_picture(number: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Red below, above ten fields that are the bits of `number`."""
    picture = np.zeros((rows, columns, 3), np.uint8)
    picture[rows // 2 :] = (200, 30, 40)
    for bit in range(_BITS):
        if number >> bit & 1:
            picture[: rows // 2, columns * bit // _BITS : columns * (bit + 1) // _BITS] = 255
    return picture


def number_in(picture: np.ndarray) -> int:
    """The number that a picture shows, at any size."""
    rows, columns = picture.shape[:2]
    gray = picture.reshape(rows, columns, -1).mean(axis=2)
    row = gray[rows // 8 : rows * 3 // 8].mean(axis=0)
    return sum(int(row[round(columns * (bit + 0.5) / _BITS)] > 127) << bit for bit in range(_BITS))


def make_film(
    encoder: str, container: str, pixel_format: str = "yuv420p", *, frames: int = FRAMES, rate: int = 25, **size: int
) -> bytes:
    """A film of numbered pictures, counted from 0."""
    out = io.BytesIO()
    rows, columns = size.get("rows", ROWS), size.get("columns", COLUMNS)
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    with av.open(out, "w", format=container) as film:
        stream = film.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = columns, rows, pixel_format
        stream.bit_rate = 2_000_000
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_picture(number, rows, columns), "rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return out.getvalue()


def film_file(stream: bytes, syntax: str, *, pieces: int = 1, **more: object) -> bytes:
    """A Part 10 file that holds `stream` in `pieces` fragments; `more` are further attributes."""
    stream += bytes(len(stream) % 2)
    step = -(-len(stream) // (2 * pieces)) * 2
    fragments = [stream[start : start + step] for start in range(0, len(stream), step)]
    attributes: dict[str, Any] = {"NumberOfFrames": FRAMES, "FrameTime": "40", **more}
    made = color_header(ROWS, COLUMNS, "YBR_PARTIAL_420", **attributes)
    return encapsulated_file(made, fragments, syntax=syntax)


def film_of_kind(kind: str, **more: object) -> bytes:
    """A file of one of `KINDS`."""
    suffix, encoder, container, pixel_format = KINDS[kind]
    pieces = 7 if "fragmentable" in kind else 1
    return film_file(make_film(encoder, container, pixel_format), SYNTAX + suffix, pieces=pieces, **more)


def frames_of(film: bytes) -> Iterator[tuple[float, np.ndarray]]:
    """(second at which it is shown, RGB) of each frame, decoded by FFmpeg itself."""
    with av.open(io.BytesIO(film)) as container:
        for frame in container.decode(video=0):
            yield float(frame.time or 0), frame.to_ndarray(format="rgb24")
