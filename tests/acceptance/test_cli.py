"""The `fileroom` commands, as a person or a script uses them."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pydicom
import pytest

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import Part10, by_instance, study_uid
from acceptance.programs.dcmtk import StoreScp
from acceptance.programs.dicomweb import retrieve
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.pynetdicom_peer import send_exactly


def _datasets(parts: dict[str, Part10]) -> dict[str, bytes]:
    return {uid: part.dataset for uid, part in parts.items()}


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def _ok(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def _self(fileroom: Fileroom) -> tuple[str, ...]:
    return ("127.0.0.1", str(fileroom.dicom_port), "--aec", fileroom.aet)


COMMANDS = ("serve", "import", "export", "echo", "send", "find", "get", "move", "rebuild", "verify", "node add")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(fileroom: Fileroom, command: str) -> None:
    assert "Example" in _ok(fileroom.command(*command.split(), "--help"))


def test_import_of_folder_zip_and_files_without_preamble(
    fileroom: Fileroom, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    in_folder, in_zip, bare = ct_series(3), ct_series(3), ct_series(1)
    folder = tmp_path / "scans" / "deep" / "er"
    folder.mkdir(parents=True)
    for path in in_folder:
        shutil.copy(path, folder)
    (folder / "readme.txt").write_text("not an image")
    with zipfile.ZipFile(tmp_path / "scans" / "more.zip", "w") as archive:
        for path in in_zip:
            archive.write(path, path.name)
    content = bare[0].read_bytes()
    (folder / "bare").write_bytes(content[132:])  # file meta, but neither preamble nor prefix
    report = json.loads(fileroom.command("import", "--json", tmp_path / "scans").stdout)
    assert report["stored"] == 7, report
    for files in (in_folder, in_zip, bare):
        received = retrieve(fileroom.dicomweb, f"studies/{study_uid(files[0])}")
        assert _datasets(received) == _datasets(by_instance(files))
    assert json.loads(fileroom.command("import", "--json", tmp_path / "scans").stdout)["stored"] == 0


def test_import_names_what_is_refused_and_why(fileroom: Fileroom, ct_series: SeriesFactory, tmp_path: Path) -> None:
    (cut,) = ct_series(1)
    cut.write_bytes(cut.read_bytes()[:-1000])
    result = fileroom.command("import", cut)
    assert result.returncode == 1
    assert cut.name in result.stderr
    assert "truncated" in result.stderr
    result = fileroom.command("import", tmp_path / "nowhere")
    assert result.returncode == 2
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("kind", ["folder", "zip", "medium"])
def test_export_and_import_again(
    fileroom: Fileroom, fileroom_factory: FileroomFactory, ct_series: SeriesFactory, tmp_path: Path, kind: str
) -> None:
    files = ct_series(3)
    send_exactly(fileroom.dicom_port, files)
    study = study_uid(files[0])
    target = tmp_path / ("study.zip" if kind == "zip" else kind)
    options = ["--dicomdir"] if kind == "medium" else []
    _ok(fileroom.command("export", target, "--study", study, *options))
    if kind == "zip":
        with zipfile.ZipFile(target) as archive:
            archive.extractall(tmp_path / "unzipped")
    exported = _files_below(tmp_path / "unzipped" if kind == "zip" else target)
    assert _datasets(by_instance(exported)) == _datasets(by_instance(files))
    if kind == "medium":
        assert len(pydicom.dcmread(target / "DICOMDIR").DirectoryRecordSequence) == 1 + 1 + 1 + 3

    other = fileroom_factory(workers=1)
    source = target / "DICOMDIR" if kind == "medium" else target
    assert json.loads(_ok(other.command("import", "--json", source)))["stored"] == 3


def test_rebuild_makes_the_same_index_from_storage_alone(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(workers=1)
    series = [ct_series(3), ct_series(2)]
    for files in series:
        send_exactly(room.dicom_port, files)
    columns = "s.study_instance_uid, s.patient_name, s.study_date, e.series_instance_uid, e.instance_count"
    facts = "i.sop_instance_uid, i.storage_key, i.file_bytes, i.digest, i.pixel_offset"
    question = (
        f"SELECT {columns}, {facts} FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study "
        "ORDER BY i.sop_instance_uid"
    )
    before = room.rows(question)
    assert len(before) == 5
    _ok(room.command("rebuild", "--yes"))
    assert room.rows(question) == before
    assert len(retrieve(room.dicomweb, f"studies/{study_uid(series[0][0])}")) == 3


def test_verify_finds_and_repairs_damage_both_ways(fileroom_factory: FileroomFactory, ct_series: SeriesFactory) -> None:
    room = fileroom_factory(workers=1)
    files = ct_series(4)
    send_exactly(room.dicom_port, files)
    _ok(room.command("verify"))
    (lost, damaged, *_), store = room.rows("SELECT storage_key FROM instance ORDER BY id"), room.data / "store"
    (store / lost[0]).unlink()
    content = bytearray((store / damaged[0]).read_bytes())
    content[-100] ^= 0xFF
    (store / damaged[0]).write_bytes(content)
    orphan = store / damaged[0].replace(Path(damaged[0]).name, "0" * 32 + ".dcm")
    orphan.write_bytes(files[0].read_bytes())
    room.age_files(days=1)

    result = room.command("verify", "--json")
    assert result.returncode == 1
    findings = {(each["kind"], each["storage_key"]) for each in json.loads(result.stdout)["findings"]}
    assert {("missing", lost[0]), ("damaged", damaged[0])} <= findings
    assert len(findings) == 3
    assert room.command("verify", "--repair").returncode == 1
    _ok(room.command("verify"))
    # What was lost is noted as lost and may be sent again.
    assert {answer.status for answer in send_exactly(room.dicom_port, files)} == {0}
    received = retrieve(room.dicomweb, f"studies/{study_uid(files[0])}")
    assert _datasets(received) == _datasets(by_instance(files))


def test_nodes_are_added_listed_echoed_and_removed(fileroom: Fileroom, storescp: StoreScp) -> None:
    port = str(storescp.port)
    _ok(fileroom.command("node", "add", "ward 7", "--aet", "WARD7", "--host", "127.0.0.1", "--port", port))
    listed = json.loads(_ok(fileroom.command("node", "list", "--json")))
    wanted = {"name": "ward 7", "aet": "WARD7", "host": "127.0.0.1", "port": storescp.port}
    assert [node for node in listed if node | wanted == node]
    assert "WARD7" in _ok(fileroom.command("node", "echo", "ward 7"))
    again = fileroom.command("node", "add", "ward 7", "--aet", "OTHER", "--host", "127.0.0.1", "--port", port)
    assert again.returncode == 2
    assert "ward 7" in again.stderr
    _ok(fileroom.command("node", "remove", "ward 7"))
    assert fileroom.command("node", "remove", "ward 7").returncode == 2


def test_echo_send_find_get_move(
    fileroom: Fileroom, storescp: StoreScp, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(3)
    sent, study, itself = by_instance(files), study_uid(files[0]), _self(fileroom)
    _ok(fileroom.command("echo", *itself))
    _ok(fileroom.command("send", *itself[:2], *files, *itself[2:]))
    (found,) = json.loads(
        _ok(fileroom.command("find", *itself, "-k", f"StudyInstanceUID={study}", "-k", "PatientID", "--json"))
    )
    assert found["0020000D"]["Value"] == [study]
    _ok(fileroom.command("get", *itself, "--into", tmp_path / "got", "-k", f"StudyInstanceUID={study}"))
    assert _datasets(by_instance(_files_below(tmp_path / "got"))) == _datasets(sent)
    storescp.clear()
    _ok(fileroom.command("move", *itself, "--to", storescp.aet, "-k", f"StudyInstanceUID={study}"))
    assert _datasets(by_instance(storescp.received())) == _datasets(sent)


def test_an_absent_peer_is_an_error_in_one_line(fileroom: Fileroom) -> None:
    result = fileroom.command("echo", "127.0.0.1", "1", "--aec", "NOBODY")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") <= 2
