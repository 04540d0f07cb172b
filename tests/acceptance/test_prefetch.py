"""Priors before anybody asks: from Orthanc on an arrival, within a budget; two Filerooms that prefetch from each other rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from acceptance.conftest import FileroomFactory
from acceptance.programs.dcmtk import StoreScp
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import DICOMWEB_PLUGIN, Orthanc, orthanc_program
from acceptance.programs.processes import LOOPBACK, wait_until
from acceptance.programs.pynetdicom_peer import send_exactly
from corpus.ct import make_ct_series

Study = Callable[..., Path]


@pytest.fixture
def study(tmp_path: Path, new_seed: Callable[[], int]) -> Study:
    """Makes a study of one image of a patient, of a date and a body part."""

    def make(patient: str, date: str, body_part: str = "CHEST") -> Path:
        seed = new_seed()
        (path,) = make_ct_series(tmp_path / f"study{seed}", 1, 64, seed)
        ds = pydicom.dcmread(path)
        ds.PatientID, ds.StudyDate, ds.BodyPartExamined = patient, date, body_part
        ds.StudyDescription = f"CT {body_part}"
        ds.save_as(path)
        return path

    return make


def test_an_arrival_fetches_the_relevant_priors_within_the_budget_and_pushes_them_on(
    fileroom_factory: FileroomFactory, tmp_path: Path, study: Study, dcmtk_installed: None
) -> None:
    if orthanc_program() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("needs Orthanc (Debian packages orthanc and orthanc-dicomweb)")
    fileroom = fileroom_factory(workers=1, web_workers=1)
    with (
        Orthanc(tmp_path / "orthanc", nodes={fileroom.aet: fileroom.dicom_port}) as orthanc,
        StoreScp(tmp_path / "reading", aet="READING") as reading,
    ):
        newer, older, foot, ancient = (
            study("PRE1", "20250601"),
            study("PRE1", "20240601"),
            study("PRE1", "20250701", "FOOT"),
            study("PRE1", "20050101"),
        )
        orthanc.upload([newer, older, foot, ancient, study("PRE2", "20250601")])
        rule = {"on": "arrival", "when": 'Modality == "CT"', "years_max": 5, "push_to": ["READING"]}
        budget = {"studies_per_hour": 1, "associations": 1}
        source = {"node": "ORTHANC", "prefetch": True, "federate": False, "budget": budget}
        nodes = {"ORTHANC": (orthanc.aet, orthanc.port), "READING": (reading.aet, reading.port)}
        _configure(fileroom, nodes, {"ORTHANC": source}, {"READING": "READING"}, rule)
        # The loop has seen the rule when it has made its mark.
        wait_until(lambda: fileroom.rows("SELECT FROM prefetch_mark"), 20, "the mark of arrivals", fileroom.log_tail)
        send_exactly(fileroom.dicom_port, [study("PRE1", "20260101")])
        wait_until(lambda: "done" in _states(fileroom).values(), 20, "the first prior", fileroom.log_tail)
        wait_until(lambda: reading.received(), 20, "what was pushed", fileroom.log_tail)
        assert _states(fileroom) == {_uid(newer): "done", _uid(older): "waiting"}, "the budget is one study an hour"
        _do(fileroom, "source", "edit", "ORTHANC", "--set", "budget.studies_per_hour=100")
        wait_until(lambda: len(reading.received()) == 2, 20, "the second prior", fileroom.log_tail)
        assert {str(pydicom.dcmread(path).StudyInstanceUID) for path in reading.received()} == {
            _uid(newer),
            _uid(older),
        }
        assert fileroom.rows("SELECT count(*) FROM prefetch_occasion") == [(1,)], "what was fetched is no occasion"


def test_two_filerooms_that_prefetch_from_each_other_come_to_rest(
    fileroom_factory: FileroomFactory, study: Study
) -> None:
    one = fileroom_factory(workers=1, web_workers=1, aet="ONE")
    other = fileroom_factory(workers=1, web_workers=1, aet="OTHER")
    send_exactly(one.dicom_port, [study("LOOP", "20240101")], called_aet="ONE")
    send_exactly(other.dicom_port, [study("LOOP", "20250101")], called_aet="OTHER")
    for here, there in ((one, other), (other, one)):
        rule = {"on": "arrival", "push_to": ["BACK"], "same_body_part": False}
        sources = {there.aet: {"node": there.aet, "prefetch": True}}
        _configure(here, {there.aet: (there.aet, there.dicom_port)}, sources, {"BACK": there.aet}, rule)
        wait_until(lambda here=here: here.rows("SELECT FROM prefetch_mark"), 20, "the mark", here.log_tail)
    send_exactly(one.dicom_port, [study("LOOP", "20260101")], called_aet="ONE")

    def is_at_rest(server: Fileroom) -> bool:
        waiting = server.rows(
            "SELECT FROM prefetch_occasion WHERE state = 'waiting' UNION ALL SELECT FROM fetch_job "
            "WHERE state IN ('waiting', 'running') OR (state = 'done' AND push_to <> '{}') "
            "UNION ALL SELECT FROM delivery WHERE state IN ('waiting', 'gathering', 'sent')"
        )
        return not waiting

    wait_until(lambda: "done" in _states(one).values(), 20, "the prior", one.log_tail)
    wait_until(lambda: is_at_rest(one) and is_at_rest(other), 30, "rest", lambda: one.log_tail() + other.log_tail())
    assert one.rows("SELECT count(*) FROM fetch_job WHERE objects > 0") == [(1,)]
    # What ONE has pushed to OTHER is an arrival there, and its priors are at ONE: at most one round, then rest.
    assert all(attempts == 1 for (attempts,) in other.rows("SELECT attempts FROM prefetch_occasion"))
    assert one.instance_count() == 3
    assert other.instance_count() <= 3


def _do(fileroom: Fileroom, *arguments: str) -> None:
    result = fileroom.command(*arguments)
    assert result.returncode == 0, result.stderr


def _configure(
    fileroom: Fileroom,
    nodes: dict[str, tuple[str, int]],
    sources: dict[str, dict[str, object]],
    destinations: dict[str, str],
    rule: dict[str, object],
) -> None:
    """Nodes by name with title and port, sources, DICOM destinations with their nodes, a prefetch rule: all by one file."""
    tables = {f"nodes.{name}": {"aet": aet, "host": LOOPBACK, "port": port} for name, (aet, port) in nodes.items()}
    tables |= {f"sources.{name}": fields for name, fields in sources.items()}
    tables |= {
        f"destinations.{name}": {"kind": "dicom", "target": {"node": node}} for name, node in destinations.items()
    }
    tables["prefetch.priors"] = rule
    lines = ["format = 1"]
    for name, fields in tables.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]
    file = fileroom.folder / "part.toml"
    file.write_text("\n".join(lines) + "\n")
    _do(fileroom, "config", "apply", str(file))


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def _states(fileroom: Fileroom) -> dict[str, str]:
    return {str(uid): str(state) for uid, state in fileroom.rows("SELECT study_instance_uid, state FROM fetch_job")}


def _uid(path: Path) -> str:
    return str(pydicom.dcmread(path).StudyInstanceUID)
