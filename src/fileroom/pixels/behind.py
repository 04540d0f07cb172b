"""Elements that stand behind the pixel data: private groups, digital signatures (PS3.5 7.1 puts them there by their tags).

They pass through a change of transfer syntax like the header. What is no element there, as the padding of careless
writers, is left out, and so is Data Set Trailing Padding (FFFC,FFFC), which means nothing.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable, Iterator
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.core.errors import TooLargeError
from fileroom.core.limits import HEADER_BYTES_MAX, STREAM_CHUNK_BYTES
from fileroom.dicom import uids
from fileroom.dicom.header_scan import declared_encoding
from fileroom.dicom.walk import SEQUENCE_DELIMITER
from fileroom.pixels.byte_order import turn_words
from fileroom.pixels.frames import FragmentLayout, FrameTable
from fileroom.pixels.header_values import BROKEN
from fileroom.pixels.source import PixelSource
from fileroom.pixels.transcoded import header_bytes

_TRAILING_PADDING: Final = 0xFFFCFFFC
_DELIMITER: Final = struct.pack("<HHI", SEQUENCE_DELIMITER >> 16, SEQUENCE_DELIMITER & 0xFFFF, 0)
_SHORTEST_ELEMENT_BYTES: Final = 8


def chunks_behind(source: PixelSource, table: FrameTable, transfer_syntax: str) -> Iterable[bytes]:
    """The elements behind the pixel data, encoded in `transfer_syntax` and not deflated.

    More than HEADER_BYTES_MAX of them (films of ultrasound devices in private groups) pass unread. Raises TooLargeError
    when those would have to be encoded otherwise, InvalidObjectError when elements cannot be written.
    """
    start = _end_of_pixel_data(source, table)
    length = source.bytes_total - start
    if length < _SHORTEST_ELEMENT_BYTES:
        return ()
    if length > HEADER_BYTES_MAX:
        if declared_encoding(transfer_syntax) == declared_encoding(source.transfer_syntax):
            return _unread(source, start)
        raise TooLargeError(f"{length} bytes stand behind the pixel data; the object can only be sent as it was stored")
    found = _elements(source, source.read(start, length))
    return (header_bytes(found, transfer_syntax),) if found else ()


def _unread(source: PixelSource, start: int) -> Iterator[bytes]:
    for position in range(start, source.bytes_total, STREAM_CHUNK_BYTES):
        yield source.read(position, min(STREAM_CHUNK_BYTES, source.bytes_total - position))


def _elements(source: PixelSource, data: bytes) -> Dataset:
    """All words in them little endian. Nothing when the bytes are no elements."""
    syntax = uids.transfer_syntax(source.transfer_syntax)
    first = source.place.tag if source.place else 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read = read_dataset(io.BytesIO(data), not syntax.explicit_vr, syntax.little_endian)
            found = Dataset({tag: read[tag] for tag in list(read.keys()) if first < tag != _TRAILING_PADDING})
        except (RecursionError, OSError, *BROKEN):
            return Dataset()
    found.set_original_encoding(not syntax.explicit_vr, syntax.little_endian, read.original_character_set)
    if not syntax.little_endian:
        turn_words(found)
    return found


def _end_of_pixel_data(source: PixelSource, table: FrameTable) -> int:
    if source.place is None:
        return source.bytes_total
    if source.place.length is not None:
        return source.place.value_offset + source.place.length
    if not isinstance(table.layout, FragmentLayout):
        return source.bytes_total
    last = table.layout.offsets[-1] + table.layout.lengths[-1]
    end = last + last % 2  # An Extended Offset Table has lengths without the padding.
    return end + len(_DELIMITER) if source.read(end, len(_DELIMITER)) == _DELIMITER else end
