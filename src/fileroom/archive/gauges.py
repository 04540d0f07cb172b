"""How Fileroom stands at this moment: what waits, what needs a person, how full it is. For `/metrics` and the dashboard.

Each number costs a millisecond however large the archive is: it comes from a small table, from an index that holds only
what is asked for, or it is counted up to COUNTED_MAX and no further.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row, dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.core.limits import MIB
from fileroom.index.tally import stored_bytes
from fileroom.net.syslog import parse_server
from fileroom.storage.store import MARKER_KEY

COUNTED_MAX: Final = 100_000
"""Counting that many rows of an index takes some 10 ms; a queue of as many is long whatever its exact length."""
NODES_MAX: Final = 1000
"""Told of; each is a line or two of the metrics."""
DISK_TIMEOUT_S: Final = 2.0
"""A network folder that hangs must not hang those who watch."""

QUEUES: Final[dict[str, str]] = {
    "series_documents": "SELECT FROM series WHERE NOT documented",
    "commitment_results": "SELECT FROM commitment WHERE state = 'pending'",
    "removals": "SELECT FROM doomed_object",
    "audit_seals": "SELECT FROM audit_queue",
    "sendings": "SELECT FROM send_job WHERE state IN ('waiting', 'running')",
}
"""What background work waits for, by its name."""
_EXCEPTIONS: Final[dict[str, str]] = {
    "conflict": "SELECT FROM conflict",
    "lost_object": "SELECT FROM lost_object",
    "refusal": "SELECT FROM refusal WHERE refused_at > now() - interval '1 day'",
    "failed_association": "SELECT FROM association WHERE mark = 2 AND began_at > now() - interval '1 day'",
}
"""What needs a person; of refusals and failed associations those of the last day."""


@dataclass(frozen=True, slots=True)
class AuditForwarding:
    """How far the syslog server is behind: sealed events it has not, and the age of the oldest of them in seconds."""

    waiting: int
    lag_s: float


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes. `indexes` are a part of `database`.

    `free` and `total` are None where the store has no end; `total` is that of the file system.
    """

    objects: int
    aside: int
    database: int
    indexes: int
    free: int | None
    total: int | None
    reserve: int

    @property
    def usable(self) -> int | None:
        """What may still be filled: free space without the reserve."""
        return None if self.free is None else max(0, self.free - self.reserve)


@dataclass(frozen=True, slots=True)
class NodeState:
    """How a node answered the last echo; `latency_s` in seconds, None without an answer."""

    name: str
    is_answering: bool
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class Gauges:
    """Everything that goes up and down, without the storage."""

    queues: dict[str, int]
    exceptions: dict[str, int]
    arriving_studies: int
    held_callers: int
    sessions: int
    last_received_at: dt.datetime | None
    audit_forwarding: AuditForwarding | None
    """None where no syslog server is named."""

    @property
    def queued(self) -> int:
        """What all background work waits for."""
        return sum(self.queues.values())


async def read_gauges(archive: Archive) -> Gauges:
    """How it stands now. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    settings = archive.settings
    now = archive.now()
    values = {
        "idle_since": now - dt.timedelta(minutes=settings.session_idle_minutes),
        "now": now,
        "stable_s": settings.series_stable_s,
        "target": str(parse_server(settings.audit_syslog_url)) if settings.audit_syslog_url else "",
    }
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_STATEMENT, values)
            row = await cursor.fetchone() or {}
            forwarding = None
            if settings.audit_syslog_url:
                await cursor.execute(_FORWARDING, values)
                lag = await cursor.fetchone() or {"waiting": 0, "lag_s": 0.0}
                forwarding = AuditForwarding(lag["waiting"], float(lag["lag_s"]))
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not tell how it stands: {type(error).__name__}. Try again.") from error
    return Gauges(
        {name: row[f"queue_{name}"] for name in QUEUES},
        {name: row[f"exception_{name}"] for name in _EXCEPTIONS},
        row["arriving"],
        row["held_callers"],
        row["sessions"],
        row["last_received_at"],
        forwarding,
    )


async def read_storage(archive: Archive) -> Storage:
    """How full it is. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"""SELECT coalesce((SELECT sum(file_bytes) FROM conflict), 0)::bigint,
                           pg_database_size(current_database()),
                           (SELECT coalesce(sum(pg_relation_size(indexrelid)), 0) FROM pg_index)::bigint"""
            )
            aside, database, indexes = await cursor.fetchone() or (0, 0, 0)
        objects = await stored_bytes(archive.pool)
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not tell sizes: {type(error).__name__}. Try again.") from error
    free, total = await _disk(archive)
    return Storage(objects, aside, database, indexes, free, total, archive.settings.storage_reserve_mib * MIB)


async def read_node_states(archive: Archive) -> list[NodeState]:
    """How the nodes that are asked answered the last time, by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    try:
        async with (
            archive.pool.connection() as connection,
            connection.cursor(row_factory=class_row(NodeState)) as cursor,
        ):
            await cursor.execute(
                b"""SELECT n.name, e.problem = '' AS is_answering, e.latency_ms / 1000 AS latency_s FROM node n
                    JOIN LATERAL (SELECT * FROM node_echo x WHERE x.node_id = n.id ORDER BY asked_at DESC LIMIT 1) e ON true
                    WHERE n.enabled ORDER BY n.name LIMIT %s""",
                (NODES_MAX,),
            )
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not tell of nodes: {type(error).__name__}. Try again.") from error


async def _disk(archive: Archive) -> tuple[int | None, int | None]:
    """(free, total) bytes of the file system under the store; None where there is none or it does not answer."""
    marker = archive.store.path(MARKER_KEY)
    if marker is None:
        return None, None
    try:
        async with asyncio.timeout(DISK_TIMEOUT_S):
            usage = await asyncio.to_thread(shutil.disk_usage, marker.parent)
    except (TimeoutError, OSError):
        return None, None
    return usage.free, usage.total


def _count(rows: str) -> str:
    return f"(SELECT count(*) FROM ({rows} LIMIT {COUNTED_MAX}) AS counted)"  # noqa: S608 - texts of ours


_STATEMENT: Final = (  # texts of ours
    "SELECT "  # noqa: S608
    + "".join(f"{_count(rows)} AS queue_{name}, " for name, rows in QUEUES.items())
    + "".join(f"{_count(rows)} AS exception_{name}, " for name, rows in _EXCEPTIONS.items())
    + f"""(SELECT count(DISTINCT study) FROM series WHERE NOT documented
               AND changed_at > now() - make_interval(secs => %(stable_s)s)) AS arriving,
          {_count("SELECT FROM held_caller WHERE ignored_at IS NULL")} AS held_callers,
          {_count("SELECT FROM session WHERE expires_at > %(now)s AND last_seen_at > %(idle_since)s")} AS sessions,
          (SELECT received_at FROM instance ORDER BY id DESC LIMIT 1) AS last_received_at"""  # noqa: S608
).encode()
_FORWARDING: Final = f"""
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(sealed_at)), 0) AS lag_s FROM (
    SELECT sealed_at FROM audit_seal
    WHERE position > coalesce((SELECT max(position) FROM audit_forward WHERE target = %(target)s), 0)
    ORDER BY position LIMIT {COUNTED_MAX}) AS behind""".encode()  # noqa: S608
