"""Moments as people write them in commands and forms: `2026-03-01`, `2026-03-01 08:00`, or how long ago, `2h`, `7d`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from fileroom.core.errors import InvalidRequestError, told

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAY_CHARS: Final = 10


def read_moment(written: str, now: dt.datetime, *, end: bool = False) -> dt.datetime | None:
    """The moment, aware; None for nothing. Without an offset it is of this machine's time zone.

    `end`: a day alone means its end, so that "up to the 31st" has the 31st in it. Raises InvalidRequestError.
    """
    text = written.strip()
    if not text:
        return None
    try:
        ago = _AGO.fullmatch(text)
        if ago is not None:
            return now - dt.timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        moment = dt.datetime.fromisoformat(text)
        if end and len(text) <= _DAY_CHARS:
            moment += dt.timedelta(days=1)
        return moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            told(
                "{written} is no day or moment; write 2026-03-01, 2026-03-01T08:00, or 2h or 7d for how long ago.",
                written=repr(written[:40]),
            )
        ) from error
