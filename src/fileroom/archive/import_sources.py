"""What there is to import: the files of folders, media and ZIP files, each with a name and a way to read it.

Nothing here stops an import: what cannot be read is a source whose reading says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import lzma
import os
import threading
import zipfile
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, NoReturn

from fileroom.core.limits import STREAM_CHUNK_BYTES

ZIP_MEMBERS_MAX: Final = 1_000_000
ZIP_RATIO_MAX: Final = 1000
"""A member that unpacks to more than this many times its size is an attack: DICOM compresses 20-fold at the best."""

# What zipfile raises for archives that are broken, encrypted (RuntimeError) or packed in an unknown way.
_UNREADABLE: Final = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


class UnreadableError(Exception):
    """A source cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to be imported: its name for people, its size, and how to open it."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


def sources(path: Path) -> Iterator[Source]:
    """The files that a path stands for: itself, everything below a folder or beside a DICOMDIR, a ZIP file's members."""
    if path.name.upper() == "DICOMDIR":
        path = path.parent
    if not path.is_dir():
        yield from _sources_of_file(path)
        return
    failures: list[OSError] = []
    for folder, folders, names in os.walk(path, onerror=failures.append):
        folders.sort()
        for name in sorted(names):
            yield from _sources_of_file(Path(folder) / name)
    for failure in failures:
        yield _unreadable(failure.filename or path, failure)


async def read_pieces(source: Source) -> AsyncGenerator[bytes, None]:
    """The source's bytes, read in threads. Raises UnreadableError."""
    with ExitStack() as opened:
        with _translated():
            file = await asyncio.to_thread(lambda: opened.enter_context(source.open()))
        while True:
            with _translated():
                piece = await asyncio.to_thread(file.read, STREAM_CHUNK_BYTES)
            if not piece:
                return
            yield piece


def name_for_people(path: str | Path) -> str:
    """A path as text: names on old media are in the character set of their time, and no text to Python."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise UnreadableError(f"The file cannot be read: {error}.") from error


def _sources_of_file(path: Path) -> Iterator[Source]:
    try:
        if path.name.upper() == "DICOMDIR" or not path.is_file():
            return
        if zipfile.is_zipfile(path) and not _has_dicom_prefix(path):
            yield from _zip_members(path)
        else:
            yield Source(name_for_people(path), path.stat().st_size, lambda: path.open("rb"))
    except _UNREADABLE as error:
        yield _unreadable(path, error)


def _has_dicom_prefix(path: Path) -> bool:
    """A ZIP file is recognised by its end, which may also be that of a DICOM file that holds one."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _zip_members(path: Path) -> Iterator[Source]:
    with zipfile.ZipFile(path) as file:
        members = [member for member in file.infolist() if not _is_passed_over(member)]
    if len(members) > ZIP_MEMBERS_MAX:
        raise zipfile.BadZipFile(f"it has more than {ZIP_MEMBERS_MAX} files; unpack it and import the folder")
    shared = _SharedZipFile(path, len(members))
    for member in members:
        yield Source(f"{name_for_people(path)}!{member.filename}", member.file_size, partial(shared.open, member))


def _is_passed_over(member: zipfile.ZipInfo) -> bool:
    return member.is_dir() or Path(member.filename).name.upper() == "DICOMDIR"


class _SharedZipFile:
    """Opened with the first of its members and closed with the last: each opening reads the whole directory."""

    def __init__(self, path: Path, members: int) -> None:
        self._path = path
        self._to_be_opened = members
        self._file: zipfile.ZipFile | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
        with self._lock:  # members are read side by side, but opened and closed one at a time
            opened = self._open(member)
        try:
            yield opened
        finally:
            with self._lock:
                opened.close()

    def _open(self, member: zipfile.ZipInfo) -> IO[bytes]:
        if self._file is None:
            self._file = zipfile.ZipFile(self._path)
        self._to_be_opened -= 1
        try:
            if member.file_size > ZIP_RATIO_MAX * max(1, member.compress_size):
                raise zipfile.BadZipFile(f"it unpacks to more than {ZIP_RATIO_MAX:,} times its size")
            return self._file.open(member)
        finally:
            if self._to_be_opened == 0:
                self._file.close()  # the members that are still open keep it


def _unreadable(path: str | Path, error: Exception) -> Source:
    def fail() -> NoReturn:
        raise error

    return Source(name_for_people(path), 0, fail)
