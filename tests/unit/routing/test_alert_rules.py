"""What conditions find in sums."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from fileroom.admin.entries import Entry
from fileroom.core.errors import InvalidRequestError
from fileroom.routing.alert_rules import (
    END_AFTER_S,
    AlertKind,
    Condition,
    DestinationSums,
    Sums,
    checked_condition,
    condition_of,
    findings,
    has_ended,
)

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def condition(**fields: Any) -> Condition:
    return condition_of(Entry(7, "c", checked_condition("c", fields)))


def sums(**fields: Any) -> Sums:
    return Sums((DestinationSums("A", **fields), DestinationSums("B")))


def test_each_kind_finds_what_is_above_its_limit_and_nothing_at_it() -> None:
    for kind, above, at_it, over in (
        ("queue_age", 30, {"waiting_min": 30, "waiting": 5}, {"waiting_min": 30.1, "waiting": 5}),
        ("failure_rate", 20, {"tries": {15: (10, 2)}}, {"tries": {15: (10, 3)}}),
        ("dead_letters", 0, {"failed": 0}, {"failed": 1}),
        ("quarantined", 2, {"quarantined": 2}, {"quarantined": 3}),
        ("destination_down", 5, {"down_min": 5}, {"down_min": 6, "down_because": "No connection."}),
    ):
        one = condition(kind=kind, above=above)
        assert findings(one, sums(**at_it)) == []
        [found] = findings(one, sums(**over))
        assert found.subject == "A"
        assert found.value > above
        assert "A" in found.sentence


def test_disk_loop_and_rule_error_are_of_the_whole() -> None:
    assert findings(condition(kind="disk", above=90), Sums(disk_percent=90)) == []
    assert findings(condition(kind="disk", above=90), Sums()) == []
    [full] = findings(condition(kind="disk", above=90), Sums(disk_percent=93))
    assert (full.subject, "93 %" in full.sentence) == ("", True)
    for kind in (AlertKind.RULE_ERROR, AlertKind.ROUTING_LOOP):
        [found] = findings(condition(kind=kind.value), Sums(troubles={(kind, 15): (3, "the rule x")}))
        assert ": 3 in the last 15 minutes; the last: the rule x" in found.sentence


def test_each_silent_edge_is_an_alert_of_its_own() -> None:
    silent = Sums(silent_edges={"North": 7.5, "South": 130.0})
    north, south = findings(condition(kind="edge_silent"), silent)
    assert (north.subject, north.value) == ("North", 7.5)
    assert north.sentence == "The edge North has not called for 7 min. See whether it runs and has a line."
    assert "2 h 10 min" in south.sentence
    assert [one.subject for one in findings(condition(kind="edge_silent", above=60), silent)] == ["South"]
    with pytest.raises(InvalidRequestError):
        condition(kind="edge_silent", destinations=["A"])


def test_few_attempts_say_nothing_of_a_rate() -> None:
    assert findings(condition(kind="failure_rate", above=20), sums(tries={15: (9, 9)})) == []


def test_condition_may_be_about_some_destinations_only() -> None:
    assert findings(condition(kind="dead_letters", destinations=["B"]), sums(failed=9)) == []
    assert len(findings(condition(kind="dead_letters", destinations=["B", "A"]), sums(failed=9))) == 1


def test_number_that_swings_about_the_limit_does_not_end_the_alert() -> None:
    assert not has_ended(NOON, NOON + dt.timedelta(seconds=END_AFTER_S - 1))
    assert has_ended(NOON, NOON + dt.timedelta(seconds=END_AFTER_S))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "kind of an alert"),
        ({"kind": "weather"}, "kind of an alert"),
        ({"kind": "disk", "above": 101}, "above"),
        ({"kind": "disk", "above": True}, "above"),
        ({"kind": "disk", "above": float("nan")}, "above"),
        ({"kind": "disk", "destinations": ["A"]}, "not about destinations"),
        ({"kind": "queue_age", "severity": "loud"}, "severity"),
        ({"kind": "queue_age", "notify": [1]}, "notify"),
        ({"kind": "queue_age", "notify": ["a"] * 51}, "notify"),
        ({"kind": "queue_age", "quiet": ["nights"]}, "quiet"),
        ({"kind": "queue_age", "repeat_min": -1}, "repeat_min"),
        ({"kind": "failure_rate", "window_min": 1}, "window_min"),
        ({"kind": "queue_age", "age": 1}, "age"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        checked_condition("c", fields)
