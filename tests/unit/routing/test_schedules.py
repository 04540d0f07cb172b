"""Schedules by name: kept, told how they stand, drawn, and not removed while something keeps to them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError
from fileroom.routing.calendars import ALWAYS, schedule_from_fields
from fileroom.routing.destinations import put_destination
from fileroom.routing.schedules import (
    drawn_week,
    get_schedule,
    list_schedules,
    put_schedule,
    read_schedules,
    remove_schedule,
    schedule_versions,
)

NIGHTS = {
    "windows": [{"days": "mon-fri", "from": "18:00", "to": "06:00"}],
    "holidays": "de-by",
    "dates": ["12-24"],
    "zone": "Europe/Berlin",
}
MONDAY = dt.datetime(2026, 11, 23, 11, tzinfo=dt.UTC)


@pytest.fixture
def clocked(archive: Archive) -> Archive:
    return replace(archive, now=lambda: MONDAY)


async def test_schedule_is_kept_in_normal_form_and_tells_how_it_stands(clocked: Archive) -> None:
    made = await put_schedule(clocked, "nights", NIGHTS, new=True)
    assert made.fields["holidays"] == "DE-BY"
    assert not made.open_now
    assert made.changes_at == dt.datetime(2026, 11, 23, 17, tzinfo=dt.UTC)
    with pytest.raises(ConflictError, match="already"):
        await put_schedule(clocked, "nights", NIGHTS, new=True)
    await put_schedule(clocked, "nights", {**NIGHTS, "windows": []})
    assert (await get_schedule(clocked, "nights")).open_now
    assert (await get_schedule(clocked, "nights")).changes_at is None
    assert [one.version for one in await schedule_versions(clocked, "nights")] == [2, 1]


async def test_disabled_schedule_is_always_open(clocked: Archive) -> None:
    await put_schedule(clocked, "nights", NIGHTS, enabled=False)
    [one] = await list_schedules(clocked)
    assert one.open_now
    assert await read_schedules(clocked) == {"nights": ALWAYS}
    await put_schedule(clocked, "nights", NIGHTS)
    assert (await read_schedules(clocked))["nights"] == schedule_from_fields(NIGHTS)


async def test_wrong_schedule_is_not_written(clocked: Archive) -> None:
    with pytest.raises(InvalidRequestError, match="Atlantis"):
        await put_schedule(clocked, "nights", {**NIGHTS, "zone": "Europe/Atlantis"})
    assert await list_schedules(clocked) == []


async def test_schedule_that_a_destination_keeps_to_is_not_removed(clocked: Archive) -> None:
    await put_schedule(clocked, "nights", NIGHTS)
    fields = {"kind": "webhook", "target": {"url": "https://example.org/hook"}, "schedule": "nights"}
    await put_destination(clocked, "A", fields)
    with pytest.raises(ConflictError, match="the destination A"):
        await remove_schedule(clocked, "nights")
    await put_destination(clocked, "A", {**fields, "schedule": ""})
    await remove_schedule(clocked, "nights")
    assert await list_schedules(clocked) == []


async def test_reader_may_look_and_not_change(clocked: Archive) -> None:
    reader = Access(ActorKind.TOKEN, "reader", frozenset({Permission.ROUTING_READ}))
    with acting_as(reader):
        assert await list_schedules(clocked) == []
        with pytest.raises(NotAllowedError):
            await put_schedule(clocked, "nights", NIGHTS)
        with pytest.raises(NotAllowedError):
            await remove_schedule(clocked, "nights")


def test_week_is_drawn_in_the_zone_of_the_schedule() -> None:
    week = drawn_week(schedule_from_fields(NIGHTS), dt.datetime(2026, 12, 21, 11, tzinfo=dt.UTC))
    assert [day.date.isoformat() for day in week][::6] == ["2026-12-21", "2026-12-27"]
    monday, tuesday = week[0], week[1]
    assert monday.is_today
    assert monday.now_at == pytest.approx(0.5)
    assert monday.open_hours == ((0.75, 1.0),)
    assert tuesday.open_hours == ((0.0, 0.25), (0.75, 1.0))
    assert [day.holiday for day in week[3:6]] == ["dates", "Christmas Day", "Second Day of Christmas"]
    assert week[3].open_hours == ((0.0, 0.25),)  # Wednesday's night
    assert week[4].open_hours == ()


def test_day_of_the_change_of_the_clock_is_drawn_as_long_as_it_is() -> None:
    always = schedule_from_fields({"zone": "Europe/Berlin"})
    week = drawn_week(always, dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC))
    assert all(day.open_hours == ((0.0, 1.0),) for day in week)
