"""The clock of the database is set by an hour: what waits, what is leased, and what is at work."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from fileroom.admin.entries import put_entry
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.clock_jumps import ClockWatch, pull_back, read_clock
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.parcels import CLAIM_S, RENEW_S, claim_parcel, wake_due_parcels

HOUR = dt.timedelta(hours=1)


@pytest.fixture(autouse=True)
def _as_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


class Clocks:
    """A clock that somebody sets, and one that nobody does."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.wall = dt.datetime(2026, 10, 25, 2, 30, tzinfo=dt.UTC)

    def go_by(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall += dt.timedelta(seconds=seconds)


def test_clock_that_is_set_back_is_noticed_once_and_time_going_by_is_not() -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.monotonic_s)
    assert watch.look(clocks.wall), "at the start nobody knows what was before"
    for _ in range(5):
        clocks.go_by(1)
        assert not watch.look(clocks.wall)
    clocks.wall -= HOUR
    assert watch.look(clocks.wall)
    clocks.go_by(1)
    assert not watch.look(clocks.wall)
    clocks.wall += HOUR
    assert not watch.look(clocks.wall)


def test_horizon_does_not_follow_a_clock_that_is_set_forward_until_it_was_looked_at() -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.monotonic_s)
    assert watch.horizon() == dt.datetime.min.replace(tzinfo=dt.UTC)
    watch.look(clocks.wall)
    clocks.go_by(1)
    clocks.wall += HOUR
    assert watch.horizon() < clocks.wall - dt.timedelta(minutes=59)
    assert not watch.look(clocks.wall)
    clocks.go_by(RENEW_S)
    watch.look(clocks.wall)
    assert watch.horizon() < clocks.wall - dt.timedelta(minutes=59), "lanes may not have renewed their claims yet"
    clocks.go_by(RENEW_S)
    watch.look(clocks.wall)
    assert watch.horizon() >= clocks.wall


async def planned(archive: Archive) -> int:
    """A destination with one parcel of six deliveries that wait."""
    fields = {"kind": "folder", "target": {"path": "out"}}
    entry = await put_entry(archive.pool, archive.settings, DESTINATIONS, "OUT", fields)
    await execute(
        archive,
        f"""INSERT INTO parcel (destination_id, study_instance_uid, state) VALUES ({entry.id}, '1.2', 'ready');
        INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
            sop_instance_uid, sop_class_uid, state, attempts)
        SELECT {entry.id}, p.id, n, '1.2', '1.2.3', '1.2.3.' || n, '1.2', CASE WHEN n = 6 THEN 'sent' ELSE 'waiting' END,
            (ARRAY[0, 1, 3, 9, 40, 1])[n] FROM parcel p, generate_series(1, 6) n""",
    )
    return entry.id


async def execute(archive: Archive, sql: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(sql.encode())
        while cursor.nextset():
            pass
        return await cursor.fetchall() if cursor.description else []


async def minutes(archive: Archive) -> list[float]:
    rows = await execute(
        archive, "SELECT round(extract(epoch FROM due_at - now()) / 30) / 2::float8 FROM delivery ORDER BY id"
    )
    return [row[0] for row in rows]


async def test_after_the_clock_was_set_back_nothing_waits_longer_than_it_ever_would(archive: Archive) -> None:
    await planned(archive)
    await execute(
        archive,
        """UPDATE delivery SET due_at = now() + interval '1 hour' + (ARRAY[0, 1, 4, 55, 60, 1])[instance_id]
            * interval '1 minute';
        UPDATE parcel SET state = 'later', due_at = now() + interval '1 hour';
        INSERT INTO gathering (study_instance_uid, last_at) VALUES ('1.2', now() + interval '1 hour')""",
    )
    assert await pull_back(archive) > 0
    assert await minutes(archive) == [0, 5.5, 5.5, 66, 66, 10]
    assert await execute(archive, "SELECT state FROM parcel") == [("ready",)]
    assert await execute(archive, "SELECT last_at <= now() FROM gathering") == [(True,)]
    assert await pull_back(archive) == 0, "what is as it should be is left alone"


async def test_claim_of_a_dead_worker_does_not_outlive_a_clock_that_was_set_back(archive: Archive) -> None:
    number = await planned(archive)
    parcel = await claim_parcel(archive, number)
    assert parcel is not None
    await execute(archive, "UPDATE parcel SET claimed_until = now() + interval '1 hour'")
    await pull_back(archive)
    left = await execute(archive, "SELECT extract(epoch FROM claimed_until - now())::float8 FROM parcel")
    assert 0 < left[0][0] <= CLAIM_S


async def test_clock_set_forward_takes_no_parcel_from_a_lane_at_work(archive: Archive) -> None:
    number = await planned(archive)
    assert await claim_parcel(archive, number) is not None
    # As if the clock were set forward: by it, the claim has run out long ago.
    before = await read_clock(archive)
    await execute(archive, "UPDATE parcel SET claimed_until = now() - interval '40 minutes'")
    assert await wake_due_parcels(archive, before - dt.timedelta(minutes=59)) == 0
    assert await wake_due_parcels(archive, before) == 1


async def test_destination_that_is_down_is_asked_though_its_trial_lies_in_a_far_future(archive: Archive) -> None:
    number = await planned(archive)
    await execute(
        archive,
        f"""INSERT INTO destination_health (destination_id, state, since, asked_at, trial_at)
        VALUES ({number}, 'down', now(), now() + interval '1 hour', now() + interval '1 hour')""",
    )
    await pull_back(archive)
    assert await execute(archive, "SELECT trial_at <= now(), asked_at <= now() FROM destination_health") == [
        (True, True)
    ]
