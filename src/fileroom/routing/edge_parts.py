"""Objects that have come over the edge link in part: files that grow, at either end, until they are whole.

A part belongs to a peer (the entry of an edge, or of a centre) and to the SHA-256 of the whole. Its length is how much is
there; that survives a killed process. Nothing is flushed: what a power failure spoils, the digest of the whole finds out.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fileroom.core.errors import ConflictError, StorageError, StorageFullError, TooLargeError, told
from fileroom.core.limits import MIB
from fileroom.core.settings import Settings
from fileroom.routing.edge_wire import UNFINISHED_BYTES_MAX, UNFINISHED_DAYS, UNFINISHED_OBJECTS_MAX

_FOLDER: Final = "edge"
_READ_BYTES: Final = 1 * MIB


class PartBusyError(ConflictError):
    """Another request, perhaps a dead one, still writes to this part."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one peer below the data folder."""

    settings: Settings
    peer_id: int

    def folder(self) -> Path:
        """Where they lie."""
        return self.settings.data / _FOLDER / "parts" / str(self.peer_id)

    def path(self, sha256: str) -> Path:
        """Of one part: nothing that was sent is in its name."""
        return self.folder() / hashlib.sha256(f"{self.peer_id}/{sha256}".encode()).hexdigest()

    def size(self, sha256: str) -> int:
        """How much is there; 0 without a part."""
        try:
            return self.path(sha256).stat().st_size
        except OSError:
            return 0

    @contextlib.contextmanager
    def opened(self, sha256: str, total: int) -> Iterator[OpenPart]:
        """The part to be written to, by one at a time.

        Raises PartBusyError, TooLargeError (too many unfinished), StorageFullError, StorageError.
        """
        path = self.path(sha256)
        with _translated():
            if not path.exists():
                self._require_room(total)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PartBusyError(
                    told("Another request still writes to this object. Try again in a moment.")
                ) from error
            yield OpenPart(descriptor, path)
        finally:
            os.close(descriptor)

    def remove(self, sha256: str) -> None:
        """It is whole and safe elsewhere, or of no use."""
        self.path(sha256).unlink(missing_ok=True)

    def _require_room(self, total: int) -> None:
        sizes = [one.stat().st_size for one in self._files()]
        if len(sizes) >= UNFINISHED_OBJECTS_MAX or sum(sizes) + total > UNFINISHED_BYTES_MAX:
            raise TooLargeError(told("There are too many unfinished objects of this edge; finish some first."))
        self.settings.data.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.settings.data).free
        if free - total < self.settings.storage_reserve_mib * MIB:
            raise StorageFullError(told("The disk of the data folder has no room for this object."))

    def _files(self) -> list[Path]:
        try:
            return [one for one in self.folder().iterdir() if one.is_file()]
        except FileNotFoundError:
            return []


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part that is being written to."""

    descriptor: int
    path: Path

    @property
    def size(self) -> int:
        """How much is there."""
        return os.fstat(self.descriptor).st_size

    async def append(self, data: bytes | bytearray) -> None:
        """Write behind what is there. Raises StorageFullError, StorageError."""
        await asyncio.to_thread(self._append, data)

    def cut(self, size: int) -> None:
        """Forget what is behind `size`."""
        with _translated():
            os.ftruncate(self.descriptor, size)

    async def read(self, start: int) -> bytes:
        """Up to a MiB from `start`; empty at the end."""
        with _translated():
            return await asyncio.to_thread(os.pread, self.descriptor, _READ_BYTES, start)

    def digest(self) -> bytes:
        """SHA-256 of all that is there. Takes time: call it in a thread."""
        found, at = hashlib.sha256(), 0
        with _translated():
            while data := os.pread(self.descriptor, _READ_BYTES, at):
                found.update(data)
                at += len(data)
        return found.digest()

    def _append(self, data: bytes | bytearray) -> None:
        with _translated():
            at, view = self.size, memoryview(data)
            while view:
                written = os.pwrite(self.descriptor, view, at)
                at, view = at + written, view[written:]


def remove_dead_parts(settings: Settings, now_s: float | None = None) -> int:
    """Remove parts, and staged objects, that nobody has touched for UNFINISHED_DAYS; how many."""
    oldest = (time.time() if now_s is None else now_s) - UNFINISHED_DAYS * 86_400
    removed = 0
    for path in (settings.data / _FOLDER).glob("*/*/*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed


def staged_path(settings: Settings, edge_id: int, delivery_id: int, sop_instance_uid: str) -> Path:
    """Where an object that was made for an edge waits until it is fetched."""
    name = hashlib.sha256(f"{delivery_id}/{sop_instance_uid}".encode()).hexdigest()
    return settings.data / _FOLDER / "staged" / str(edge_id) / name


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(told("The disk of the data folder is full.")) from error
        raise StorageError(f"A part in the data folder cannot be used: {error.strerror}.") from error
