"""What an uploaded film says about itself: MP4 (ISO 14496-12, -15) and MPEG-2 (ISO 13818-2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError, UnsupportedError
from fileroom.core.limits import MIB, VIDEO_BOXES_MAX
from fileroom.dicomweb.codestream import ImageHeader

_SYNTAX: Final = "1.2.840.10008.1.2.4."
_STEREO_HIGH_PROFILE: Final = 128
_HEVC_MAIN_10: Final = 2
_FRAME_RATES: Final = {1: 24000 / 1001, 2: 24, 3: 25, 4: 30000 / 1001, 5: 30, 6: 50, 7: 60000 / 1001, 8: 60}
"""ISO 13818-2 table 6-4."""
_SEQUENCE_HEADER: Final = b"\x00\x00\x01\xb3"
_SEARCH_BYTES: Final = MIB
"""An MPEG-2 stream begins with a sequence header, perhaps after system headers."""

_AVC: Final = frozenset({b"avc1", b"avc3"})
_HEVC: Final = frozenset({b"hvc1", b"hev1"})
_ENTRY_HEAD_BYTES: Final = 86
"""A visual sample entry before its own boxes (ISO 14496-12 12.1.3)."""


def read_mp4(data: memoryview) -> ImageHeader:
    """The first video track of an MP4 file.

    Raises:
        InvalidRequestError: the bytes are no MP4 file with a video track.
        UnsupportedError: its coding, profile or level has no transfer syntax.
        TooLargeError: it has more boxes than a film has.
    """
    reader = _BoxReader(data)
    for start, stop in reader.at(0, len(data), b"moov", b"trak", b"mdia"):
        handler = next(reader.at(start, stop, b"hdlr"), None)
        if handler is not None and bytes(data[handler[0] + 8 : handler[0] + 12]) == b"vide":
            return _video_track(reader, start, stop)
    raise InvalidRequestError("the MP4 file has no video track; it is damaged, cut, or of another type")


def read_mpeg2(data: memoryview) -> ImageHeader:
    """The first sequence header of an MPEG-2 stream. How many frames follow it does not tell.

    Raises InvalidRequestError where there is none.
    """
    head = bytes(data[:_SEARCH_BYTES])
    at = head.find(_SEQUENCE_HEADER)
    if at < 0 or at + 8 > len(head):
        raise InvalidRequestError("the MPEG-2 data have no sequence header; they are damaged or of another type")
    columns, rows = head[at + 4] << 4 | head[at + 5] >> 4, (head[at + 5] & 0x0F) << 8 | head[at + 6]
    rate = _FRAME_RATES.get(head[at + 7] & 0x0F)
    syntax = _SYNTAX + ("100" if columns <= 720 and rows <= 576 else "101")
    return _film(syntax, rows, columns, 8, data, None, 1000 / rate if rate else None)


class _BoxReader:
    """Finds boxes by their path and counts them, so that no file makes it look for ever."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._left = VIDEO_BOXES_MAX

    def at(self, start: int, stop: int, *path: bytes) -> Iterator[tuple[int, int]]:
        """Start and stop of the content of each box at `path` within `start` to `stop`."""
        for kind, inner, end in self.boxes(start, stop):
            if kind == path[0]:
                if len(path) == 1:
                    yield inner, end
                else:
                    yield from self.at(inner, end, *path[1:])

    def boxes(self, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
        """Kind, start and stop of the content of each box."""
        while start + 8 <= stop:
            self._left -= 1
            if self._left < 0:
                raise TooLargeError(f"the MP4 file has more than {VIDEO_BOXES_MAX} boxes")
            length, kind = struct.unpack_from(">I4s", self.data, start)
            inner = start + 8
            if length == 1 and start + 16 <= stop:
                (length,) = struct.unpack_from(">Q", self.data, inner)
                inner += 8
            end = stop if length == 0 else start + length
            if end < inner or end > stop:
                return
            yield kind, inner, end
            start = end


def _video_track(reader: _BoxReader, start: int, stop: int) -> ImageHeader:
    data = reader.data
    tables = next(reader.at(start, stop, b"minf", b"stbl"), None)
    entries = next(reader.at(*tables, b"stsd"), None) if tables else None
    entry = next(reader.boxes(entries[0] + 8, entries[1]), None) if entries else None
    if tables is None or entry is None or entry[2] - entry[1] < _ENTRY_HEAD_BYTES - 8:
        raise InvalidRequestError("the video track of the MP4 file has no sample description; it is damaged or cut")
    kind, inner, end = entry
    columns, rows = struct.unpack_from(">HH", data, inner + 24)
    configuration = next(
        (box for box in reader.boxes(inner + _ENTRY_HEAD_BYTES - 8, end) if box[0] in (b"avcC", b"hvcC")), None
    )
    if configuration is None or configuration[2] - configuration[1] < 4:
        raise UnsupportedError(f"MP4 video coding {kind!r} has no transfer syntax; send H.264 or H.265")
    settings = data[configuration[1] : configuration[2]]
    syntax = _avc_syntax(settings) if kind in _AVC else _hevc_syntax(kind, settings)
    frames = _sample_count(reader, tables)
    bits = 10 if syntax.endswith(".108") else 8
    return _film(syntax, rows, columns, bits, data, frames, _frame_time_ms(reader, start, stop, frames))


def _avc_syntax(settings: memoryview) -> str:
    profile, level = settings[1], settings[3]
    if level > 42:
        raise UnsupportedError(f"H.264 level {level / 10:.1f} has no transfer syntax; DICOM goes up to level 4.2")
    if profile == _STEREO_HIGH_PROFILE:
        return _SYNTAX + "106"
    return _SYNTAX + ("102" if level <= 41 else "104")


def _hevc_syntax(kind: bytes, settings: memoryview) -> str:
    if kind not in _HEVC:
        raise UnsupportedError(f"MP4 video coding {kind!r} has no transfer syntax; send H.264 or H.265")
    return _SYNTAX + ("108" if settings[1] & 0x1F == _HEVC_MAIN_10 else "107")


def _sample_count(reader: _BoxReader, tables: tuple[int, int]) -> int | None:
    sizes = next(reader.at(*tables, b"stsz"), None)
    if sizes is None or sizes[1] - sizes[0] < 12:
        return None
    return int(struct.unpack_from(">I", reader.data, sizes[0] + 8)[0]) or None


def _frame_time_ms(reader: _BoxReader, start: int, stop: int, frames: int | None) -> float | None:
    """The track's duration over its frames."""
    header = next(reader.at(start, stop, b"mdhd"), None)
    if header is None or not frames:
        return None
    long = header[1] > header[0] and reader.data[header[0]] == 1
    layout, offset = (">IQ", 20) if long else (">II", 12)
    if header[0] + offset + struct.calcsize(layout) > header[1]:
        return None
    scale, duration = struct.unpack_from(layout, reader.data, header[0] + offset)
    return 1000 * duration / scale / frames if scale and duration else None


def _film(
    syntax: str, rows: int, columns: int, bits: int, data: memoryview, frames: int | None, frame_time_ms: float | None
) -> ImageHeader:
    if not rows or not columns:
        raise InvalidRequestError("the film says that its pictures have no size; it is damaged")
    return ImageHeader(
        transfer_syntax=syntax,
        rows=rows,
        columns=columns,
        samples=3,
        bits=bits,
        signed=False,
        photometric="YBR_PARTIAL_420",
        lossy=True,
        codestream=data,
        frames=frames,
        frame_time_ms=frame_time_ms,
    )
