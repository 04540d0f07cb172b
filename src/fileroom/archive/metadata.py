"""Series metadata in DICOM JSON (PS3.18 10.4.1.1.2, annex F), made once when a series has been quiet for a while.

The document is kept deflated in the object store (`metadata_documents`), and leaves so to those who take gzip. A series that
is still arriving, or has just been corrected, is answered from its headers, one after another; so is a small one, for which
a document would not pay.
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
from fileroom.archive.metadata_documents import (
    FOLDER,
    Document,
    document_packed,
    document_text,
    fits,
    open_document,
    write_document,
)
from fileroom.archive.retrieve import EncodedHeader, Selection, list_instances, read_header_bytes
from fileroom.archive.services import Archive
from fileroom.archive.slotted_deflate import GZIP_HEAD, GzipJoiner
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidObjectError, NotFoundError
from fileroom.dicom.json_model import BulkPath, BulkUri, encoded_to_model
from fileroom.index.series_documents import (
    SeriesRow,
    claim_series,
    is_document,
    put_document,
    series_of_study,
    stable_series,
)
from fileroom.index.stored import StoredInstance
from fileroom.index.visibility import Visibility, visibility_of

DOCUMENTED_INSTANCES_MIN: Final = 8
"""A smaller series is answered from its headers in a few milliseconds, and needs no file beside its own."""
SERIES_PER_ROUND: Final = 50
ORPHAN_AGE: Final = dt.timedelta(hours=1)
"""Far more than it takes from writing a document to noting its key."""
_INSTANCES_AT_ONCE: Final = 16
"""Headers turned into JSON in one turn of a thread: a few milliseconds."""
_SEPARATOR: Final = b",\n"
_AVAILABLE_TRANSFER_SYNTAX: Final = "00083002"
"""Available Transfer Syntax UID: nothing else in the metadata tells a viewer that an object is a film."""
_LEVEL: Final = 1
"""For what is deflated while somebody waits: the lowest costs a third of the usual level's time."""

_log: Final = structlog.get_logger(__name__)


def series_metadata(
    archive: Archive, study_uid: str, series_uid: str, bulk_data_root: str, *, packed: bool = False
) -> AsyncIterator[bytes]:
    """The JSON array of all instances of a series, in pieces: from its document if there is one, else from headers.

    Bulk data (Pixel Data, and values above INLINE_BINARY_BYTES_MAX) is named as
    `{bulk_data_root}/studies/{uid}/series/{uid}/instances/{uid}/bulkdata/{path}` where path is GGGGEEEE, and for an
    element in sequences GGGGEEEE/item/GGGGEEEE with items from 0. `bulk_data_root` is the address of the DICOMweb
    service without the last slash. `packed`: as a gzip stream, into which documents go as they are stored. Raises
    NotAllowedError at once, NotFoundError at the first piece, DatabaseError, StorageError.
    """
    visibility = visibility_of(require(Permission.STUDY_VIEW))
    return _metadata(archive, study_uid, series_uid, bulk_data_root, visibility, packed=packed)


def study_metadata(
    archive: Archive, study_uid: str, bulk_data_root: str, *, packed: bool = False
) -> AsyncIterator[bytes]:
    """The same for all series of a study, one array."""
    visibility = visibility_of(require(Permission.STUDY_VIEW))
    return _metadata(archive, study_uid, None, bulk_data_root, visibility, packed=packed)


def instances_metadata(
    archive: Archive, instances: Sequence[StoredInstance], bulk_data_root: str
) -> AsyncIterator[bytes]:
    """The same for these instances, from their headers."""
    require(Permission.STUDY_VIEW)
    return _array_of_instances(archive, instances, bulk_data_root)


async def _metadata(
    archive: Archive, study_uid: str, series_uid: str | None, root: str, visibility: Visibility, *, packed: bool
) -> AsyncIterator[bytes]:
    series = await _series_of(archive, study_uid, series_uid, visibility)
    if not series:
        what = f"series {series_uid} in study {study_uid}" if series_uid else f"study {study_uid}"
        raise NotFoundError(f"There is no {what}.")
    give = _packed_array if packed else _array
    async for piece in give(archive, series, root):
        yield piece


async def _array_of_instances(
    archive: Archive, instances: Sequence[StoredInstance], bulk_data_root: str
) -> AsyncIterator[bytes]:
    opening = b"["
    async for piece in _from_headers(archive, instances, bulk_data_root):
        yield opening + piece
        opening = _SEPARATOR
    yield b"]" if opening == _SEPARATOR else b"[]"


async def document_stable_series(archive: Archive) -> int:
    """Make the documents of series that have been quiet for `settings.series_stable_s`; returns how many were due.

    Raises NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.SYSTEM_MANAGE)
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

    Raises NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.SYSTEM_MANAGE)
    before = archive.now() - older_than
    removed = 0
    async for document in archive.store.objects(FOLDER):
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


async def _series_of(
    archive: Archive, study_uid: str, series_uid: str | None, visibility: Visibility
) -> list[SeriesRow]:
    try:
        return await series_of_study(archive.pool, study_uid, series_uid, visibility)
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


async def _packed_array(archive: Archive, series: Sequence[SeriesRow], root: str) -> AsyncIterator[bytes]:
    joiner = GzipJoiner()
    head, opening = GZIP_HEAD, b"["
    for row in series:
        is_first_piece = True
        async for piece in _packed_lines(archive, row, root, joiner):
            if is_first_piece:
                # Before this series is told to the joiner, which is at its end.
                yield head + joiner.plain(opening) + piece
                is_first_piece, head, opening = False, b"", _SEPARATOR
            else:
                yield piece
    yield head + joiner.plain(b"]" if opening == _SEPARATOR else b"[]") + joiner.end()


async def _packed_lines(archive: Archive, series: SeriesRow, root: str, joiner: GzipJoiner) -> AsyncIterator[bytes]:
    """`_lines` as deflated blocks, told to `joiner` at their end."""
    document = await _document(archive, series)
    if document is not None and fits(root):
        async for packed in document_packed(archive, document, root, joiner):
            yield packed
        return
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = count = 0
    async for text in _lines(archive, series, root):
        # The client shall see the first bytes at once, not when the encoder's buffer is full.
        yield deflater.compress(text) + (b"" if count else deflater.flush(zlib.Z_SYNC_FLUSH))
        crc, count = zlib.crc32(text, crc), count + len(text)
    if count:
        yield deflater.flush(zlib.Z_SYNC_FLUSH)
        joiner.add(crc, count)


async def _lines(archive: Archive, series: SeriesRow, root: str) -> AsyncIterator[bytes]:
    """The instances of a series as JSON objects, separated."""
    document = await _document(archive, series)
    if document is not None:
        async for piece in document_text(archive, document, root):
            yield piece
        return
    async for piece in _separated(_from_headers(archive, await _instances(archive, series), root)):
        yield piece


async def _document(archive: Archive, series: SeriesRow) -> Document | None:
    """The document of a series, if it has a true one."""
    if not (series.documented and series.document_key):
        return None
    try:
        return await open_document(archive, series.document_key)
    except NotFoundError:
        _log.warning("document_lost", storage_key=series.document_key)
        return None


async def _separated(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    separator = b""
    async for piece in pieces:
        yield separator + piece
        separator = _SEPARATOR


async def _instances(archive: Archive, series: SeriesRow) -> list[StoredInstance]:
    selection = Selection(study_uids=(series.study_instance_uid,), series_uids=(series.series_instance_uid,))
    return await list_instances(archive, selection)


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
        return await read_header_bytes(archive, instance, behind=True)
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
            model = encoded_to_model(
                header.data,
                header.transfer_syntax,
                bulk_uri=bulk_data_uri(instance, root),
                pixel_data=header.pixel_data,
                behind=header.behind,
            )
            model[_AVAILABLE_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [instance.transfer_syntax_uid]}
            return orjson.dumps(model, option=orjson.OPT_SORT_KEYS)
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
    return await write_document(archive, lambda root: _separated(_from_headers(archive, instances, root)))


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The series cannot be looked up: {type(error).__name__}. Try again later.")
