"""Objects as files below one folder.

A file is written under a name ending in `.part`, renamed when it is whole, and flushed to the disk. On Linux's journaling
file systems the flush of a file that was just made and renamed carries its folder entries with it, so the folder itself
is flushed only when it is new.

Small objects are written in one go on the caller's thread (a copy into the page cache), large ones by the writer's own
thread, which starts the write-back while bytes still arrive, so that the last flush has little left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from fileroom.core.errors import NotFoundError, StorageError, StorageFullError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX, STREAM_CHUNK_BYTES
from fileroom.storage.store import MARKER_KEY, StoredObject

FLUSH_THREADS_MAX: Final = 16
"""Flushes wait for the disk, not for the processor; the journal joins those that wait together."""
WRITE_BACK_BYTES: Final = 16 * MIB
"""How much of a large object may be unwritten before its write-back is started."""
_PART: Final = ".part"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


Argument = TypeVar("Argument")
Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class LocalStore:
    """Files below `folder`."""

    def __init__(self, folder: Path, reserve_bytes: int = 0, *, require_marker: bool = False) -> None:
        """`reserve_bytes`: with less room than this on the disk, new objects are refused with StorageFullError.

        `require_marker`: without the marker object (`archive.store_identity`) they are refused with StorageError, as
        the folder is then a mount point without its disk.
        """
        self._folder = folder.absolute()
        self._marker = self._folder / MARKER_KEY if require_marker else None
        self._reserve_bytes = reserve_bytes
        self._threads = ThreadPoolExecutor(FLUSH_THREADS_MAX, thread_name_prefix="storage")
        self._known_folders: set[str] = set()

    def keep_free(self, reserve_bytes: int) -> None:
        """Refuse new objects below this much room from now on."""
        self._reserve_bytes = reserve_bytes

    def begin(self, key: str) -> LocalWriter:
        """Start a new file."""
        return LocalWriter(self, key, self.path(key), self._threads)

    async def read(self, key: str, start: int, length: int) -> bytes:
        """Read from the file; small reads from the page cache are faster here than a change of thread."""
        if length <= STREAM_CHUNK_BYTES:
            return self.read_now(key, start, length)
        return await self._in_thread(self.read_now, key, start, length)

    def read_now(self, key: str, start: int, length: int) -> bytes:
        """`read` without waiting for a thread: for callers that are in one already."""
        with _translated(key, "read"):
            descriptor = os.open(self.path(key), os.O_RDONLY)
            try:
                return _read_fully(descriptor, start, length)
            finally:
                os.close(descriptor)

    async def stream(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The file's bytes in pieces of STREAM_CHUNK_BYTES."""
        with _translated(key, "read"):
            descriptor = os.open(self.path(key), os.O_RDONLY)
        try:
            position = start
            end = os.fstat(descriptor).st_size if length is None else start + length
            while position < end:
                size = min(STREAM_CHUNK_BYTES, end - position)
                with _translated(key, "read"):
                    piece = await self._in_thread(os.pread, descriptor, size, position)
                if not piece:
                    return
                yield piece
                position += len(piece)
        finally:
            os.close(descriptor)

    async def stat(self, key: str) -> StoredObject:
        """Size and time of the file."""
        with _translated(key, "read"):
            return _stored_object(key, os.stat(self.path(key)))

    async def flush(self, key: str) -> None:
        """Flush the file."""
        await self._in_thread(self._flush_file, key)

    async def delete(self, key: str) -> None:
        """Unlink the file."""
        with _translated(key, "delete"), contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(key))

    async def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Walk the folders, one at a time, in a thread."""
        folders = [self._folder / prefix] if prefix else [self._folder]
        while folders:
            current = folders.pop()
            below, files = await self._in_thread(self._scan_folder, current)
            folders += below
            for file in files:
                yield file

    async def free_bytes(self) -> int | None:
        """Room left for us on the disk, the reserve already taken off."""
        usage = await self._in_thread(shutil.disk_usage, _existing(self._folder))
        return max(0, usage.free - self._reserve_bytes)

    def path(self, key: str) -> Path:
        """The file of a key."""
        return self._folder / key

    async def sweep(self, older_than: dt.datetime) -> int:
        """Unlink unfinished files that were last written before that time."""
        return await self._in_thread(self._sweep, older_than.timestamp())

    def check_room(self, key: str) -> None:
        """Raise StorageFullError when the reserve is touched, StorageError when the disk is not there."""
        if self._marker is not None and key != MARKER_KEY and not self._marker.exists():
            raise StorageError(
                f"{self._folder} is not the store, or its disk is not mounted: it has no {MARKER_KEY}. Mount the disk; the "
                "sender may try again then."
            )
        if not self._reserve_bytes:
            return
        usage = os.statvfs(_existing(self._folder))
        if usage.f_bavail * usage.f_frsize < self._reserve_bytes:
            raise StorageFullError(
                f"The disk of {self._folder} has less than {self._reserve_bytes // MIB} MiB left. Make room or add storage; "
                "the sender may try again then."
            )

    def make_folder(self, folder: Path) -> None:
        """Make a folder durably; remembered, as nearly every object goes into a folder made before."""
        name = str(folder)
        if name in self._known_folders:
            return
        if len(self._known_folders) > 4096:  # a folder an hour; forget the old years
            self._known_folders.clear()
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _flush_folder(made.parent)
        self._known_folders.add(name)

    def forget_folder(self, folder: Path) -> None:
        """Somebody removed the folder behind our back."""
        self._known_folders.discard(str(folder))

    async def _in_thread(self, function: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _flush_file(self, key: str) -> None:
        with _translated(key, "write"):
            descriptor = os.open(self.path(key), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _scan_folder(self, folder: Path) -> tuple[list[Path], list[StoredObject]]:
        below: list[Path] = []
        files: list[StoredObject] = []
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif not entry.name.endswith(_PART):
                    with contextlib.suppress(FileNotFoundError):
                        key = os.path.relpath(entry.path, self._folder)
                        files.append(_stored_object(key, entry.stat(follow_symlinks=False)))
        return below, files

    def _sweep(self, older_than: float) -> int:
        swept = 0
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    if name.endswith(_PART) and os.stat(path).st_mtime < older_than:
                        os.unlink(path)
                        swept += 1
        return swept


class LocalWriter:
    """One file on its way in."""

    def __init__(self, store: LocalStore, key: str, path: Path, threads: ThreadPoolExecutor) -> None:
        self.key = key
        self._store = store
        self._path = path
        self._part = path.with_name(path.name + _PART)
        self._threads = threads
        self._buffer: list[bytes] = []
        self._buffered_bytes = 0
        self._descriptor = -1
        self._writing: asyncio.Future[None] | None = None
        self._finishing: asyncio.Future[None] | None = None
        self._in_flight_bytes = 0
        self._unflushed_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes in memory: waiting, or with the writing thread."""
        return self._buffered_bytes + self._in_flight_bytes

    def write(self, data: bytes | memoryview) -> None:
        """Keep a copy; past OBJECT_MEMORY_BYTES_MAX hand what has gathered to the thread."""
        self._buffer.append(bytes(data))
        self._buffered_bytes += len(data)
        if self._buffered_bytes > OBJECT_MEMORY_BYTES_MAX and (self._writing is None or self._writing.done()):
            self._start_writing()

    async def drain(self) -> None:
        """Wait for the thread while more than one round is in memory."""
        while self.pending_bytes > OBJECT_MEMORY_BYTES_MAX:
            await self._wait_for_thread()
            if self._buffered_bytes > OBJECT_MEMORY_BYTES_MAX:
                self._start_writing()

    def seal(self) -> bool:
        """Write what is small at once; what has begun to stream is finished by `flush`."""
        if self._writing is not None:
            return False
        with _translated(self.key, "write"):
            self._open()
            self._write_pieces(self._take_buffer())
            os.rename(self._part, self._path)
        return True

    async def flush(self) -> None:
        """Flush the file, and rename it if it was streamed."""
        streamed = self._writing is not None
        while self._writing is not None and (self.pending_bytes or not self._writing.done()):
            await self._wait_for_thread()
            if self._buffered_bytes:
                self._start_writing()
        self._finishing = self._begin_in_thread(self._finish, streamed)
        await asyncio.shield(self._finishing)  # Whoever stops waiting: the thread alone closes the file.

    async def abort(self) -> None:
        """Close and remove whatever is there."""
        self._buffer.clear()
        self._buffered_bytes = 0
        for work in (self._writing, self._finishing):
            if work is not None:
                with contextlib.suppress(StorageError):
                    await asyncio.shield(work)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        for path in (self._part, self._path):
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _start_writing(self) -> None:
        pieces = self._take_buffer()
        if self._writing is not None and self._writing.done() and self._writing.exception() is not None:
            return  # There is a hole already: writing behind it would only hide it. `flush` raises the first error.
        self._in_flight_bytes = sum(map(len, pieces))
        self._writing = self._begin_in_thread(self._write_in_thread, pieces)

    def _begin_in_thread(self, work: Callable[[Argument], None], argument: Argument) -> asyncio.Future[None]:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, argument)
        # An error is raised by the next wait; retrieving it here keeps an aborted writer from warning about it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _wait_for_thread(self) -> None:
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._in_flight_bytes = 0

    def _take_buffer(self) -> list[bytes]:
        pieces, self._buffer, self._buffered_bytes = self._buffer, [], 0
        return pieces

    def _write_in_thread(self, pieces: list[bytes]) -> None:
        with _translated(self.key, "write"):
            if self._descriptor < 0:
                self._open()
            self._write_pieces(pieces)
            if self._unflushed_bytes >= WRITE_BACK_BYTES:
                os.fdatasync(self._descriptor)
                # What is on the disk need not stay in memory: a 2 GB object would push everything else out.
                os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                self._unflushed_bytes = 0

    def _open(self) -> None:
        self._store.check_room(self.key)
        self._store.make_folder(self._path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._descriptor = os.open(self._part, flags, 0o640)
        except FileNotFoundError:
            self._store.forget_folder(self._path.parent)
            self._store.make_folder(self._path.parent)
            self._descriptor = os.open(self._part, flags, 0o640)

    def _write_pieces(self, pieces: list[bytes]) -> None:
        for group in _groups_for_writev(pieces):
            expected = sum(map(len, group))
            written = os.writev(self._descriptor, group)
            if written < expected:  # rare: a signal, a nearly full disk
                rest = memoryview(b"".join(group))[written:]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
            self._unflushed_bytes += expected

    def _finish(self, streamed: bool) -> None:
        with _translated(self.key, "write"):
            try:
                if streamed:
                    os.rename(self._part, self._path)
                os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
                self._descriptor = -1


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there: on a new installation it is made with the first object."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _groups_for_writev(pieces: list[bytes]) -> Iterator[list[bytes]]:
    for start in range(0, len(pieces), 512):  # IOV_MAX is 1,024 on Linux, less elsewhere
        yield pieces[start : start + 512]


def _read_fully(descriptor: int, start: int, length: int) -> bytes:
    data = os.pread(descriptor, length, start)
    if len(data) == length or not data:
        return data
    pieces = [data]
    while (got := sum(map(len, pieces))) < length:
        data = os.pread(descriptor, length - got, start + got)
        if not data:
            break
        pieces.append(data)
    return b"".join(pieces)


def _stored_object(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, status.st_size, dt.datetime.fromtimestamp(status.st_mtime, dt.UTC))


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(key: str, verb: str) -> Iterator[None]:
    """OSError as our errors, with what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(
            f"The store has no object {key}. If its row still stands, run 'fileroom verify' to see what else is missing."
        ) from error
    except OSError as error:
        kind = StorageFullError if error.errno in _FULL else StorageError
        raise kind(
            f"The store could not {verb} {key}: {error.strerror}. Check the disk and its permissions."
        ) from error
