"""Bytes of stored files on their way out: read in large pieces, straight from the page cache where they are in it.

A read from memory is quicker than the change to a thread and back; a read from the disk would hold up every other
request. `preadv` with RWF_NOWAIT tells the two apart: it reads what is in memory and refuses the rest.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

from fileroom.archive.retrieve import FileRange, OpenedObject
from fileroom.core.errors import NotFoundError, StorageError
from fileroom.core.limits import STREAM_CHUNK_BYTES
from fileroom.web.answers import Piece

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)


def object_pieces(opened: OpenedObject) -> AsyncIterator[Piece]:
    """The bytes of an opened object, by the shortest way."""
    if opened.file is not None:
        return file_pieces(opened.file)
    return opened.chunks


async def file_pieces(*ranges: FileRange) -> AsyncIterator[Piece]:
    """The bytes of ranges, one after the other. Raises NotFoundError, StorageError."""
    for part in ranges:
        descriptor = _open(part)
        try:
            position, end = part.offset, part.offset + part.length
            while position < end:
                piece = await _read(descriptor, min(STREAM_CHUNK_BYTES, end - position), position)
                if not piece:
                    raise StorageError(f"A stored file ends {end - position} bytes too early. Run 'fileroom verify'.")
                yield piece
                position += len(piece)
        finally:
            os.close(descriptor)


async def read_range(part: FileRange) -> Piece:
    """All bytes of a range that fits in memory. Raises NotFoundError, StorageError."""
    descriptor = _open(part)
    try:
        piece = await _read(descriptor, part.length, part.offset)
    finally:
        os.close(descriptor)
    if len(piece) == part.length:
        return piece
    return b"".join([bytes(piece) async for piece in file_pieces(part)])


def _open(part: FileRange) -> int:
    try:
        return os.open(part.path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise NotFoundError("The object's file is lost. Run 'fileroom verify' to see what else is missing.") from error
    except OSError as error:
        raise StorageError(f"The object's file cannot be read: {error.strerror}. Check the disk.") from error


async def _read(descriptor: int, size: int, position: int) -> Piece:
    try:
        if _NOWAIT is not None:
            buffer = bytearray(size)
            try:
                count = os.preadv(descriptor, [buffer], position, _NOWAIT)
            except BlockingIOError:
                count = 0
            if count:
                return buffer if count == size else memoryview(buffer)[:count]
        return await asyncio.to_thread(os.pread, descriptor, size, position)
    except OSError as error:
        raise StorageError(f"The object's file cannot be read: {error.strerror}. Check the disk.") from error
