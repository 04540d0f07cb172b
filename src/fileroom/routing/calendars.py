"""Calendars: when a destination may be sent to, and which days are holidays. Pure; the moment comes in as an argument.

A window begins at a time of day of a zone and ends at another, on the next day where that is not later. In the night of a
change of the clock a time that there is twice is the first of them, and one that there is not is counted with the offset
before the change (RFC 5545 3.3.5): "02:30" is then 03:30 in summer time.

A holiday is a day of its own: "mon-fri" is then closed whatever weekday it is, and "holiday" is open. A window belongs to
the day on which it begins: that of a Friday 18:00 to 06:00 stays open on a Saturday that is a holiday.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import holidays as public_holidays

from fileroom.core.errors import InvalidRequestError, told

WINDOWS_MAX: Final = 50
"""Of one schedule: seven days of seven windows."""
DATES_MAX: Final = 400
"""Own dates of one schedule: those of a year, one by one."""
LOOK_AHEAD_DAYS: Final = 366
"""How far the next opening is looked for: a holiday comes round within a year."""

HOLIDAY: Final = 7
"""Stands beside the weekdays 0 (Monday) to 6."""
DAY_NAMES: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
_MINUTES: Final = 24 * 60
_YEARLY: Final = re.compile(r"(\d\d)-(\d\d)")
_WINDOW: Final = re.compile(r"(\S+)\s+([0-9:]+)\s*-\s*([0-9:]+)")
_TIME: Final = re.compile(r"(\d{1,2}):(\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """Open hours of some days. Minutes since midnight; `ends_min` not past `starts_min` is on the next day."""

    days: frozenset[int]
    starts_min: int
    ends_min: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is open. Without windows it always is."""

    windows: tuple[Window, ...] = ()
    holidays: str = ""
    """A country by ISO 3166-1, or one of its parts: `DE`, `DE-BY`, `US-NY`. Empty: no public holidays."""
    dates: frozenset[str] = frozenset()
    """Holidays of the house: `2026-12-24`, or `12-24` for every year."""
    zone: str = "UTC"


ALWAYS: Final = Schedule()


# --- from and to fields ---


def schedule_from_fields(fields: Mapping[str, Any]) -> Schedule:
    """A schedule of `{"windows": [{"days": "mon-fri", "from": "18:00", "to": "06:00"}], "holidays": "DE-BY",
    "dates": ["12-24"], "zone": "Europe/Berlin"}`; every field may be missing. Days are those of `DAY_NAMES`, ranges of
    them, `daily` (all of them, holidays too), or a list of these.

    Raises InvalidRequestError, which names the field and says what would be right.
    """
    unknown = sorted(set(fields) - {"windows", "holidays", "dates", "zone"})
    if unknown:
        raise InvalidRequestError(
            told("A schedule has no field {name}; it has windows, holidays, dates and zone.", name=unknown[0])
        )
    windows = fields.get("windows") or []
    if not isinstance(windows, (list, tuple)) or not all(isinstance(one, Mapping) for one in windows):
        raise InvalidRequestError(told("The windows of a schedule are a list of tables with days, from and to."))
    if len(windows) > WINDOWS_MAX:
        raise InvalidRequestError(told("A schedule has at most {most} windows.", most=WINDOWS_MAX))
    return Schedule(
        tuple(_window(one) for one in windows),
        checked_holidays(_text(fields, "holidays")),
        _dates(fields.get("dates") or []),
        _zone(_text(fields, "zone") or "UTC"),
    )


def schedule_to_fields(schedule: Schedule) -> dict[str, Any]:
    """The normal form of the fields that make this schedule."""
    windows = [
        {"days": days_in_words(one.days), "from": _clock(one.starts_min), "to": _clock(one.ends_min or _MINUTES)}
        for one in schedule.windows
    ]
    fields: dict[str, Any] = {"windows": windows, "zone": schedule.zone}
    if schedule.holidays:
        fields["holidays"] = schedule.holidays
    if schedule.dates:
        fields["dates"] = sorted(schedule.dates)
    return fields


def windows_from_text(text: str) -> list[dict[str, str]]:
    """Windows as people write them: `mon-fri 18:00-06:00`, one on each line or apart by `;`. Raises InvalidRequestError."""
    found: list[dict[str, str]] = []
    for line in text.replace(";", "\n").splitlines():
        if not line.strip():
            continue
        matched = _WINDOW.fullmatch(line.strip())
        if matched is None:
            raise InvalidRequestError(
                told(
                    "{given} is no window. It is written mon-fri 18:00-06:00, or sat,sun,holiday 00:00-24:00.",
                    given=line.strip()[:60],
                )
            )
        found.append({"days": matched[1], "from": matched[2], "to": matched[3]})
    return found


def windows_to_text(schedule: Schedule) -> str:
    """The same back, one on each line."""
    fields = schedule_to_fields(schedule)["windows"]
    return "\n".join(f"{one['days']} {one['from']}-{one['to']}" for one in fields)


def days_in_words(days: frozenset[int]) -> str:
    """The days as they are written in fields: ranges where three or more follow each other."""
    if len(days) == len(DAY_NAMES):
        return "daily"
    words: list[str] = []
    week = sorted(days - {HOLIDAY})
    while week:
        run = 1
        while run < len(week) and week[run] == week[0] + run:
            run += 1
        names = [DAY_NAMES[day] for day in week[:run]]
        words += [f"{names[0]}-{names[-1]}"] if run > 2 else names
        week = week[run:]
    return ",".join([*words, *(["holiday"] if HOLIDAY in days else [])])


def checked_holidays(code: str) -> str:
    """The code of a calendar of public holidays in its normal form; empty stays so. Raises InvalidRequestError."""
    code = code.strip()
    if not code:
        return ""
    country, _, part = code.partition("-")
    parts = {one.casefold(): one for one in _countries().get(country.upper(), ())}
    if country.upper() not in _countries() or (part and part.casefold() not in parts):
        raise InvalidRequestError(
            told(
                "There is no calendar of holidays {code}. It is a country (DE, US), or a part of one (DE-BY, US-NY).",
                code=code[:40],
            )
        )
    return f"{country.upper()}-{parts[part.casefold()]}" if part else country.upper()


# --- questions ---


def is_open(schedule: Schedule, moment: dt.datetime) -> bool:
    """Whether it is open at an aware moment."""
    if not schedule.windows:
        return True
    day = moment.astimezone(_zone_info(schedule.zone)).date() - dt.timedelta(days=2)
    return any(starts <= moment < ends for starts, ends in _intervals(schedule, day, 4))


def next_open(schedule: Schedule, moment: dt.datetime) -> dt.datetime:
    """The first moment, not before the given one, at which it is open, in UTC. Where it opens never within a year, the end
    of that year: it is asked again then."""
    moment = moment.astimezone(dt.UTC)
    if is_open(schedule, moment):
        return moment
    day = moment.astimezone(_zone_info(schedule.zone)).date() - dt.timedelta(days=2)
    for starts, _ in _intervals(schedule, day, LOOK_AHEAD_DAYS + 3):
        if starts > moment:
            return starts  # Days come in order; within a day they are sorted.
    return moment + dt.timedelta(days=LOOK_AHEAD_DAYS)


def open_intervals(schedule: Schedule, starts: dt.datetime, ends: dt.datetime) -> list[tuple[dt.datetime, dt.datetime]]:
    """When it is open between two moments, in UTC, in order, without overlaps. For at most LOOK_AHEAD_DAYS."""
    starts, ends = starts.astimezone(dt.UTC), ends.astimezone(dt.UTC)
    if not schedule.windows:
        return [(starts, ends)]
    zone = _zone_info(schedule.zone)
    day = starts.astimezone(zone).date() - dt.timedelta(days=2)
    days = min((ends.astimezone(zone).date() - day).days + 1, LOOK_AHEAD_DAYS + 3)
    found: list[tuple[dt.datetime, dt.datetime]] = []
    for first, last in _intervals(schedule, day, days):
        cut = max(first, starts), min(last, ends)
        if cut[0] >= cut[1]:
            continue
        if found and cut[0] <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], cut[1]))
        else:
            found.append(cut)
    return found


def is_holiday(code: str, date: dt.date) -> bool:
    """Whether it is a public holiday there (`DE-BY`). Raises InvalidRequestError when there is no such calendar."""
    return bool(holiday_name(code, date))


def holiday_name(code: str, date: dt.date) -> str:
    """What a public holiday is called in English; empty on other days. Raises InvalidRequestError."""
    return _holidays_of(checked_holidays(code), date.year).get(date, "") if code.strip() else ""


def is_day_off(schedule: Schedule, date: dt.date) -> bool:
    """Whether it counts as a holiday in the schedule: a public one, or one of the house."""
    own = date.isoformat() in schedule.dates or f"{date:%m-%d}" in schedule.dates
    return own or (bool(schedule.holidays) and date in _holidays_of(schedule.holidays, date.year))


# --- helpers ---


def _intervals(schedule: Schedule, day: dt.date, days: int) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """In UTC, by their beginning: windows of two days may overlap, but none begins before one of the day before."""
    zone = _zone_info(schedule.zone)
    for number in range(days):
        date = day + dt.timedelta(days=number)
        kind = HOLIDAY if is_day_off(schedule, date) else date.weekday()
        found = []
        for window in schedule.windows:
            if kind in window.days:
                length = (window.ends_min - window.starts_min) % _MINUTES or _MINUTES
                starts, ends = _instant(date, window.starts_min, zone), _instant(date, window.starts_min + length, zone)
                if starts < ends:
                    found.append((starts, ends))
        yield from sorted(found)


def _instant(date: dt.date, minutes: int, zone: ZoneInfo) -> dt.datetime:
    date += dt.timedelta(days=minutes // _MINUTES)
    time = dt.time(minutes % _MINUTES // 60, minutes % 60)
    return dt.datetime.combine(date, time, zone).astimezone(dt.UTC)


@functools.lru_cache(maxsize=256)
def _holidays_of(code: str, year: int) -> Mapping[dt.date, str]:
    country, _, part = code.partition("-")
    return dict(public_holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US"))


@functools.lru_cache(maxsize=1)
def _countries() -> Mapping[str, list[str]]:
    return public_holidays.list_supported_countries()


@functools.lru_cache(maxsize=64)
def _zone_info(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ValueError, OSError, LookupError) as error:  # LookupError: ZoneInfoNotFoundError
        raise InvalidRequestError(
            told("There is no time zone {name}. It is named like Europe/Berlin or UTC.", name=name[:40])
        ) from error


def _window(fields: Mapping[str, Any]) -> Window:
    unknown = sorted(set(fields) - {"days", "from", "to"})
    if unknown:
        raise InvalidRequestError(
            told("A window of a schedule has no field {name}; it has days, from and to.", name=str(unknown[0])[:40])
        )
    return Window(
        _days(fields.get("days", "daily")),
        _minutes(fields.get("from", "00:00"), "from") % _MINUTES,
        _minutes(fields.get("to", "24:00"), "to") % _MINUTES,
    )


def _days(value: Any) -> frozenset[int]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not words:
        raise _not_days(value)
    days: set[int] = set()
    for word in words:
        first, _, last = str(word).strip().lower().partition("-")
        if first == "daily" and not last:
            days.update(range(len(DAY_NAMES)))
        elif first in DAY_NAMES and not last:
            days.add(DAY_NAMES.index(first))
        elif first in DAY_NAMES[:HOLIDAY] and last in DAY_NAMES[:HOLIDAY]:
            begin, end = DAY_NAMES.index(first), DAY_NAMES.index(last)
            days.update((begin + step) % HOLIDAY for step in range((end - begin) % HOLIDAY + 1))
        else:
            raise _not_days(word)
    return frozenset(days)


def _not_days(value: Any) -> InvalidRequestError:
    return InvalidRequestError(
        told("{given} are no days. They are written mon-fri, sat,sun, holiday or daily.", given=str(value)[:40] or "-")
    )


def _minutes(value: Any, name: str) -> int:
    matched = _TIME.fullmatch(str(value).strip())
    minutes = int(matched[1]) * 60 + int(matched[2]) if matched and int(matched[2]) < 60 else _MINUTES + 1
    if minutes > _MINUTES:
        raise InvalidRequestError(
            told(
                "{given} is no time of day for {name}: it is written 18:00, from 00:00 to 24:00.",
                given=str(value)[:40] or "-",
                name=name,
            )
        )
    return minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _dates(values: Any) -> frozenset[str]:
    if isinstance(values, str):
        values = [one for one in values.replace(",", " ").split() if one]
    if not isinstance(values, Iterable) or len(dates := list(values)) > DATES_MAX:
        raise InvalidRequestError(told("The dates of a schedule are a list of at most {most}.", most=DATES_MAX))
    return frozenset(_date(str(one).strip()) for one in dates)


def _date(value: str) -> str:
    yearly = _YEARLY.fullmatch(value)
    try:
        if yearly:
            dt.date(2024, int(yearly[1]), int(yearly[2]))  # A leap year, so that 02-29 is one
            return value
        return dt.date.fromisoformat(value).isoformat()
    except ValueError as error:
        raise InvalidRequestError(
            told("{given} is no date. It is written 2026-12-24, or 12-24 for every year.", given=value[:40] or "-")
        ) from error


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str):
        raise InvalidRequestError(told("The {name} of a schedule is a word.", name=name))
    return value.strip()
