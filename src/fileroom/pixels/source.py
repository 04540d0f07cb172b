"""A stored object seen as header plus pixel data that stays where it is (PS3.10 file, PS3.5 section 7 data set).

`open_source` reads the head through a callable and tells where the pixel data lies, so that an object of 2 GB costs
only its header. A deflated data set has no random access; it is inflated in memory once, within a limit.
"""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.core.errors import InvalidObjectError, TooLargeError
from fileroom.core.limits import DEFLATED_OBJECT_BYTES_MAX, HEADER_BYTES_MAX, KIB
from fileroom.dicom import uids
from fileroom.dicom.header_scan import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    NeedMoreData,
    PixelDataPlace,
    ScannedHeader,
    inflate,
    scan_header,
)
from fileroom.dicom.part10 import FileMeta, parse_file_meta
from fileroom.pixels.byte_order import turn_words
from fileroom.pixels.header_values import BROKEN

Read = Callable[[int, int], bytes]
"""`read(offset, length)` gives at most `length` bytes from `offset` of the stored file; fewer only at its end."""

_FIRST_READ_BYTES: Final = 64 * KIB
_KEYWORDS: Final = {FLOAT_PIXEL_DATA: "FloatPixelData", DOUBLE_FLOAT_PIXEL_DATA: "DoubleFloatPixelData"}


@dataclass(frozen=True, slots=True)
class PixelSource:
    """One object. `header` is its data set without pixel data, all words in it little endian.

    `place` has offsets that `read` understands, None when there are no pixels; `bytes_total` is where `read` ends.
    """

    header: Dataset
    transfer_syntax: str
    place: PixelDataPlace | None
    read: Read
    bytes_total: int

    @property
    def pixel_keyword(self) -> str:
        """PixelData, FloatPixelData or DoubleFloatPixelData."""
        return _KEYWORDS.get(self.place.tag, "PixelData") if self.place else "PixelData"


def open_source(read: Read, bytes_total: int) -> PixelSource:
    """Read the header of a stored file of `bytes_total` bytes.

    Raises InvalidObjectError when it is no DICOM object, TooLargeError when its header (or, deflated, all of it) is
    longer than the limits.
    """
    head = read(0, _FIRST_READ_BYTES)
    meta, head = _file_meta(read, head, bytes_total)
    syntax = uids.transfer_syntax(meta.transfer_syntax)
    if syntax.deflated:
        data = _inflated(read, meta.data_set_offset, bytes_total)
        header, place = _header(data, scan_header(data, uids.EXPLICIT_VR_LITTLE_ENDIAN, frozenset(), complete=True), 0)
        return PixelSource(header, meta.transfer_syntax, place, reader_of(data), len(data))
    found, head = _scanned(read, head, meta, bytes_total)
    header, place = _header(head[meta.data_set_offset :], found, meta.data_set_offset)
    return PixelSource(header, meta.transfer_syntax, place, read, bytes_total)


def reader_of(data: bytes) -> Read:
    """A `Read` over bytes in memory."""
    return lambda offset, length: data[offset : offset + length]


def _file_meta(read: Read, head: bytes, bytes_total: int) -> tuple[FileMeta, bytes]:
    while True:
        try:
            return parse_file_meta(head, complete=len(head) >= bytes_total), head
        except NeedMoreData as more:
            head = _grown(read, head, more.bytes_needed, bytes_total)


def _scanned(read: Read, head: bytes, meta: FileMeta, bytes_total: int) -> tuple[ScannedHeader, bytes]:
    start = meta.data_set_offset
    while True:
        try:
            complete = len(head) >= bytes_total
            return scan_header(head[start:], meta.transfer_syntax, frozenset(), complete=complete), head
        except NeedMoreData as more:
            head = _grown(read, head, start + more.bytes_needed, bytes_total)


def _grown(read: Read, head: bytes, bytes_needed: int, bytes_total: int) -> bytes:
    """The head again, at least twice as long, never past the object or the limit of headers."""
    size = min(max(2 * len(head), bytes_needed), bytes_total, HEADER_BYTES_MAX + _FIRST_READ_BYTES)
    longer = read(0, size)
    if len(longer) <= len(head):
        raise InvalidObjectError(
            f"the object ends after {len(longer)} bytes, inside its header; it is truncated, send it again"
        )
    return longer


def _header(data: bytes, found: ScannedHeader, offset: int) -> tuple[Dataset, PixelDataPlace | None]:
    if found.limited:
        raise TooLargeError(f"the header is longer than {HEADER_BYTES_MAX} bytes; its pixels are not decoded")
    encoding = found.encoding
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            header = read_dataset(io.BytesIO(data[: found.end]), not encoding.explicit_vr, encoding.little_endian)
        except (*BROKEN, RecursionError, OSError) as error:  # the last two: sequences too deep, lost delimiters
            raise InvalidObjectError(f"the header cannot be read for its pixels: {error}") from error
        if not encoding.little_endian:
            turn_words(header)
    place = found.pixel_data
    if place is None:
        return header, None
    moved = dataclasses.replace(place, offset=place.offset + offset, value_offset=place.value_offset + offset)
    return header, moved


def _inflated(read: Read, offset: int, bytes_total: int) -> bytes:
    if bytes_total - offset > DEFLATED_OBJECT_BYTES_MAX:
        raise TooLargeError(f"a deflated object of {bytes_total} bytes is too long to be inflated for its pixels")
    data, ended = inflate(read(offset, bytes_total - offset), DEFLATED_OBJECT_BYTES_MAX)
    if not ended and len(data) >= DEFLATED_OBJECT_BYTES_MAX:
        raise TooLargeError(f"the deflated object has more than {DEFLATED_OBJECT_BYTES_MAX} bytes when inflated")
    return data
