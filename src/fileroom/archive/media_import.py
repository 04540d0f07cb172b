"""Import of what lies in folders, ZIP files and on media: every file is tried, and what is refused is told with its reason.

An interrupted import goes on where it was: each file dealt with is a row, forgotten when the import is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fileroom.admin.audit_events import imported
from fileroom.archive.file_store import IncomingFile
from fileroom.archive.import_sources import Source, UnreadableError, name_for_people, read_pieces, sources
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind
from fileroom.archive.transfers import StudyCounts
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidObjectError, NotFoundError
from fileroom.index.imports import finished_paths, forget_import, note_finished

FILES_AT_ONCE: Final = 8
"""Enough for commits to go together; more only fills the memory."""
_NOTE_EVERY: Final = 100
"""Files between two notes of progress: what an interruption makes us read again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not imported, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of the files. `skipped` were done in an earlier, interrupted run."""

    stored: int = 0
    already_there: int = 0
    kept_aside: int = 0
    skipped: int = 0
    stored_bytes: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """All files."""
        return self.stored + self.already_there + self.kept_aside + self.skipped + len(self.refused)


Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


async def import_paths(
    archive: Archive, paths: Iterable[Path], *, progress: Progress | None = None, again: bool = False
) -> ImportReport:
    """Import files, folders (with everything below) and ZIP files.

    `again` forgets an earlier interrupted run. Raises NotFoundError when a path does not exist, NotAllowedError,
    StorageError or DatabaseError when the archive fails; what was imported stays, and the next call goes on from there.
    """
    require(Permission.STUDY_STORE)
    report = ImportReport()
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"There is no file or folder {name_for_people(path)}.")
        await _import_one_path(archive, path.resolve(), report, progress, again=again)
    return report


async def _import_one_path(
    archive: Archive, path: Path, report: ImportReport, progress: Progress | None, *, again: bool
) -> None:
    origin = name_for_people(path)
    if again:
        await forget_import(archive.pool, origin)
    done = await finished_paths(archive.pool, origin)
    found = await asyncio.to_thread(lambda: list(sources(path)))
    todo = [source for source in found if source.name not in done]
    report.skipped += len(found) - len(todo)
    finished: list[tuple[str, str]] = []
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.push_async_callback(lambda: note_finished(archive.pool, origin, finished))
        counts, refused_before = StudyCounts.empty(), len(report.refused)
        cleanup.callback(lambda: _put_down(archive, origin, counts, len(report.refused) - refused_before))
        async for source, outcome in _import_all(archive, todo, report, counts):
            finished.append((source.name, outcome))
            if progress is not None:
                progress(report.seen, len(found))
            if len(finished) >= _NOTE_EVERY:
                noted, finished[:] = list(finished), []
                await note_finished(archive.pool, origin, noted)
    await forget_import(archive.pool, origin)


def _put_down(archive: Archive, origin: str, counts: StudyCounts, refused: int) -> None:
    """For the audit trail: what came from here, also when the import was interrupted."""
    if counts.counts:
        archive.audit.note(imported(counts.studies(), origin))
    if refused:
        archive.audit.note(imported((), origin, failure=f"{refused} files were refused"))


async def _import_all(
    archive: Archive, todo: list[Source], report: ImportReport, counts: StudyCounts
) -> AsyncIterator[tuple[Source, str]]:
    """Several files at once, in the order in which they are done."""
    waiting = iter(todo)
    running: dict[asyncio.Task[str], Source] = {}
    try:
        while True:
            for source in waiting:
                running[asyncio.create_task(_import_file(archive, source, report, counts))] = source
                if len(running) >= FILES_AT_ONCE:
                    break
            if not running:
                return
            ready, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ready:
                source = running.pop(task)
                yield source, task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _import_file(archive: Archive, source: Source, report: ImportReport, counts: StudyCounts) -> str:
    incoming = IncomingFile(archive, "import", source.name[-200:])
    try:
        await _take(incoming, source)
        outcome = await incoming.finish()
    except (InvalidObjectError, UnreadableError) as error:
        await incoming.abort()
        incoming.count_failure(error)
        report.refused.append(Refused(source.name, str(error)))
        return "refused"
    except BaseException:
        await incoming.abort()
        raise
    counts.add(outcome)
    if outcome.kind is StoreKind.STORED:
        report.stored += 1
        report.stored_bytes += source.size
    elif outcome.kind is StoreKind.ALREADY_THERE:
        report.already_there += 1
    else:
        report.kept_aside += 1
    return outcome.kind.value


async def _take(incoming: IncomingFile, source: Source) -> None:
    async with contextlib.aclosing(read_pieces(source)) as pieces:
        async for piece in pieces:
            try:
                incoming.write(piece)
            except InvalidObjectError as error:
                await incoming.refuse(error)
                raise
            await incoming.drain()
