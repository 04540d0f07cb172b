"""`fileroom deid`: a project added, tried on a file, its pseudonym revealed, removed."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom import dcmread

from stored_objects import make_file
from unit.cli.conftest import Run


def test_project_goes_through_its_life(empty_archive: Path, run: Run, tmp_path: Path) -> None:
    patients = tmp_path / "patients.csv"
    patients.write_text("P1,TRIAL-7\n")
    added = run(
        "deid", "project", "add", "S", "--pseudonym", "S-{n:03}", "--map", patients, "--options", "pixels,patient"
    )
    assert added.out == "S: basic profile, patient, pixels.\n", added.err
    [listed] = json.loads(run("deid", "project", "list", "--json").out)
    assert (listed["pseudonym"], listed["patient_map"]) == ("S-{n:03}", "secret")

    scan, cleaned = tmp_path / "scan.dcm", tmp_path / "cleaned.dcm"
    scan.write_bytes(make_file(PatientSex="F"))
    tried = run("deid", "try", scan, "--project", "S", "-o", cleaned)
    assert tried.code == 0, tried.err
    assert "Pixels: computed image" in tried.out
    made = dcmread(cleaned)
    assert (made.PatientID, made.PatientName, made.PatientSex) == ("TRIAL-7", "TRIAL-7", "F")
    assert made.PixelData == dcmread(scan).PixelData
    assert b"DOE" not in cleaned.read_bytes()

    scan.write_bytes(make_file(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", PatientID="P2", Manufacturer="ACME"))
    held = run("deid", "try", scan, "--project", "S", "-o", tmp_path / "none.dcm")
    assert held.code == 1
    assert "no rule for ACME" in held.err
    assert not (tmp_path / "none.dcm").exists()

    [known] = json.loads(run("deid", "reveal", "S", "TRIAL-7", "--reason", "asked for", "--json").out)
    assert (known["patient_id"], known["patient_name"]) == ("P1", "DOE^JANE")
    assert run("deid", "reveal", "S", "S-099", "--reason", "asked for").code == 2
    assert run("deid", "project", "remove", "S").out == "Removed S.\n"
    assert "There is no project yet" in run("deid", "project", "list").err


def test_field_of_a_file_that_is_wrong_is_named(empty_archive: Path, run: Run, tmp_path: Path) -> None:
    more = tmp_path / "more.json"
    more.write_text('{"overrides": [{"tag": "PatientID", "action": "keep"}]}')
    ended = run("deid", "project", "add", "S", "--file", more)
    assert ended.code == 2
    assert "never kept" in ended.err
    more.write_text("[1]")
    assert "JSON object" in run("deid", "project", "add", "S", "--file", more).err
