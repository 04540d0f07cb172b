"""Figures of destinations against a naive count of the ledger."""

from __future__ import annotations

import datetime as dt
import statistics
from dataclasses import replace
from functools import partial

import pytest

from fileroom.archive.services import Archive
from fileroom.routing.destination_figures import (
    KEPT_DAYS,
    STEP_S,
    STEPS_MAX,
    Figure,
    keep_destination_figures,
    read_destination_figures,
    step_of,
)
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.destinations import put_destination
from fileroom.routing.health import note_outcomes

BEGIN = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
WEBHOOK = {"kind": "webhook", "target": {"url": "https://example.org/hook"}}


def at(minutes: float) -> dt.datetime:
    return BEGIN + dt.timedelta(minutes=minutes)


async def deliver(archive: Archive, destination_id: int, settled: list[tuple[str, dt.datetime, float]]) -> None:
    """Rows of the ledger: state, when settled, latency in seconds; 1000 bytes each."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"INSERT INTO parcel (destination_id, study_instance_uid) VALUES (%s, '1.2') ON CONFLICT DO NOTHING",
            (destination_id,),
        )
        for state, settled_at, latency_s in settled:
            await connection.execute(
                b"""INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
                        sop_instance_uid, sop_class_uid, state, bytes, created_at, settled_at)
                    SELECT %(one)s, p.id, (SELECT count(*) FROM delivery), '1.2', '1.2', '1.2', '1.2', %(state)s, 1000,
                        %(settled)s::timestamptz - make_interval(secs => %(latency)s), %(settled)s
                    FROM parcel p WHERE p.destination_id = %(one)s""",
                {"one": destination_id, "state": state, "settled": settled_at, "latency": latency_s},
            )


async def test_steps_hold_what_was_settled_in_them(archive: Archive) -> None:
    number = (await put_destination(archive, "A", WEBHOOK)).id
    latencies = [1.0, 2.0, 3.0, 4.0, 100.0]
    rows = [("delivered", at(1 + n / 10), latency) for n, latency in enumerate(latencies)]
    await deliver(archive, number, [*rows, ("failed", at(3), 9), ("quarantined", at(4), 9), ("delivered", at(7), 5)])
    at_eight = replace(archive, now=lambda: at(8))
    outcomes = [Outcome(OutcomeKind.TAKEN), Outcome(OutcomeKind.REFUSED), Outcome(OutcomeKind.TRY_LATER)]
    await note_outcomes(at_eight, number, outcomes)
    while await keep_destination_figures(at_eight):
        pass
    first, second = await read_destination_figures(archive, number, since=BEGIN, until=at(10))
    p95 = statistics.quantiles(latencies, n=20, method="inclusive")[18]
    assert first == Figure(BEGIN, 5, 5000, 2, 0, 0, 3.0, first.latency_p95_s)
    assert first.latency_p95_s == pytest.approx(p95)
    assert (second.objects, second.tries, second.tries_failed) == (1, 3, 2)


async def test_late_transaction_is_counted_and_nothing_is_counted_twice(archive: Archive) -> None:
    number = (await put_destination(archive, "A", WEBHOOK)).id
    await deliver(archive, number, [("delivered", at(1), 1)])
    await keep_destination_figures(replace(archive, now=lambda: at(2)))
    await deliver(archive, number, [("delivered", at(1.5), 1)])  # It began before, and was committed after
    for minute in (3, 4, 9, 30):
        await keep_destination_figures(replace(archive, now=partial(at, minute)))
    assert [one.objects for one in await read_destination_figures(archive, number, since=BEGIN, until=at(60))] == [2]


async def test_after_a_long_stop_it_catches_up_in_pieces(archive: Archive) -> None:
    number = (await put_destination(archive, "A", WEBHOOK)).id
    await deliver(archive, number, [("delivered", at(60 * hour), 1) for hour in range(30)])
    later = replace(archive, now=lambda: at(60 * 30))
    rounds = 0
    while await keep_destination_figures(later):
        rounds += 1
    assert rounds >= 4
    figures = await read_destination_figures(archive, number, since=BEGIN, until=at(60 * 31))
    assert sum(one.objects for one in figures) == 30


async def test_long_span_comes_in_longer_steps_and_old_steps_are_forgotten(archive: Archive) -> None:
    number = (await put_destination(archive, "A", WEBHOOK)).id
    await deliver(archive, number, [("delivered", at(5 * n), 1) for n in range(12)])
    hour = replace(archive, now=lambda: at(60))
    while await keep_destination_figures(hour):
        pass
    whole = await read_destination_figures(archive, number, since=BEGIN, until=at(60), step_s=3600)
    assert sum(one.objects for one in whole) == 12
    assert len(whole) == 1
    year = await read_destination_figures(archive, number, since=BEGIN, until=at(60 * 24 * 365))
    assert len(year) <= STEPS_MAX
    assert sum(one.objects for one in year) == 12
    old = replace(archive, now=lambda: at(60 * 24 * (KEPT_DAYS + 1)))
    while await keep_destination_figures(old):
        pass
    assert await read_destination_figures(archive, number, since=BEGIN, until=at(60)) == []


def test_steps_begin_at_full_five_minutes() -> None:
    assert step_of(at(4.9)) == BEGIN
    assert step_of(at(5)) == BEGIN + dt.timedelta(seconds=STEP_S)
