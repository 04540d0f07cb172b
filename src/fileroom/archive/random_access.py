"""Random access to a stored file for work in a thread: decoding, transcoding, rendering, walking over fragments."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError, StorageError
from fileroom.index.stored import StoredInstance
from fileroom.pixels.source import Read

READ_TIMEOUT_S: Final = 60.0


@contextmanager
def open_reader(archive: Archive, instance: StoredInstance, loop: asyncio.AbstractEventLoop) -> Iterator[Read]:
    """A `Read` over the stored file, to be opened and used in a thread, while `loop` runs in another.

    Raises NotFoundError when the file is lost, StorageError.
    """
    path = archive.store.path(instance.storage_key)
    if path is None:

        def read_remote(offset: int, length: int) -> bytes:
            reading = archive.store.read(instance.storage_key, offset, length)
            return asyncio.run_coroutine_threadsafe(reading, loop).result(READ_TIMEOUT_S)

        yield read_remote
        return
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise NotFoundError(f"The file of {instance.sop_instance_uid} is lost. Run 'fileroom verify'.") from error
    except OSError as error:
        raise StorageError(f"The file of {instance.sop_instance_uid} cannot be read: {error.strerror}.") from error
    with file:
        yield lambda offset, length: os.pread(file.fileno(), length, offset)


def lasting_reader(archive: Archive, instance: StoredInstance, loop: asyncio.AbstractEventLoop) -> Read:
    """The same for work that may be given up at any time: each read opens the file, so nothing is left open."""

    def read(offset: int, length: int) -> bytes:
        with open_reader(archive, instance, loop) as read_once:
            return read_once(offset, length)

    return read
