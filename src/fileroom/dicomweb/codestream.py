"""What a compressed image says about itself in its first bytes, as far as DICOM needs it (PS3.18 10.5.2).

Uploaded metadata may leave out the Image Pixel Description; then it is read here, from JPEG (ISO 10918-1), JPEG-LS
(ISO 14495-1) and JPEG 2000 (ISO 15444-1, -15) markers. No pixel is decoded. Films are read in `video_header`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.dicom import uids


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Size and sample description of an image or film.

    `bits` is the precision of one sample; `frames` None where the stream does not tell; `frame_time_ms` the time
    between two frames of a film. `codestream` is the part of the bytes that goes into DICOM, without a file around it.
    """

    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool
    photometric: str
    lossy: bool
    codestream: memoryview
    frames: int | None = 1
    frame_time_ms: float | None = None

    @property
    def bits_allocated(self) -> int:
        """The container of one sample."""
        return 8 if self.bits <= 8 else 16 if self.bits <= 16 else 32


_MARKERS_MAX: Final = 2000
"""Marker segments before the first scan: an ICC profile and EXIF make some 300."""

_SOF_BASELINE, _SOF_EXTENDED, _SOF_PROGRESSIVE, _SOF_LOSSLESS, _SOF_LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
_SOFS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {_SOF_LS}
_SOI, _EOI, _SOS, _APP14 = 0xD8, 0xD9, 0xDA, 0xEE
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})

_JPEG_SYNTAX: Final = {
    _SOF_BASELINE: uids.JPEG_BASELINE,
    _SOF_EXTENDED: uids.JPEG_EXTENDED,
    _SOF_PROGRESSIVE: "1.2.840.10008.1.2.4.55",  # retired, but there is no other for progressive JPEG
}


def read_jpeg(data: memoryview) -> ImageHeader:
    """The header of a JPEG or JPEG-LS stream.

    Raises:
        InvalidRequestError: the bytes are no such stream, or end before the first scan.
        UnsupportedError: a coding process that DICOM has no transfer syntax for.
    """
    sof: tuple[int, bytes] | None = None
    adobe: int | None = None
    for marker, segment in _jpeg_segments(data):
        if marker in _SOFS:
            sof = marker, segment
        elif marker == _APP14 and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif marker == _SOS:
            if sof is None:
                break
            return _jpeg_header(sof[0], sof[1], segment, adobe, data)
    raise InvalidRequestError("the JPEG stream has no frame header before its first scan; it is damaged or cut")


def read_jpeg_2000(data: memoryview) -> ImageHeader:
    """The header of a JPEG 2000 or High-Throughput JPEG 2000 codestream, bare or within a JP2 file.

    Raises InvalidRequestError where the bytes are no such stream.
    """
    codestream = _jp2_codestream(data)
    if bytes(codestream[:4]) != b"\xff\x4f\xff\x51" or len(codestream) < 46:
        raise InvalidRequestError(
            "the JPEG 2000 data do not begin with a codestream; they are damaged or of another type"
        )
    capabilities, x1, y1, x0, y0 = struct.unpack_from(">HIIII", codestream, 6)
    (components,) = struct.unpack_from(">H", codestream, 40)
    depth = codestream[42]
    coding = _coding_style(codestream)
    mct, reversible, high_throughput = coding[4] == 1, coding[9] == 1, bool(capabilities & 0x4000)
    if high_throughput:
        syntax = uids.HTJ2K_LOSSLESS if reversible else uids.HTJ2K
    else:
        syntax = uids.JPEG_2000_LOSSLESS if reversible else uids.JPEG_2000
    colour = ("YBR_RCT" if reversible else "YBR_ICT") if mct else "RGB"
    return _sound(
        ImageHeader(
            transfer_syntax=syntax,
            rows=y1 - y0,
            columns=x1 - x0,
            samples=components,
            bits=(depth & 0x7F) + 1,
            signed=bool(depth & 0x80),
            photometric="MONOCHROME2" if components == 1 else colour,
            lossy=not reversible,
            codestream=codestream,
        )
    )


def _jpeg_segments(data: memoryview) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the first scan header, that included."""
    if bytes(data[:2]) != b"\xff\xd8":
        raise InvalidRequestError("the JPEG data do not begin with FFD8; they are damaged or of another media type")
    pos = 2
    for _ in range(_MARKERS_MAX):
        while pos + 1 < len(data) and data[pos] == 0xFF and data[pos + 1] == 0xFF:
            pos += 1  # fill bytes
        if pos + 4 > len(data) or data[pos] != 0xFF:
            return
        marker = data[pos + 1]
        if marker in _STANDALONE:
            pos += 2
            continue
        length = struct.unpack_from(">H", data, pos + 2)[0]
        if length < 2 or pos + 2 + length > len(data) or marker == _EOI:
            return
        yield marker, bytes(data[pos + 4 : pos + 2 + length])
        if marker == _SOS:
            return
        pos += 2 + length


def _jpeg_header(marker: int, sof: bytes, scan: bytes, adobe: int | None, data: memoryview) -> ImageHeader:
    if len(sof) < 6 or len(sof) < 6 + 3 * sof[5] or not scan or len(scan) < 4 + 2 * scan[0]:
        raise InvalidRequestError("the JPEG frame or scan header is too short; the stream is damaged")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", sof)
    selection = scan[1 + 2 * scan[0]]  # predictor of lossless JPEG, NEAR of JPEG-LS
    if marker == _SOF_LS:
        syntax = uids.JPEG_LS_LOSSLESS if selection == 0 else uids.JPEG_LS_NEAR_LOSSLESS
    elif marker == _SOF_LOSSLESS:
        syntax = uids.JPEG_LOSSLESS_SV1 if selection == 1 else uids.JPEG_LOSSLESS
    elif marker in _JPEG_SYNTAX:
        syntax = _JPEG_SYNTAX[marker]
    else:
        raise UnsupportedError(
            f"JPEG coding process SOF{marker - 0xC0} has no transfer syntax; send baseline JPEG instead"
        )
    return _sound(
        ImageHeader(
            transfer_syntax=syntax,
            rows=rows,
            columns=columns,
            samples=samples,
            bits=precision,
            signed=False,
            photometric=_jpeg_photometric(marker, sof, samples, adobe),
            lossy=uids.transfer_syntax(syntax).lossy,
            codestream=data,
        )
    )


def _jpeg_photometric(marker: int, sof: bytes, samples: int, adobe: int | None) -> str:
    """Three components are YCbCr by custom (JFIF), unless the Adobe marker or a lossless process says RGB."""
    if samples == 1:
        return "MONOCHROME2"
    if adobe == 0 or (adobe is None and marker in (_SOF_LOSSLESS, _SOF_LS)):
        return "RGB"
    subsampled = any(sof[7 + 3 * component] != sof[7] for component in range(1, samples))
    return "YBR_FULL_422" if subsampled else "YBR_FULL"


def _jp2_codestream(data: memoryview) -> memoryview:
    """The contiguous codestream of a JP2 file (ISO 15444-1 annex I), or the data if they are none."""
    if bytes(data[4:8]) != b"jP  ":
        return data
    pos = 0
    for _ in range(_MARKERS_MAX):
        if pos + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, pos)
        head = 8
        if length == 1 and pos + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, pos + 8)
            head = 16
        stop = len(data) if length == 0 else min(pos + length, len(data))
        if kind == b"jp2c":
            return data[pos + head : stop]
        if stop < pos + head:
            break
        pos = stop
    raise InvalidRequestError("the JP2 file has no codestream box; it is damaged or cut")


def _coding_style(codestream: memoryview) -> memoryview:
    """The content of the COD marker segment (ISO 15444-1 A.6.1)."""
    pos = 2
    for _ in range(_MARKERS_MAX):
        if pos + 4 > len(codestream):
            break
        marker, length = struct.unpack_from(">HH", codestream, pos)
        if marker == 0xFF52 and length >= 12 and pos + 2 + length <= len(codestream):
            return codestream[pos + 4 : pos + 2 + length]
        if marker in (0xFF90, 0xFF93) or length < 2:
            break
        pos += 2 + length
    raise InvalidRequestError("the JPEG 2000 codestream has no coding style marker; it is damaged or cut")


def _sound(header: ImageHeader) -> ImageHeader:
    """Refuse what no DICOM image can be (Rows and Columns have VR US, PS3.3 C.7.6.3)."""
    if not (
        0 < header.rows <= 0xFFFF and 0 < header.columns <= 0xFFFF and header.samples in (1, 3) and header.bits <= 32
    ):
        raise InvalidRequestError(
            f"the image has {header.columns} x {header.rows} pixels, {header.samples} samples of {header.bits} bits;"
            " DICOM takes 1 to 65535 rows and columns and 1 or 3 samples of up to 32 bits"
        )
    return header
