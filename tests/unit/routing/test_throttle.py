"""Paces against a clock that only sleeping moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from fileroom.archive.retrieve import OpenedObject
from fileroom.archive.services import Archive
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.throttle import (
    BURST_S,
    DEBT_MAX_S,
    SLICE_S,
    Account,
    AccountsInDatabase,
    AccountsInMemory,
    Pace,
    Throttle,
    paced,
    take,
)


@dataclass
class Clock:
    """Sleeping moves it, at once for everybody: lanes take turns by the order of their waking."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def throttle_of(clock: Clock, accounts: AccountsInMemory | None = None) -> Throttle:
    return Throttle(accounts or AccountsInMemory(clock), clock.sleep)


async def test_bytes_keep_the_pace_over_time() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    began = clock()
    for _ in range(1000):
        await throttle.wait(1, Pace.of(mbit_s=8), size=64_000)  # 64 MB at 1 MB/s
    assert clock() - began == pytest.approx(64, abs=BURST_S + SLICE_S)


async def test_objects_keep_the_pace_beside_bytes() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    began = clock()
    for _ in range(100):
        await throttle.wait(1, Pace.of(mbit_s=1000, objects_s=10), size=1000, objects=1)
    assert clock() - began == pytest.approx(10, abs=BURST_S + SLICE_S)


async def test_no_limit_waits_for_nothing_and_asks_nobody() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    assert await throttle.wait(1, Pace(), size=10**12, objects=10**6) == 0
    assert clock.slept == []
    assert throttle.in_hand == {}


async def test_object_larger_than_a_second_goes_and_those_after_it_wait_for_its_debt() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    assert await throttle.wait(1, Pace(bytes_s=1000), size=5000) == 0
    waited = await throttle.wait(1, Pace(bytes_s=1000), size=1)
    assert waited == pytest.approx(5, abs=BURST_S)


async def test_two_processes_keep_one_pace_together() -> None:
    clock = Clock()
    accounts = AccountsInMemory(clock)
    one, two = throttle_of(clock, accounts), throttle_of(clock, accounts)
    began = clock()

    async def lane(throttle: Throttle) -> None:
        for _ in range(200):
            await throttle.wait(1, Pace(bytes_s=10_000), size=1000)
            await asyncio.sleep(0)

    await asyncio.gather(lane(one), lane(one), lane(two))
    assert clock() - began == pytest.approx(60, abs=BURST_S + 2 * SLICE_S)


async def test_a_destination_with_a_pace_does_not_slow_another() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    await throttle.wait(1, Pace(bytes_s=1), size=500)
    assert await throttle.wait(2, Pace(bytes_s=1000), size=500) == 0


async def test_pace_that_is_changed_while_a_lane_waits_is_felt() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    paces = [Pace(bytes_s=1)]
    await throttle.wait(1, paces[0], size=400)  # 400 s of debt

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        paces[0] = Pace(bytes_s=1000)

    throttle.sleep = sleep
    assert await throttle.wait(1, lambda: paces[0], size=1) < 7


async def test_lane_that_is_cancelled_while_it_waits_leaves_nothing_reserved() -> None:
    clock = Clock()
    accounts = AccountsInMemory(clock)
    throttle = throttle_of(clock, accounts)
    await throttle.wait(1, Pace(bytes_s=1000), size=2000)
    before = accounts.accounts[1]

    async def forever(_: float) -> None:
        await asyncio.Event().wait()

    throttle.sleep = forever
    lane = asyncio.create_task(throttle.wait(1, Pace(bytes_s=1000), size=2000))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lane.cancel()
    await asyncio.gather(lane, return_exceptions=True)
    assert accounts.accounts[1] == before
    throttle.sleep = clock.sleep
    assert await throttle.wait(1, Pace(bytes_s=1000), size=1) == pytest.approx(2, abs=0.01)


def test_clock_that_was_set_back_stops_nothing_for_ever() -> None:
    pace = Pace(bytes_s=10)
    _, wait = take(Account(1_000_000.0, 0.0, pace), pace, 1, 0, now=0.0)
    assert wait == DEBT_MAX_S


async def test_row_of_the_database_is_one_account_for_all(archive: Archive) -> None:
    number = await _entry(archive)
    one, two = AccountsInDatabase(archive.pool), AccountsInDatabase(archive.pool)
    assert await one.take(number, Pace(bytes_s=1000), 60_000, 0) == 0
    assert await two.take(number, Pace(bytes_s=1000), 1, 0) == pytest.approx(60, abs=2)
    assert await two.take(number, Pace(bytes_s=1000), 0, 1) == 0  # Objects have no limit
    assert await one.take(number, Pace(bytes_s=2000), 1, 0) == pytest.approx(30, abs=2)
    assert await one.take(number, Pace(objects_s=0.5), 1, 1) == 0
    assert await one.take(number, Pace(objects_s=0.5), 0, 1) == pytest.approx(2 - BURST_S, abs=0.5)


class Bytes:
    """An outgoing object of ten chunks."""

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        assert part10
        return OpenedObject(transfer_syntax or "", 10_000, None, self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1000)


async def test_object_is_read_at_the_pace_whoever_sends_it() -> None:
    clock = Clock()
    throttle = throttle_of(clock)
    original: Any = Bytes()
    outgoing: OutgoingObject = paced(original, throttle, 1, lambda: Pace(bytes_s=1000))
    began = clock()
    opened = await outgoing.open("1.2", part10=True)
    assert sum([len(chunk) async for chunk in opened.chunks]) == 10_000
    assert clock() - began == pytest.approx(9, abs=BURST_S + SLICE_S)
    assert paced(original, throttle, 1, Pace) is original


async def _entry(archive: Archive) -> int:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"INSERT INTO named_entry (section, name, fields, changed_by) VALUES ('destinations', 'A', '{}', '') RETURNING id"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
