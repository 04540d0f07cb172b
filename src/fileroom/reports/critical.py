"""Critical findings: what was found, who must hear of it by when, and who did.

    noted ─▶ told (mail, webhook) ─▶ acknowledged: in Fileroom by one click, or by phone or in person, which somebody notes
      └─────▶ overdue ─▶ told to the second address        each step is a row of critical_event and of the audit trail

Whoever may see the study may acknowledge for themselves; that somebody else did is noted by who may write reports. A report
that came as critical from elsewhere is noted by `note_flagged`, once; how notices leave, `routing.critical_notices` sees to.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected, order_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.index.conditions import Condition
from fileroom.reports.critical_levels import CRITICAL, read_levels
from fileroom.reports.report_visibility import report_is_visible

FINDING_CHARS_MAX: Final = 2000
WHO_CHARS_MAX: Final = 200
COMMENT_CHARS_MAX: Final = 1000
LIST_MAX: Final = 500
FLAGGED_AT_ONCE: Final = 100
IN_FILEROOM: Final = "fileroom"
WAYS: Final = (IN_FILEROOM, "phone", "person", "other")
"""How somebody acknowledged: here, on the phone, in person, in another way."""


@dataclass(frozen=True, slots=True)
class CriticalResult:
    """A critical finding with its report and patient. `acknowledged_at` None: it is open."""

    id: int
    report: int
    level: str
    finding: str
    told_to: str
    due_at: dt.datetime
    noted_at: dt.datetime
    noted_by: str
    acknowledged_at: dt.datetime | None
    acknowledged_by: str
    how: str
    comment: str
    told_at: dt.datetime | None
    escalated_at: dt.datetime | None
    report_title: str
    report_state: str
    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str

    def minutes_left(self, now: dt.datetime) -> float:
        """Until it is overdue; below 0: it is. Of one that was acknowledged, as it was then."""
        return (self.due_at - (self.acknowledged_at or now)).total_seconds() / 60


@dataclass(frozen=True, slots=True)
class CriticalEvent:
    """What happened to a finding: noted, told, not told, overdue, acknowledged, reopened."""

    critical_result: int
    at: dt.datetime
    event: str
    who: str
    note: str


# --- to see ---


async def list_critical(
    archive: Archive,
    *,
    acknowledged: bool = False,
    report: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[CriticalResult]:
    """Open findings, those that are due first; or those acknowledged, the latest noted first (`before`: below that id).

    `report`: of that one. Raises NotAllowedError, DatabaseError.
    """
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    conditions = [
        Condition("c.acknowledged_at IS NOT NULL" if acknowledged else "c.acknowledged_at IS NULL"),
        visible,
    ]
    if report is not None:
        conditions.append(Condition("c.report = %s", (report,)))
    if before is not None:
        conditions.append(Condition("c.id < %s", (before,)))
    order = "c.id DESC" if acknowledged else "c.due_at, c.id"
    return await _select(archive, Condition.all_of(conditions), order, min(limit, LIST_MAX))


async def get_critical(archive: Archive, number: int) -> CriticalResult:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    found = await _select(archive, Condition.all_of([Condition("c.id = %s", (number,)), visible]), "c.id", 1)
    if not found:
        raise _unknown(number)
    return found[0]


async def critical_events(archive: Archive, numbers: Sequence[int]) -> dict[int, list[CriticalEvent]]:
    """What happened to findings that somebody sees, the first event first. Raises NotAllowedError, DatabaseError."""
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    found: dict[int, list[CriticalEvent]] = {one: [] for one in numbers}
    statement = f"""SELECT e.critical_result, e.at, e.event, e.who, e.note FROM critical_event e
        JOIN critical_result c ON c.id = e.critical_result JOIN report r ON r.id = c.report
        WHERE e.critical_result = ANY(%s) AND {visible.text or "true"} ORDER BY e.id"""
    async with (
        archive.pool.connection() as connection,
        connection.cursor(row_factory=class_row(CriticalEvent)) as cursor,
    ):
        await cursor.execute(statement.encode(), (list(numbers), *visible.parameters))
        for event in await cursor.fetchall():
            found[event.critical_result].append(event)
    return found


async def count_open(archive: Archive) -> tuple[int, int]:
    """How many findings of those that somebody sees are open, and how many of them are overdue.

    Raises NotAllowedError, DatabaseError.
    """
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    statement = f"""SELECT count(*), count(*) FILTER (WHERE c.due_at <= %s) FROM critical_result c
        JOIN report r ON r.id = c.report WHERE c.acknowledged_at IS NULL AND {visible.text or "true"}"""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(statement.encode(), (archive.now(), *visible.parameters))
        row = await cursor.fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


async def overdue_critical(archive: Archive) -> tuple[int, float]:
    """How many of all findings are overdue, and the minutes of the longest. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    now = archive.now()
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT count(*), min(due_at) FROM critical_result WHERE acknowledged_at IS NULL AND due_at <= %s", (now,)
        )
        row = await cursor.fetchone()
    return (int(row[0]), (now - row[1]).total_seconds() / 60) if row and row[1] else (0, 0.0)


# --- to act ---


async def note_critical(
    archive: Archive, report: int, finding: str, *, level: str = CRITICAL, told_to: str = ""
) -> CriticalResult:
    """Somebody must hear of a finding. Whom the level names is told at once.

    Raises InvalidRequestError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    finding, told_to = _text(finding, FINDING_CHARS_MAX), _text(told_to, WHO_CHARS_MAX)
    if not finding:
        raise InvalidRequestError(told("Say in a few words what was found; who is told reads it."))
    levels = await read_levels(archive.pool)
    if level not in levels:
        raise InvalidRequestError(
            told("There is no level {level}. There are: {known}.", level=level[:40], known=", ".join(levels))
        )
    visible = report_is_visible(access)
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            f"""UPDATE report r SET is_critical = true WHERE r.id = %s AND {visible.text or "true"}
                RETURNING r.study_instance_uid, r.accession_number""".encode(),
            (report, *visible.parameters),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("There is no report {number}.", number=report))
        number = await _add(connection, report, level, levels[level].minutes, finding, told_to, access.name, now)
        await _audit(
            connection, row[0], row[1], f"Critical finding noted ({level}) on report {report}, number {number}"
        )
    return await get_critical(archive, number)


async def acknowledge_critical(
    archive: Archive, number: int, *, how: str = IN_FILEROOM, by: str = "", comment: str = ""
) -> CriticalResult:
    """Somebody has heard of it: whoever asks (`how` fileroom), or whom they spoke to (`by`).

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.STUDY_VIEW)
    if how not in WAYS:
        raise InvalidRequestError(told("How it was acknowledged is one of {ways}.", ways=", ".join(WAYS)))
    by, comment = _text(by, WHO_CHARS_MAX), _text(comment, COMMENT_CHARS_MAX)
    if how == IN_FILEROOM:
        by = access.name
    else:
        access.require(Permission.REPORT_WRITE)
        if not by:
            raise InvalidRequestError(told("Say who was told."))
    async with archive.pool.connection() as connection, connection.transaction():
        row = await _locked(connection, number)
        if row[0] is not None:
            raise ConflictError(told("{who} has acknowledged it already.", who=row[1]))
        now = archive.now()
        await connection.execute(
            b"""UPDATE critical_result SET acknowledged_at = %s, acknowledged_by = %s, how = %s, comment = %s,
                notice_due_at = NULL, notice_left = '{}' WHERE id = %s""",
            (now, by, how, comment, number),
        )
        note = comment if how == IN_FILEROOM else f"{how}: {by}" + (f"; {comment}" if comment else "")
        await add_critical_event(connection, number, now, "acknowledged", access.name, note)
        await _audit(connection, row[2], row[3], f"Critical finding {number} acknowledged by {by} ({how})")
    return await get_critical(archive, number)


async def reopen_critical(archive: Archive, number: int, reason: str) -> CriticalResult:
    """It was acknowledged by mistake.

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    reason = _text(reason, COMMENT_CHARS_MAX)
    if not reason:
        raise InvalidRequestError(told("Say why it is open again."))
    async with archive.pool.connection() as connection, connection.transaction():
        row = await _locked(connection, number)
        if row[0] is None:
            raise ConflictError(told("Nobody has acknowledged it yet."))
        now = archive.now()
        await connection.execute(
            b"""UPDATE critical_result SET acknowledged_at = NULL, acknowledged_by = '', how = '', comment = '',
                notice_due_at = CASE WHEN escalated_at IS NULL THEN greatest(due_at, %s) END, notice_attempts = 0,
                notice_left = '{}' WHERE id = %s""",
            (now, number),
        )
        await add_critical_event(connection, number, now, "reopened", access.name, reason)
        await _audit(connection, row[2], row[3], f"Critical finding {number} open again: {reason}")
    return await get_critical(archive, number)


# --- the worker, and others that have asked ---


async def note_flagged(archive: Archive) -> int:
    """Note the findings of reports that came as critical; returns how many. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    levels = await read_levels(archive.pool)
    level = levels.get(CRITICAL) or next(iter(levels.values()), None)
    if level is None:
        return 0
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""SELECT r.id, r.study_instance_uid, r.accession_number, r.changed_by, r.title,
                    (SELECT v.sections FROM report_version v WHERE v.report = r.id AND v.version = r.version)
                FROM report r WHERE r.is_critical AND r.state IN ('preliminary', 'final', 'corrected')
                AND NOT EXISTS (SELECT FROM critical_result c WHERE c.report = r.id)
                ORDER BY r.id LIMIT %s FOR UPDATE OF r SKIP LOCKED""",
            (FLAGGED_AT_ONCE,),
        )
        rows = await cursor.fetchall()
        for report, study, accession, who, title, sections in rows:
            finding = _finding_of(sections or [], title)
            number = await _add(connection, report, level.name, level.minutes, finding, "", who, now)
            await _audit(connection, study, accession, f"Critical finding of report {report} noted, number {number}")
    return len(rows)


async def add_critical_event(
    connection: AsyncConnection[Any], number: int, at: dt.datetime, event: str, who: str = "", note: str = ""
) -> None:
    """Put down what happened to a finding. Raises psycopg.Error."""
    await connection.execute(
        b"INSERT INTO critical_event (critical_result, at, event, who, note) VALUES (%s, %s, %s, %s, %s)",
        (number, at, event, who, note[:COMMENT_CHARS_MAX]),
    )


# --- helpers ---

_SELECT: Final = """
    SELECT c.id, c.report, c.level, c.finding, c.told_to, c.due_at, c.noted_at, c.noted_by, c.acknowledged_at,
        c.acknowledged_by, c.how, c.comment, c.told_at, c.escalated_at, r.title AS report_title, r.state AS report_state,
        r.study_instance_uid, r.accession_number,
        coalesce(s.patient_id, (SELECT i.value FROM patient_identifier i WHERE i.patient = r.patient
            ORDER BY i.is_first DESC, i.id LIMIT 1), '') AS patient_id,
        coalesce(s.patient_name, p.patient_name, '') AS patient_name
    FROM critical_result c JOIN report r ON r.id = c.report
    LEFT JOIN study s ON s.study_instance_uid = r.study_instance_uid AND r.study_instance_uid <> ''
    LEFT JOIN registered_patient p ON p.id = r.patient"""


async def _select(archive: Archive, condition: Condition, order: str, limit: int) -> list[CriticalResult]:
    statement = f"{_SELECT} WHERE {condition.text} ORDER BY {order} LIMIT %s"
    try:
        async with (
            archive.pool.connection() as connection,
            connection.cursor(row_factory=class_row(CriticalResult)) as cursor,
        ):
            await cursor.execute(statement.encode(), (*condition.parameters, limit))
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(
            f"The critical findings cannot be read: {type(error).__name__}. Try again later."
        ) from error


async def _add(
    connection: AsyncConnection[Any],
    report: int,
    level: str,
    minutes: int,
    finding: str,
    told_to: str,
    who: str,
    now: dt.datetime,
) -> int:
    cursor = await connection.execute(
        b"""INSERT INTO critical_result (report, level, finding, told_to, due_at, noted_at, noted_by, notice_due_at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (report, level, finding, told_to, now + dt.timedelta(minutes=minutes), now, who, now),
    )
    row = await cursor.fetchone()
    number = int(row[0]) if row else 0
    await add_critical_event(connection, number, now, "noted", who, told_to)
    return number


async def _locked(connection: AsyncConnection[Any], number: int) -> tuple[Any, ...]:
    """(acknowledged_at, acknowledged_by, study, accession) of one that may be seen."""
    visible = report_is_visible(current_access())
    cursor = await connection.execute(
        f"""SELECT c.acknowledged_at, c.acknowledged_by, r.study_instance_uid, r.accession_number FROM critical_result c
            JOIN report r ON r.id = c.report WHERE c.id = %s AND {visible.text or "true"} FOR UPDATE OF c""".encode(),
        (number, *visible.parameters),
    )
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is None:
        raise _unknown(number)
    return row


async def _audit(connection: AsyncConnection[Any], study: str, accession: str, what: str) -> None:
    event = corrected(study, what) if study else order_changed("", accession, ("", ""), what)
    await record(connection, event)


def _finding_of(sections: list[dict[str, str]], title: str) -> str:
    """What the report itself says last: its impression, or its last words."""
    texts = [one["text"].strip() for one in sections if one["text"].strip()]
    named = [one["text"].strip() for one in sections if one["heading"].strip().casefold() in _IMPRESSIONS]
    return _text((named or texts[-1:] or [title or "Marked critical by its sender"])[0], FINDING_CHARS_MAX)


_IMPRESSIONS: Final = ("impression", "conclusion", "beurteilung", "zusammenfassung")


def _text(text: str, most: int) -> str:
    return " ".join(text.replace("\x00", "").split())[:most]


def _unknown(number: int) -> NotFoundError:
    return NotFoundError(told("There is no critical finding {number}.", number=number))
