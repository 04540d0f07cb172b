"""Priorities with ageing: what is urgent goes first, and nothing starves. Proven by a queue that is never empty."""

from __future__ import annotations

import heapq

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.routing.urgency import BONUS_S, Urgency, bonus_s, checked_urgency, overtaken_for_s

HOUR = 3600


def simulate(arrivals: list[tuple[int, str | int]], service_s: int) -> dict[int, int]:
    """One lane that takes the lowest rank; when it began with each arrival, by its number."""
    waiting: list[tuple[int, int]] = []
    began: dict[int, int] = {}
    now, number = 0, 0
    while len(began) < len(arrivals):
        while number < len(arrivals) and arrivals[number][0] <= now:
            heapq.heappush(waiting, (arrivals[number][0] - bonus_s(arrivals[number][1]), number))
            number += 1
        if not waiting:
            now = arrivals[number][0]
            continue
        began[heapq.heappop(waiting)[1]] = now
        now += service_s
    return began


def test_stat_goes_before_all_routine_that_waits() -> None:
    arrivals: list[tuple[int, str | int]] = [*((0, "routine") for _ in range(100)), (10, "stat")]
    assert simulate(arrivals, 60)[100] == 60


def test_bulk_never_starves_under_a_flood_of_stat() -> None:
    # A lane that can do one study a minute, and for two days one STAT study a minute: no room is ever left by itself.
    arrivals: list[tuple[int, str | int]] = [(0, "bulk")]
    arrivals += [(60 * minute, "stat") for minute in range(2 * 24 * 60)]
    began = simulate(arrivals, 60)
    assert began[0] <= overtaken_for_s("bulk") + 60
    assert began[0] >= overtaken_for_s("bulk") - 60  # It did go behind: it is bulk


@pytest.mark.parametrize("urgency", list(Urgency))
def test_whatever_waits_is_overtaken_only_by_what_arrives_soon_after(urgency: Urgency) -> None:
    # Twice as much arrives as can be done, of every urgency: the queue grows and grows.
    step, service_s = 300, 600
    kinds = list(Urgency)
    arrivals: list[tuple[int, str | int]] = [(step * n, kinds[n % 3]) for n in range(600)]
    began = simulate(arrivals, service_s)
    order = sorted(began, key=lambda n: began[n])
    place = {number: at for at, number in enumerate(order)}
    for number, (arrived, kind) in enumerate(arrivals):
        if kind == urgency:
            overtakers = [n for n in range(number + 1, len(arrivals)) if place[n] < place[number]]
            assert all(arrivals[n][0] <= arrived + overtaken_for_s(urgency) for n in overtakers)


def test_order_of_the_words() -> None:
    assert BONUS_S[Urgency.STAT] == 4 * HOUR
    assert BONUS_S[Urgency.BULK] == -8 * HOUR
    assert bonus_s(checked_urgency(" STAT ")) == 4 * HOUR
    assert checked_urgency("-90") == -90
    assert bonus_s(checked_urgency(120)) == 120


@pytest.mark.parametrize("wrong", ["soon", "", None, True, 1.5, 10**9, "9" * 40, "--5"])
def test_what_is_no_urgency_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidRequestError, match="no urgency"):
        checked_urgency(wrong)
