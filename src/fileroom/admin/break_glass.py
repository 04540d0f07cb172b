"""Break-glass: a person sees, for a time and with a reason, what their row scope hides. An auditor looks at it afterwards.

It widens the rows of the person's own sessions and nothing else: what the role does not permit stays forbidden, and API
tokens stay as they are. Its begin, its early end and its review are events of the audit trail, as is everything seen.
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
from fileroom.admin.audit_events import audit_log_used, break_glass_ended, break_glass_started
from fileroom.admin.audit_message import AuditEvent, EventCode
from fileroom.admin.people import People
from fileroom.core.access import Access, ActorKind, Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotAllowedError, NotFoundError, told

MINUTES_DEFAULT: Final = 60
MINUTES_MAX: Final = 480
"""A shift: whoever needs longer needs another row scope."""
REASON_CHARS_MIN: Final = 8
"""`x` is no reason."""
REASON_WORDS_MIN: Final = 2
REASON_CHARS_MAX: Final = 1000
LISTED_MAX: Final = 1000
REVIEWED_AT_ONCE_MAX: Final = 50
"""Shown on one page with what was seen: a day of a busy house."""
_LOOKS: Final = (
    EventCode.INSTANCES_ACCESSED.value,
    EventCode.INSTANCES_TRANSFERRED.value,
    EventCode.EXPORT.value,
)
_SEEN: Final = b"""
    SELECT g.id, seen.events, seen.patients, seen.studies
    FROM break_glass g CROSS JOIN LATERAL (
        SELECT count(DISTINCT e.id) AS events,
               coalesce(array_agg(DISTINCT patient) FILTER (WHERE patient <> ''), '{}') AS patients,
               coalesce(array_agg(DISTINCT study) FILTER (WHERE study <> ''), '{}') AS studies
        FROM audit_event e
             LEFT JOIN LATERAL unnest(e.patient_ids) AS patient ON true
             LEFT JOIN LATERAL unnest(e.study_uids) AS study ON true
        WHERE e.actor = g.login AND e.actor_kind = 'person' AND e.event = ANY(%(events)s)
          AND e.occurred_at >= g.began_at AND e.occurred_at < g.ends_at) AS seen
    WHERE g.id = ANY(%(numbers)s)"""
_COLUMNS: Final = "id, account_id, login, address, reason, began_at, ends_at, reviewed_at, reviewed_by, review"


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """One time that somebody broke the glass. Times are aware; `reviewed_at` None: nobody has looked at it yet."""

    id: int
    account_id: int
    login: str
    address: str
    reason: str
    began_at: dt.datetime
    ends_at: dt.datetime
    reviewed_at: dt.datetime | None = None
    reviewed_by: str | None = None
    review: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody looked at while the glass was broken, by the audit trail: Patient IDs; studies by UID with a label."""

    events: int
    patients: tuple[str, ...]
    studies: tuple[tuple[str, str], ...]


async def break_glass(people: People, reason: str, minutes: int = MINUTES_DEFAULT) -> BrokenGlass:
    """See everything from now on, for `minutes`; in other sessions of the same account too.

    Raises InvalidRequestError without a reason or for a time that is too long, ConflictError where nothing is hidden,
    NotAllowedError, DatabaseError.
    """
    access, account_id = _require_person()
    reason = _checked_text(reason, told("The reason"), REASON_CHARS_MIN)
    if len(reason.split()) < REASON_WORDS_MIN:
        raise InvalidRequestError(told("Say why in some words: somebody else must understand it."))
    if not 1 <= minutes <= MINUTES_MAX:
        raise InvalidRequestError(
            told(
                "The glass can be broken for 1 to {count} minutes, not for {minutes}.",
                count=MINUTES_MAX,
                minutes=minutes,
            )
        )
    if access.rows.is_everything:
        raise ConflictError(told("Nothing is hidden from you, so there is no glass to break."))
    now = people.now()
    return await _change(
        people,
        """INSERT INTO break_glass (account_id, login, address, reason, began_at, ends_at)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (account_id, access.name, access.address, reason, now, now + dt.timedelta(minutes=minutes)),
        told("The glass could not be broken."),
        begins=True,
    )


async def end_break_glass(people: People) -> BrokenGlass:
    """End what one has broken before its time. Raises NotFoundError where nothing is open, NotAllowedError, DatabaseError."""
    _, account_id = _require_person()
    now = people.now()
    return await _change(
        people,
        "UPDATE break_glass SET ends_at = %s WHERE account_id = %s AND ends_at > %s",
        (now, account_id, now),
        told("You have broken no glass, or its time is over."),
    )


async def find_own_break_glass(people: People) -> BrokenGlass | None:
    """What one has broken and is still open, None where that is nothing. Raises NotAllowedError, DatabaseError."""
    _, account_id = _require_person()
    found = await _select(
        people, "account_id = %s AND ends_at > %s ORDER BY ends_at DESC LIMIT 1", (account_id, people.now())
    )
    return found[0] if found else None


async def list_break_glass(people: People, *, unreviewed_only: bool = False) -> list[BrokenGlass]:
    """Who broke the glass, the latest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    condition = "reviewed_at IS NULL" if unreviewed_only else "true"
    return await _select(people, f"{condition} ORDER BY id DESC LIMIT {LISTED_MAX}", ())


async def seen_meanwhile(people: People, glasses: Sequence[BrokenGlass]) -> dict[int, Seen]:
    """What was looked at, sent or exported in each person's name while it was open; also what they may see anyway.

    That is itself a look into the audit trail. Raises NotAllowedError, DatabaseError.
    """
    require(Permission.AUDIT_READ)
    if not glasses:
        return {}
    numbers = [one.id for one in glasses]
    try:
        async with people.pool.connection() as connection, connection.transaction():
            await record(connection, audit_log_used(f"break-glass {', '.join(map(str, numbers))}"))
            cursor = await connection.execute(_SEEN, {"numbers": numbers, "events": list(_LOOKS)})
            rows = await cursor.fetchall()
            uids = sorted({uid for row in rows for uid in row[3]})
            cursor = await connection.execute(
                b"""SELECT study_instance_uid, coalesce(nullif(study_description, ''), array_to_string(modalities, ' '))
                    FROM study WHERE study_instance_uid = ANY(%s)""",
                (uids,),
            )
            labels = {row[0]: row[1] for row in await cursor.fetchall()}
    except psycopg.Error as error:
        raise _failure(error) from error
    return {row[0]: Seen(row[1], tuple(row[2]), tuple((uid, labels.get(uid, "")) for uid in row[3])) for row in rows}


async def review_break_glass(people: People, glass_id: int, remark: str) -> BrokenGlass:
    """Note that somebody has looked at it, and what they found.

    Raises InvalidRequestError without a remark, NotFoundError, ConflictError for one that is reviewed already or still
    open, NotAllowedError, also for one's own; DatabaseError.
    """
    access = require(Permission.AUDIT_READ)
    remark = _checked_text(remark, told("The remark"), 1)
    found = await _select(people, "id = %s", (glass_id,))
    if not found:
        raise NotFoundError(told("There is no break-glass {glass_id}.", glass_id=glass_id))
    if access.account_id is not None and found[0].account_id == access.account_id:
        raise NotAllowedError(told("Somebody else must review what you have seen."))
    now = people.now()
    if found[0].reviewed_at is not None:
        raise ConflictError(
            told(
                "Break-glass {glass_id} was reviewed already, by {reviewed_by}.",
                glass_id=glass_id,
                reviewed_by=found[0].reviewed_by,
            )
        )
    if found[0].ends_at > now:
        raise ConflictError(told("Break-glass {glass_id} is still open; review it when it is over.", glass_id=glass_id))
    return await _change(
        people,
        """UPDATE break_glass SET reviewed_at = %s, reviewed_by = %s, review = %s
           WHERE id = %s AND reviewed_at IS NULL""",
        (now, access.name, remark, glass_id),
        told("Break-glass {glass_id} was reviewed already.", glass_id=glass_id),
    )


def _require_person() -> tuple[Access, int]:
    """Somebody who has logged in and may break the glass: a program has no emergencies."""
    access = require(Permission.STUDY_BREAK_GLASS)
    if access.kind is not ActorKind.PERSON or access.account_id is None:
        raise NotAllowedError(told("Only a person who has logged in can break the glass."))
    return access, access.account_id


def _checked_text(text: str, name: str, chars_min: int) -> str:
    kept = " ".join(text.split())
    if not chars_min <= len(kept) <= REASON_CHARS_MAX or not kept.isprintable():
        raise InvalidRequestError(
            told(
                "{name} has {chars_min} to {count} printable characters.",
                name=name,
                chars_min=chars_min,
                count=REASON_CHARS_MAX,
            )
        )
    return kept


async def _select(people: People, condition: str, parameters: tuple[Any, ...]) -> list[BrokenGlass]:
    try:
        async with (
            people.pool.connection() as connection,
            connection.cursor(row_factory=class_row(BrokenGlass)) as cursor,
        ):
            text = f"SELECT {_COLUMNS} FROM break_glass WHERE {condition}"  # noqa: S608 - our own texts
            await cursor.execute(text.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise _failure(error) from error


async def _change(
    people: People, statement: str, parameters: tuple[Any, ...], nothing: str, *, begins: bool = False
) -> BrokenGlass:
    """Run it and write its event, in one transaction. Raises NotFoundError(`nothing`) when it changed no row."""
    try:
        async with people.pool.connection() as connection, connection.transaction():
            glass = await _returned(connection, statement, parameters)
            if glass is None:
                raise NotFoundError(nothing)
            await record(connection, _event(glass, begins=begins))
            return glass
    except psycopg.Error as error:
        raise _failure(error) from error


async def _returned(
    connection: AsyncConnection[Any], statement: str, parameters: tuple[Any, ...]
) -> BrokenGlass | None:
    async with connection.cursor(row_factory=class_row(BrokenGlass)) as cursor:
        await cursor.execute(f"{statement} RETURNING {_COLUMNS}".encode(), parameters)
        return await cursor.fetchone()


def _event(glass: BrokenGlass, *, begins: bool) -> AuditEvent:
    if begins:
        return break_glass_started(
            (), f"{glass.login} sees everything until {glass.ends_at:%Y-%m-%d %H:%M:%S%z}: {glass.reason}"
        )
    if glass.reviewed_by is not None:
        return break_glass_ended(
            (), f"{glass.reviewed_by} reviewed what {glass.login} saw (break-glass {glass.id}): {glass.review}"
        )
    return break_glass_ended((), f"{glass.login} ended it before its time")


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(told("The database did not take it: {name}. Try again later.", name=type(error).__name__))
