"""A stored object in two parts: its header in memory, and the rest (Pixel Data and what follows) as a stream.

A deflated data set (PS3.5 A.5) is inflated on the way, so that both parts are always plain elements.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidObjectError, StorageError
from fileroom.core.limits import HEADER_BYTES_MAX, KIB, STREAM_CHUNK_BYTES
from fileroom.dicom import uids
from fileroom.dicom.header_scan import NeedMoreData, ScannedHeader, scan_header
from fileroom.index.stored import StoredInstance

_FIRST_READ_BYTES: Final = 64 * KIB
_NOTHING_WANTED: Final[frozenset[int]] = frozenset()


@dataclass(frozen=True, slots=True)
class SplitObject:
    """`header`: the whole elements before Pixel Data, at most HEADER_BYTES_MAX of them. `rest`: everything after.

    `scanned.encoding` is how both are encoded, `scanned.pixel_data` the place of Pixel Data if the rest begins with it.
    `rest_bytes` is the length of the rest, None when that is not known (deflated). `rest` can be iterated once; nothing
    is opened before that.
    """

    header: bytes
    scanned: ScannedHeader
    rest: AsyncIterator[bytes]
    rest_bytes: int | None


async def split_object(archive: Archive, instance: StoredInstance) -> SplitObject:
    """Read the header. Raises NotFoundError when the file is lost, InvalidObjectError, StorageError."""
    if uids.transfer_syntax(instance.transfer_syntax_uid).deflated:
        return await _split_deflated(archive, instance)
    dataset_bytes = instance.file_bytes - instance.dataset_offset
    expected = instance.pixel_offset - instance.dataset_offset if instance.pixel_offset else _FIRST_READ_BYTES
    size = min(expected, dataset_bytes, HEADER_BYTES_MAX)
    while True:
        head = await read_exactly(archive, instance, instance.dataset_offset, size)
        try:
            complete = size == dataset_bytes
            scanned = scan_header(head, instance.transfer_syntax_uid, _NOTHING_WANTED, complete=complete)
            break
        except NeedMoreData as need:
            size = min(max(need.bytes_needed, 4 * size), dataset_bytes, HEADER_BYTES_MAX)
    start = instance.dataset_offset + scanned.end
    rest = archive.store.stream(instance.storage_key, start, instance.file_bytes - start)
    return SplitObject(head[: scanned.end], scanned, rest, instance.file_bytes - start)


async def read_exactly(archive: Archive, instance: StoredInstance, offset: int, length: int) -> bytes:
    """`length` bytes of the stored file. Raises StorageError when it has become shorter than its row says."""
    data = await archive.store.read(instance.storage_key, offset, length)
    if len(data) != length:
        raise StorageError(
            f"The file of {instance.sop_instance_uid} ({instance.storage_key}) ends before byte {offset + length}, but "
            f"{instance.file_bytes} bytes were stored. Run 'fileroom verify' and restore it from a copy."
        )
    return data


# --- deflated ---


async def _split_deflated(archive: Archive, instance: StoredInstance) -> SplitObject:
    """Inflate until the header is whole; the rest goes on from there."""
    stream = _inflated(archive.store.stream(instance.storage_key, instance.dataset_offset))
    head = b""
    complete = False
    needed = _FIRST_READ_BYTES
    while True:
        while len(head) < needed and not complete:
            piece = await anext(stream, None)
            complete = piece is None
            head += piece or b""
        try:
            window = head[:HEADER_BYTES_MAX]
            is_all = complete and len(head) <= HEADER_BYTES_MAX
            scanned = scan_header(window, uids.EXPLICIT_VR_LITTLE_ENDIAN, _NOTHING_WANTED, complete=is_all)
            break
        except NeedMoreData as need:
            needed = max(need.bytes_needed, 2 * len(head))
    return SplitObject(head[: scanned.end], scanned, _joined(head[scanned.end :], stream), None)


async def _inflated(deflated: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The plain bytes, never more than STREAM_CHUNK_BYTES at a time. Some writers add a zlib header: it is taken too."""
    inflater = None
    async for piece in deflated:
        if inflater is None:
            inflater = _inflater(piece)
        data = piece
        while data and not inflater.eof:
            try:
                yield inflater.decompress(data, STREAM_CHUNK_BYTES)
            except zlib.error as error:
                raise InvalidObjectError(f"the deflated data set is corrupt: {error}") from error
            data = inflater.unconsumed_tail
    if inflater is not None and not inflater.eof:
        yield inflater.flush()


def _inflater(first: bytes) -> zlib._Decompress:
    for window_bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        try:
            zlib.decompressobj(window_bits).decompress(first, KIB)
        except zlib.error:
            continue
        return zlib.decompressobj(window_bits)
    raise InvalidObjectError("the data set is not deflated although its transfer syntax says so")


async def _joined(first: bytes, more: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in more:
        yield piece
