"""Is the store that answers the one that the database's rows speak of?

An unmounted disk looks like an empty folder, a mistyped bucket like an empty bucket. Without this check every row would
seem to have lost its object, and new objects would land in the wrong place. So the store carries a marker with a random
name, and the database remembers it.
"""

from __future__ import annotations

import secrets
from typing import Final

import psycopg

from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError, NotFoundError, StorageError
from fileroom.storage.store import MARKER_KEY

_MARKER_BYTES_MAX: Final = 200
_INTRODUCTION_LOCK: Final = 0x53544F52  # "STOR"


async def require_own_store(archive: Archive) -> None:
    """Raise StorageError unless the store is ours; a new pair of store and database is introduced to each other.

    Raises DatabaseError.
    """
    if not await _is_known(archive):
        await _introduce(archive, replace=False)


async def adopt_store(archive: Archive) -> None:
    """Let the database take the present store for its own, whatever it remembered: the index is made anew from it."""
    await _introduce(archive, replace=True)


async def _is_known(archive: Archive) -> bool:
    marker = await _read_marker(archive)
    known, has_rows = await _read_memory(archive)
    if marker is None and known and has_rows:
        raise StorageError(
            "The store is not the one that the index speaks of: it has no marker. Is its disk mounted, and is "
            f"FILEROOM_STORAGE_URL right? Nothing is taken in until it is back. (The marker is the object {MARKER_KEY}.)"
        )
    if marker is not None and known and marker != known and has_rows:
        raise StorageError(
            "The store belongs to another index: its marker differs. Check FILEROOM_STORAGE_URL and FILEROOM_DATABASE_URL, "
            "or make the index anew from this store with 'fileroom rebuild'."
        )
    return marker is not None and marker == known


async def _introduce(archive: Archive, *, replace: bool) -> None:
    """One process at a time, so that not two of them invent a marker each."""
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_INTRODUCTION_LOCK,))
        if not replace and await _is_known(archive):
            return
        marker = await _read_marker(archive)
        if marker is None:
            marker = secrets.token_hex(16)
            await _write_marker(archive, marker)
        await connection.execute(b"DELETE FROM store_identity")
        await connection.execute(b"INSERT INTO store_identity (marker) VALUES (%s)", (marker,))


async def _read_marker(archive: Archive) -> str | None:
    try:
        found = await archive.store.read(MARKER_KEY, 0, _MARKER_BYTES_MAX)
    except NotFoundError:
        return None
    return found.decode("ascii", "replace").strip()


async def _write_marker(archive: Archive, marker: str) -> None:
    writer = archive.store.begin(MARKER_KEY)
    try:
        writer.write(f"{marker}\n".encode())
        writer.seal()
        await writer.flush()
    except BaseException:
        await writer.abort()
        raise


async def _read_memory(archive: Archive) -> tuple[str, bool]:
    """The marker that the database remembers (empty: none), and whether it has any rows."""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"SELECT coalesce((SELECT marker FROM store_identity), ''), EXISTS (SELECT 1 FROM instance)"
            )
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"The database does not answer: {type(error).__name__}. Try again later.") from error
    return (str(row[0]), bool(row[1])) if row else ("", False)
