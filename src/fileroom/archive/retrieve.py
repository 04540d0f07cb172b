"""Giving stored objects back: find them, open them as they shall leave, read their headers (PS3.4 C.4.2, PS3.18 10.4).

Stored bytes are never changed. Corrections are laid over the header when it leaves; pixels pass untouched, unless the
caller asks for a transfer syntax in which they are encoded otherwise. Everything streams: an object of 2 GB costs a few
megabytes of memory.

Finding asks for a permission and keeps to the row scope of whoever acts; a `StoredInstance` that was found may then be
opened with the permission alone. STUDY_VIEW is what most need; `permission` names another where copies are taken away
(STUDY_EXPORT) or only attributes are looked at (STUDY_SEARCH).
"""

from __future__ import annotations

import asyncio
import io
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.archive.behind_pixels import read_behind
from fileroom.archive.outgoing import SAME_VALUES, chain, deflate, recode, turn_rest
from fileroom.archive.services import Archive
from fileroom.archive.split import SplitObject, read_exactly, split_object
from fileroom.archive.transcoding import transcode_object
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, StorageError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX
from fileroom.dicom import uids, walk
from fileroom.dicom.big_endian import pixel_word_bytes, to_little_endian
from fileroom.dicom.correction import correct_header
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.header_scan import PIXEL_DATA, PixelDataPlace, declared_encoding
from fileroom.dicom.part10 import build_file_meta
from fileroom.dicom.walk import Encoding, RanOutError
from fileroom.index import stored
from fileroom.index.stored import Selection, StoredInstance
from fileroom.index.visibility import visibility_of

__all__ = ["EncodedHeader", "FileRange", "OpenedObject", "Selection", "StoredInstance", "find_instances"]

HEADER_VALUE_BYTES_MAX: Final = 1 * MIB
"""Binary values that `read_header` still gives. Lookup tables and ICC profiles stay; documents and waveforms go."""
_TURNED_TO_SAME_VALUES: Final = SAME_VALUES | {uids.EXPLICIT_VR_BIG_ENDIAN}
_BINARY_VRS: Final = frozenset(b"OB OD OF OL OV OW UN".split())


@dataclass(frozen=True, slots=True)
class FileRange:
    """`length` bytes from `offset` of a local file, which may be sent as they are (sendfile)."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object on its way out.

    `length` is how many bytes `chunks` gives, None when that is known only at the end (deflated, transcoded). `file`
    is where those very bytes lie on the disk, None when they are made on the way out or are not in a local file;
    whoever sends `file` need not touch `chunks`. `chunks` can be iterated once; nothing is opened before that.
    """

    transfer_syntax: str
    length: int | None
    file: FileRange | None
    chunks: AsyncIterator[bytes]
    stored_from: int | None = None
    """Offset in the stored file when these are stored bytes as they are."""


@dataclass(frozen=True, slots=True)
class EncodedHeader:
    """The elements before Pixel Data in an uncompressed `transfer_syntax`; `pixel_data` tells what comes behind them.

    A deflated data set comes inflated. `behind`: the elements behind Pixel Data, where they were asked for and are near.
    """

    data: bytes
    transfer_syntax: str
    pixel_data: PixelDataPlace | None
    behind: bytes = b""


def find_instances(
    archive: Archive, selection: Selection, *, permission: Permission = Permission.STUDY_VIEW
) -> AsyncIterator[StoredInstance]:
    """The selected instances, streamed, by study, series number and instance number.

    They are looked up series by series, so the caller may take its time between two of them. Raises NotAllowedError at
    once, DatabaseError.
    """
    return stored.stream_instances(archive.pool, selection, visibility_of(require(permission)))


async def list_instances(
    archive: Archive, selection: Selection, *, permission: Permission = Permission.STUDY_VIEW
) -> list[StoredInstance]:
    """`find_instances` in a list (about 500 bytes for each). Raises NotAllowedError, DatabaseError."""
    return await stored.list_instances(archive.pool, selection, visibility_of(require(permission)))


async def get_instance(archive: Archive, study_uid: str, series_uid: str, sop_uid: str) -> StoredInstance:
    """One instance by its three UIDs. Raises NotFoundError, which says what of it exists; NotAllowedError, DatabaseError."""
    found = await list_instances(archive, Selection(sop_uids=(sop_uid,)))
    for instance in found:
        if instance.study_instance_uid == study_uid and instance.series_instance_uid == series_uid:
            return instance
    if found:
        raise NotFoundError(
            f"There is no instance {sop_uid} in series {series_uid} of study {study_uid}; it is in series "
            f"{found[0].series_instance_uid} of study {found[0].study_instance_uid}."
        )
    raise NotFoundError(f"There is no instance {sop_uid} in the archive. It was never received, or was deleted.")


async def open_object(
    archive: Archive,
    instance: StoredInstance,
    transfer_syntax: str | None = None,
    *,
    part10: bool,
    permission: Permission = Permission.STUDY_VIEW,
) -> OpenedObject:
    """The object as it leaves: with `part10` as a file (preamble and file meta), else its bare data set.

    `transfer_syntax` None or the stored one: the stored pixels untouched. Another one: re-encoded, frame by frame. Between
    Implicit and Explicit VR only the header changes, and from big endian only the order of bytes; pixels are not looked at.
    Raises NotFoundError when the object's file is lost, UnsupportedError when it cannot be had in `transfer_syntax`,
    InvalidObjectError when its pixels cannot be decoded, NotAllowedError, StorageError.
    """
    require(permission)
    stored_syntax = instance.transfer_syntax_uid
    syntax = transfer_syntax or stored_syntax
    if syntax == stored_syntax and not instance.corrections:
        return await _open_stored(archive, instance, part10=part10)
    if syntax == stored_syntax or (syntax in SAME_VALUES and stored_syntax in _TURNED_TO_SAME_VALUES):
        opened = await _open_with_new_header(archive, instance, syntax)
    else:
        opened = await _open_transcoded(archive, instance, syntax)
    return await _as_file(archive, instance, opened) if part10 else opened


async def read_small(archive: Archive, instance: StoredInstance, opened: OpenedObject) -> bytes | None:
    """All of a small opened object in one read, None when it is larger than OBJECT_MEMORY_BYTES_MAX."""
    if opened.length is None or opened.length > OBJECT_MEMORY_BYTES_MAX:
        return None
    if opened.stored_from is not None:
        return await read_exactly(archive, instance, opened.stored_from, opened.length)
    return b"".join([piece async for piece in opened.chunks])


async def read_header(
    archive: Archive, instance: StoredInstance, *, permission: Permission = Permission.STUDY_VIEW
) -> Dataset:
    """The data set without Pixel Data and without binary values above HEADER_VALUE_BYTES_MAX, corrections applied.

    Raises NotFoundError when the object's file is lost, InvalidObjectError, NotAllowedError, StorageError.
    """
    header = await read_header_bytes(archive, instance, permission=permission)
    return await asyncio.to_thread(_to_dataset, header)


async def read_pixel_header(archive: Archive, instance: StoredInstance) -> tuple[Dataset, str]:
    """`read_header`, and the keyword of the element that holds the pixels (PixelData when there are none)."""
    header = await read_header_bytes(archive, instance)
    place = header.pixel_data
    return await asyncio.to_thread(_to_dataset, header), keyword_for_tag(place.tag if place else PIXEL_DATA)


async def read_header_bytes(
    archive: Archive,
    instance: StoredInstance,
    *,
    behind: bool = False,
    permission: Permission = Permission.STUDY_VIEW,
) -> EncodedHeader:
    """The elements before Pixel Data as they leave, corrections laid over; with `behind`, those behind it as well.

    Raises as `read_header` does.
    """
    require(permission)
    split = await split_object(archive, instance)
    scanned = split.scanned
    found = await read_behind(archive, instance, split) if behind and scanned.pixel_data else b""
    return EncodedHeader(corrected_header(split, instance), syntax_of(scanned.encoding), scanned.pixel_data, found)


# --- ways to open ---


async def _open_stored(archive: Archive, instance: StoredInstance, *, part10: bool) -> OpenedObject:
    """Not a byte is changed."""
    start = 0 if part10 else instance.dataset_offset
    length = instance.file_bytes - start
    path = archive.store.path(instance.storage_key)
    if path is not None:
        await _require_file(archive, instance)
    return OpenedObject(
        transfer_syntax=instance.transfer_syntax_uid,
        length=length,
        file=FileRange(path, start, length) if path is not None else None,
        chunks=archive.store.stream(instance.storage_key, start, length),
        stored_from=start,
    )


async def _require_file(archive: Archive, instance: StoredInstance) -> None:
    """A file that is lost or cut must be noticed before the first byte leaves."""
    size = (await archive.store.stat(instance.storage_key)).size
    if size != instance.file_bytes:
        raise StorageError(
            f"The file of {instance.sop_instance_uid} ({instance.storage_key}) has {size} bytes, but "
            f"{instance.file_bytes} were stored. Run 'fileroom verify' and restore it from a copy."
        )


async def _open_with_new_header(archive: Archive, instance: StoredInstance, syntax: str) -> OpenedObject:
    """Corrections, or another encoding of the same values."""
    split = await split_object(archive, instance)
    header = corrected_header(split, instance)
    if syntax == instance.transfer_syntax_uid:
        plain = chain(header, split.rest)
        length = len(header) + split.rest_bytes if split.rest_bytes is not None else None
    else:
        encoding, rest, length = split.scanned.encoding, split.rest, None
        if not encoding.little_endian:
            rest = turn_rest(rest, pixel_word_bytes(header))
            header = await asyncio.to_thread(to_little_endian, header)
            encoding = walk.EXPLICIT_LE
            if syntax == uids.EXPLICIT_VR_LITTLE_ENDIAN and split.rest_bytes is not None:
                length = len(header) + split.rest_bytes
        pieces = recode(header, rest, encoding, syntax)
        # The header is the first piece: what cannot be re-encoded must be noticed before the first byte leaves.
        plain = chain(await anext(pieces), pieces)
    if uids.transfer_syntax(syntax).deflated:
        return OpenedObject(syntax, None, None, deflate(plain))
    return OpenedObject(syntax, length, None, plain)


async def _open_transcoded(archive: Archive, instance: StoredInstance, syntax: str) -> OpenedObject:
    """Pixels in another encoding."""
    made = await transcode_object(archive, instance, syntax)
    chunks = made.chunks if made.transfer_syntax == syntax else deflate(made.chunks)
    return OpenedObject(syntax, None, None, chunks)


async def _as_file(archive: Archive, instance: StoredInstance, opened: OpenedObject) -> OpenedObject:
    """With preamble and file meta in front: the received ones where they still tell the truth (PS3.10 7.1)."""
    if opened.transfer_syntax == instance.transfer_syntax_uid:
        meta = await read_exactly(archive, instance, 0, instance.dataset_offset)
    else:
        meta = build_file_meta(instance.sop_class_uid, instance.sop_instance_uid, opened.transfer_syntax)
    length = None if opened.length is None else len(meta) + opened.length
    return OpenedObject(opened.transfer_syntax, length, None, chain(meta, opened.chunks))


# --- headers ---


def corrected_header(split: SplitObject, instance: StoredInstance) -> bytes:
    """The header of a stored object with its corrections laid over."""
    if not instance.corrections:
        return split.header
    return correct_header(split.header, syntax_of(split.scanned.encoding), instance.corrections)


def syntax_of(encoding: Encoding) -> str:
    """The uncompressed transfer syntax with this encoding, which plain elements can be read by."""
    if not encoding.explicit_vr:
        return uids.IMPLICIT_VR_LITTLE_ENDIAN
    return uids.EXPLICIT_VR_LITTLE_ENDIAN if encoding.little_endian else uids.EXPLICIT_VR_BIG_ENDIAN


def _to_dataset(header: EncodedHeader) -> Dataset:
    encoding = declared_encoding(header.transfer_syntax)
    kept: list[bytes] = []
    try:
        for element in walk.elements(header.data, encoding):
            is_long = element.value_end - element.value_start > HEADER_VALUE_BYTES_MAX
            if not (is_long and (element.vr or vr_of(element.tag).encode()) in _BINARY_VRS):
                kept.append(header.data[element.start : element.end])
    except RanOutError:
        pass  # What came before the broken end is still worth having.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_dataset(io.BytesIO(b"".join(kept)), not encoding.explicit_vr, encoding.little_endian)
