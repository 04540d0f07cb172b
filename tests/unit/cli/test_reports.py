"""`fileroom reports`: what is told where there is none."""

from __future__ import annotations

import json
from pathlib import Path

from unit.cli.conftest import Run


def test_empty_list_and_mistakes_are_told(empty_archive: Path, run: Run) -> None:
    assert json.loads(run("reports", "list", "--json").out) == []
    assert "written in the console" in run("reports", "list").err
    wrong = run("reports", "list", "--state", "done")
    assert (wrong.code, "a state is draft" in wrong.err) == (2, True)
    for command in (("show", "7"), ("pdf", "7"), ("sr", "7"), ("send", "7", "ris")):
        ended = run("reports", *command)
        assert (ended.code, "There is no report number 7" in ended.err) == (2, True), command
