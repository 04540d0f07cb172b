"""Checking the audit trail: does every row still say what was sealed, and is none missing, added or out of order?

The walk goes over all seals in order and computes content and chain anew. What it finds is told with its place, and the walk
goes on with what stands there, so that one change is one finding. Against somebody who rewrites the whole chain, give it a
checkpoint that was noted elsewhere (the log, the syslog server): `expected`.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit_chain import FIRST_CHAIN, ChainEnd, content_hash, next_chain
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

ROWS_PER_READ: Final = 2000
FINDINGS_MAX: Final = 1000
"""More tell nothing new: the trail is broken."""
UNSEALED_GRACE: Final = dt.timedelta(minutes=10)
"""What is younger and waits has its seal coming, if a task worker runs."""


class FindingKind(enum.StrEnum):
    """What is wrong with a row."""

    CHANGED = "changed"
    MISSING = "missing"
    REORDERED = "reordered"
    UNSEALED = "unsealed"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is wrong; position 0 and event 0 where that is not known."""

    kind: FindingKind
    position: int
    event_id: int
    occurred_at: dt.datetime | None
    detail: str


@dataclass(slots=True)
class AuditVerifyReport:
    """What was checked; `end` is worth noting elsewhere. What is from before `kept_since` was deleted by the retention."""

    events: int = 0
    waiting: int = 0
    kept_since: dt.datetime | None = None
    end: ChainEnd = field(default_factory=lambda: ChainEnd(0, FIRST_CHAIN))
    findings: list[AuditFinding] = field(default_factory=list)

    def add(self, finding: AuditFinding) -> None:
        """Note a finding, up to FINDINGS_MAX."""
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)


Progress = Callable[[int], Awaitable[None]]
"""Hears how many seals have been looked at."""


async def verify_trail(
    pool: Pool, *, expected: ChainEnd | None = None, progress: Progress | None = None
) -> AuditVerifyReport:
    """Walk over the whole trail as it stands now. Raises NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    try:
        async with pool.connection() as connection, connection.transaction():
            # One state of the trail for the whole walk, however long that takes.
            await connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await connection.execute(b"SET LOCAL statement_timeout = 0")
            return await _Walk(connection, expected, progress).run()
    except psycopg.Error as error:
        raise DatabaseError(f"The audit trail cannot be read: {type(error).__name__}. Try again later.") from error


class _Walk:
    def __init__(self, connection: AsyncConnection[Any], expected: ChainEnd | None, progress: Progress | None) -> None:
        self._progress = progress
        self._connection = connection
        self._expected = expected
        self._report = AuditVerifyReport()
        self._checkpoints: dict[int, bytes] = {}

    async def run(self) -> AuditVerifyReport:
        report = self._report
        report.end = await self._anchor()
        while rows := await self._next(report.end.position):
            for row in rows:
                self._check(row)
            if self._progress is not None:
                await self._progress(report.events)
        self._check_end()
        await self._look_for_unsealed()
        return report

    async def _anchor(self) -> ChainEnd:
        """Where the chain begins: at its first seal, or behind what the retention routine took away."""
        start = ChainEnd(0, FIRST_CHAIN)
        for row in await self._read(b"SELECT * FROM audit_checkpoint ORDER BY position, id"):
            self._checkpoints[row["position"]] = bytes(row["chain"])
            if row["kind"] == "retention":
                start = ChainEnd(row["position"], bytes(row["chain"]))
                self._report.kept_since = row["dropped_before"]
        if self._expected is not None and self._expected.position > start.position:
            self._checkpoints[self._expected.position] = self._expected.chain
        return start

    async def _next(self, position: int) -> list[dict[str, Any]]:
        return await self._read(_SEALS, position, ROWS_PER_READ)

    def _check(self, row: dict[str, Any]) -> None:
        report, former = self._report, self._report.end
        position, stored = row["position"], bytes(row["chain"])
        if position != former.position + 1:
            gap = f"{former.position + 1} to {position - 1}"
            self._find(FindingKind.MISSING, row, f"the seals {gap} are gone, and which events they sealed with them")
        content = self._content(row)
        follows = next_chain(former.chain, position, row["event_id"], bytes(row["content"]))
        if follows != stored and position == former.position + 1:
            self._find(
                FindingKind.REORDERED, row, "the seal does not follow the one before it: one of them was altered"
            )
        if content is not None and content != bytes(row["content"]):
            self._find(FindingKind.CHANGED, row, "the event does not say any more what was sealed")
        noted = self._checkpoints.get(position)
        if noted is not None and noted != stored:
            self._find(FindingKind.CHECKPOINT, row, "the chain is another one than the checkpoint noted here")
        report.events += 1
        report.end = ChainEnd(position, stored)

    def _content(self, row: dict[str, Any]) -> bytes | None:
        if row["id"] is not None:
            return content_hash(row)
        kept_since = self._report.kept_since
        if kept_since is None or row["seal_occurred_at"] >= kept_since:
            self._find(FindingKind.MISSING, row, "the event is gone; its seal still stands")
        return None

    def _check_end(self) -> None:
        end = self._report.end
        later = [position for position in self._checkpoints if position > end.position]
        if later:
            detail = f"a checkpoint noted {max(later)} seals, but the last one is {end.position}: the end is gone"
            self._report.add(AuditFinding(FindingKind.MISSING, end.position + 1, 0, None, detail))

    async def _look_for_unsealed(self) -> None:
        """Events that nothing will seal, and ones that were taken away before they were sealed."""
        for row in await self._read(_STRAY, FINDINGS_MAX):
            detail = "the event has no seal and waits for none: it was put there past the trail, or its seal was taken"
            self._report.add(AuditFinding(FindingKind.UNSEALED, 0, row["id"], row["occurred_at"], detail))
        for row in await self._read(_VANISHED, FINDINGS_MAX):
            detail = "the event was written, and is gone before it was sealed"
            self._report.add(AuditFinding(FindingKind.MISSING, 0, row["event_id"], row["occurred_at"], detail))
        rows = await self._read(b"SELECT count(*) AS waiting, min(occurred_at) AS oldest FROM audit_queue")
        self._report.waiting = int(rows[0]["waiting"])
        oldest = rows[0]["oldest"]
        if oldest is not None and dt.datetime.now(dt.UTC) - oldest > UNSEALED_GRACE:
            detail = f"{self._report.waiting} events wait for their seals; is 'fileroom serve' running?"
            self._report.add(AuditFinding(FindingKind.UNSEALED, 0, 0, oldest, detail))

    def _find(self, kind: FindingKind, row: dict[str, Any], detail: str) -> None:
        self._report.add(AuditFinding(kind, row["position"], row["event_id"], row["seal_occurred_at"], detail))

    async def _read(self, statement: bytes, *parameters: object) -> list[dict[str, Any]]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()


_SEALS: Final = b"""
SELECT s.position, s.event_id, s.occurred_at AS seal_occurred_at, s.content, s.chain, e.* FROM (
    SELECT * FROM audit_seal WHERE position > %s ORDER BY position LIMIT %s
) s LEFT JOIN audit_event e ON e.id = s.event_id AND e.occurred_at = s.occurred_at ORDER BY s.position"""
_STRAY: Final = b"""
SELECT e.id, e.occurred_at FROM audit_event e
WHERE NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.event_id = e.id AND s.occurred_at = e.occurred_at)
AND NOT EXISTS (SELECT 1 FROM audit_queue q WHERE q.event_id = e.id) ORDER BY e.id LIMIT %s"""
_VANISHED: Final = b"""
SELECT q.event_id, q.occurred_at FROM audit_queue q
WHERE NOT EXISTS (SELECT 1 FROM audit_event e WHERE e.id = q.event_id AND e.occurred_at = q.occurred_at)
ORDER BY q.event_id LIMIT %s"""
