"""The ledger's weeks: made ahead, dropped when they are old; and what dead processes left open is closed."""

from __future__ import annotations

import datetime as dt
import os
import re
import socket
from pathlib import Path
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from fileroom.core.clock import Now
from fileroom.db.pool import Pool

LEDGER_LOCK: Final = 0x4C454447  # "LEDG"
WEEKS_AHEAD: Final = 2
"""Made before they are needed, so that a task worker may be away for a fortnight."""
DEAD_AFTER_S: Final = 120.0
"""Four signs of life missed."""
_UNKNOWN: Final = "0"
_TABLES: Final = ("association", "association_operation")
_WEEK: Final = re.compile(r"(?:association|association_operation)_(\d{8})")
_log: Final = structlog.get_logger(__name__)


async def keep_ledger(pool: Pool, now: Now, days: int) -> int:
    """Make the weeks to come, drop those that ended more than `days` ago, forget old proposals and writers. Returns 0."""
    today = now()
    for ahead in range(WEEKS_AHEAD + 1):
        await ensure_weeks(pool, today + dt.timedelta(weeks=ahead))
    await _drop_weeks_before(pool, _monday(today - dt.timedelta(days=days)))
    async with pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM association_contexts WHERE used_at < %s", (today - dt.timedelta(days=days + 14),)
        )
        await connection.execute(
            b"""DELETE FROM ledger_writer w WHERE seen_at < now() - interval '1 day'
                AND NOT EXISTS (SELECT FROM association a WHERE a.writer = w.id AND a.ended_at IS NULL)"""
        )
    return 0


async def ensure_weeks(pool: Pool, moment: dt.datetime) -> None:
    """Make the week of `moment` where it is missing."""
    begin = _monday(moment)
    async with pool.connection() as connection, connection.transaction():
        # Two that make the same table at the same time would both fail.
        await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (LEDGER_LOCK,))
        for table in _TABLES:
            await connection.execute(_make_week(table, begin))


def writer_name() -> str:
    """What this process calls itself: whoever else runs on this machine can see whether it lives.

    Process numbers mean something in their own namespace only (pid_namespaces(7)); containers may share a host name. A
    number is given again to another process, so the moment at which this one began stands beside it.
    """
    return f"{_here()}:{os.getpid()}:{_life_of(os.getpid())[1]}"


async def close_interrupted(pool: Pool) -> int:
    """End the associations whose process is dead, on this machine, or was not seen for DEAD_AFTER_S, or is unknown.

    Returns how many.
    """
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (LEDGER_LOCK,))
        cursor = await connection.execute(
            b"""SELECT w.id, w.name FROM ledger_writer w
                WHERE EXISTS (SELECT FROM association a WHERE a.writer = w.id AND a.ended_at IS NULL)"""
        )
        dead = [number for number, name in await cursor.fetchall() if _is_dead(name)]
        cursor = await connection.execute(
            b"""UPDATE association a SET outcome = 'interrupted', mark = 2, change = nextval('association_change'),
                    ended_at = greatest(a.began_at, (SELECT seen_at FROM ledger_writer w WHERE w.id = a.writer))
                WHERE a.ended_at IS NULL AND a.writer NOT IN (
                    SELECT id FROM ledger_writer WHERE id <> ALL(%s) AND seen_at >= now() - make_interval(secs => %s))""",
            (dead, DEAD_AFTER_S),
        )
        return cursor.rowcount


def _here() -> str:
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}:{namespace}"


def _is_dead(name: str) -> bool:
    """Whether a process of this machine is gone; False where that cannot be seen from here."""
    where, _, number = name.rpartition(":")
    where, _, pid = where.rpartition(":")
    if where != _here() or not (pid.isdigit() and number.isdigit()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass  # it is there, and somebody else's
    state, began = _life_of(int(pid))
    # A killed process whose parent has not looked yet still has its number (wait(2): a zombie).
    return state in ("Z", "X") or (began != number and began != _UNKNOWN)


def _life_of(pid: int) -> tuple[str, str]:
    """State and beginning (clock ticks since the machine's) of a process by proc_pid_stat(5); unknown without /proc."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return "", _UNKNOWN
    fields = told.rpartition(")")[2].split()  # the name before may hold anything
    return fields[0], fields[19]


async def _drop_weeks_before(pool: Pool, first_kept: dt.date) -> None:
    async with pool.connection() as connection:
        for name in await _weeks(connection):
            found = _WEEK.fullmatch(name)
            if found is None or dt.datetime.strptime(found[1], "%Y%m%d").date() >= first_kept:
                continue
            async with connection.transaction():
                # Whoever reads the ledger just now is not kept waiting: the next round is soon enough.
                await connection.execute(b"SET LOCAL lock_timeout = '2s'")
                await connection.execute(f"DROP TABLE {name}".encode())
            _log.info("ledger_week_dropped", table=name)


async def _weeks(connection: AsyncConnection[Any]) -> list[str]:
    cursor = await connection.execute(
        b"""SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent IN ('association'::regclass, 'association_operation'::regclass) ORDER BY 1"""
    )
    return [name for (name,) in await cursor.fetchall()]


def _make_week(table: str, begin: dt.date) -> bytes:
    end = begin + dt.timedelta(weeks=1)
    bounds = f"FROM ('{begin} 00:00+00') TO ('{end} 00:00+00')"
    return f"CREATE TABLE IF NOT EXISTS {table}_{begin:%Y%m%d} PARTITION OF {table} FOR VALUES {bounds}".encode()


def _monday(moment: dt.datetime) -> dt.date:
    day = moment.astimezone(dt.UTC).date()
    return day - dt.timedelta(days=day.weekday())
