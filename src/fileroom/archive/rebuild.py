"""`fileroom rebuild`: the whole index from storage alone.

Every object carries what its rows are made of. Objects are read oldest first, so that of two with the same UID the one
that was there first stays the one in the index. Corrections are rows of their own and stay; they are laid over again. Who
brought a study in is remembered in the database meanwhile. Where the database is lost, accounts are lost with it, and a
number that another account has by then must not open anything: such studies are nobody's own upload.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Final

from fileroom.archive.correct import refresh_index
from fileroom.archive.filing import Filed, ReadObject, read_stored_object, settle_filing
from fileroom.archive.services import Archive
from fileroom.archive.store_identity import adopt_store
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidObjectError, NotFoundError, StorageError
from fileroom.index.upkeep import corrected_studies, count_filed_objects, doomed_keys, forget_index, restore_uploaders
from fileroom.index.write import WriteOutcome
from fileroom.storage.store import StoredObject

OBJECTS_AT_ONCE: Final = 16
"""Enough for commits to go together."""
OBJECTS_PREFIX: Final = "objects/"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object that no rows could be made of, and why. It stays where it is."""

    storage_key: str
    reason: str


@dataclass(slots=True)
class RebuildReport:
    """What the store held."""

    indexed: int = 0
    surplus: int = 0
    conflicts: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """All objects."""
        return self.indexed + self.surplus + self.conflicts + len(self.unreadable)

    def count(self, filed: Filed) -> None:
        """Count one object."""
        if filed is Filed.INDEXED:
            self.indexed += 1
        elif filed is Filed.SURPLUS:
            self.surplus += 1
        else:
            self.conflicts += 1


Progress = Callable[[int, int], None]
"""Called with (objects done, objects in all)."""


async def rebuild(archive: Archive, *, progress: Progress | None = None) -> RebuildReport:
    """Empty the index and make it anew from the store.

    Raises NotAllowedError, StorageError, DatabaseError; it can be run again then.
    """
    require(Permission.SYSTEM_MANAGE)
    doomed = await doomed_keys(archive.pool)
    found = [stored async for stored in archive.store.objects(OBJECTS_PREFIX) if stored.key not in doomed]
    if not found and await count_filed_objects(archive.pool):
        raise StorageError(
            "The store holds no objects, but the index speaks of some; nothing was changed. Is the store's disk mounted, and "
            "is FILEROOM_STORAGE_URL right?"
        )
    found.sort(key=lambda stored: (stored.modified_at, stored.key))
    await forget_index(archive.pool)
    await adopt_store(archive)
    report = RebuildReport()
    await _file_all(archive, found, report, progress)
    await restore_uploaders(archive.pool)
    for study_uid in await corrected_studies(archive.pool):
        with contextlib.suppress(NotFoundError):  # its objects are gone; the correction waits for their return
            await refresh_index(archive, study_uid)
    return report


async def _file_all(
    archive: Archive, found: list[StoredObject], report: RebuildReport, progress: Progress | None
) -> None:
    """Objects are read side by side, but their rows are written in the order of `found`: the first of a UID stays."""
    committing: deque[tuple[ReadObject, asyncio.Future[WriteOutcome]]] = deque()

    async def settle_oldest() -> None:
        read, future = committing[0]
        report.count(await settle_filing(archive, read, await future))
        committing.popleft()
        if progress is not None:
            progress(report.seen, len(found))

    try:
        async with contextlib.aclosing(_read_ahead(archive, found)) as reading:
            async for read in reading:
                if isinstance(read, Unreadable):
                    report.unreadable.append(read)
                    continue
                committing.append((read, archive.writer.write(read.row)))
                if len(committing) >= OBJECTS_AT_ONCE:
                    await settle_oldest()
        while committing:
            await settle_oldest()
    finally:
        await asyncio.gather(*(future for _, future in committing), return_exceptions=True)


async def _read_ahead(archive: Archive, found: list[StoredObject]) -> AsyncGenerator[ReadObject | Unreadable, None]:
    """The objects in their order, several being read at once."""
    reading: deque[asyncio.Task[ReadObject | Unreadable]] = deque()
    try:
        for stored in found:
            reading.append(asyncio.create_task(_read(archive, stored)))
            if len(reading) >= OBJECTS_AT_ONCE:
                yield await reading.popleft()
        while reading:
            yield await reading.popleft()
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _read(archive: Archive, stored: StoredObject) -> ReadObject | Unreadable:
    try:
        return await read_stored_object(archive, stored)
    except (InvalidObjectError, NotFoundError) as error:
        return Unreadable(stored.key, str(error))
