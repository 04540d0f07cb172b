"""How many requests one address may make without saying who it is: a bucket that fills by the second.

People and programs that have logged in are not counted, nor is anything refused to them because of others behind the same
address. Each process counts for itself, so with N web workers up to N times as much passes.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fileroom.admin.lockout import plain_address
from fileroom.core.errors import TooManyAttemptsError, told
from fileroom.core.limits import RATE_ADDRESSES_MAX


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` requests at once, and `per_s` more each second."""

    name: str
    burst: int
    per_s: float


STRANGERS: Final = Rate("strangers", 400, 20)
"""Pages before the login: a ward's worth of browsers behind one address in the morning, no flood."""
WRONG_CREDENTIALS: Final = Rate("wrong credentials", 40, 1)
"""Tokens and cookies that nobody has. They cannot be guessed; whoever tries costs a look into the database each time."""
PROBES: Final = Rate("probes", 100, 10)
"""`/healthz` and `/readyz`: several load balancers that ask each second."""


class RateLimit:
    """The buckets of one process."""

    def __init__(self, now: Callable[[], dt.datetime]) -> None:
        self._now = now
        self._kept: OrderedDict[tuple[str, str], tuple[float, dt.datetime]] = OrderedDict()

    def count(self, rate: Rate, address: str) -> None:
        """Count one. Raises TooManyAttemptsError when the bucket is empty."""
        key, now = (rate.name, plain_address(address)), self._now()
        level, at = self._kept.get(key, (float(rate.burst), now))
        level = min(rate.burst, level + max(0.0, (now - at).total_seconds()) * rate.per_s)
        if level < 1:
            wait_s = max(1, math.ceil((1 - level) / rate.per_s))
            raise TooManyAttemptsError(
                told("Too many requests from your address without a login. Wait {seconds} s.", seconds=wait_s), wait_s
            )
        self._kept[key] = (level - 1, now)
        self._kept.move_to_end(key)
        if len(self._kept) > RATE_ADDRESSES_MAX:
            self._kept.popitem(last=False)
