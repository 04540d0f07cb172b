"""`fileroom import`, `export`, `verify`, `rebuild` and the nodes, as a person or a script meets them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from corpus.ct import make_ct_series
from stored_objects import make_file, undecodable_file

from .conftest import Run


@pytest.fixture
def scans(empty_archive: Path) -> Path:
    make_ct_series(empty_archive / "scans", 3)
    return empty_archive / "scans"


def test_import_tells_what_became_of_the_files(run: Run, scans: Path) -> None:
    outcome = run("import", scans)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("3 stored (")
    assert run("import", scans).out == "0 stored (0.0 MB), 3 already there.\n"


def test_import_ends_with_1_when_a_file_was_refused(run: Run, scans: Path) -> None:
    (scans / "readme.txt").write_text("hello")
    outcome = run("import", scans)
    assert outcome.code == 1
    assert "3 stored" in outcome.out
    assert "1 refused" in outcome.out
    assert outcome.err.startswith(f"refused: {scans}/readme.txt: ")
    again = json.loads(run("import", scans, "--json").out)
    assert again["already_there"] == 3
    assert [entry["path"] for entry in again["refused"]] == [f"{scans}/readme.txt"]
    refusals = json.loads(run("refusals", "--json").out)
    assert len(refusals) == 2
    assert (refusals[0]["status"], refusals[0]["received_by"]) == ("C000", "import")
    assert "C000" in run("refusals").out


def test_a_path_that_does_not_exist_was_asked_wrongly(run: Run, empty_archive: Path) -> None:
    outcome = run("import", empty_archive / "nowhere")
    assert outcome.code == 2
    assert "no file or folder" in outcome.err


def test_conflicts_are_listed(run: Run, empty_archive: Path) -> None:
    for number, name in enumerate(("A^A", "B^B")):
        (empty_archive / f"{number}.dcm").write_bytes(make_file(PatientName=name))
        run("import", empty_archive / f"{number}.dcm")
    [conflict] = json.loads(run("conflicts", "--json").out)
    assert conflict["sop_instance_uid"] == "1.2.3.1.1.1"
    assert "1.2.3.1.1.1" in run("conflicts").out


@pytest.mark.parametrize(("target", "options"), [("out", []), ("out.zip", []), ("out", ["--dicomdir"])])
def test_export_writes_what_is_selected(run: Run, empty_archive: Path, target: str, options: list[str]) -> None:
    (empty_archive / "1.dcm").write_bytes(make_file(StudyID="1", StudyTime="10"))
    run("import", empty_archive / "1.dcm")
    outcome = run("export", empty_archive / target, "--study", "1.2.3.1", *options)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Exported 1 objects")
    assert (empty_archive / target).exists()
    assert run("export", empty_archive / target, "--patient", "P1", *options).code == 2


def test_a_medium_that_lacks_an_object_ends_with_1_and_names_it(run: Run, empty_archive: Path) -> None:
    good, bad = make_file(), undecodable_file(SOPInstanceUID="1.2.3.1.1.9")
    for name, content in (("good.dcm", good), ("bad.dcm", bad)):
        (empty_archive / name).write_bytes(content)
        run("import", empty_archive / name)
    outcome = run("export", empty_archive / "cd", "--study", "1.2.3.1", "--dicomdir")
    assert outcome.code == 1
    assert outcome.out.startswith("Exported 1 objects")
    assert outcome.err.startswith("left out: 1.2.3.1.1.9: ")
    assert (empty_archive / "cd" / "DICOMDIR").exists()


def test_export_of_everything_must_be_meant(run: Run, empty_archive: Path) -> None:
    outcome = run("export", empty_archive / "out")
    assert outcome.code == 2
    assert "--patient, --study or --series" in outcome.err


def test_verify_and_rebuild(run: Run, scans: Path) -> None:
    run("import", scans)
    assert run("verify").out.endswith("Everything fits.\n")
    stored = sorted((scans.parent / "data" / "store" / "objects").rglob("*.dcm"))
    os.truncate(stored[0], 1000)
    outcome = run("verify", "--quick")
    assert outcome.code == 1
    assert "damaged: objects/" in outcome.err
    assert json.loads(run("verify", "--json").out)["findings"][0]["kind"] == "damaged"
    assert "send the object again" in run("verify", "--repair").err
    rebuilt = run("rebuild", "--yes")
    assert rebuilt.code == 1
    assert rebuilt.out == "2 objects indexed, 0 second copies, 0 conflicts.\n"
    assert "truncated" in rebuilt.err
    assert json.loads(run("rebuild", "--yes", "--json").out)["indexed"] == 2


def test_rebuild_asks_first(run: Run, empty_archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    outcome = run("rebuild")
    assert outcome.code == 1
    assert "Go on?" in outcome.out + outcome.err


def test_nodes_come_and_go(run: Run, empty_archive: Path) -> None:
    assert run("node", "add", "CT1", "--aet", "CT_ONE", "--host", "10.1.2.3", "--port", "104").code == 0
    (listed,) = json.loads(run("node", "list", "--json").out)
    assert listed | {"name": "CT1", "aet": "CT_ONE", "host": "10.1.2.3", "port": 104, "enabled": True} == listed
    assert "10.1.2.3" in run("node", "list").out
    twice = run("node", "add", "CT1", "--aet", "OTHER", "--host", "10.1.2.3", "--port", "104")
    assert (twice.code, "already" in twice.err) == (2, True)
    wrong = run("node", "add", "CT2", "--aet", "OTHER", "--host", "10.1.2.3", "--port", "70000")
    assert (wrong.code, "70000" in wrong.err) == (2, True)
    assert run("node", "remove", "CT1").code == 0
    assert run("node", "remove", "CT1").code == 2
    assert json.loads(run("node", "list", "--json").out) == []
    assert json.loads(run("node", "held", "--json").out) == []
    assert run("node", "echo", "CT1").code == 2


def test_a_peer_that_is_not_there_is_told(run: Run, empty_archive: Path) -> None:
    outcome = run("echo", "127.0.0.1", 1)
    assert outcome.code == 1
    assert outcome.err.startswith("fileroom: ")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("key", ["Nonsense=1", "00zz", "99990001=1"])
def test_a_key_that_does_not_exist_was_asked_wrongly(run: Run, empty_archive: Path, key: str) -> None:
    outcome = run("find", "127.0.0.1", 1, "-k", key)
    assert outcome.code == 2
    assert key.partition("=")[0] in outcome.err


def test_move_and_get_need_to_know_what(run: Run, empty_archive: Path) -> None:
    assert run("get", "127.0.0.1", 1).code == 2
    assert run("move", "127.0.0.1", 1, "--to", "X").code == 2
