"""Schedules by name: when destinations are sent to, and when alerts keep quiet. The page, the API and the CLI call these.

Delivery workers take `read_schedules`; what a schedule means is `routing.calendars`'.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    Fields,
    Section,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, told
from fileroom.db.pool import Pool
from fileroom.routing.calendars import (
    ALWAYS,
    Schedule,
    holiday_name,
    is_day_off,
    is_open,
    next_open,
    open_intervals,
    schedule_from_fields,
    schedule_to_fields,
)

WEEK_DAYS: Final = 7


def _check(name: str, fields: Mapping[str, Any]) -> Fields:
    del name
    return schedule_to_fields(schedule_from_fields(fields))


SCHEDULES: Final = Section("schedules", "schedule", _check)


@dataclass(frozen=True, slots=True)
class NamedSchedule:
    """A schedule as it was made, and how it stands now. One that is not enabled is always open."""

    name: str
    schedule: Schedule
    fields: Fields
    enabled: bool
    version: int
    changed_by: str
    open_now: bool
    changes_at: dt.datetime | None
    """When it opens or closes next; None where that is not within a week or so."""


@dataclass(frozen=True, slots=True)
class DrawnDay:
    """A day of the drawn week: which of its hours are open, as (from, to) in parts of the day, 0 to 1."""

    date: dt.date
    open_hours: tuple[tuple[float, float], ...]
    holiday: str
    """What the holiday is called, `dates` where it is one of the house; empty on other days."""
    is_today: bool
    now_at: float | None
    """Where the line of the moment is, in parts of the day; only today."""


# --- for people ---


async def list_schedules(archive: Archive) -> list[NamedSchedule]:
    """All by name. Raises NotAllowedError, DatabaseError."""
    entries = await list_entries(archive.pool, SCHEDULES)
    now = archive.now()
    return [_named(one, now) for one in entries]


async def get_schedule(archive: Archive, name: str) -> NamedSchedule:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return _named(await get_entry(archive.pool, SCHEDULES, name), archive.now())


async def schedule_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What it was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, SCHEDULES, name)


async def put_schedule(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> NamedSchedule:
    """Add a schedule, or change it, as `entries.put_entry` does.

    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    entry = await put_entry(
        archive.pool, archive.settings, SCHEDULES, name, fields, enabled=enabled, version=version, new=new
    )
    return _named(entry, archive.now())


async def remove_schedule(archive: Archive, name: str) -> None:
    """Remove it. Raises ConflictError while something keeps to it, NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    if users := await schedule_users(archive.pool, name):
        raise ConflictError(
            told("{name} is still named by {users}. Change them first.", name=name, users=", ".join(users[:5]))
        )
    await remove_entry(archive.pool, SCHEDULES, name)


# --- for workers, and for pages that have asked ---


async def read_schedules(archive: Archive) -> dict[str, Schedule]:
    """By name; those that are not enabled as ALWAYS. A name that is missing here keeps what names it from ever beginning.

    Raises DatabaseError.
    """
    return {
        one.name: schedule_from_fields(one.fields) if one.enabled else ALWAYS
        for one in await read_entries(archive.pool, SCHEDULES)
    }


async def schedule_users(pool: Pool, name: str) -> list[str]:
    """Which destinations and alerts keep to a schedule, in words. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT section, name FROM named_entry WHERE removed_at IS NULL AND
                ((section = 'destinations' AND fields ->> 'schedule' = %(name)s)
                 OR (section = 'alerts' AND fields ->> 'quiet' = %(name)s))
                ORDER BY section DESC, name""",
            {"name": name},
        )
        words = {"destinations": "the destination", "alerts": "the alert"}
        return [f"{words[section]} {one}" for section, one in await cursor.fetchall()]


def drawn_week(schedule: Schedule, now: dt.datetime) -> list[DrawnDay]:
    """Today and the six days after it, in the zone of the schedule. A day of 23 or 25 hours is drawn as one of its length."""
    zone = ZoneInfo(schedule.zone)
    local = now.astimezone(zone)
    week: list[DrawnDay] = []
    for number in range(WEEK_DAYS):
        date = local.date() + dt.timedelta(days=number)
        begin, end = _midnight(date, zone), _midnight(date + dt.timedelta(days=1), zone)
        length = (end - begin).total_seconds()
        hours = tuple(
            ((first - begin).total_seconds() / length, (last - begin).total_seconds() / length)
            for first, last in open_intervals(schedule, begin, end)
        )
        day_off = is_day_off(schedule, date)
        holiday = (holiday_name(schedule.holidays, date) or "dates") if day_off else ""
        is_today = number == 0
        now_at = (now - begin).total_seconds() / length if is_today else None
        week.append(DrawnDay(date, hours, holiday, is_today, now_at))
    return week


# --- helpers ---


def _named(entry: Entry, now: dt.datetime) -> NamedSchedule:
    schedule = schedule_from_fields(entry.fields)
    effective = schedule if entry.enabled else ALWAYS
    open_now = is_open(effective, now)
    return NamedSchedule(
        entry.name,
        schedule,
        entry.fields,
        entry.enabled,
        entry.version,
        entry.changed_by,
        open_now,
        _next_change(effective, now, open_now=open_now),
    )


def _next_change(schedule: Schedule, now: dt.datetime, *, open_now: bool) -> dt.datetime | None:
    """Within the eight days that a week's windows come round in; an opening later than that is told too."""
    if not open_now:
        return next_open(schedule, now)
    end = now + dt.timedelta(days=WEEK_DAYS + 1)
    intervals = open_intervals(schedule, now, end)
    return intervals[0][1] if intervals and intervals[0][1] < end else None


def _midnight(date: dt.date, zone: ZoneInfo) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), zone).astimezone(dt.UTC)
