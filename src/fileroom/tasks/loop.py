"""Work that is done again and again in the background, and goes on after errors (the task worker runs several).

What is to be done stands in the database; a loop only asks for it. So a killed worker loses nothing, and several
workers may run the same loop: rows are taken by `FOR UPDATE SKIP LOCKED` or set due again before work on them begins.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

ERROR_DELAY_MAX_S: Final = 300.0
"""After many failures in a row a loop still tries every five minutes: the trouble may be over."""
RETRY_FIRST_S: Final = 60.0
RETRY_MAX_S: Final = 3600.0
"""An hour between the last attempts of a day: more often helps nobody, less often makes a repaired peer wait."""
_JITTER: Final = 0.2

Work = Callable[[], Awaitable[int]]
"""Does what is due, or a part of it; returns how much that was. More than 0: there may be more."""

_log: Final = structlog.get_logger(__name__)


async def run_periodically(name: str, interval_s: float, work: Work, stop: asyncio.Event) -> None:
    """Call `work` until it finds nothing, then again after `interval_s`, until `stop` is set.

    An error is logged and doubles the pause, up to ERROR_DELAY_MAX_S; the first success ends that.
    """
    failures = 0
    while not stop.is_set():
        try:
            done = await work()
            failures = 0
        except Exception as error:  # noqa: BLE001 - the boundary of a task: the next round may succeed
            failures += 1
            done = 0
            _log.warning("task_failed", task=name, failures=failures, error_type=type(error).__name__, error=str(error))
        if not done:
            await _wait(stop, error_delay(interval_s, failures) if failures else interval_s)


def error_delay(interval_s: float, failures: int) -> float:
    """The pause after so many failures in a row, in seconds."""
    return min(interval_s * 2.0 ** min(failures, 30), max(ERROR_DELAY_MAX_S, interval_s))


def retry_delay(attempts: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds from attempt number `attempts` (from 1) to the next: 1, 2, 4 ... minutes, at most an hour.

    A fifth of it is left to `chance` (0 to 1), so that what failed together is not tried together for ever.
    """
    delay = min(RETRY_FIRST_S * 2.0 ** (max(attempts, 1) - 1), RETRY_MAX_S) if attempts < 20 else RETRY_MAX_S
    return delay * (1 - _JITTER / 2 + _JITTER * chance())


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
