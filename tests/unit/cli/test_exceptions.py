"""`fileroom exceptions`: the queue on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from unit.cli.conftest import Run


def test_the_queue_and_how_studies_meet_orders(empty_archive: Path, run: Run) -> None:
    assert json.loads(run("exceptions", "list", "--json").out) == []
    assert json.loads(run("exceptions", "count", "--json").out) == {
        "studies": 0,
        "images": 0,
        "orders_without_images": 0,
    }
    put = run("exceptions", "matching", "put", "CT1", "--take-over", "PatientName", "--score-min", "90")
    assert (put.code, put.out) == (0, "Saved CT1.\n"), put.err
    listed = json.loads(run("exceptions", "matching", "list", "--json").out)
    assert listed == [{"name": "CT1", "attributes": ["PatientName"], "score_min": 90}]
    assert run("exceptions", "matching", "remove", "CT1").out == "Removed CT1.\n"


def test_mistakes_end_with_2(empty_archive: Path, run: Run) -> None:
    fixed = run("exceptions", "fix", "1.2.3", "--order", "7")
    assert (fixed.code, "There is no study 1.2.3" in fixed.err) == (2, True), fixed.err
    undone = run("exceptions", "undo", "1.2.3")
    assert (undone.code, "There is no study 1.2.3" in undone.err) == (2, True)
    assert run("exceptions", "dismiss", "1.2.3").code == 2
    assert run("exceptions", "list", "--state", "lost").code == 2
