"""Elements behind Pixel Data, found without reading pixels: digital signatures, late private groups, padding (PS3.5 7.1).

Behind pixels of defined length they are one step away. Behind fragments the last offset of an offset table leads there
(PS3.5 A.4, PS3.3 C.7.6.3.1.8), or a few steps from fragment to fragment; where it would take many, they stay unseen.
"""

from __future__ import annotations

import struct
from typing import Final

from fileroom.archive.services import Archive
from fileroom.archive.split import SplitObject, read_exactly
from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import BEHIND_PIXELS_BYTES_MAX, FRAGMENTS_STEPPED_MAX, KIB
from fileroom.dicom import uids, walk
from fileroom.dicom.header_scan import PixelDataPlace
from fileroom.dicom.walk import ITEM, SEQUENCE_DELIMITER, RanOutError
from fileroom.index.stored import StoredInstance

_ITEM_HEADER: Final = struct.Struct("<HHI")
_FIRST_READ_BYTES: Final = 1 * KIB
"""Holds the Basic Offset Table of some 250 frames and the header of the first fragment."""
_EXTENDED_OFFSET_TABLE: Final = 0x7FE00001


async def read_behind(archive: Archive, instance: StoredInstance, split: SplitObject) -> bytes:
    """The whole elements behind Pixel Data as they are stored; none where that takes much, or the object is deflated.

    Raises NotFoundError when the file is lost, StorageError.
    """
    start = await end_of_pixel_data(archive, instance, split)
    length = instance.file_bytes - (start or instance.file_bytes)
    if start is None or split.scanned.pixel_data is None or not _ITEM_HEADER.size <= length <= BEHIND_PIXELS_BYTES_MAX:
        return b""
    data = await read_exactly(archive, instance, start, length)
    last = split.scanned.pixel_data.tag
    end = 0
    try:
        for element in walk.elements(data, split.scanned.encoding):
            if element.tag <= last:
                break  # padding of careless writers, or another object
            last, end = element.tag, element.end
    except (RanOutError, InvalidObjectError):
        pass
    return data[:end]


async def end_of_pixel_data(archive: Archive, instance: StoredInstance, split: SplitObject) -> int | None:
    """Where in the stored file the element behind Pixel Data begins; None where that takes many steps, or is not there."""
    place = split.scanned.pixel_data
    if place is None or uids.transfer_syntax(instance.transfer_syntax_uid).deflated:
        return None
    if place.length is not None:
        return instance.dataset_offset + place.value_offset + place.length
    return await _end_of_fragments(archive, instance, split, place)


async def _end_of_fragments(
    archive: Archive, instance: StoredInstance, split: SplitObject, place: PixelDataPlace
) -> int | None:
    start = instance.dataset_offset + place.value_offset
    size = _ITEM_HEADER.size
    head = await read_exactly(archive, instance, start, min(_FIRST_READ_BYTES, instance.file_bytes - start))
    if _item_at(head, 0) is None:
        return None
    table_bytes = _item_at(head, 0) or 0
    first = position = start + size + table_bytes
    if offset := _last_offset(split) or await _last_basic_offset(archive, instance, start + size, table_bytes):
        position += offset
    for _ in range(FRAGMENTS_STEPPED_MAX):
        if position + size > instance.file_bytes - size:
            return instance.file_bytes  # at most a delimiter is there
        at = position - start
        raw = head[at : at + size] if 0 <= at <= len(head) - size else b""
        raw = raw or await read_exactly(archive, instance, position, size)
        group, number, length = _ITEM_HEADER.unpack(raw)
        if group << 16 | number == SEQUENCE_DELIMITER:
            return position + size
        if group << 16 | number == ITEM:
            position += size + length
        elif position == first + (offset or 0):
            return None  # the table lies, or there is no fragment at all
        else:
            return position
    return None


def _item_at(head: bytes, position: int) -> int | None:
    """The length of the item that begins there."""
    if len(head) < position + _ITEM_HEADER.size:
        return None
    group, number, length = _ITEM_HEADER.unpack_from(head, position)
    return length if group << 16 | number == ITEM else None


def _last_offset(split: SplitObject) -> int:
    """The last entry of the Extended Offset Table, 0 when there is none."""
    try:
        located = walk.locate(split.header, split.scanned.encoding, (_EXTENDED_OFFSET_TABLE,))
    except RanOutError:
        return 0
    value = split.header[located[0].value_start : located[0].value_end] if located else b""
    return int.from_bytes(value[-8:], "little")


async def _last_basic_offset(archive: Archive, instance: StoredInstance, start: int, table_bytes: int) -> int:
    """The last entry of the Basic Offset Table, 0 when it is empty."""
    if table_bytes < 4 or start + table_bytes > instance.file_bytes:
        return 0
    return int.from_bytes(await read_exactly(archive, instance, start + table_bytes - 4, 4), "little")
