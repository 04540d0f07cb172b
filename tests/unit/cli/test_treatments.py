"""`fileroom treatment`: added, listed, tried on a file, removed."""

from __future__ import annotations

import json
from pathlib import Path

from stored_objects import make_file
from unit.cli.conftest import Run


def test_treatment_goes_through_its_life(empty_archive: Path, run: Run, tmp_path: Path) -> None:
    fields, image = tmp_path / "north.json", tmp_path / "image.dcm"
    fields.write_text(json.dumps({"steps": [{"do": "prefix", "attribute": "PatientID", "value": "N-"}], "charset": ""}))
    image.write_bytes(make_file())
    added = run("treatment", "add", "north", str(fields))
    assert (added.code, added.out) == (0, "north is version 1.\n"), added.err
    [one] = json.loads(run("treatment", "list", "--json").out)
    assert one["steps"] == [{"do": "prefix", "attribute": "PatientID", "value": "N-"}]
    assert "1 steps" in run("treatment", "list").out
    assert run("treatment", "try", "north", str(image)).out == "(0010,0020) PatientID: 'P1' -> 'N-P1'\n"
    assert run("treatment", "add", "north", str(fields)).code == 2
    assert run("treatment", "remove", "north").out == "Removed north.\n"
    assert "There is no treatment yet" in run("treatment", "list").err


def test_what_is_wrong_with_a_step_is_named(empty_archive: Path, run: Run, tmp_path: Path) -> None:
    fields = tmp_path / "north.json"
    fields.write_text(json.dumps({"steps": [{"do": "set", "attribute": "PatentID", "value": "N"}]}))
    ended = run("treatment", "add", "north", str(fields))
    assert ended.code == 2
    assert "Step 1 (set): There is no attribute PatentID" in ended.err
