"""`fileroom verify`: does every row have its object, whole and unchanged, and every object its row?

Rows are those of instances and those of conflicts, whose objects are kept aside. With repair, an object without a row is
filed; the row of an object that is missing or damaged is taken away and remembered as lost, so that a copy can be sent
again. Nothing is deleted but a second copy of what is filed already.
The same check, without checksums and for the last days only, runs at every start.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from fileroom.archive.filing import FILE_META_BYTES_MAX, Filed, file_stored_object
from fileroom.archive.rebuild import OBJECTS_PREFIX
from fileroom.archive.services import Archive
from fileroom.archive.store_identity import require_own_store
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidObjectError, NotFoundError, StorageError
from fileroom.dicom.part10 import parse_file_meta
from fileroom.index.upkeep import (
    FiledObject,
    KeptAside,
    count_filed_objects,
    count_kept_aside,
    filed_objects,
    forget_lost,
    kept_aside,
    known_keys,
    record_lost,
    record_lost_conflict,
)
from fileroom.storage.store import StoredObject

_log: Final = structlog.get_logger(__name__)
_ROWS_AT_A_TIME: Final = 1000
_UNREADABLE: Final = "unreadable"
ARRIVING_FOR_S: Final = 300
"""An object without a row may still be on its way in; after five minutes it is not."""
RECENT_DAYS: Final = 2
"""What a crash may have left is of these days."""
UNREADABLE_IN_A_ROW_MAX: Final = 10
"""One bad sector does not end the check; so many objects in a row mean that the store is away."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `kind`: missing, damaged, unreadable, orphan. `repair`: what was done about it."""

    kind: str
    storage_key: str
    sop_instance_uid: str
    detail: str
    repair: str = ""


@dataclass(slots=True)
class VerifyReport:
    """What was compared, and what did not fit. `rows` are those of instances; conflicts stand for themselves."""

    rows: int = 0
    conflicts: int = 0
    objects: int = 0
    checked_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    _unreadable_in_a_row: int = field(default=0, init=False)


Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""


async def verify(
    archive: Archive,
    *,
    checksums: bool = True,
    repair: bool = False,
    prefixes: tuple[str, ...] = (OBJECTS_PREFIX,),
    progress: Progress | None = None,
) -> VerifyReport:
    """Compare rows with objects below `prefixes`, both ways.

    Raises NotAllowedError, StorageError (also when the store is not the one that the rows speak of), DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE if repair else Permission.SYSTEM_READ)
    report = VerifyReport()
    total = await count_filed_objects(archive.pool) + await count_kept_aside(archive.pool) if progress else 0
    await require_own_store(archive)
    for prefix in prefixes:
        async for row in _all_rows(archive, prefix):
            if isinstance(row, KeptAside):
                report.conflicts += 1
            else:
                report.rows += 1
            fault = await _fault(archive, row, report, checksums=checksums)
            if fault is not None:
                _note(report, await _settle_fault(archive, row, *fault, repair=repair))
            if progress is not None:
                progress(report.rows + report.conflicts, total)
        async for orphan in _orphans(archive, prefix, report):
            _note(report, await _settle_orphan(archive, orphan, repair=repair))
    return report


def _note(report: VerifyReport, finding: Finding) -> None:
    """Said at once: whoever reads the log must not wait for the end of a long run."""
    report.findings.append(finding)
    _log.warning("does_not_fit", kind=finding.kind, storage_key=finding.storage_key, repair=finding.repair)


async def recover(archive: Archive) -> VerifyReport:
    """After a start: sweep unfinished writes, and put right what a crash of the last days may have left."""
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    await archive.store.sweep(now - dt.timedelta(seconds=ARRIVING_FOR_S))
    days = (now - dt.timedelta(days=back) for back in range(RECENT_DAYS))
    prefixes = tuple(f"{OBJECTS_PREFIX}{day:%Y/%m/%d}/" for day in days)
    return await verify(archive, checksums=False, repair=True, prefixes=prefixes)


# --- rows without their object ---


_Row = FiledObject | KeptAside


async def _all_rows(archive: Archive, prefix: str) -> AsyncIterator[_Row]:
    for read in (filed_objects, kept_aside):
        last = 0
        while rows := await read(archive.pool, last, _ROWS_AT_A_TIME, prefix):
            for row in rows:
                yield row
            last = rows[-1].id


async def _fault(archive: Archive, row: _Row, report: VerifyReport, *, checksums: bool) -> tuple[str, str] | None:
    """(kind, detail) of what is wrong with the object of a row. Raises StorageError when the store seems to be away."""
    try:
        size = (await archive.store.stat(row.storage_key)).size
        if size != row.file_bytes:
            return "damaged", f"it has {size} bytes instead of {row.file_bytes}"
        if checksums:
            digest = hashlib.sha256()
            async for piece in archive.store.stream(row.storage_key, await _dataset_offset(archive, row)):
                digest.update(piece)
                report.checked_bytes += len(piece)
            if digest.digest() != row.digest:
                return "damaged", "its data set has changed: the SHA-256 differs from the one at its arrival"
    except NotFoundError:
        return "missing", "there is no such object in the store"
    except InvalidObjectError as error:
        return "damaged", f"its file meta information has changed: {error}"
    except StorageError as error:
        report._unreadable_in_a_row += 1
        if report._unreadable_in_a_row >= UNREADABLE_IN_A_ROW_MAX:
            raise
        return _UNREADABLE, str(error)
    report._unreadable_in_a_row = 0
    return None


async def _dataset_offset(archive: Archive, row: _Row) -> int:
    """Where the data set begins. The rows of conflicts do not say it, their files do."""
    if isinstance(row, FiledObject):
        return row.dataset_offset
    head = await archive.store.read(row.storage_key, 0, FILE_META_BYTES_MAX)
    return parse_file_meta(head, complete=True).data_set_offset


async def _settle_fault(archive: Archive, row: _Row, kind: str, detail: str, *, repair: bool) -> Finding:
    done = ""
    if repair and kind == _UNREADABLE:
        done = "its row stays: it may be readable again later"
    elif repair:
        if isinstance(row, KeptAside):
            await record_lost_conflict(archive.pool, row, kind, detail)
        else:
            await record_lost(archive.pool, row, kind, detail)
        done = "its row was taken away and noted as lost; send the object again"
    if isinstance(row, KeptAside):
        detail = f"kept aside as a conflict: {detail}"
    return Finding(kind, row.storage_key, row.sop_instance_uid, detail, done)


# --- objects without their row ---


async def _orphans(archive: Archive, prefix: str, report: VerifyReport) -> AsyncIterator[StoredObject]:
    youngest = archive.now() - dt.timedelta(seconds=ARRIVING_FOR_S)
    batch: list[StoredObject] = []
    async for stored in archive.store.objects(prefix):
        report.objects += 1
        batch.append(stored)
        if len(batch) == _ROWS_AT_A_TIME:
            for orphan in await _unknown(archive, batch, youngest):
                yield orphan
            batch = []
    for orphan in await _unknown(archive, batch, youngest):
        yield orphan


async def _unknown(archive: Archive, batch: list[StoredObject], youngest: dt.datetime) -> list[StoredObject]:
    known = await known_keys(archive.pool, [stored.key for stored in batch]) if batch else set()
    return [stored for stored in batch if stored.key not in known and stored.modified_at < youngest]


async def _settle_orphan(archive: Archive, orphan: StoredObject, *, repair: bool) -> Finding:
    finding = Finding("orphan", orphan.key, "", "no row speaks of it")
    if not repair:
        return finding
    try:
        filed = await file_stored_object(archive, orphan)
    except (InvalidObjectError, NotFoundError) as error:
        return Finding(_UNREADABLE, orphan.key, "", str(error), "it stays where it is")
    await forget_lost(archive.pool, orphan.key)
    if filed is Filed.SURPLUS:
        await archive.store.delete(orphan.key)
        return Finding("orphan", orphan.key, "", finding.detail, "deleted: the same content is filed already")
    return Finding("orphan", orphan.key, "", finding.detail, f"filed ({filed.value})")
