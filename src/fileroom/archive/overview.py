"""How the archive is: what it holds, and whether everything it needs is there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from fileroom.admin.callers import HeldCaller, list_held_callers
from fileroom.archive.services import Archive
from fileroom.archive.store_identity import require_own_store
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.index.totals import Totals, read_totals
from fileroom.index.upkeep import Conflict, Refusal, list_conflicts, list_refusals
from fileroom.index.visibility import ALL, visibility_of

CHECK_TIMEOUT_S: Final = 3.0
"""Whoever asks for readiness waits a few seconds; what has not answered by then is not ready."""

TROUBLES_SHOWN_MAX: Final = 50
"""Of each kind on one page; the commands `fileroom refusals` and `fileroom conflicts` list more."""


@dataclass(frozen=True, slots=True)
class PartState:
    """One part that Fileroom needs: ready, or why not."""

    name: str
    ready: bool
    detail: str


async def totals(archive: Archive) -> Totals:
    """How many patients, studies, series and instances somebody may see. Raises NotAllowedError, DatabaseError."""
    return await read_totals(archive.pool, visibility_of(require(Permission.STUDY_SEARCH)))


async def system_totals(archive: Archive) -> Totals:
    """How many there are, whoever may see them. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    return await read_totals(archive.pool, ALL)


@dataclass(frozen=True, slots=True)
class Troubles:
    """What did not go as it should, the latest first; at most TROUBLES_SHOWN_MAX of each kind."""

    refusals: list[Refusal]
    conflicts: list[Conflict]
    held_callers: list[HeldCaller]


async def troubles(archive: Archive) -> Troubles:
    """Objects not kept, objects kept aside, callers turned away. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.SYSTEM_READ)
    refusals = await list_refusals(archive.pool, TROUBLES_SHOWN_MAX)
    conflicts = await list_conflicts(archive.pool, TROUBLES_SHOWN_MAX)
    held = await list_held_callers(archive.pool) if access.allows(Permission.NODE_READ) else []
    return Troubles(refusals, conflicts, held[:TROUBLES_SHOWN_MAX])


async def readiness(archive: Archive) -> list[PartState]:
    """The state of database, storage and DICOM port, asked all at once. Whoever watches the service may ask."""
    checks: tuple[tuple[str, Callable[[Archive], Awaitable[str]]], ...] = (
        ("database", _database),
        ("storage", _storage),
        ("dicom", _dicom_port),
    )
    return list(await asyncio.gather(*(_state(archive, name, check) for name, check in checks)))


async def _state(archive: Archive, name: str, check: Callable[[Archive], Awaitable[str]]) -> PartState:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return PartState(name, ready=True, detail=await check(archive))
    except TimeoutError:
        return PartState(name, ready=False, detail=f"no answer within {CHECK_TIMEOUT_S:g} s")
    except FileroomError as error:
        return PartState(name, ready=False, detail=str(error))


async def _database(archive: Archive) -> str:
    try:
        async with archive.pool.connection(CHECK_TIMEOUT_S) as connection:
            await connection.execute(b"SELECT 1")
    except (psycopg.Error, PoolTimeout) as error:
        raise DatabaseError(f"The database does not answer: {type(error).__name__}. Is it running?") from error
    return "answers"


async def _storage(archive: Archive) -> str:
    await require_own_store(archive)
    free = await archive.store.free_bytes()
    if free is None:
        return "without an end"
    if free == 0:
        raise FileroomError(
            f"No room is left beyond the reserve of {archive.settings.storage_reserve_mib} MiB. Make room or add storage."
        )
    return f"{free // 2**30} GiB free"


async def _dicom_port(archive: Archive) -> str:
    host, port = archive.settings.host, archive.settings.dicom_port
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  listening everywhere, asked here
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        raise FileroomError(f"Nothing listens on the DICOM port {host}:{port} ({error.strerror}).") from error
    writer.close()
    return f"listens on {host}:{port}"
