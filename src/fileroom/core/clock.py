"""The clock as an argument, so that rooms which must not read one can be given one, and tests can hold it still."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

Now = Callable[[], dt.datetime]
"""A function that tells the time, aware, in UTC."""


def system_now() -> dt.datetime:
    """The time now, aware, in UTC."""
    return dt.datetime.now(dt.UTC)
