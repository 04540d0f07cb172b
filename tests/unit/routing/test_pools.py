"""Which member of a pool a study goes to: shares, failover, return, what stays together."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import pytest

from fileroom.archive.services import Archive
from fileroom.core.errors import ConfigurationError, InvalidRequestError
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destination_kind import KindContext
from fileroom.routing.health import UNKNOWN, Health, HealthState
from fileroom.routing.pools import POOL, choose, choose_member, members_in_words, next_trial, pool_target

UP, SUSPECT, DOWN = Health(), Health(HealthState.SUSPECT), Health(HealthState.DOWN)
STUDIES = [f"1.2.840.99.{number}" for number in range(3000)]


def pool(*members: Any, **more: Any) -> Any:
    return pool_target(POOL.check({"members": list(members), **more}))


def states(**given: Health) -> Mapping[str, Health]:
    return given


def test_failover_takes_the_first_that_is_well_and_returns_to_it() -> None:
    two = pool("a", "b", sticky="")
    assert choose(two, states(a=UP, b=UP), "1.2") == "a"
    assert choose(two, states(a=DOWN, b=UP), "1.2") == "b"
    assert choose(two, states(a=SUSPECT, b=UP), "1.2") == "b"
    assert choose(two, states(a=SUSPECT, b=DOWN), "1.2") == "a"
    assert choose(two, states(a=DOWN, b=DOWN), "1.2") is None
    assert choose(two, states(b=UP), "1.2") == "b"  # a is disabled
    assert choose(two, states(a=UP, b=UP), "1.2", begun_at="b") == "a"


def test_study_goes_on_where_it_began_while_that_is_well() -> None:
    two = pool("a", "b")
    assert choose(two, states(a=UP, b=UP), "1.2", begun_at="b") == "b"
    assert choose(two, states(a=UP, b=SUSPECT), "1.2", begun_at="b") == "b"
    assert choose(two, states(a=UP, b=DOWN), "1.2", begun_at="b") == "a"
    assert choose(two, states(a=UP), "1.2", begun_at="b") == "a"


def test_balance_gives_each_its_share() -> None:
    target = pool("a:1", "b:2", {"destination": "c", "weight": 5}, mode="balance")
    shares = Counter(choose(target, states(a=UP, b=UP, c=UP), uid) for uid in STUDIES)
    for name, weight in (("a", 1), ("b", 2), ("c", 5)):
        assert shares[name] == pytest.approx(len(STUDIES) * weight / 8, rel=0.12)


def test_when_a_member_goes_only_its_own_studies_move_and_they_come_back() -> None:
    target = pool("a", "b", "c", mode="balance")
    before = {uid: choose(target, states(a=UP, b=UP, c=UP), uid) for uid in STUDIES}
    without = {uid: choose(target, states(a=UP, b=DOWN, c=UP), uid) for uid in STUDIES}
    assert all(without[uid] == before[uid] for uid in STUDIES if before[uid] != "b")
    moved = Counter(without[uid] for uid in STUDIES if before[uid] == "b")
    assert moved["a"] == pytest.approx(moved["c"], rel=0.2)
    assert {uid: choose(target, states(a=UP, b=UP, c=UP), uid) for uid in STUDIES} == before


def test_studies_of_a_patient_find_one_member() -> None:
    target = pool("a", "b", "c", mode="balance", sticky="patient")
    health = states(a=UP, b=UP, c=UP)
    assert len({choose(target, health, uid, "PAT-7") for uid in STUDIES[:50]}) == 1
    assert len({choose(target, health, "1.2", f"PAT-{n}") for n in range(50)}) == 3
    assert len({choose(target, health, uid, "") for uid in STUDIES[:50]}) == 3  # Without an id: by study


def test_reserve_is_used_when_nobody_else_is_well() -> None:
    target = pool("a", "b:0", mode="balance")
    assert {choose(target, states(a=UP, b=UP), uid) for uid in STUDIES[:50]} == {"a"}
    assert choose(target, states(a=DOWN, b=UP), "1.2") == "b"


def destination(number: int, name: str, **more: Any) -> Destination:
    return Destination(number, name, more.pop("kind", "dicom"), more.pop("target", {}), **more)


async def test_member_is_chosen_among_those_that_may_be_sent_to() -> None:
    archive = cast(Archive, None)  # Nothing is read when the health is given
    one = destination(9, "P", kind="pool", target=POOL.check({"members": ["gone", "held", "off", "nested", "a", "b"]}))
    members = {
        "held": destination(1, "held", hold=True),
        "off": destination(2, "off", enabled=False),
        "nested": destination(3, "nested", kind="pool"),
        "a": destination(4, "a"),
        "b": destination(5, "b"),
    }
    trial = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    down = {4: Health(HealthState.DOWN, trial_at=trial)}
    assert await choose_member(archive, one, members, "1.2", "", {}) == members["a"]
    assert await choose_member(archive, one, members, "1.2", "", down) == members["b"]
    assert await choose_member(archive, one, members, "1.2", "", {}, begun_at_id=5) == members["b"]
    assert await choose_member(archive, one, members, "1.2", "", {}, begun_at_id=1) == members["a"]
    assert next_trial(one, members, down) == trial
    assert UNKNOWN.is_usable


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({}, "1 to 32"),
        ({"members": []}, "1 to 32"),
        ({"members": ["a"] * 2}, "twice"),
        ({"members": ["a"], "mode": "random"}, "failover or balance"),
        ({"members": ["a"], "sticky": "series"}, "sticky"),
        ({"members": ["a:0"], "mode": "balance"}, "above 0"),
        ({"members": [{"destination": "a", "weight": -1}]}, "weight"),
        ({"members": [{"destination": "a", "weight": True}]}, "weight"),
        ({"members": [{"destination": ""}]}, "names a destination"),
        ({"members": [7]}, "table"),
        ({"members": ["a"], "size": 1}, "size"),
    ],
)
def test_what_is_wrong_is_named(target: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        POOL.check(target)


def test_normal_form_stays_and_reads_well() -> None:
    checked = POOL.check({"members": ["PACS: A:2", "b"], "mode": "balance"})
    assert checked == POOL.check(checked)
    assert members_in_words(pool_target(checked).members) == "PACS: A:2, b"
    assert POOL.describe(checked) == "PACS: A (2) + b (1)"


def test_pool_opens_no_session_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="members only"):
        POOL.open(KindContext(cast(Archive, None), "P", {}))
