"""How urgent deliveries are, so that STAT goes first and bulk still goes: the rank of a parcel is its arrival less a bonus.

    rank_at = arrival - bonus          the lowest rank goes first

An urgent study overtakes what arrived during the bonus before it, and no more: every study that waits is overtaken only by
those that arrive within a fixed time after it (`overtaken_for_s`), so none starves however many urgent ones come. Only the
difference of two bonuses counts. Nothing is counted anew while studies wait: the rank is a column with an index.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from fileroom.core.errors import InvalidRequestError, told

BONUS_MAX_S: Final = 7 * 86_400
"""A week either way: more would be a queue of its own."""


_SECONDS: Final = re.compile(r"[+-]?[0-9]{1,9}")


class Urgency(enum.StrEnum):
    """The usual steps."""

    STAT = "stat"
    """Somebody waits for it."""
    ROUTINE = "routine"
    BULK = "bulk"
    """Migrations, research, teaching: when there is room."""


BONUS_S: Final[dict[Urgency, int]] = {Urgency.STAT: 4 * 3600, Urgency.ROUTINE: 0, Urgency.BULK: -8 * 3600}
"""STAT overtakes four hours of routine; bulk goes behind what arrives in the eight hours after it."""


def checked_urgency(value: object) -> str | int:
    """An urgency as rules hold it: one of the words, or a bonus in seconds (below 0: later). Raises InvalidRequestError."""
    if isinstance(value, str) and value.strip().lower() in BONUS_S:
        return Urgency(value.strip().lower()).value
    text = str(value).strip()
    number = int(text) if not isinstance(value, bool) and _SECONDS.fullmatch(text) else None
    if number is None or abs(number) > BONUS_MAX_S:
        raise InvalidRequestError(
            told(
                "{given} is no urgency. It is stat, routine, bulk, or seconds of advance from -{most} to {most}.",
                given=text[:40] or "-",
                most=BONUS_MAX_S,
            )
        )
    return number


def bonus_s(urgency: str | int) -> int:
    """The bonus of a checked urgency, in seconds."""
    return urgency if isinstance(urgency, int) else BONUS_S[Urgency(urgency)]


def overtaken_for_s(urgency: str | int, most_urgent: str | int = Urgency.STAT) -> int:
    """For how long after its arrival something still can be overtaken by later arrivals of another urgency, in seconds."""
    return max(bonus_s(most_urgent) - bonus_s(urgency), 0)
