"""What an object store is to Fileroom: a place for immutable objects under keys that we choose ourselves.

`storage.local` keeps files, `storage.cloud` uses S3, Google Cloud Storage or Azure. Both pass the same contract tests.
Keys are made here, never from network data.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

MARKER_KEY: Final = "fileroom-store"
"""The object by which a store is recognised (`archive.store_identity`)."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store lists it: key, bytes, time of last change (aware)."""

    key: str
    size: int
    modified_at: dt.datetime


class ObjectWriter(Protocol):
    """One object on its way in. Nothing can be read under its key before `seal`."""

    key: str

    @property
    def pending_bytes(self) -> int:
        """Bytes taken but not yet handed to the store: the sender should pause when this grows."""

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes. They are copied or written before the call returns."""

    async def drain(self) -> None:
        """Wait until `pending_bytes` is small."""

    def seal(self) -> bool:
        """No more bytes will come. True: the object can be read from now on, so its rows may be committed while the
        flush is still under way. False: it can be read only after the flush."""

    async def flush(self) -> None:
        """Make the sealed object survive a power failure. Raises StorageError or StorageFullError."""

    async def abort(self) -> None:
        """Give the object up and leave nothing behind. Safe at any time before `flush` has succeeded."""


class ObjectStore(Protocol):
    """Immutable objects under keys."""

    def begin(self, key: str) -> ObjectWriter:
        """Start a new object."""

    async def read(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`, fewer at the object's end. Raises NotFoundError, StorageError."""

    def stream(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start`, piece by piece."""

    async def stat(self, key: str) -> StoredObject:
        """What the store knows of the object. Raises NotFoundError, StorageError."""

    async def flush(self, key: str) -> None:
        """Make sure that the object survives a power failure, whoever wrote it. Raises NotFoundError, StorageError."""

    async def delete(self, key: str) -> None:
        """Remove the object; that it is not there is no error."""

    def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Every sealed object below the folder `prefix` (ending in a slash; empty: all), in no order."""

    async def free_bytes(self) -> int | None:
        """Room left, None where the store has no end."""

    def path(self, key: str) -> Path | None:
        """The file that holds the object, None where there is none."""

    async def sweep(self, older_than: dt.datetime) -> int:
        """Remove what interrupted writers left behind before that time; returns how many."""


def new_object_key(now: dt.datetime, folder: str = "objects") -> str:
    """A fresh key, `objects/2026/11/22/09/<random>.dcm`.

    One folder an hour: what came together lies together, no folder grows too large, and a flush has few places to write to
    (with 256 folders a day, a flushed object cost a third more).
    """
    return f"{folder}/{now:%Y/%m/%d/%H}/{secrets.token_hex(16)}.dcm"
