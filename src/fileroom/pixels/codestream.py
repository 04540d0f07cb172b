"""What a compressed frame says about itself, read from its first bytes before any decoder may allocate memory for it.

JPEG and JPEG-LS markers (ITU-T T.81 B.2, T.87 C.2), JPEG 2000 and HTJ2K main header (T.800 A.5), JPEG XL size header
(ISO/IEC 18181-1 annex D). Colour is decided from here too: a JPEG that says how it was transformed is believed before
the data set is (PS3.5 8.2.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidObjectError

_MARKERS_MAX: Final = 2000
"""Marker segments looked at before the image starts; a profile of 16 MiB in 64 KiB pieces is 256."""
_STANDALONE: Final = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_FRAME_HEADERS: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_LOSSLESS_FRAMES: Final = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_JPEG_LS_FRAME: Final = 0xF7
_JXL_RATIOS: Final = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


@dataclass(frozen=True, slots=True)
class Codestream:
    """Size and kind of a compressed frame.

    `precision` is bits per sample (0 unknown). `adobe_transform` is 0 (RGB) or 1 (YCbCr) from the Adobe marker, None
    without one. `is_subsampled`: some component has fewer samples than another. `component_transform` tells of the
    JPEG 2000 colour transform; `is_signed` of JPEG 2000 samples.
    """

    rows: int
    columns: int
    components: int
    precision: int
    is_signed: bool = False
    is_lossless_jpeg: bool = False
    is_jpeg_ls: bool = False
    has_jfif: bool = False
    adobe_transform: int | None = None
    component_ids: tuple[int, ...] = ()
    is_subsampled: bool = False
    component_transform: bool = False


def describe_jpeg(data: bytes) -> Codestream:
    """Read the markers of a JPEG or JPEG-LS image up to its frame header. Raises InvalidObjectError."""
    position = 2
    if data[:2] != b"\xff\xd8":
        raise InvalidObjectError(
            "the frame does not begin with a JPEG start of image; it is corrupt or of another kind"
        )
    has_jfif, adobe = False, None
    for _ in range(_MARKERS_MAX):
        position, code = _next_marker(data, position)
        if code in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            break
        if code in _FRAME_HEADERS:
            return _jpeg_frame_header(code, body, has_jfif=has_jfif, adobe=adobe)
        if code == 0xE0 and body[:5] == b"JFIF\0":
            has_jfif = True
        if code == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        if code in (0xDA, 0xD9):
            break
        position += length
    raise InvalidObjectError("the JPEG frame has no frame header; it is truncated or corrupt")


def describe_jpeg_2000(data: bytes) -> Codestream:
    """Read SIZ and COD of a JPEG 2000 or HTJ2K codestream, also inside a JP2 file. Raises InvalidObjectError."""
    start = 0 if data[:4] == b"\xff\x4f\xff\x51" else data.find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 46:
        raise InvalidObjectError("the frame holds no JPEG 2000 codestream; it is corrupt or of another kind")
    siz = start + 6
    _, x1, y1, x0, y0 = struct.unpack_from(">HIIII", data, siz)
    (components,) = struct.unpack_from(">H", data, siz + 34)
    if x1 <= x0 or y1 <= y0 or not components or len(data) < siz + 36 + 3 * components:
        raise InvalidObjectError("the JPEG 2000 frame gives no image size; it is corrupt")
    depth = data[siz + 36]
    steps = {bytes(data[siz + 37 + 3 * i : siz + 39 + 3 * i]) for i in range(components)}
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        components=components,
        precision=(depth & 0x7F) + 1,
        is_signed=bool(depth & 0x80),
        is_subsampled=len(steps) > 1,
        component_transform=_jpeg_2000_transform(data, siz),
    )


def describe_jpeg_xl(data: bytes) -> Codestream:
    """Read the size header of a JPEG XL codestream, bare or in its container. Raises InvalidObjectError."""
    stream = _jpeg_xl_codestream(data)
    if stream[:2] != b"\xff\x0a" or len(stream) < 12:
        raise InvalidObjectError("the frame holds no JPEG XL codestream; it is corrupt or of another kind")
    bits = _Bits(stream[2:18])
    if bits.take(1):
        rows = 8 * (bits.take(5) + 1)
        ratio = bits.take(3)
        columns = rows * _JXL_RATIOS[ratio - 1][0] // _JXL_RATIOS[ratio - 1][1] if ratio else 8 * (bits.take(5) + 1)
    else:
        rows = 1 + bits.take((9, 13, 18, 30)[bits.take(2)])
        ratio = bits.take(3)
        if ratio:
            columns = rows * _JXL_RATIOS[ratio - 1][0] // _JXL_RATIOS[ratio - 1][1]
        else:
            columns = 1 + bits.take((9, 13, 18, 30)[bits.take(2)])
    return Codestream(rows=rows, columns=columns, components=0, precision=0)


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """(offset behind the marker, its code); fill bytes FF are skipped."""
    while position + 1 < len(data) and data[position] == 0xFF and data[position + 1] == 0xFF:
        position += 1
    if position + 1 >= len(data) or data[position] != 0xFF:
        raise InvalidObjectError("the JPEG frame is broken between its markers; it is truncated or corrupt")
    return position + 2, data[position + 1]


def _jpeg_frame_header(code: int, body: bytes, *, has_jfif: bool, adobe: int | None) -> Codestream:
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        raise InvalidObjectError("the frame header of the JPEG is too short; it is corrupt")
    precision, rows, columns, components = struct.unpack_from(">BHHB", body)
    return Codestream(
        rows=rows,
        columns=columns,
        components=components,
        precision=precision,
        is_lossless_jpeg=code in _LOSSLESS_FRAMES,
        is_jpeg_ls=code == _JPEG_LS_FRAME,
        has_jfif=has_jfif,
        adobe_transform=adobe,
        component_ids=tuple(body[6 + 3 * i] for i in range(components)),
        is_subsampled=len({body[7 + 3 * i] for i in range(components)}) > 1,
    )


def _jpeg_2000_transform(data: bytes, siz: int) -> bool:
    """Does COD (the coding style default) ask for the multiple component transform? Byte 4 of SGcod."""
    position = siz - 2 + int.from_bytes(data[siz - 2 : siz], "big")
    for _ in range(_MARKERS_MAX):
        code = data[position : position + 2]
        if code == b"\xff\x52":
            return data[position + 8 : position + 9] == b"\x01"
        if code[:1] != b"\xff" or code == b"\xff\x90":
            return False
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _jpeg_xl_codestream(data: bytes) -> bytes:
    """The first bytes of the codestream: of `jxlc`, or of the first `jxlp` box, when there is a container."""
    if data[:12] != b"\0\0\0\x0cJXL \r\n\x87\n":
        return data[:32]
    position = 12
    for _ in range(_MARKERS_MAX):
        size, kind = struct.unpack_from(">I4s", data, position) if position + 8 <= len(data) else (0, b"")
        if kind == b"jxlc":
            return data[position + 8 : position + 40]
        if kind == b"jxlp":
            return data[position + 12 : position + 44]
        if size < 8:
            break
        position += size
    raise InvalidObjectError("the JPEG XL container holds no codestream; it is corrupt")


class _Bits:
    """Takes bits from the least significant one up."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken
