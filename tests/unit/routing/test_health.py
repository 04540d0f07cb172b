"""How destinations are: what failures, successes and probes make of them, in a row that all processes see."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.destinations import put_destination
from fileroom.routing.health import (
    FAILURES_DOWN,
    FORGET_S,
    MEMBER_PROBE_S,
    TRIAL_FIRST_S,
    TRIAL_MAX_S,
    UNKNOWN,
    Health,
    HealthState,
    after_failure,
    after_success,
    health_of,
    note_failure,
    note_outcomes,
    probe_due,
    probe_is_due,
    read_health,
)

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
UP, SUSPECT, DOWN = HealthState.UP, HealthState.SUSPECT, HealthState.DOWN


def half() -> float:
    return 0.5


def seconds(number: float) -> dt.timedelta:
    return dt.timedelta(seconds=number)


def broken(times: int, health: Health = UNKNOWN) -> Health:
    for _ in range(times):
        health = after_failure(health, NOON, "No connection.", half)
    return health


def test_one_failure_is_suspect_and_three_in_a_row_are_down() -> None:
    assert broken(1).state is SUSPECT
    assert broken(FAILURES_DOWN - 1).state is SUSPECT
    assert broken(FAILURES_DOWN).state is DOWN
    recovered = after_success(broken(2), NOON, probed=False)
    assert (recovered.state, recovered.failures, recovered.cause) == (UP, 0, "")


def test_trials_come_ever_more_seldom_and_never_later_than_the_maximum() -> None:
    pauses = [(broken(times).trial_at - NOON).total_seconds() for times in range(FAILURES_DOWN, 40)]
    assert pauses[:4] == [TRIAL_FIRST_S, 10, 20, 40]
    assert pauses == sorted(pauses)
    assert pauses[-1] == TRIAL_MAX_S


def test_answered_trial_makes_it_suspect_then_up_without_forgetting_the_failures() -> None:
    once = after_success(broken(4), NOON, probed=True)
    assert once.state is SUSPECT
    twice = after_success(once, NOON, probed=True)
    assert (twice.state, twice.failures) == (UP, 4)
    # It answers echoes, and refuses objects for want of room: down at once, and asked later than before.
    again = after_failure(twice, NOON, "No room.", half)
    assert again.state is DOWN
    assert again.trial_at > broken(4).trial_at


def test_failure_long_after_the_last_is_the_first_in_a_row() -> None:
    old = replace(broken(2), failed_at=NOON - seconds(FORGET_S + 1))
    assert after_failure(old, NOON, "x", half).failures == 1


def test_used_destination_is_not_probed() -> None:
    used = Health(asked_at=NOON)
    assert not probe_is_due(used, NOON + seconds(29), 30)
    assert probe_is_due(used, NOON + seconds(30), 30)
    assert not probe_is_due(broken(3), NOON, 30)
    assert probe_is_due(broken(3), NOON + seconds(TRIAL_FIRST_S), 30)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clocked(archive: Archive, clock: Clock, tmp_path: Path) -> Archive:
    return replace(archive, now=clock, settings=Settings(routing_folders=str(tmp_path)))


async def folder_destination(archive: Archive, name: str, path: Path) -> int:
    """A folder that is there while the file `here` is in it."""
    (path / "here").touch()
    target = {"path": str(path), "marker": "here"}
    return (await put_destination(archive, name, {"kind": "folder", "target": target})).id


async def test_outcomes_of_sending_make_a_row_that_every_process_sees(clocked: Archive, tmp_path: Path) -> None:
    number = await folder_destination(clocked, "A", tmp_path)
    refused, later = Outcome(OutcomeKind.REFUSED, "No such class."), Outcome(OutcomeKind.TRY_LATER, "No room.")
    assert await note_outcomes(clocked, number, [refused]) is None
    assert await read_health(clocked) == {}
    await note_outcomes(clocked, number, [Outcome(OutcomeKind.TAKEN), later])
    assert (await health_of(clocked, number)).state is SUSPECT
    await note_failure(clocked, number, "No connection.")
    await note_failure(clocked, number, "No connection.")
    health = await health_of(clocked, number)
    assert (health.state, health.failures, health.cause) == (DOWN, 3, "No connection.")
    await note_outcomes(clocked, number, [Outcome(OutcomeKind.WARNED)])
    assert (await health_of(clocked, number)).state is UP


async def test_destination_that_is_down_comes_back_by_trials(clocked: Archive, clock: Clock, tmp_path: Path) -> None:
    number = await folder_destination(clocked, "A", tmp_path)
    assert await probe_due(clocked) == 1
    assert await probe_due(clocked) == 0
    (tmp_path / "here").unlink()
    for _ in range(FAILURES_DOWN):
        await note_failure(clocked, number, "No such folder.")
    assert await probe_due(clocked) == 0
    clock.now += seconds(TRIAL_FIRST_S * 2)
    assert await probe_due(clocked) == 1
    assert (await health_of(clocked, number)).failures == FAILURES_DOWN + 1
    (tmp_path / "here").touch()
    clock.now += seconds(TRIAL_MAX_S)
    assert await probe_due(clocked) == 1
    assert (await health_of(clocked, number)).state is SUSPECT
    clock.now += seconds(TRIAL_FIRST_S * 2)
    assert await probe_due(clocked) == 1
    assert (await health_of(clocked, number)).state is UP


async def test_members_of_a_pool_are_asked_more_often(clocked: Archive, clock: Clock, tmp_path: Path) -> None:
    await folder_destination(clocked, "A", tmp_path)
    await folder_destination(clocked, "B", tmp_path)
    await put_destination(clocked, "P", {"kind": "pool", "target": {"members": ["A"]}})
    assert await probe_due(clocked) == 2
    clock.now += seconds(MEMBER_PROBE_S)
    assert await probe_due(clocked) == 1
