"""Checking the audit trail from a page: somebody asks for it, the task worker walks over the chain, the page follows.

A check is a row, so that every process sees how far it is, and a killed worker's check is begun anew. The latest one tells
when the trail was last seen to be whole. The walk itself: `admin.audit_verify`.
"""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_chain import ChainEnd, read_end
from fileroom.admin.audit_events import audit_log_used
from fileroom.admin.audit_verify import AuditFinding, AuditVerifyReport, FindingKind, verify_trail
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.db.pool import Pool

DEAD_AFTER_S: Final = 60.0
"""A check that has not moved for so long is begun anew; it moves on every second."""
MOVES_EVERY_S: Final = 1.0
FINDINGS_KEPT_MAX: Final = 100
"""Of one check. The command `fileroom audit verify` shows all of them."""


@dataclass(frozen=True, slots=True)
class AuditCheck:
    """One check; `total` is about how many seals there are, `done` how many have been looked at."""

    id: int
    actor: str
    began_at: dt.datetime
    seen_at: dt.datetime
    ended_at: dt.datetime | None
    total: int
    done: int
    waiting: int
    end: ChainEnd
    kept_since: dt.datetime | None
    finding_count: int
    findings: tuple[AuditFinding, ...]
    problem: str

    @property
    def is_running(self) -> bool:
        """Asked for, and not over yet."""
        return self.ended_at is None

    @property
    def is_whole(self) -> bool:
        """It came to its end and found nothing."""
        return self.ended_at is not None and not self.problem and not self.finding_count

    @property
    def checkpoint(self) -> str:
        """The chain's end as `fileroom audit verify --checkpoint` takes it; empty where nothing is sealed."""
        return f"{self.end.position}:{self.end.chain.hex()}" if self.end.position else ""


@dataclass(frozen=True, slots=True)
class TrailState:
    """The chain as it is now, the check that runs or was the last, and the last one that found the trail whole."""

    sealed: int
    sealed_at: dt.datetime | None
    waiting: int
    check: AuditCheck | None
    whole: AuditCheck | None


async def trail_state(pool: Pool) -> TrailState:
    """How it stands. Raises NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    try:
        async with pool.connection() as connection:
            end, sealed_at = await read_end(connection)
            cursor = await connection.execute(b"SELECT count(*) FROM audit_queue")
            waiting = await cursor.fetchone()
            async with connection.cursor(row_factory=dict_row) as rows:
                await rows.execute(b"SELECT * FROM audit_check ORDER BY id DESC LIMIT 1")
                last = await rows.fetchone()
                await rows.execute(_LAST_WHOLE)
                whole = await rows.fetchone()
    except psycopg.Error as error:
        raise _failure(error) from error
    return TrailState(end.position, sealed_at, int(waiting[0]) if waiting else 0, _check(last), _check(whole))


async def ask_for_check(pool: Pool) -> None:
    """Have the trail checked; one that runs goes on. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.AUDIT_READ)
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(b"LOCK TABLE audit_check IN SHARE ROW EXCLUSIVE MODE")
            cursor = await connection.execute(
                b"""INSERT INTO audit_check (actor, seen_at) SELECT %s, 'epoch'
                    WHERE NOT EXISTS (SELECT FROM audit_check WHERE ended_at IS NULL)""",
                (access.name,),
            )
            if cursor.rowcount:
                await record(connection, audit_log_used("verify the chain"))
    except psycopg.Error as error:
        raise _failure(error) from error


async def run_asked_check(pool: Pool) -> int:
    """Run the check that was asked for, if there is one; returns 0. For the task worker. Raises DatabaseError."""
    number = await _claim(pool)
    if number is None:
        return 0
    progress = _Progress(pool, number)
    try:
        report = await verify_trail(pool, progress=progress.moved)
    except FileroomError as error:
        await _execute(
            pool, b"UPDATE audit_check SET ended_at = clock_timestamp(), problem = %s WHERE id = %s", str(error), number
        )
        return 0
    await _put_down(pool, number, report)
    return 0


async def note_check(pool: Pool, report: AuditVerifyReport) -> None:
    """Put down a check that was run elsewhere, by a command. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.AUDIT_READ)
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                b"INSERT INTO audit_check (actor, total) VALUES (%s, %s) RETURNING id", (access.name, report.events)
            )
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise _failure(error) from error
    if row is not None:
        await _put_down(pool, int(row[0]), report)


class _Progress:
    """Moves a check's row on, not more than once in MOVES_EVERY_S."""

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self._number = number
        self._moved_at = time.monotonic()

    async def moved(self, done: int) -> None:
        """So many seals have been looked at."""
        if time.monotonic() - self._moved_at < MOVES_EVERY_S:
            return
        self._moved_at = time.monotonic()
        await _execute(
            self._pool,
            b"UPDATE audit_check SET seen_at = clock_timestamp(), done = %s WHERE id = %s",
            done,
            self._number,
        )


async def _claim(pool: Pool) -> int | None:
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                b"""UPDATE audit_check SET seen_at = clock_timestamp(), done = 0,
                        total = coalesce((SELECT max(position) FROM audit_seal), 0)
                            - coalesce((SELECT min(position) - 1 FROM audit_seal), 0)
                    WHERE id = (SELECT id FROM audit_check WHERE ended_at IS NULL
                        AND seen_at < clock_timestamp() - make_interval(secs => %s)
                        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id""",
                (DEAD_AFTER_S,),
            )
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise _failure(error) from error
    return int(row[0]) if row else None


async def _put_down(pool: Pool, number: int, report: AuditVerifyReport) -> None:
    findings = [
        [one.kind.value, one.position, one.event_id, one.occurred_at, one.detail]
        for one in report.findings[:FINDINGS_KEPT_MAX]
    ]
    await _execute(
        pool,
        b"""UPDATE audit_check SET ended_at = clock_timestamp(), seen_at = clock_timestamp(), done = %s, waiting = %s,
                position = %s, chain = %s, kept_since = %s, finding_count = %s, findings = %s::jsonb WHERE id = %s""",
        report.events,
        report.waiting,
        report.end.position,
        report.end.chain,
        report.kept_since,
        len(report.findings),
        orjson.dumps(findings).decode(),
        number,
    )


async def _execute(pool: Pool, statement: bytes, *parameters: object) -> None:
    try:
        async with pool.connection() as connection:
            await connection.execute(statement, parameters)
    except psycopg.Error as error:
        raise _failure(error) from error


def _check(row: dict[str, Any] | None) -> AuditCheck | None:
    if row is None:
        return None
    findings = tuple(
        AuditFinding(FindingKind(kind), position, event, at and dt.datetime.fromisoformat(at), detail)
        for kind, position, event, at, detail in row.pop("findings")
    )
    end = ChainEnd(row.pop("position"), bytes(row.pop("chain")))
    return AuditCheck(**row, end=end, findings=findings)


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The checks of the audit trail cannot be read: {type(error).__name__}. Try again later.")


_LAST_WHOLE: Final = b"""
SELECT * FROM audit_check WHERE ended_at IS NOT NULL AND problem = '' AND finding_count = 0 ORDER BY id DESC LIMIT 1"""
