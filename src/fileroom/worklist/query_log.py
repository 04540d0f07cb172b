"""The questions that modalities ask the worklist: why a step is not on it is often said by the question itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.db.pool import Pool
from fileroom.dicom.charset import clean

QUERIES_KEPT_MAX: Final = 50
"""Of each AE title: those of an hour, where a modality asks every minute."""
IDENTIFIER_BYTES_MAX: Final = 64 * 1024
"""A longer one is not kept; an ordinary identifier has one kilobyte."""
CALLERS_MAX: Final = 500
"""AE titles that are listed; more modalities than that no hospital has."""
_KEY_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """One question, as it came. `identifier` is the encoded data set."""

    calling_aet: str
    address: str
    keys: Mapping[str, str]
    identifier: bytes = field(repr=False)
    transfer_syntax: str = ""
    answers: int = 0
    status: int = 0
    milliseconds: float = 0.0
    asked_at: str = ""


async def note_query(pool: Pool, query: AskedQuery) -> None:
    """Keep a question; the oldest of the same AE title go. It need not outlive a crash. Raises DatabaseError."""
    keys = {name: clean(text)[:_KEY_CHARS_MAX] for name, text in query.keys.items()}
    kept = query.identifier if len(query.identifier) <= IDENTIFIER_BYTES_MAX else b""
    async with pool.connection() as connection:
        await connection.execute(
            b"""WITH gone AS (DELETE FROM worklist_query WHERE id IN (SELECT id FROM worklist_query WHERE calling_aet = %(aet)s
                    ORDER BY asked_at DESC OFFSET %(kept)s))
                INSERT INTO worklist_query
                    (calling_aet, address, keys, identifier, transfer_syntax, answers, status, milliseconds)
                SELECT %(aet)s, %(address)s, %(keys)s, %(identifier)s, %(syntax)s, %(answers)s, %(status)s, %(ms)s
                FROM set_config('synchronous_commit', 'off', true)""",
            {
                "aet": clean(query.calling_aet),
                "kept": QUERIES_KEPT_MAX - 1,
                "address": query.address,
                "keys": Jsonb(keys),
                "identifier": kept,
                "syntax": query.transfer_syntax,
                "answers": query.answers,
                "status": query.status,
                "ms": query.milliseconds,
            },
        )


async def list_queries(archive: Archive, calling_aet: str, *, most: int = QUERIES_KEPT_MAX) -> list[AskedQuery]:
    """The questions of an AE title that are kept, the latest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    async with archive.pool.connection() as connection:
        return await read_queries(connection, calling_aet, most)


async def list_callers(archive: Archive) -> list[str]:
    """The AE titles that have asked for the worklist. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT DISTINCT calling_aet FROM worklist_query ORDER BY calling_aet LIMIT %s", (CALLERS_MAX,)
        )
        return [row[0] for row in await cursor.fetchall()]


async def read_queries(connection: AsyncConnection[Any], calling_aet: str, most: int) -> list[AskedQuery]:
    """The same for a service that has asked."""
    cursor = await connection.execute(
        b"""SELECT calling_aet, address, keys, identifier, transfer_syntax, answers, status, milliseconds,
                to_char(asked_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            FROM worklist_query WHERE calling_aet = %s ORDER BY asked_at DESC LIMIT %s""",
        (calling_aet, min(most, QUERIES_KEPT_MAX)),
    )
    rows = await cursor.fetchall()
    return [AskedQuery(aet, host, keys, bytes(raw), *rest) for aet, host, keys, raw, *rest in rows]
