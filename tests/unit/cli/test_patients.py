"""`fileroom patients`: found, shown, merged after a question, taken apart."""

from __future__ import annotations

import json
from pathlib import Path

from unit.cli.conftest import Run


def test_two_are_merged_and_taken_apart(empty_archive: Path, run: Run) -> None:
    assert json.loads(run("patients", "search", "--json").out) == []
    for number in ("P1", "P2"):
        who = ("--patient", f"{number}^HOSP", "--name", "Lovelace^Ada", "--birth-date", "19151210", "--sex", "F")
        added = run("order", "add", "--procedure", "CT", *who)
        assert added.code == 0, added.err
    found = json.loads(run("patients", "search", "lovelace 1915-12-10", "--json").out)
    assert [one["patient_id"] for one in found] == ["P1", "P2"]
    merged = run("patients", "merge", "P1", "P2", "--reason", "same card", "--yes")
    assert (merged.code, "orders 1" in merged.out, "Merge 1." in merged.out) == (0, True, True), merged.err
    shown = run("patients", "show", "P2")
    assert "number P2 HOSP MR retired" in shown.out
    assert "merge 1: " in shown.out
    back = run("patients", "unmerge", "1", "--yes")
    assert back.code == 0, back.err
    assert len(json.loads(run("patients", "show", "P2", "--json").out)["orders"]) == 1


def test_mistakes_are_told(empty_archive: Path, run: Run) -> None:
    for wrong in (("show", "P9"), ("show", "#9"), ("merge", "P9", "P8"), ("unmerge", "9")):
        ended = run("patients", *wrong)
        assert ended.code == 2, wrong
        assert "There is no" in ended.err
