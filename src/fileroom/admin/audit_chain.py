"""The hash chain: each event is sealed with the hash of its content, and of the seal before it.

The task worker seals what waits in `audit_queue`, a second after it was written, in one transaction under a lock. Whoever
changes, removes or exchanges sealed rows breaks the chain there; `audit_verify` says where. A checkpoint each hour puts the
chain's end into the log too, so that one who can rewrite the whole database still cannot rewrite what others have noted.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

SEALS_PER_ROUND: Final = 1000
CHECKPOINT_INTERVAL: Final = dt.timedelta(hours=1)
MONTHS_AHEAD: Final = 3
"""Partitions made before they are needed: a task worker may be down for long."""
FIRST_CHAIN: Final = hashlib.sha256(b"fileroom audit trail").digest()
"""What the first seal follows."""
_LOCK: Final = 0x41554454  # "AUDT"

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last seal: its position (0 where there is none) and chain hash."""

    position: int
    chain: bytes


def content_hash(row: dict[str, Any]) -> bytes:
    """SHA-256 of a row's canonical content: its columns in order, as JSON with sorted keys; times in UTC, microseconds."""
    at: dt.datetime = row["occurred_at"]
    values = [
        row["id"],
        at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        row["event"],
        row["event_type"],
        row["action"],
        row["outcome"],
        row["actor_kind"],
        row["actor"],
        row["address"],
        row["patient_ids"],
        row["study_uids"],
        row["message"],
    ]
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()


def next_chain(former: bytes, position: int, event_id: int, content: bytes) -> bytes:
    """The chain hash of the seal that follows `former`."""
    return hashlib.sha256(former + position.to_bytes(8, "big") + event_id.to_bytes(8, "big") + content).digest()


async def seal_waiting(pool: Pool) -> int:
    """Seal what waits; returns how many events that were. Raises DatabaseError."""
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            return await _seal(connection)
    except psycopg.Error as error:
        raise DatabaseError(f"The audit trail could not be sealed: {type(error).__name__}.") from error


async def make_checkpoint(pool: Pool) -> int:
    """Note the chain's end, in a row and in the log, when an hour has gone and something was sealed since."""
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            end, _ = await read_end(connection)
            cursor = await connection.execute(
                b"""INSERT INTO audit_checkpoint (kind, position, chain) SELECT 'periodic', %s, %s
                    WHERE %s > coalesce((SELECT max(position) FROM audit_checkpoint), 0) AND NOT EXISTS (
                        SELECT 1 FROM audit_checkpoint WHERE kind = 'periodic' AND made_at > now() - %s)""",
                (end.position, end.chain, end.position, CHECKPOINT_INTERVAL),
            )
    except psycopg.Error as error:
        raise DatabaseError(f"The audit trail's checkpoint could not be written: {type(error).__name__}.") from error
    if cursor.rowcount:
        _log.info("audit_checkpoint", position=end.position, chain=end.chain.hex())
    return 0


async def read_end(connection: AsyncConnection[Any]) -> tuple[ChainEnd, dt.datetime | None]:
    """The chain's end, and when it was sealed."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(b"SELECT position, chain, sealed_at FROM audit_seal ORDER BY position DESC LIMIT 1")
        row = await cursor.fetchone()
        if row is not None:
            return ChainEnd(row[0], bytes(row[1])), row[2]
        await cursor.execute(
            b"SELECT position, chain FROM audit_checkpoint WHERE kind = 'retention' ORDER BY position DESC LIMIT 1"
        )
        row = await cursor.fetchone()
    return (ChainEnd(row[0], bytes(row[1])) if row else ChainEnd(0, FIRST_CHAIN)), None


async def _seal(connection: AsyncConnection[Any]) -> int:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_WAITING, (SEALS_PER_ROUND,))
        rows = await cursor.fetchall()
    if not rows:
        return 0
    end, sealed_at = await read_end(connection)
    position, chain = end.position, end.chain
    seals = []
    for row in rows:
        content = content_hash(row)
        position += 1
        chain = next_chain(chain, position, row["id"], content)
        seals.append((position, sealed_at, row["id"], row["occurred_at"], content, chain))
    async with connection.cursor() as cursor:
        await cursor.executemany(_INSERT, seals)
        await cursor.execute(b"DELETE FROM audit_queue WHERE event_id = ANY(%s)", ([row["id"] for row in rows],))
    return len(rows)


_WAITING: Final = b"""
SELECT e.* FROM audit_queue q JOIN audit_event e ON e.id = q.event_id AND e.occurred_at = q.occurred_at
ORDER BY q.event_id LIMIT %s"""
# A clock that was set back must not put a later seal into an earlier month.
_INSERT: Final = b"""
INSERT INTO audit_seal (position, sealed_at, event_id, occurred_at, content, chain)
VALUES (%s, greatest(clock_timestamp(), %s), %s, %s, %s, %s)"""
