"""Import of what lies in folders, ZIP files and on media: every file is tried, and what is refused is told with its reason.

An interrupted import goes on where it was: each file dealt with is a row, forgotten when the import is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from fileroom.archive.file_store import IncomingFile
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind
from fileroom.core.errors import InvalidObjectError, InvalidRequestError, NotFoundError
from fileroom.core.limits import STREAM_CHUNK_BYTES
from fileroom.index.imports import finished_paths, forget_import, note_finished

FILES_AT_ONCE: Final = 8
"""Enough for commits to go together; more only fills the memory."""
ZIP_MEMBERS_MAX: Final = 1_000_000
ZIP_RATIO_MAX: Final = 1000
"""A member that unpacks to more than this many times its size is an attack: DICOM compresses 20-fold at the best."""
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


@dataclass(frozen=True, slots=True)
class _Source:
    """One file to be imported: its name for people, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], BinaryIO]


Progress = Callable[[int, int], None]
"""Called with (files done, files in all)."""


async def import_paths(
    archive: Archive, paths: Iterable[Path], *, progress: Progress | None = None, again: bool = False
) -> ImportReport:
    """Import files, folders (with everything below) and ZIP files.

    `again` forgets an earlier interrupted run. Raises NotFoundError when a path does not exist, StorageError or
    DatabaseError when the archive fails; what was imported stays, and the next call goes on from there.
    """
    report = ImportReport()
    for path in paths:
        if not path.exists():
            raise NotFoundError(f"There is no file or folder {path}.")
        await _import_one_path(archive, path.resolve(), report, progress, again=again)
    return report


async def _import_one_path(
    archive: Archive, path: Path, report: ImportReport, progress: Progress | None, *, again: bool
) -> None:
    origin = str(path)
    if again:
        await forget_import(archive.pool, origin)
    done = await finished_paths(archive.pool, origin)
    sources = await asyncio.to_thread(lambda: list(_sources(path)))
    todo = [source for source in sources if source.name not in done]
    report.skipped += len(sources) - len(todo)
    finished: list[tuple[str, str]] = []
    async with contextlib.AsyncExitStack() as cleanup:
        cleanup.push_async_callback(lambda: note_finished(archive.pool, origin, finished))
        async for source, outcome in _import_all(archive, todo, report):
            finished.append((source.name, outcome))
            if progress is not None:
                progress(report.seen, len(sources))
            if len(finished) >= _NOTE_EVERY:
                noted, finished[:] = list(finished), []
                await note_finished(archive.pool, origin, noted)
    await forget_import(archive.pool, origin)


async def _import_all(
    archive: Archive, sources: list[_Source], report: ImportReport
) -> AsyncIterator[tuple[_Source, str]]:
    """Several files at once, in the order in which they are done."""
    waiting = iter(sources)
    running: dict[asyncio.Task[str], _Source] = {}
    try:
        while True:
            for source in waiting:
                running[asyncio.create_task(_import_file(archive, source, report))] = source
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


async def _import_file(archive: Archive, source: _Source, report: ImportReport) -> str:
    incoming = IncomingFile(archive, "import", source.name[-200:])
    try:
        with await asyncio.to_thread(source.open) as file:
            while piece := await asyncio.to_thread(file.read, STREAM_CHUNK_BYTES):
                incoming.write(piece)
                await incoming.drain()
        outcome = await incoming.finish()
    except InvalidObjectError as error:
        await incoming.abort()
        report.refused.append(Refused(source.name, str(error)))
        return "refused"
    except (OSError, zipfile.BadZipFile) as error:
        await incoming.abort()
        report.refused.append(Refused(source.name, f"The file cannot be read: {error}."))
        return "refused"
    except BaseException:
        await incoming.abort()
        raise
    if outcome.kind is StoreKind.STORED:
        report.stored += 1
        report.stored_bytes += source.size
    elif outcome.kind is StoreKind.ALREADY_THERE:
        report.already_there += 1
    else:
        report.kept_aside += 1
    return outcome.kind.value


# --- what there is to import ---


def _sources(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                yield from _sources_of_file(Path(folder) / name)
    elif path.name.upper() == "DICOMDIR":
        for file in sorted(p for p in path.parent.rglob("*") if p.is_file() and p != path):
            yield from _sources_of_file(file)
    else:
        yield from _sources_of_file(path)


def _sources_of_file(path: Path) -> Iterator[_Source]:
    if path.name.upper() == "DICOMDIR" or not path.is_file():
        return
    if zipfile.is_zipfile(path) and not _has_dicom_prefix(path):
        yield from _zip_members(path)
    else:
        yield _Source(str(path), path.stat().st_size, lambda: path.open("rb"))


def _has_dicom_prefix(path: Path) -> bool:
    """A ZIP file is recognised by its end, which may also be that of a DICOM file that holds one."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _zip_members(path: Path) -> Iterator[_Source]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > ZIP_MEMBERS_MAX:
        raise InvalidRequestError(
            f"{path} has {len(members)} files; more than {ZIP_MEMBERS_MAX} are not imported at once."
        )
    for member in members:
        if member.is_dir() or Path(member.filename).name.upper() == "DICOMDIR":
            continue
        yield _Source(f"{path}!{member.filename}", member.file_size, _member_opener(path, member))


def _member_opener(path: Path, member: zipfile.ZipInfo) -> Callable[[], BinaryIO]:
    def open_member() -> BinaryIO:
        if member.file_size > ZIP_RATIO_MAX * max(1, member.compress_size):
            raise zipfile.BadZipFile("it unpacks to more than 1,000 times its size")
        with zipfile.ZipFile(path) as archive:
            return archive.open(member)  # type: ignore[return-value]  # a binary file that can only be read

    return open_member
