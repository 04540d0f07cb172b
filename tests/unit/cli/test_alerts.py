"""`fileroom alerts`: conditions and what they find."""

from __future__ import annotations

import json
from pathlib import Path

from unit.cli.conftest import Run


def test_conditions_go_through_their_life(empty_archive: Path, run: Run) -> None:
    assert run("alerts").out == "Nothing is alarming.\n"
    assert json.loads(run("alerts", "--json").out) == []
    assert "'fileroom alerts usual'" in run("alerts", "conditions").err
    assert run("alerts", "usual").out.startswith("Added 12 conditions.")
    added = run("alerts", "add", "PACS waits", "--kind", "queue_age", "--above", "30", "--repeat", "60")
    assert (added.code, added.out) == (0, "PACS waits: queue_age above 30.\n"), added.err
    listed = {one["name"]: one for one in json.loads(run("alerts", "conditions", "--json").out)}
    assert (listed["PACS waits"]["kind"], listed["PACS waits"]["repeat_min"]) == ("queue_age", 60)
    assert "PACS waits" in run("alerts", "conditions").out
    assert run("alerts", "remove", "PACS waits").out == "Removed PACS waits.\n"


def test_mistakes_end_with_2(empty_archive: Path, run: Run) -> None:
    ended = run("alerts", "add", "x", "--kind", "weather")
    assert (ended.code, "one of queue_age" in ended.err) == (2, True)
    ended = run("alerts", "acknowledge", "7")
    assert (ended.code, "There is no alert 7" in ended.err) == (2, True)
    ended = run("alerts", "add", "x", "--kind", "disk", "--notify", "nobody")
    assert (ended.code, "nobody is no destination of the kind mail or webhook" in ended.err) == (2, True)
