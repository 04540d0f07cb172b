"""Other archives behind Fileroom: searches that reach them, studies that are fetched when somebody asks, worklists passed on.

Orthanc is the one that has studies, pynetdicom the ones that are slow; behind the address of the dead one nobody listens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import study_uid
from acceptance.programs.dcmtk import Dcmtk, StoreScp
from acceptance.programs.dicomweb import retrieve
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import DICOMWEB_PLUGIN, Orthanc, orthanc_program
from acceptance.programs.processes import free_ports, wait_until
from acceptance.programs.pynetdicom_archive import QueryArchive, query_archive, worklist_entry
from acceptance.programs.pynetdicom_peer import STUDY_ROOT_FIND, association, send_exactly

EVERYWHERE = "EVERYWHERE"
WORKLIST_FIND = "1.2.840.10008.5.1.4.31"
SLOW_STUDY = "1.2.826.0.1.3680043.10.999.77"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Fileroom, Orthanc]]:
    """A Fileroom with an Orthanc and an archive behind it that is dead."""
    if orthanc_program() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("needs Orthanc (Debian packages orthanc and orthanc-dicomweb)")
    with Fileroom(tmp_path_factory.mktemp("fileroom"), workers=1, web_workers=1, federated_aet=EVERYWHERE) as fileroom:
        nodes = {fileroom.aet: fileroom.dicom_port}
        with Orthanc(tmp_path_factory.mktemp("orthanc"), nodes=nodes) as orthanc:
            (dead,) = free_ports(1)
            fileroom.add_node("ORTHANC", orthanc.aet, orthanc.port)
            fileroom.add_node("DEAD", "DEAD", dead)
            _source(fileroom, "add", "ORTHANC", "--node", "ORTHANC", "--set", "label=The old one")
            _source(fileroom, "add", "DEAD", "--node", "DEAD")
            yield fileroom, orthanc


@pytest.fixture
def slow(archives: tuple[Fileroom, Orthanc]) -> Iterator[QueryArchive]:
    """An archive that takes the question and then says nothing for two seconds and more."""
    fileroom, _ = archives
    answer = Dataset()
    answer.QueryRetrieveLevel, answer.StudyInstanceUID, answer.PatientID = "STUDY", SLOW_STUDY, "SLOW1"
    with query_archive("SLOW", [answer], holds=True) as running:
        fileroom.add_node("SLOW", running.aet, running.port)
        _source(fileroom, "add", "SLOW", "--node", "SLOW", "--set", "timeout_s=2")
        yield running
        _source(fileroom, "remove", "SLOW")
        assert fileroom.command("node", "remove", "SLOW").returncode == 0


def test_c_find_asks_everywhere_and_a_dead_and_a_slow_archive_cost_their_own_answers_only(
    archives: tuple[Fileroom, Orthanc], slow: QueryArchive, ct_series: SeriesFactory
) -> None:
    fileroom, orthanc = archives
    here, there, both = ct_series(1), ct_series(2), ct_series(1)
    send_exactly(fileroom.dicom_port, here + both)
    orthanc.upload(there + both)
    began = time.monotonic()
    found, comment = _find(
        fileroom, EVERYWHERE, PatientID="", NumberOfStudyRelatedInstances="", InstanceAvailability=""
    )
    assert time.monotonic() - began < 8
    titles = {match.StudyInstanceUID: match.RetrieveAETitle for match in found}
    assert titles[study_uid(here[0])] == titles[study_uid(both[0])] == fileroom.aet
    assert list(titles[study_uid(there[0])]) == [EVERYWHERE, orthanc.aet]
    assert len(titles) == len(found), "a study stands there twice"
    availability = {match.StudyInstanceUID: match.InstanceAvailability for match in found}
    assert (availability[study_uid(here[0])], availability[study_uid(there[0])]) == ("ONLINE", "NEARLINE")
    assert "DEAD" in comment
    assert "SLOW" in comment
    assert SLOW_STUDY not in titles
    plain, _ = _find(fileroom, fileroom.aet, PatientID="")
    assert study_uid(there[0]) not in {match.StudyInstanceUID for match in plain}
    slow.hold.set()

    def is_asked_again() -> bool:
        again, comment = _find(fileroom, EVERYWHERE, PatientID="")
        was_asked = SLOW_STUDY in {match.StudyInstanceUID for match in again}
        assert was_asked != ("SLOW" in comment)  # who is left out is named
        return was_asked

    wait_until(is_asked_again, 45, "the next question to a source that was silent")


def test_qido_asks_everywhere_at_an_address_of_its_own(
    archives: tuple[Fileroom, Orthanc], slow: QueryArchive, ct_series: SeriesFactory
) -> None:
    fileroom, orthanc = archives
    there = ct_series(1)
    orthanc.upload(there)
    uid = study_uid(there[0])
    query = {"StudyInstanceUID": uid, "includefield": "PatientName"}
    answer = httpx.get(f"{fileroom.dicomweb}/federated/studies", params=query, timeout=30)
    (match,) = answer.json()
    assert match["00080054"]["Value"] == [orthanc.aet]
    assert match["00080056"]["Value"] == ["NEARLINE"]
    assert match["00081190"]["Value"] == [f"{fileroom.dicomweb}/federated/studies/{uid}"]
    assert "DEAD" in answer.headers["warning"]
    assert "SLOW" in answer.headers["warning"]
    assert slow.asked
    assert httpx.get(f"{fileroom.dicomweb}/studies", params=query, timeout=30).json() == []


def test_c_move_of_a_study_that_only_orthanc_has_fetches_it_first(
    archives: tuple[Fileroom, Orthanc], ct_series: SeriesFactory, tmp_path: Path, dcmtk_installed: None
) -> None:
    fileroom, orthanc = archives
    there = ct_series(3)
    orthanc.upload(there)
    with StoreScp(tmp_path / "received", aet="WORKPLACE") as workplace:
        fileroom.add_node("WORKPLACE", workplace.aet, workplace.port)
        dcmtk = Dcmtk(fileroom.dicom_port, EVERYWHERE)
        result = dcmtk.move(workplace.aet, "STUDY", {"StudyInstanceUID": study_uid(there[0])})
        assert result.returncode == 0, result.stderr
        received = {str(pydicom.dcmread(path).SOPInstanceUID) for path in workplace.received()}
    assert received == {str(pydicom.dcmread(path).SOPInstanceUID) for path in there}
    doors = fileroom.rows(
        "SELECT DISTINCT i.received_by FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study "
        "WHERE s.study_instance_uid = %s",
        study_uid(there[0]),
    )
    assert doors == [("fetch",)]
    (job,) = _jobs(fileroom, study_uid(there[0]))
    assert job == ("done", "ORTHANC", 3)


@pytest.mark.parametrize("way", ["get", "move", "wado"])
def test_wado_of_a_study_that_only_orthanc_has_fetches_it_first(
    archives: tuple[Fileroom, Orthanc], ct_series: SeriesFactory, way: str
) -> None:
    fileroom, orthanc = archives
    there = ct_series(2)
    orthanc.upload(there)
    if way == "wado":
        _source(fileroom, "add", "A-WEB", "--dicomweb", orthanc.dicomweb)
        _source(fileroom, "edit", "ORTHANC", "--set", "enabled=false")
    else:
        _source(fileroom, "edit", "ORTHANC", "--set", f"method={way}")
    try:
        assert httpx.get(f"{fileroom.dicomweb}/studies/{study_uid(there[0])}", timeout=30).status_code == 404
        objects = retrieve(f"{fileroom.dicomweb}/federated", f"studies/{study_uid(there[0])}")
    finally:
        if way == "wado":
            _source(fileroom, "remove", "A-WEB")
            _source(fileroom, "edit", "ORTHANC", "--set", "enabled=true")
    assert set(objects) == {str(pydicom.dcmread(path).SOPInstanceUID) for path in there}
    doors = fileroom.rows("SELECT received_by FROM instance WHERE sop_instance_uid = ANY(%s)", list(objects))
    assert set(doors) == {("fetch",)}
    assert set(retrieve(fileroom.dicomweb, f"studies/{study_uid(there[0])}")) == set(objects)


def test_what_nobody_has_is_not_found(archives: tuple[Fileroom, Orthanc]) -> None:
    fileroom, _ = archives
    answer = httpx.get(f"{fileroom.dicomweb}/federated/studies/1.2.3.4.5", timeout=30)
    assert answer.status_code == 404
    assert _jobs(fileroom, "1.2.3.4.5") == []


def test_the_worklists_of_sources_are_put_together(
    archives: tuple[Fileroom, Orthanc],
) -> None:
    fileroom, _ = archives
    contexts = [(WORKLIST_FIND, ["1.2.840.10008.1.2"])]
    both = worklist_entry("P1", "STEP1", "1.2.3.1")
    with (
        query_archive("RIS1", [both, worklist_entry("P2", "STEP2", "1.2.3.2")]) as first,
        query_archive("RIS2", [both, worklist_entry("P3", "STEP1", "1.2.3.3")]) as second,
    ):
        for ris in (first, second):
            fileroom.add_node(ris.aet, ris.aet, ris.port)
            fields = ("worklist=true", "federate=false")
            _source(fileroom, "add", ris.aet, "--node", ris.aet, *(word for one in fields for word in ("--set", one)))
        identifier = worklist_entry("", "", "")
        identifier.PatientName, identifier.AccessionNumber = "", ""
        with association(fileroom.dicom_port, contexts) as assoc:
            answers = [ds for status, ds in assoc.send_c_find(identifier, WORKLIST_FIND) if status.Status == 0xFF00]
        for ris in (first, second):
            _source(fileroom, "remove", ris.aet)
    assert sorted(answer.PatientID for answer in answers) == ["P1", "P2", "P3"]
    assert {answer.ScheduledProcedureStepSequence[0].Modality for answer in answers} == {"CT"}
    assert first.asked[0].ScheduledProcedureStepSequence[0].ScheduledStationAETitle == "CT1"


# --- helpers ---


def _source(fileroom: Fileroom, *arguments: str) -> None:
    result = fileroom.command("source", *arguments)
    assert result.returncode == 0, result.stderr


def _jobs(fileroom: Fileroom, uid: str) -> list[tuple[object, ...]]:
    return fileroom.rows("SELECT state, source, objects FROM fetch_job WHERE study_instance_uid = %s", uid)


def _find(fileroom: Fileroom, aet: str, **keys: str) -> tuple[list[Dataset], str]:
    """All studies, and the comment of the final answer."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", ""
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    with association(fileroom.dicom_port, [(STUDY_ROOT_FIND, ["1.2.840.10008.1.2.1"])], called_aet=aet) as assoc:
        answers = list(assoc.send_c_find(identifier, STUDY_ROOT_FIND))
    status, _ = answers[-1]
    assert status.Status == 0x0000
    return [found for _, found in answers[:-1] if found is not None], str(status.get("ErrorComment", ""))
