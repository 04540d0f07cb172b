"""Frames of stored objects, served from where they lie (PS3.18 10.4.1.1.6; PS3.5 A.4).

Where the frames of an object lie is worked out once and kept for a while (`FrameTables`); a frame is then a range of
the stored file, which a web worker can send without reading it.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import io
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.archive.bulk_data import bulk_pieces, find_bulk_value
from fileroom.archive.frame_tables import KnownFrames
from fileroom.archive.outgoing import SAME_VALUES
from fileroom.archive.random_access import lasting_reader, open_reader
from fileroom.archive.retrieve import FileRange
from fileroom.archive.services import Archive
from fileroom.archive.split import SplitObject, split_object
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError
from fileroom.dicom import uids, walk
from fileroom.dicom.walk import RanOutError
from fileroom.index.stored import StoredInstance
from fileroom.pixels.byte_order import turn_words
from fileroom.pixels.frames import FrameTable, NativeLayout, frame_bytes, frame_table, iter_frames
from fileroom.pixels.source import PixelSource, Read, open_source
from fileroom.pixels.transcode import transcode
from fileroom.pixels.transcoded import native_value, native_value_bytes

_PIXEL_GROUPS: Final = frozenset({0x0028, 0x7FE0})
_NUMBER_OF_FRAMES: Final = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded frame: its bytes, or the pieces of a local file that make it (`data` is None then).

    `length` is the sum of the pieces. `number` counts from 1.
    """

    number: int
    transfer_syntax: str
    length: int
    data: bytes | None
    ranges: tuple[FileRange, ...] = ()


async def count_frames(archive: Archive, instance: StoredInstance) -> int:
    """How many frames can be asked for. Raises NotFoundError when the object has no pixels, NotAllowedError."""
    require(Permission.STUDY_VIEW)
    return (await _known_frames(archive, instance)).table.count


async def read_frame(
    archive: Archive,
    instance: StoredInstance,
    number: int,
    transfer_syntax: str | None = None,
    *,
    as_ranges: bool = False,
) -> Frame:
    """Frame `number` (from 1) as stored, or in `transfer_syntax`.

    With `as_ranges`, a frame that can be sent from the file comes without its bytes. Raises NotFoundError when there is
    no such frame, UnsupportedError when it cannot be had in `transfer_syntax`, InvalidObjectError, NotAllowedError,
    StorageError.
    """
    return (await read_frames(archive, instance, [number], transfer_syntax, as_ranges=as_ranges))[0]


async def read_frames(
    archive: Archive,
    instance: StoredInstance,
    numbers: Sequence[int],
    transfer_syntax: str | None = None,
    *,
    as_ranges: bool = False,
) -> list[Frame]:
    """`read_frame` for several; every number is checked before the first frame is read. For few or as ranges."""
    require(Permission.STUDY_VIEW)
    known = await _known_frames(archive, instance)
    for number in numbers:
        known.table.segments(number - 1)
    stored = instance.transfer_syntax_uid
    wanted = transfer_syntax or stored
    path = archive.store.path(instance.storage_key)
    is_as_stored = wanted == stored or {wanted, stored} <= SAME_VALUES
    if is_as_stored and as_ranges and path is not None and _is_contiguous(known.table, stored):
        return [_range_frame(known.table, path, number, wanted) for number in numbers]
    loop = asyncio.get_running_loop()

    def read_all() -> list[Frame]:
        with open_reader(archive, instance, loop) as file:
            read = _plain_reader(instance, file)
            return [_read_one(known, read, number, stored if is_as_stored else wanted, wanted) for number in numbers]

    return await asyncio.to_thread(read_all)


@dataclass(frozen=True, slots=True)
class PixelValue:
    """The whole value of Pixel Data, uncompressed and little endian. `chunks` can be iterated once."""

    length: int
    chunks: AsyncIterator[bytes]


async def open_pixel_value(archive: Archive, instance: StoredInstance) -> PixelValue:
    """All frames one behind the other, as Pixel Data in Explicit VR Little Endian has them.

    The first frame is decoded here, so that what cannot be done is known before anything leaves. Raises NotFoundError when
    there are no pixels, UnsupportedError, InvalidObjectError, NotAllowedError,
    StorageError.
    """
    require(Permission.STUDY_VIEW)
    known = await _known_frames(archive, instance)
    syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
    if not (syntax.encapsulated or syntax.deflated):
        value = await find_bulk_value(archive, instance, (tag_for_keyword(known.pixel_keyword) or 0,))
        return PixelValue(value.length, bulk_pieces(archive, value, 0, value.length))
    known.table.segments(known.table.count - 1)
    file = lasting_reader(archive, instance, asyncio.get_running_loop())

    def begin() -> tuple[int, Iterator[bytes]]:
        frames = iter_frames(known.table, _plain_reader(instance, file))
        stored, plain = known.table.transfer_syntax, uids.EXPLICIT_VR_LITTLE_ENDIAN
        made = transcode(known.pixel_header, frames, stored, plain, pixel_keyword=known.pixel_keyword)
        return native_value_bytes(made), native_value(made)

    length, pieces = await asyncio.to_thread(begin)
    return PixelValue(length, _in_threads(pieces))


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


# --- one frame ---


def _is_contiguous(table: FrameTable, syntax: str) -> bool:
    """The bytes of the file are the frame: not deflated, not inside of bytes, not with swapped words."""
    if uids.transfer_syntax(syntax).deflated:
        return False
    layout = table.layout
    return not isinstance(layout, NativeLayout) or not (layout.swapped_words or layout.frame_bits % 8)


def _range_frame(table: FrameTable, path: Path, number: int, syntax: str) -> Frame:
    segments = table.segments(number - 1)
    ranges = tuple(FileRange(path, offset, length) for offset, length in segments)
    return Frame(number, syntax, sum(length for _, length in segments), None, ranges)


def _read_one(known: KnownFrames, read: Read, number: int, target: str, named: str) -> Frame:
    """A frame's bytes, decoded and encoded again when `target` is not what it is stored in."""
    stored = known.table.transfer_syntax
    data = frame_bytes(known.table, number - 1, read)
    if target != stored:
        header = copy.copy(known.pixel_header)
        header.NumberOfFrames = _NUMBER_OF_FRAMES
        made = transcode(header, [data], stored, target, pixel_keyword=known.pixel_keyword)
        data = next(made.frames)
    return Frame(number, named, len(data), data)


def _plain_reader(instance: StoredInstance, file: Read) -> Read:
    """Where the frame table's offsets lead to: the file, or the inflated data set."""
    if uids.transfer_syntax(instance.transfer_syntax_uid).deflated:
        return open_source(file, instance.file_bytes).read
    return file


# --- where frames lie ---


async def _known_frames(archive: Archive, instance: StoredInstance) -> KnownFrames:
    known = archive.frame_tables.get(instance.storage_key)
    if known is None:
        known = await _find_frames(archive, instance)
        archive.frame_tables.put(instance.storage_key, known)
    return known


async def _find_frames(archive: Archive, instance: StoredInstance) -> KnownFrames:
    """Offsets in the file; of a deflated object, in its inflated data set."""
    syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
    split = None if syntax.deflated else await split_object(archive, instance)
    if split is not None and split.scanned.pixel_data is None:
        raise NotFoundError(f"{instance.sop_instance_uid} has no pixel data, so it has no frames.")
    loop = asyncio.get_running_loop()

    def find() -> KnownFrames:
        with open_reader(archive, instance, loop) as read:
            source = _light_source(instance, split, read) if split else open_source(read, instance.file_bytes)
            return KnownFrames(frame_table(source), source.header, source.pixel_keyword)

    if split is not None and not syntax.encapsulated:
        return find()  # Nothing is read: the header that is here already tells all.
    return await asyncio.to_thread(find)


def _light_source(instance: StoredInstance, split: SplitObject, read: Read) -> PixelSource:
    """A pixel source with only that part of the header which pixels depend on: a tenth of the time of all of it."""
    place = split.scanned.pixel_data
    if place is not None:
        start = instance.dataset_offset
        place = dataclasses.replace(place, offset=place.offset + start, value_offset=place.value_offset + start)
    return PixelSource(_pixel_header(split), instance.transfer_syntax_uid, place, read, instance.file_bytes)


def _pixel_header(split: SplitObject) -> Dataset:
    encoding = split.scanned.encoding
    kept: list[bytes] = []
    try:
        for element in walk.elements(split.header, encoding):
            group = element.tag >> 16
            if group in _PIXEL_GROUPS or (group & 0xFF00) == 0x6000:
                kept.append(split.header[element.start : element.end])
    except RanOutError:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = read_dataset(io.BytesIO(b"".join(kept)), not encoding.explicit_vr, encoding.little_endian)
    if not encoding.little_endian:
        turn_words(header)
    return header
