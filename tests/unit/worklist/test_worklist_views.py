"""What of the worklist each modality gets to see: which view holds, windows of time, and views that cannot be meant."""

from __future__ import annotations

import datetime as dt
from contextlib import aclosing
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError
from fileroom.worklist.steps import Question, find_steps
from fileroom.worklist.worklist_views import View, check_view, choose_view, put_view, read_view
from worklist_rows import add_step

NOON = dt.datetime(2026, 11, 22, 12, 0).astimezone()


async def seen(archive: Archive, view: View, caller: str = "CT1") -> list[str]:
    async with aclosing(find_steps(archive, Question(caller), view)) as steps:
        return [one.step_id async for one in steps]


@pytest.mark.parametrize(
    ("caller", "name"), [("CT1", "exact"), ("CT2", "wild"), ("MR1", "all a"), ("CT", "wild"), ("XCT1", "all a")]
)
def test_the_view_that_names_the_caller_best_holds(caller: str, name: str) -> None:
    views = [
        View("all b"),
        View("all a"),
        View("wild", aets=("CT*",)),
        View("exact", aets=("CT1",)),
        View("x exact", aets=("CT1",)),
    ]
    assert choose_view(views, caller).name == name


def test_without_a_view_everything_that_waits_is_seen() -> None:
    assert choose_view([View("MR", aets=("MR?",))], "CT1") == View()


async def test_a_disabled_view_holds_for_nobody(archive: Archive) -> None:
    await put_view(archive, "CT", {"aets": ["CT1"]}, enabled=False)
    assert (await read_view(archive.pool, "CT1")).name == ""


@pytest.mark.parametrize(
    ("begins", "ends", "steps"),
    [
        ("", "", "none yesterday early late day tomorrow week"),
        ("today", "", "early late day tomorrow week"),
        ("today", "today", "early late day"),
        ("-2h", "+12h", "late day"),
        ("-5h", "-1h", "early day"),
        ("today-1", "today", "yesterday early late day"),
        ("today+1", "today+1", "tomorrow"),
        ("", "+1d", "yesterday early late day tomorrow"),
        ("-1d", "+7d", "early late day tomorrow week"),
    ],
)
async def test_windows_of_time(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, begins: str, ends: str, steps: str
) -> None:
    """`day` says only its day, `none` says nothing: the one begins at any time of its day, the other in no window."""
    monkeypatch.setattr("fileroom.worklist.steps.hospital_time", lambda _: NOON)
    starts = {
        "none": ("", ""),
        "yesterday": ("20261121", "1100"),
        "early": ("20261122", "0730"),
        "late": ("20261122", "200000"),
        "day": ("20261122", ""),
        "tomorrow": ("20261123", "10"),
        "week": ("20261129", "1100"),
    }
    for number, (day, time) in enumerate(starts.values(), 1):
        await add_step(archive, number, start_date=day, start_time=time)
    names = dict(zip((f"S{number}" for number in range(1, 8)), starts, strict=True))
    found = [names[step] for step in await seen(archive, View(begins=begins, ends=ends))]
    assert sorted(found) == sorted(steps.split())


@pytest.mark.parametrize(
    ("view", "steps"),
    [
        (View(modalities=("MR", "U*")), "S2 S3"),
        (View(stations=("MR*",)), "S2"),
        (View(stations=("MR*",), unassigned=True), "S2 S3"),
        (View(station_names=("MR-ROOM",)), "S2"),
        (View(locations=("ROOM?",), modalities=("CT",)), "S1"),
        (View(own_aet=True), "S1"),
        (View(own_aet=True, unassigned=True), "S1 S3"),
    ],
)
async def test_filters(archive: Archive, view: View, steps: str) -> None:
    await add_step(archive, 1)
    await add_step(archive, 2, modality="MR", station_aets=["MR1"], station_name="MR-ROOM")
    await add_step(archive, 3, modality="US", station_aets=[])
    assert await seen(archive, view) == steps.split()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"colour": "red"}, "colour"),
        ({"begins": "yesterday"}, "begins"),
        ({"ends": "+12"}, "ends"),
        ({"modalities": "CT"}, "modalities"),
        ({"aets": ["a\nb"]}, "aets"),
        ({"states": ["done"]}, "done"),
        ({"results_max": 0}, "results_max"),
        ({"results_max": True}, "results_max"),
        ({"own_aet": "yes"}, "own_aet"),
        ({"charset": "KLINGON"}, "KLINGON"),
    ],
)
def test_a_view_that_cannot_be_meant_is_refused_with_the_reason(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        check_view("CT", fields)


def test_the_normal_form_of_a_view_is_stable() -> None:
    once = check_view("CT", {"aets": [" CT1 ", "CT1", ""], "begins": "today ", "charset": "ISO_IR 100"})
    assert once == {
        "aets": ["CT1"],
        "begins": "today",
        "states": ["scheduled", "arrived"],
        "results_max": 10_000,
        "charset": "ISO_IR 100",
    }
    assert check_view("CT", once) == once
