"""Values that metadata only refer to: found in the stored object, given whole or in ranges (PS3.18 10.4.1.1.5).

A value of the header comes with corrections laid over, from memory; a long one behind the header (a document, pixels) is a
range of the stored file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fileroom.archive import retrieve
from fileroom.archive.behind_pixels import end_of_pixel_data
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.archive.split import read_exactly, split_object
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, UnsupportedError
from fileroom.core.limits import BULK_ELEMENTS_MAX
from fileroom.dicom import uids, walk
from fileroom.dicom.big_endian import WORD_BYTES, pixel_word_bytes, turned
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.header_scan import PIXEL_DATA, PIXEL_TAGS, declared_encoding
from fileroom.dicom.values import swapped
from fileroom.dicom.walk import UNDEFINED_LENGTH, Encoding, RanOutError

BulkPath = tuple[int, ...]
"""A tag, or tags with item indexes (from 0) between them."""

_LONGEST_ELEMENT_HEAD_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class BulkValue:
    """One value, little endian: `data`, or where it lies in the stored file, as words to be turned if they are longer
    than a byte."""

    instance: StoredInstance
    length: int
    data: bytes | None = None
    offset: int = 0
    word_bytes: int = 1


async def find_bulk_value(archive: Archive, instance: StoredInstance, path: BulkPath) -> BulkValue:
    """The value at `path`.

    Raises NotFoundError, UnsupportedError (encapsulated pixels are frames), NotAllowedError, StorageError.
    """
    require(Permission.STUDY_VIEW)
    header = await retrieve.read_header_bytes(archive, instance, behind=path[0] > PIXEL_DATA)
    for data in filter(None, (header.data, header.behind)):
        if (value := _value_in_elements(data, declared_encoding(header.transfer_syntax), path)) is not None:
            return BulkValue(instance, len(value), data=value)
    if len(path) == 1:
        found = await _behind_header(archive, instance, path[0])
        if found is not None:
            return found
    raise NotFoundError(f"{instance.sop_instance_uid} has no value at {'/'.join(_shown(path))}.")


def bulk_pieces(archive: Archive, value: BulkValue, start: int, stop: int) -> AsyncIterator[bytes]:
    """Bytes `start` up to, not including, `stop` of the value, in pieces.

    Raises NotAllowedError at once, NotFoundError, StorageError.
    """
    require(Permission.STUDY_VIEW)
    if value.data is not None:
        return _one_piece(value.data[start:stop])
    if value.word_bytes > 1:
        return _turned_pieces(archive, value, start, stop)
    return archive.store.stream(value.instance.storage_key, value.offset + start, stop - start)


async def _one_piece(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _turned_pieces(archive: Archive, value: BulkValue, start: int, stop: int) -> AsyncIterator[bytes]:
    """Whole words are read and turned; what was not asked for of the first and the last one is cut off."""
    size = value.word_bytes
    first = start - start % size
    last = min(stop + -stop % size, value.length)
    position, left = first, b""
    async for piece in archive.store.stream(value.instance.storage_key, value.offset + first, last - first):
        data = left + piece
        whole = len(data) if position + len(data) == last else len(data) - len(data) % size
        left = data[whole:]
        yield turned(data[:whole], size)[max(start - position, 0) : stop - position]
        position += whole


def _value_in_elements(data: bytes, encoding: Encoding, path: BulkPath) -> bytes | None:
    try:
        located = walk.locate(data, encoding, path)
    except RanOutError:
        return None
    if located is None:
        return None
    element, encoding = located
    raw = data[element.value_start : element.value_end]
    vr = element.vr.decode("latin_1") if element.vr else vr_of(element.tag)
    return raw if encoding.little_endian else swapped(raw, vr)


async def _behind_header(archive: Archive, instance: StoredInstance, tag: int) -> BulkValue | None:
    """A top-level element that the header does not hold: its place is found by going from element to element."""
    if uids.transfer_syntax(instance.transfer_syntax_uid).deflated:
        return None
    split = await split_object(archive, instance)
    encoding = split.scanned.encoding
    position = instance.dataset_offset + len(split.header)
    if tag > PIXEL_DATA and split.scanned.pixel_data is not None:
        position = await end_of_pixel_data(archive, instance, split) or position
    for _ in range(BULK_ELEMENTS_MAX):
        size = min(_LONGEST_ELEMENT_HEAD_BYTES, instance.file_bytes - position)
        if size < 8:
            return None
        head = await read_exactly(archive, instance, position, size)
        found, vr, value_start, length = walk.element_header(head, 0, size, encoding)
        if found == tag:
            place = position + value_start
            return _value_in_file(instance, place, length, (tag, vr), encoding, split.header)
        if found > tag or length == UNDEFINED_LENGTH:
            return None
        position += value_start + length
    return None


def _value_in_file(
    instance: StoredInstance,
    offset: int,
    length: int,
    element: tuple[int, bytes | None],
    encoding: Encoding,
    header: bytes,
) -> BulkValue:
    tag, vr = element
    if length == UNDEFINED_LENGTH:
        raise UnsupportedError(f"{'/'.join(_shown((tag,)))} is encapsulated: ask for its frames.")
    length = min(length, instance.file_bytes - offset)
    if encoding.little_endian:
        return BulkValue(instance, length, offset=offset)
    is_pixels = vr == b"OW" and tag in PIXEL_TAGS
    word_bytes = pixel_word_bytes(header) if is_pixels else WORD_BYTES.get(vr or b"", 1)
    return BulkValue(instance, length, offset=offset, word_bytes=word_bytes)


def _shown(path: BulkPath) -> list[str]:
    return [f"{number:08X}" if index % 2 == 0 else str(number) for index, number in enumerate(path)]
