"""Objects in S3, Google Cloud Storage or Azure through obstore, one engine for all of them.

An upload becomes visible when it is complete, so an interrupted one leaves nothing to be read; unfinished multi-part
uploads are for the bucket's own lifecycle rule to remove (docs/storage.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from fileroom.core.errors import NotFoundError, StorageError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX, STREAM_CHUNK_BYTES
from fileroom.storage.store import StoredObject

PART_BYTES: Final = 8 * MIB
"""Size of a multi-part upload's parts: S3 wants at least 5 MiB, and allows 10,000 of them, so objects up to 80 GB."""
UPLOAD_TIMEOUT_S: Final = 300.0


class CloudStore:
    """Objects in a bucket, below the prefix of its address."""

    def __init__(self, url: str) -> None:
        """`url`: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix. Credentials come from the environment."""
        try:
            self.engine = from_url(url)
        except (BaseError, ValueError) as error:
            raise StorageError(f"FILEROOM_STORAGE_URL {url!r} cannot be used: {error}.") from error

    def begin(self, key: str) -> CloudWriter:
        """Start an upload."""
        return CloudWriter(self, key)

    async def read(self, key: str, start: int, length: int) -> bytes:
        """One ranged request."""
        if length <= 0:
            return b""
        try:
            with translated(key, "read"):
                return bytes(await obstore.get_range_async(self.engine, key, start=start, length=length))
        except StorageError:
            if start >= (await self.stat(key)).size:  # a range behind the end is an error to every cloud, not to us
                return b""
            raise

    async def stream(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """One ranged request, its body in pieces."""
        size = (await self.stat(key)).size
        end = size if length is None else min(size, start + length)
        if start >= end:
            return
        with translated(key, "read"):
            answer = await obstore.get_async(self.engine, key, options={"range": (start, end)})
            async for piece in answer.stream(min_chunk_size=STREAM_CHUNK_BYTES):
                yield bytes(piece)

    async def stat(self, key: str) -> StoredObject:
        """A HEAD request."""
        with translated(key, "read"):
            found = await obstore.head_async(self.engine, key)
        return StoredObject(key, found["size"], found["last_modified"])

    async def flush(self, key: str) -> None:
        """What can be seen here is complete, and the store has promised to keep it."""
        await self.stat(key)

    async def delete(self, key: str) -> None:
        """Delete the object."""
        with contextlib.suppress(NotFoundError), translated(key, "delete"):
            await obstore.delete_async(self.engine, key)

    async def objects(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """List, page by page."""
        with translated(prefix, "list"):
            async for page in obstore.list(self.engine, prefix or None):
                for found in page:
                    yield StoredObject(found["path"], found["size"], found["last_modified"])

    async def free_bytes(self) -> int | None:
        """A bucket has no end."""
        return None

    def path(self, key: str) -> Path | None:
        """There is no file."""
        del key
        return None

    async def sweep(self, older_than: dt.datetime) -> int:
        """Nothing half done can be read here."""
        del older_than
        return 0


class CloudWriter:
    """One upload: small objects in one request at the end, larger ones in parts while they arrive."""

    def __init__(self, store: CloudStore, key: str) -> None:
        self.key = key
        self._store = store
        self._buffer = bytearray()
        self._upload: obstore.AsyncWritableFile | None = None
        self._failure: StorageError | None = None
        self._finished = False

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the next part."""
        return len(self._buffer)

    def write(self, data: bytes | memoryview) -> None:
        """Keep a copy."""
        self._buffer += data

    async def drain(self) -> None:
        """Send what waits as parts."""
        if len(self._buffer) > OBJECT_MEMORY_BYTES_MAX:
            await self._send()

    def seal(self) -> bool:
        """Readable only when the upload is complete."""
        return False

    async def flush(self) -> None:
        """Complete the upload; the answer of the store is its promise."""
        with translated(self.key, "write"):
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                if self._upload is None:
                    await obstore.put_async(self._store.engine, self.key, bytes(self._buffer))
                else:
                    await self._send()
                    await self._upload.close()
        self._finished = True
        self._buffer.clear()

    async def abort(self) -> None:
        """Without completion nothing becomes visible; what was complete is deleted."""
        self._buffer.clear()
        if self._finished:
            await self._store.delete(self.key)

    async def _send(self) -> None:
        if self._failure is not None:  # There is a hole already: completing the upload would hide it.
            raise self._failure
        try:
            with translated(self.key, "write"):
                async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                    if self._upload is None:
                        self._upload = obstore.open_writer_async(self._store.engine, self.key, buffer_size=PART_BYTES)
                    piece, self._buffer = bytes(self._buffer), bytearray()
                    await self._upload.write(piece)
        except StorageError as error:
            self._failure = error
            raise


@contextlib.contextmanager
def translated(key: str, verb: str) -> Iterator[None]:
    """The engine's errors as ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(
            f"The store has no object {key}. If its row still stands, run 'fileroom verify' to see what else is missing."
        ) from error
    except (BaseError, OSError, TimeoutError) as error:
        raise StorageError(
            f"The store could not {verb} {key}: {type(error).__name__}. Check the store and the network."
        ) from error
