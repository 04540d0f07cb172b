"""`fileroom rebuild`: the whole index from storage alone.

Every object carries what its rows are made of. Objects are read oldest first, so that of two with the same UID the one
that was there first stays the one in the index. Corrections are rows of their own and stay; they are laid over again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fileroom.archive.correct import refresh_index
from fileroom.archive.filing import Filed, file_stored_object
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidObjectError, NotFoundError
from fileroom.index.upkeep import corrected_studies, forget_index
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
    """Empty the index and make it anew from the store. Raises StorageError, DatabaseError; it can be run again then."""
    found = [stored async for stored in archive.store.objects(OBJECTS_PREFIX)]
    found.sort(key=lambda stored: (stored.modified_at, stored.key))
    await forget_index(archive.pool)
    report = RebuildReport()
    places = asyncio.Semaphore(OBJECTS_AT_ONCE)

    async def file_one(stored: StoredObject) -> None:
        async with places:
            try:
                report.count(await file_stored_object(archive, stored))
            except (InvalidObjectError, NotFoundError) as error:
                report.unreadable.append(Unreadable(stored.key, str(error)))
            if progress is not None:
                progress(report.seen, len(found))

    batch = 1024  # tasks at a time; the order within one is that of the clock to the second, which is all there is
    for start in range(0, len(found), batch):
        async with asyncio.TaskGroup() as group:
            for stored in found[start : start + batch]:
                group.create_task(file_one(stored))
    for study_uid in await corrected_studies(archive.pool):
        with contextlib.suppress(NotFoundError):  # its objects are gone; the correction waits for their return
            await refresh_index(archive, study_uid)
    return report
