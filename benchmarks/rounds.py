"""Measuring fairly: sides in turn, medians of rounds, percentiles of many calls."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Measure = Callable[[int], float]
"""Measures one round; the argument is the number of the round, from 0."""


def alternate(sides: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Every side once a round (A B A B), after what others have left to be written is on the disk."""
    results: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, measure in sides.items():
            settle()
            results[name].append(measure(number))
    return results


def settle() -> None:
    """Write back everything that is dirty: a flush of ours must not pay for what a peer has not flushed."""
    os.sync()


def timed(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of them do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
