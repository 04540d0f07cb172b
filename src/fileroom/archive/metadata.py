"""Series metadata in DICOM JSON (PS3.18 10.4.1.1.2, annex F), made once when a series has been quiet for a while.

The document is kept compressed in the object store, one instance a line, with a placeholder for the address of the
DICOMweb service. A series that is still arriving, or has just been corrected, is answered from its headers, one after
another; so is a small one, for which a document would not pay.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson
import psycopg
import structlog

from fileroom.archive.correct import refresh_index
from fileroom.archive.retrieve import EncodedHeader, Selection, list_instances, read_header_bytes
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError, InvalidObjectError, NotFoundError
from fileroom.core.limits import STREAM_CHUNK_BYTES
from fileroom.dicom.json_model import BulkPath, BulkUri, encoded_to_json
from fileroom.index.series_documents import (
    SeriesRow,
    claim_series,
    is_document,
    put_document,
    series_of_study,
    stable_series,
)
from fileroom.index.stored import StoredInstance
from fileroom.storage.store import new_object_key

DOCUMENTED_INSTANCES_MIN: Final = 8
"""A smaller series is answered from its headers in a few milliseconds, and needs no file beside its own."""
SERIES_PER_ROUND: Final = 50
ORPHAN_AGE: Final = dt.timedelta(hours=1)
"""Far more than it takes from writing a document to noting its key."""
_INSTANCES_AT_ONCE: Final = 16
"""Headers turned into JSON in one turn of a thread: a few milliseconds."""
_ROOT: Final = "https://bulk-data.fileroom.invalid"
"""Stands in documents for the address of the DICOMweb service (RFC 2606 keeps .invalid free)."""
_SEPARATOR: Final = b",\n"
_GZIP: Final = 16 + zlib.MAX_WBITS
_LEVEL: Final = 3
"""5 MB of metadata in 40 ms to 3 % of their size; higher levels take much longer for little."""

_log: Final = structlog.get_logger(__name__)


async def series_metadata(
    archive: Archive, study_uid: str, series_uid: str, bulk_data_root: str
) -> AsyncIterator[bytes]:
    """The JSON array of all instances of a series, in pieces: from its document if there is one, else from headers.

    Bulk data (Pixel Data, and values above INLINE_BINARY_BYTES_MAX) is named as
    `{bulk_data_root}/studies/{uid}/series/{uid}/instances/{uid}/bulkdata/{path}` where path is GGGGEEEE, and for an
    element in sequences GGGGEEEE/item/GGGGEEEE with items from 0. `bulk_data_root` is the address of the DICOMweb
    service without the last slash. Raises NotFoundError at the first piece, DatabaseError, StorageError.
    """
    series = await _series_of(archive, study_uid, series_uid)
    if not series:
        raise NotFoundError(f"There is no series {series_uid} in study {study_uid}.")
    async for piece in _array(archive, series, bulk_data_root):
        yield piece


async def study_metadata(archive: Archive, study_uid: str, bulk_data_root: str) -> AsyncIterator[bytes]:
    """The same for all series of a study, one array."""
    series = await _series_of(archive, study_uid)
    if not series:
        raise NotFoundError(f"There is no study {study_uid}.")
    async for piece in _array(archive, series, bulk_data_root):
        yield piece


async def instances_metadata(
    archive: Archive, instances: Sequence[StoredInstance], bulk_data_root: str
) -> AsyncIterator[bytes]:
    """The same for these instances, from their headers."""
    opening = b"["
    async for piece in _from_headers(archive, instances, bulk_data_root):
        yield opening + piece
        opening = _SEPARATOR
    yield b"]" if opening == _SEPARATOR else b"[]"


async def document_stable_series(archive: Archive) -> int:
    """Make the documents of series that have been quiet for `settings.series_stable_s`; returns how many were due.

    Raises DatabaseError, StorageError.
    """
    try:
        due = await stable_series(archive.pool, archive.settings.series_stable_s, SERIES_PER_ROUND)
        for series in due:
            async with archive.pool.connection() as connection, connection.transaction():
                if await claim_series(connection, series):
                    await put_document(connection, series, await _make_document(archive, series))
    except psycopg.Error as error:
        raise _failure(error) from error
    return len(due)


async def remove_orphan_documents(archive: Archive, older_than: dt.timedelta = ORPHAN_AGE) -> int:
    """Remove documents that no series speaks of: what a crash or a rebuilt index left behind. Returns how many.

    Raises DatabaseError, StorageError.
    """
    before = archive.now() - older_than
    removed = 0
    async for document in archive.store.objects("documents"):
        if document.modified_at >= before:
            continue
        try:
            is_known = await is_document(archive.pool, document.key)
        except psycopg.Error as error:
            raise _failure(error) from error
        if not is_known:
            await archive.store.delete(document.key)
            removed += 1
    return removed


# --- giving ---


async def _series_of(archive: Archive, study_uid: str, series_uid: str | None = None) -> list[SeriesRow]:
    try:
        return await series_of_study(archive.pool, study_uid, series_uid)
    except psycopg.Error as error:
        raise _failure(error) from error


async def _array(archive: Archive, series: Sequence[SeriesRow], root: str) -> AsyncIterator[bytes]:
    opening = b"["
    for row in series:
        is_first_piece = True
        async for piece in _lines(archive, row, root):
            yield opening + piece if is_first_piece else piece
            is_first_piece, opening = False, _SEPARATOR
    yield b"]" if opening == _SEPARATOR else b"[]"


async def _lines(archive: Archive, series: SeriesRow, root: str) -> AsyncIterator[bytes]:
    """The instances of a series as JSON objects, separated."""
    if series.documented and series.document_key:
        try:
            async for piece in _from_document(archive, series.document_key, root):
                yield piece
            return
        except NotFoundError:
            _log.warning("document_lost", storage_key=series.document_key)
    separator = b""
    async for piece in _from_headers(archive, await _instances(archive, series), root):
        yield separator + piece
        separator = _SEPARATOR


async def _instances(archive: Archive, series: SeriesRow) -> list[StoredInstance]:
    selection = Selection(study_uids=(series.study_instance_uid,), series_uids=(series.series_instance_uid,))
    return await list_instances(archive, selection)


async def _from_document(archive: Archive, key: str, root: str) -> AsyncIterator[bytes]:
    """The lines of a document with the placeholder replaced. Raises NotFoundError before the first piece."""
    inflater = zlib.decompressobj(_GZIP)
    wanted, address = _ROOT.encode(), orjson.dumps(root)[1:-1]
    left = b""
    async for packed in archive.store.stream(key):
        while packed:
            plain = await asyncio.to_thread(inflater.decompress, packed, STREAM_CHUNK_BYTES)
            packed = inflater.unconsumed_tail
            whole, newline, rest = (left + plain).rpartition(b"\n")
            left = rest
            if whole:
                yield (whole + newline).replace(wanted, address)
    yield (left + inflater.flush()).replace(wanted, address)


async def _from_headers(archive: Archive, instances: Sequence[StoredInstance], root: str) -> AsyncIterator[bytes]:
    """Some instances at a time, separated, the first one alone: whoever waits sees that something comes."""
    start, size = 0, 1
    while start < len(instances):
        some = instances[start : start + size]
        headers = [await _header(archive, instance) for instance in some]
        yield await asyncio.to_thread(_to_json, some, headers, root)
        start, size = start + size, _INSTANCES_AT_ONCE


async def _header(archive: Archive, instance: StoredInstance) -> EncodedHeader | None:
    """None when the header cannot be had: one lost file must not hide the rest of a study."""
    try:
        return await read_header_bytes(archive, instance)
    except (NotFoundError, InvalidObjectError) as error:
        _log.warning("header_unreadable", storage_key=instance.storage_key, reason=str(error))
        return None


def _to_json(instances: Sequence[StoredInstance], headers: Sequence[EncodedHeader | None], root: str) -> bytes:
    return _SEPARATOR.join(
        _instance_json(instance, header, root) for instance, header in zip(instances, headers, strict=True)
    )


def _instance_json(instance: StoredInstance, header: EncodedHeader | None, root: str) -> bytes:
    if header is not None:
        try:
            return encoded_to_json(
                header.data,
                header.transfer_syntax,
                bulk_uri=bulk_data_uri(instance, root),
                pixel_data=header.pixel_data,
            )
        except InvalidObjectError as error:
            _log.warning("header_unreadable", storage_key=instance.storage_key, reason=str(error))
    return orjson.dumps(_what_the_index_knows(instance))


def bulk_data_uri(instance: StoredInstance, root: str) -> BulkUri:
    """Addresses of the instance's bulk data: tags in hexadecimal, item numbers between them."""
    url = (
        f"{root}/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}/bulkdata"
    )

    def address(path: BulkPath) -> str:
        steps = (f"{number:08X}" if place % 2 == 0 else str(number) for place, number in enumerate(path))
        return f"{url}/{'/'.join(steps)}"

    return address


def _what_the_index_knows(instance: StoredInstance) -> dict[str, Any]:
    known = {
        "00080016": instance.sop_class_uid,
        "00080018": instance.sop_instance_uid,
        "0020000D": instance.study_instance_uid,
        "0020000E": instance.series_instance_uid,
    }
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in known.items()}


# --- making ---


async def _make_document(archive: Archive, series: SeriesRow) -> str | None:
    """The key of a new document; None for a series that gets none. Raises DatabaseError, StorageError."""
    instances = await _instances(archive, series)
    if any(instance.corrections for instance in instances):
        # Objects that arrived after the corrections were indexed as they came.
        await refresh_index(archive, series.study_instance_uid)
    if len(instances) < DOCUMENTED_INSTANCES_MIN:
        return None
    writer = archive.store.begin(_document_key(archive))
    try:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        separator = b""
        async for lines in _from_headers(archive, instances, _ROOT):
            writer.write(await asyncio.to_thread(packer.compress, separator + lines))
            await writer.drain()
            separator = _SEPARATOR
        writer.write(packer.flush())
        writer.seal()
        await writer.flush()
    except BaseException:
        await writer.abort()
        raise
    return writer.key


def _document_key(archive: Archive) -> str:
    return new_object_key(archive.now(), "documents").removesuffix(".dcm") + ".json.gz"


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The series cannot be looked up: {type(error).__name__}. Try again later.")
