"""The versions of the configuration as rows: what `admin.configuration` reads. They are only ever added."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from fileroom.admin.configuration_changes import Change, change_from_json
from fileroom.core.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class Version:
    """One version and how it came about."""

    number: int
    made_at: dt.datetime
    actor: str
    address: str
    comment: str
    changes: tuple[Change, ...]


VERSIONS_BEFORE: Final = b"""
SELECT number, made_at, actor, address, comment, changes FROM configuration_version
WHERE %s::bigint IS NULL OR number < %s ORDER BY number DESC LIMIT %s"""

VERSIONS_BETWEEN: Final = b"""
SELECT number, made_at, actor, address, comment, changes FROM configuration_version
WHERE number > %s AND number <= coalesce(%s, 9223372036854775807) ORDER BY number"""

_LAST_CHANGES: Final = b"""
SELECT DISTINCT ON (c ->> 'name') c ->> 'name', number, made_at, actor, address, comment
FROM configuration_version, jsonb_array_elements(changes) c
WHERE c ->> 'section' = 'settings' ORDER BY c ->> 'name', number DESC"""


async def read_latest(connection: AsyncConnection[Any]) -> tuple[int, dict[str, Any]]:
    """The number of the version that holds, and its settings."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            b"SELECT number, document -> 'settings' FROM configuration_version ORDER BY number DESC LIMIT 1"
        )
        row = await cursor.fetchone()
    return (int(row[0]), dict(row[1] or {})) if row else (0, {})


async def read_last_changes(connection: AsyncConnection[Any]) -> dict[str, Version]:
    """For each setting the version that changed it last, without its changes."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LAST_CHANGES)
        rows = await cursor.fetchall()
    return {str(name): _version(how, ()) for name, *how in rows}


async def read_versions(connection: AsyncConnection[Any], statement: bytes, values: Sequence[object]) -> list[Version]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement, values)
        rows = await cursor.fetchall()
    return [_version(how, tuple(map(change_from_json, changes))) for *how, changes in rows]


def _version(how: Sequence[Any], changes: tuple[Change, ...]) -> Version:
    number, made_at, actor, address, comment = how
    return Version(number, made_at, actor, address, comment, changes)


async def require_version(connection: AsyncConnection[Any], number: int) -> None:
    """Raises NotFoundError. Version 0 is the one in which nothing is set."""
    latest, _ = await read_latest(connection)
    if not 0 <= number <= latest:
        raise NotFoundError(f"There is no version {number}; the newest is {latest}. See 'fileroom config history'.")
