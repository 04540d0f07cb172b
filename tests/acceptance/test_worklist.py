"""The worklist and performed steps as modalities use them: DCMTK's findscu with its own query files, pynetdicom's MPPS."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import LOOPBACK
from acceptance.programs.pynetdicom_peer import association

MPPS = "1.2.840.10008.3.1.2.3.3"
STUDY = "1.2.826.0.1.3680043.10.5.41"
DAY = "20991122"
HEAD = """(0010,0010) PN {name}
(0010,0020) LO []
(0008,0050) SH []
(0020,000d) UI []
(0040,1001) SH []
"""
STEP = """(0040,0100) SQ
(fffe,e000) -
{keys}(fffe,e00d) -
(fffe,e0dd) -
"""
QUERIES = {
    "an empty sequence": (HEAD.format(name="[]") + "(0040,0100) SQ\n(fffe,e0dd) -\n", "W1 W2 W3"),
    "an empty item": (HEAD.format(name="[]") + STEP.format(keys=""), "W1 W2 W3"),
    "own AE title": (HEAD.format(name="[]") + STEP.format(keys="(0040,0001) AE [WCT1]\n"), "W1"),
    "own AE title and day": (
        HEAD.format(name="[]")
        + STEP.format(keys=f"(0008,0060) CS [MR]\n(0040,0001) AE [WMR1]\n(0040,0002) DA [{DAY}]\n(0040,0003) TM []\n"),
        "W2",
    ),
    "a range of days and times": (
        HEAD.format(name="[]") + STEP.format(keys=f"(0040,0002) DA [{DAY}-{DAY}]\n(0040,0003) TM [0800-0930]\n"),
        "W1",
    ),
    "a name": (HEAD.format(name="[WORKLIST^B*]") + STEP.format(keys="(0008,0060) CS []\n"), "W2"),
    "a key beside the sequence": (HEAD.format(name="[]") + "(0008,0060) CS [US]\n" + STEP.format(keys=""), "W3"),
    "another day": (HEAD.format(name="[]") + STEP.format(keys="(0040,0002) DA [20991123]\n"), ""),
}


@pytest.fixture(scope="module")
def scheduled(fileroom: Fileroom) -> Fileroom:
    """Three orders of three patients."""
    steps = (("A", "WCT1", "CT", "0900"), ("Bö", "WMR1", "MR", "1000"), ("C", "WUS1", "US", "1100"))
    with httpx.Client(base_url=f"{fileroom.url}/api/v1", timeout=30) as api:
        for number, (name, aet, modality, time) in enumerate(steps, 1):
            step = {"step_id": f"W{number}", "modality": modality, "station_aets": [aet], "start": f"{DAY}{time}"}
            order = {
                "accession": {"value": f"WA{number}"},
                "procedure_id": f"WR{number}",
                "study_instance_uid": f"{STUDY}.{number}",
                "procedure": {"value": "X", "scheme": "99T", "meaning": "Something"},
                "patient": {"patient_id": f"WP{number}", "name": f"Worklist^{name}"},
                "steps": [step],
            }
            assert api.post("/orders", json=order).status_code == 201
    return fileroom


def test_findscu_asks_in_every_way_that_modalities_do(scheduled: Fileroom, tmp_path: Path) -> None:
    found = {}
    for number, (name, (dump, _)) in enumerate(QUERIES.items()):
        answers = _findscu(scheduled, tmp_path / str(number), dump)
        found[name] = " ".join(sorted(f"W{one.PatientID.removeprefix('WP')}" for one in answers))
        for one in answers:
            assert all(one.get(keyword) for keyword in ("PatientName", "StudyInstanceUID", "RequestedProcedureID"))
    assert found == {name: steps for name, (_, steps) in QUERIES.items()}


def test_images_and_performed_steps_carry_what_the_worklist_said(scheduled: Fileroom, tmp_path: Path) -> None:
    keys = "(0040,0001) AE [WMR1]\n(0040,0009) SH []\n(0040,0002) DA []\n(0040,0003) TM []\n(0008,0060) CS []\n"
    [entry] = _findscu(
        scheduled, tmp_path, "(0008,0005) CS [ISO_IR 100]\n" + HEAD.format(name="[]") + STEP.format(keys=keys)
    )
    assert (entry.SpecificCharacterSet, entry.PatientName) == ("ISO_IR 100", "Worklist^Bö")
    assert (entry.StudyInstanceUID, entry.AccessionNumber) == (f"{STUDY}.2", "WA2")
    uid = f"{STUDY}.2.99"
    with association(scheduled.dicom_port, [(MPPS, ["1.2.840.10008.1.2"])], calling_aet="WMR1") as assoc:
        created, _ = assoc.send_n_create(_begun(entry), MPPS, uid)
        assert created.Status == 0x0000
        assert (
            _findscu(
                scheduled, tmp_path / "begun", HEAD.format(name="[]") + STEP.format(keys="(0040,0001) AE [WMR1]\n")
            )
            == []
        )
        done, _ = assoc.send_n_set(_over(), MPPS, uid)
        again, _ = assoc.send_n_set(_over(), MPPS, uid)
    assert (done.Status, again.Status, again.ErrorID) == (0x0000, 0x0110, 0xA710)
    assert scheduled.rows("SELECT state FROM imaging_order WHERE accession_number = 'WA2'") == [("completed",)]


def test_the_command_lists_and_says_why(scheduled: Fileroom, tmp_path: Path) -> None:
    _findscu(scheduled, tmp_path, HEAD.format(name="[]") + STEP.format(keys="(0008,0060) CS [CT]\n"), calling="WUS1")
    listed = scheduled.command("worklist", "--json", "--modality", "CT", "--date", DAY)
    assert [one["step_id"] for one in json.loads(listed.stdout)] == ["W1"]
    why = scheduled.command("worklist", "why", "--accession", "WA3", "--aet", "WUS1")
    assert why.returncode == 0
    assert why.stdout.splitlines()[0] == "The last question asks for Modality CT; the step has US."


# --- helpers ---


def _findscu(fileroom: Fileroom, folder: Path, dump: str, *, calling: str = "MODALITY") -> list[Dataset]:
    """The answers to a query file that dump2dcm makes of its dump."""
    folder.mkdir(exist_ok=True)
    text, query = folder / "query.dump", folder / "query.dcm"
    text.write_text(dump, "latin-1")
    subprocess.run(["dump2dcm", "-q", text, query], check=True, timeout=30)
    command = ["findscu", "-W", "-X", "-od", folder, "-aet", calling, "-aec", "FILEROOM"]
    asked = subprocess.run(
        [*command, LOOPBACK, str(fileroom.dicom_port), query], capture_output=True, text=True, check=False, timeout=60
    )
    assert asked.returncode == 0, asked.stderr
    return [pydicom.dcmread(path, force=True) for path in sorted(folder.glob("rsp*.dcm"))]


def _begun(entry: Dataset) -> Dataset:
    """What a modality makes of an entry of the worklist."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = entry.StudyInstanceUID, entry.AccessionNumber
    scheduled.ScheduledProcedureStepID = entry.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID
    scheduled.RequestedProcedureID = entry.RequestedProcedureID
    begun = Dataset()
    begun.ScheduledStepAttributesSequence = Sequence([scheduled])
    begun.PatientName, begun.PatientID = entry.PatientName, entry.PatientID
    begun.PerformedProcedureStepID, begun.PerformedStationAETitle, begun.Modality = "1", "WMR1", "MR"
    begun.PerformedProcedureStepStartDate, begun.PerformedProcedureStepStartTime = DAY, "100500"
    begun.PerformedProcedureStepStatus = "IN PROGRESS"
    begun.PerformedSeriesSequence = Sequence([])
    return begun


def _over() -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID, series.ProtocolName = f"{STUDY}.2.1", "Head"
    over = Dataset()
    over.PerformedProcedureStepStatus = "COMPLETED"
    over.PerformedProcedureStepEndDate, over.PerformedProcedureStepEndTime = DAY, "103000"
    over.PerformedSeriesSequence = Sequence([series])
    return over
