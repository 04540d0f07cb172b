"""Calendars against the calendar of the wall, in the nights when the clock changes too."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError
from fileroom.routing.calendars import (
    ALWAYS,
    DAY_NAMES,
    LOOK_AHEAD_DAYS,
    Schedule,
    Window,
    is_holiday,
    is_open,
    next_open,
    open_intervals,
    schedule_from_fields,
    schedule_to_fields,
)

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str, fold: int = 0) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold)


def of(*windows: tuple[str, str, str], **more: Any) -> Schedule:
    fields = [{"days": days, "from": first, "to": last} for days, first, last in windows]
    return schedule_from_fields({"windows": fields, "zone": "Europe/Berlin", **more})


NIGHTS = of(("mon-fri", "18:00", "06:00"), holidays="DE-BY")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-23T17:59", False),  # A Monday
        ("2026-11-23T18:00", True),
        ("2026-11-24T05:59", True),
        ("2026-11-24T06:00", False),
        ("2026-11-23T05:00", False),  # Sunday night is not open
        ("2026-11-28T05:59", True),  # Saturday morning belongs to Friday's window
        ("2026-11-28T18:30", False),
        ("2026-12-25T19:00", False),  # A Friday, but Christmas
        ("2026-12-25T05:00", True),  # Thursday's window
    ],
)
def test_window_over_midnight_belongs_to_the_day_it_begins_on(moment: str, *, expected: bool) -> None:
    assert is_open(NIGHTS, berlin(moment)) is expected


def test_next_open_jumps_over_weekend_and_holidays() -> None:
    assert next_open(NIGHTS, berlin("2026-12-25T12:00")) == berlin("2026-12-28T18:00")
    assert next_open(NIGHTS, berlin("2026-12-21T12:00")) == berlin("2026-12-21T18:00")
    assert next_open(NIGHTS, berlin("2026-12-21T22:00")) == berlin("2026-12-21T22:00")


def test_holiday_is_a_day_that_a_window_can_name() -> None:
    schedule = of(("mon-fri", "20:00", "06:00"), ("sat,sun,holiday", "00:00", "24:00"), holidays="DE-BY")
    assert is_open(schedule, berlin("2026-12-25T12:00"))
    assert not is_open(schedule, berlin("2026-12-23T12:00"))


def test_own_dates_close_once_or_every_year() -> None:
    schedule = of(("mon-sun", "08:00", "18:00"), dates=["2026-11-23", "12-24"])
    assert not is_open(schedule, berlin("2026-11-23T12:00"))
    assert is_open(schedule, berlin("2027-11-23T12:00"))
    assert not is_open(schedule, berlin("2031-12-24T12:00"))


def test_clock_forward_time_that_is_not_there_counts_with_the_offset_before() -> None:
    schedule = of(("daily", "02:30", "05:00"))  # 29 March 2026: after 01:59 comes 03:00
    before = berlin("2026-03-29T01:00")
    assert next_open(schedule, before) == dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)
    assert not is_open(schedule, berlin("2026-03-29T03:15"))
    assert is_open(schedule, berlin("2026-03-29T03:30"))


def test_clock_forward_night_is_an_hour_shorter() -> None:
    hours = open_intervals(of(("sat", "22:00", "06:00")), berlin("2026-03-28T00:00"), berlin("2026-03-30T00:00"))
    assert [(last - first) for first, last in hours] == [dt.timedelta(hours=7)]


def test_clock_back_hour_that_is_there_twice_opens_once() -> None:
    schedule = of(("daily", "02:15", "02:45"))  # 25 October 2026: after 02:59 comes 02:00 again
    assert is_open(schedule, berlin("2026-10-25T02:30", fold=0))
    assert not is_open(schedule, berlin("2026-10-25T02:30", fold=1))
    assert next_open(schedule, berlin("2026-10-25T02:30", fold=1)) == berlin("2026-10-26T02:15")


def test_same_time_twice_is_a_whole_day() -> None:
    assert is_open(of(("mon", "18:00", "18:00")), berlin("2026-11-24T17:59"))
    assert not is_open(of(("mon", "18:00", "18:00")), berlin("2026-11-24T18:00"))


def test_no_windows_is_always() -> None:
    assert is_open(ALWAYS, berlin("2026-11-24T18:00"))
    assert is_open(schedule_from_fields({}), berlin("2026-11-24T18:00"))


def test_what_never_opens_is_asked_again_in_a_year() -> None:
    never = of(("holiday", "00:00", "24:00"))
    moment = berlin("2026-11-24T18:00")
    assert next_open(never, moment) == moment.astimezone(dt.UTC) + dt.timedelta(days=LOOK_AHEAD_DAYS)


def test_public_holidays_of_a_part_of_a_country() -> None:
    assert is_holiday("DE-BY", dt.date(2026, 1, 6))
    assert not is_holiday("DE-BE", dt.date(2026, 1, 6))
    assert is_holiday("us-ny", dt.date(2026, 7, 4))
    assert not is_holiday("", dt.date(2026, 1, 6))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"windows": [{"days": "mon-fry"}]}, "mon-fry"),
        ({"windows": [{"days": []}]}, "no days"),
        ({"windows": [{"from": "25:00"}]}, "25:00"),
        ({"windows": [{"from": "12:60"}]}, "12:60"),
        ({"windows": [{"until": "12:00"}]}, "until"),
        ({"windows": "nights"}, "windows"),
        ({"windows": [{}] * 51}, "50"),
        ({"holidays": "XX"}, "XX"),
        ({"holidays": "DE-XX"}, "DE-XX"),
        ({"holidays": 7}, "holidays"),
        ({"dates": ["02-30"]}, "02-30"),
        ({"dates": ["tomorrow"]}, "tomorrow"),
        ({"zone": "Europe/Atlantis"}, "Atlantis"),
        ({"zone": "../../etc/passwd"}, "passwd"),
        ({"zone": "Europe"}, "Europe"),
        ({"opening": 1}, "opening"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        schedule_from_fields(fields)


windows = st.builds(
    Window,
    st.frozensets(st.integers(0, len(DAY_NAMES) - 1), min_size=1),
    st.integers(0, 1439),
    st.integers(0, 1439),
)
schedules = st.builds(
    Schedule,
    st.lists(windows, max_size=4).map(tuple),
    st.sampled_from(["", "DE-BY", "US"]),
    st.sampled_from([frozenset(), frozenset({"12-24", "2026-06-01"})]),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
moments = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2028, 1, 1)).map(lambda one: one.replace(tzinfo=dt.UTC))


@settings(max_examples=150, deadline=None)
@given(schedules, moments)
def test_next_open_is_the_first_moment_that_is_open(schedule: Schedule, moment: dt.datetime) -> None:
    opens = next_open(schedule, moment)
    assert opens >= moment
    if is_open(schedule, moment):
        assert opens == moment
        return
    if opens < moment + dt.timedelta(days=LOOK_AHEAD_DAYS):
        assert is_open(schedule, opens)
        assert not is_open(schedule, opens - dt.timedelta(seconds=1))
    step = (min(opens, moment + dt.timedelta(days=20)) - moment) / 40
    assert not any(is_open(schedule, moment + step * number) for number in range(40))


@settings(max_examples=100, deadline=None)
@given(schedules)
def test_fields_of_a_schedule_make_it_again(schedule: Schedule) -> None:
    assert schedule_from_fields(schedule_to_fields(schedule)) == schedule


@settings(max_examples=60, deadline=None)
@given(schedules, moments)
def test_intervals_are_what_is_open(schedule: Schedule, moment: dt.datetime) -> None:
    hours = open_intervals(schedule, moment, moment + dt.timedelta(days=7))
    assert all(one[1] < two[0] for one, two in itertools.pairwise(hours))
    for number in range(56):
        asked = moment + dt.timedelta(hours=3 * number)
        assert is_open(schedule, asked) is any(first <= asked < last for first, last in hours)
