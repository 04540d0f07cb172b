"""`fileroom schedule`: added, listed, changed, removed."""

from __future__ import annotations

import json
from pathlib import Path

from unit.cli.conftest import Run


def test_schedule_goes_through_its_life(empty_archive: Path, run: Run) -> None:
    nights = ("nights", "--window", "mon-fri 18:00-06:00", "--window", "sat,sun,holiday 00:00-24:00")
    added = run("schedule", "add", *nights, "--holidays", "DE-BY", "--date", "12-24", "--zone", "Europe/Berlin")
    assert added.code == 0, added.err
    [one] = json.loads(run("schedule", "list", "--json").out)
    assert (one["name"], one["holidays"], one["dates"]) == ("nights", "DE-BY", ["12-24"])
    assert one["windows"][1] == {"days": "sat,sun,holiday", "from": "00:00", "to": "24:00"}
    assert "mon-fri 18:00-06:00" in run("schedule", "list").out
    assert run("schedule", "add", "nights").code == 2
    assert run("schedule", "add", "nights", "--replace").out == "nights is open.\n"
    assert run("schedule", "remove", "nights").out == "Removed nights.\n"
    assert "There is no schedule yet" in run("schedule", "list").err


def test_what_is_no_window_is_named(empty_archive: Path, run: Run) -> None:
    ended = run("schedule", "add", "nights", "--window", "at night")
    assert ended.code == 2
    assert "at night is no window" in ended.err
