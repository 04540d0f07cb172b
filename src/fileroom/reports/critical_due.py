"""Notices of critical findings that are due: whom to tell that one was noted, and that nobody has acknowledged it in time.

A notice is due by its row, so that a killed worker forgets none. Whoever could not be reached is tried again with growing
pauses; the second address is told whatever became of the first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.reports.critical import add_critical_event
from fileroom.reports.critical_levels import read_levels
from fileroom.tasks.loop import retry_delay

AT_ONCE_MAX: Final = 20
ATTEMPTS_MAX: Final = 10
CLAIM_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class DueNotice:
    """A finding of which somebody is to be told. `is_overdue`: nobody acknowledged it in time."""

    id: int
    report: int
    level: str
    noted_at: dt.datetime
    due_at: dt.datetime
    is_overdue: bool
    attempts: int
    to: tuple[str, ...]
    """Names of destinations; none: nobody is named for it."""


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    report: int
    level: str
    noted_at: dt.datetime
    due_at: dt.datetime
    notice_attempts: int
    notice_left: list[str]
    is_overdue: bool


async def claim_notices(archive: Archive) -> list[DueNotice]:
    """What is due, claimed for CLAIM_S. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            b"""UPDATE critical_result c SET notice_due_at = %s WHERE c.id IN (
                    SELECT id FROM critical_result WHERE notice_due_at <= %s AND acknowledged_at IS NULL
                    ORDER BY notice_due_at LIMIT %s FOR UPDATE SKIP LOCKED)
                RETURNING c.id, c.report, c.level, c.noted_at, c.due_at, c.notice_attempts, c.notice_left,
                    c.due_at <= %s AS is_overdue""",
            (now + dt.timedelta(seconds=CLAIM_S), now, AT_ONCE_MAX, now),
        )
        rows = await cursor.fetchall()
    if not rows:
        return []
    levels = await read_levels(archive.pool)
    due = []
    for one in rows:
        level = levels.get(one.level)
        named = () if level is None else level.escalate if one.is_overdue else level.tell
        # Names that are left belong to the first notice, until it is overdue.
        left = tuple(name for name in one.notice_left if name in named)
        due.append(
            DueNotice(
                one.id,
                one.report,
                one.level,
                one.noted_at,
                one.due_at,
                one.is_overdue,
                one.notice_attempts if left else 0,
                left or named,
            )
        )
    return due


async def settle_notice(archive: Archive, notice: DueNotice, failures: Mapping[str, str]) -> None:
    """Put down whom it reached: of every name in `notice.to` why it could not be told, empty where it was.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    left = [name for name in notice.to if failures.get(name)]
    attempts = notice.attempts + 1
    async with archive.pool.connection() as connection, connection.transaction():
        if notice.is_overdue and not notice.attempts:
            await add_critical_event(connection, notice.id, now, "overdue")
        for name in notice.to:
            failure = failures.get(name, "")
            note = f"{name}: {failure}" if failure else name
            await add_critical_event(connection, notice.id, now, "not told" if failure else "told", note=note)
        gives_up = not left or attempts >= ATTEMPTS_MAX
        again_at = None if gives_up else now + dt.timedelta(seconds=retry_delay(attempts))
        if not notice.is_overdue:
            # At the latest when it is overdue, the second address hears of it.
            again_at = min(again_at, notice.due_at) if again_at else notice.due_at
        await connection.execute(
            b"""UPDATE critical_result SET notice_attempts = %s, notice_left = %s,
                    told_at = CASE WHEN %s THEN coalesce(told_at, %s) ELSE told_at END,
                    escalated_at = CASE WHEN %s THEN coalesce(escalated_at, %s) ELSE escalated_at END,
                    notice_due_at = CASE WHEN acknowledged_at IS NULL THEN %s::timestamptz END
                WHERE id = %s""",
            (
                0 if gives_up else attempts,
                [] if gives_up else left,
                not notice.is_overdue and bool(notice.to) and not left,
                now,
                notice.is_overdue,
                now,
                again_at,
                notice.id,
            ),
        )
