"""Loops go on after errors, and stop when they are told to."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from fileroom.tasks.loop import ERROR_DELAY_MAX_S, RETRY_MAX_S, error_delay, retry_delay, run_periodically


async def test_work_is_repeated_at_once_while_there_is_some() -> None:
    stop = asyncio.Event()
    left = [3]

    async def work() -> int:
        if not left[0]:
            stop.set()
            return 0
        left[0] -= 1
        return 1

    await asyncio.wait_for(run_periodically("test", 3600.0, work, stop), 5)
    assert left == [0]


async def test_an_error_does_not_end_the_loop() -> None:
    stop = asyncio.Event()
    calls = []

    async def work() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise RuntimeError("broken")
        stop.set()
        return 0

    await asyncio.wait_for(run_periodically("test", 0.001, work, stop), 5)
    assert len(calls) == 3


async def test_a_waiting_loop_stops_at_once() -> None:
    stop = asyncio.Event()

    async def work() -> int:
        asyncio.get_running_loop().call_soon(stop.set)
        return 0

    await asyncio.wait_for(run_periodically("test", 3600.0, work, stop), 5)


def test_the_pause_doubles_with_each_failure_up_to_a_limit() -> None:
    assert [error_delay(1.0, failures) for failures in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert error_delay(1.0, 1000) == ERROR_DELAY_MAX_S
    assert error_delay(3600.0, 5) == 3600.0


def test_retries_come_after_one_two_and_four_minutes() -> None:
    assert [retry_delay(attempts, lambda: 0.5) for attempts in (1, 2, 3)] == [60.0, 120.0, 240.0]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_retry_is_never_further_away_than_an_hour_and_a_bit(attempts: int, chance: float) -> None:
    assert 50 <= retry_delay(attempts, lambda: chance) <= RETRY_MAX_S * 1.1
