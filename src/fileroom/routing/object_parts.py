"""A stored object taken apart to be changed: its attributes as a data set, and where its pixels lie.

Elements behind Pixel Data (signatures, late private groups) are attributes like the others and stand in the same data set.
"""

from __future__ import annotations

import asyncio
import io
import struct
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.archive.behind_pixels import end_of_pixel_data
from fileroom.archive.outgoing import turn_rest
from fileroom.archive.random_access import lasting_reader
from fileroom.archive.retrieve import StoredInstance, corrected_header, syntax_of
from fileroom.archive.services import Archive
from fileroom.archive.split import SplitObject, read_exactly, split_object
from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import FRAGMENTS_MAX, HEADER_BYTES_MAX
from fileroom.dicom import uids
from fileroom.dicom.big_endian import pixel_word_bytes, to_little_endian
from fileroom.dicom.header_scan import PixelDataPlace, declared_encoding
from fileroom.dicom.walk import ITEM, SEQUENCE_DELIMITER
from fileroom.pixels.header_values import BROKEN
from fileroom.pixels.source import Read

FIRST_PIXEL_TAG: Final = 0x7FE00008
_TRAILING_PADDING: Final = 0xFFFCFFFC
_PLAIN: Final = frozenset({uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN})
"""What writers confuse: how the bytes really are is believed."""
_ITEM: Final = struct.Struct("<HHI")


@dataclass(frozen=True, slots=True)
class ObjectParts:
    """`dataset` has every attribute but the pixels, corrections laid over. `syntax` is the transfer syntax in which they and
    the pixel element leave without work: that of the stored object, or Explicit VR Little Endian where that is deflated or
    big endian. `pixels` is the place of the pixel element, `pixel_bytes` its length with its header; 0 without pixels."""

    header: bytes
    dataset: Dataset
    syntax: str
    pixels: PixelDataPlace | None
    pixel_bytes: int
    word_bytes: int = 1
    """Of a big endian object: the size of the words in its pixel data."""


async def take_apart(archive: Archive, instance: StoredInstance) -> ObjectParts:
    """Raises NotFoundError, StorageError; InvalidObjectError for an object that cannot be read as a whole."""
    split = await split_object(archive, instance)
    scanned = split.scanned
    if scanned.limited or scanned.truncated:
        raise InvalidObjectError(
            f"The header of {instance.sop_instance_uid} is longer than {HEADER_BYTES_MAX} bytes or ends too early; the object "
            "can only be sent as it is stored."
        )
    header = corrected_header(split, instance)
    behind, pixel_bytes = await _behind(archive, instance, split)
    turned = not scanned.encoding.little_endian
    words = pixel_word_bytes(header) if turned else 1
    if turned:
        header = await asyncio.to_thread(to_little_endian, header)
        behind = await asyncio.to_thread(to_little_endian, behind)
    plain = uids.EXPLICIT_VR_LITTLE_ENDIAN if turned else syntax_of(scanned.encoding)
    dataset = await asyncio.to_thread(_data_set, header, behind, plain)
    syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
    is_plain = turned or syntax.deflated or instance.transfer_syntax_uid in _PLAIN
    kept = plain if is_plain else instance.transfer_syntax_uid
    return ObjectParts(header, dataset, kept, scanned.pixel_data, pixel_bytes, words if turned else 1)


async def pixel_element(archive: Archive, instance: StoredInstance, parts: ObjectParts) -> AsyncIterator[bytes]:
    """The whole element with its header, as it is stored (deflated and big endian ones turned), in pieces."""
    if parts.pixels is None:
        return
    left = parts.pixel_bytes
    syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
    if syntax.deflated or not syntax.little_endian:
        stream = (await split_object(archive, instance)).rest
        if not syntax.little_endian:
            stream = turn_rest(stream, parts.word_bytes)
    else:
        stream = archive.store.stream(instance.storage_key, instance.dataset_offset + parts.pixels.offset, left)
    async for piece in stream:
        yield piece[:left]
        left -= min(left, len(piece))
        if not left:
            return
    raise InvalidObjectError(
        f"{instance.sop_instance_uid} ends {left} bytes before its pixel data does; it is truncated"
    )


async def _behind(archive: Archive, instance: StoredInstance, split: SplitObject) -> tuple[bytes, int]:
    """(elements behind the pixel element, encoded; length of the pixel element)."""
    place = split.scanned.pixel_data
    if place is None:
        return b"", 0
    if uids.transfer_syntax(instance.transfer_syntax_uid).deflated:
        length = place.value_offset - place.offset + (place.length or 0)
        return await _after(split.rest, length), length
    end = await end_of_pixel_data(archive, instance, split)
    if end is None:
        read = lasting_reader(archive, instance, asyncio.get_running_loop())
        end = await asyncio.to_thread(_walk, read, instance, instance.dataset_offset + place.value_offset)
    end = min(end, instance.file_bytes)
    length = instance.file_bytes - end
    _require_short(length)
    data = await read_exactly(archive, instance, end, length) if length else b""
    return data, end - instance.dataset_offset - place.offset


async def _after(stream: AsyncIterator[bytes], skip: int) -> bytes:
    kept: list[bytes] = []
    count = 0
    async for piece in stream:
        rest = piece[skip:]
        skip -= min(skip, len(piece))
        count += len(rest)
        _require_short(count)
        kept.append(rest)
    return b"".join(kept)


def _require_short(length: int) -> None:
    if length > HEADER_BYTES_MAX:
        raise InvalidObjectError(
            f"{length} bytes of attributes stand behind the pixel data; such an object can only be sent as it is stored"
        )


def _walk(read: Read, instance: StoredInstance, position: int) -> int:
    """The end of fragments, item by item."""
    for _ in range(FRAGMENTS_MAX):
        head = read(position, _ITEM.size)
        if len(head) < _ITEM.size:
            return instance.file_bytes
        group, number, length = _ITEM.unpack(head)
        if group << 16 | number == SEQUENCE_DELIMITER:
            return position + _ITEM.size
        if group << 16 | number != ITEM:
            return position
        position += _ITEM.size + length
    raise InvalidObjectError(f"{instance.sop_instance_uid} has more than {FRAGMENTS_MAX} fragments")


def _data_set(header: bytes, behind: bytes, syntax: str) -> Dataset:
    encoding = declared_encoding(syntax)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = read_dataset(io.BytesIO(header), not encoding.explicit_vr, encoding.little_endian)
            if len(behind) >= _ITEM.size:
                late = read_dataset(io.BytesIO(behind), not encoding.explicit_vr, encoding.little_endian)
                for tag in [tag for tag in late._dict if FIRST_PIXEL_TAG < tag != _TRAILING_PADDING]:
                    dataset._dict[tag] = late._dict[tag]
        except (*BROKEN, RecursionError, OSError) as error:
            raise InvalidObjectError(
                f"The header cannot be read: {error}. The object can only be sent as it is stored."
            ) from error
    return dataset
