"""Orthanc as peer, in both directions: it sends, queries and retrieves; we send to it; its DICOMweb client speaks to us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from acceptance.conftest import SeriesFactory
from acceptance.dicom_files import study_uid
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.dicomweb import retrieve, search
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import Orthanc
from acceptance.programs.processes import wait_until
from acceptance.programs.pynetdicom_peer import send_exactly


@pytest.fixture(autouse=True)
def _empty(orthanc: Orthanc) -> Iterator[None]:
    """Each test begins with an empty Orthanc."""
    yield
    for study in orthanc.get("/studies"):
        orthanc.rest.delete(f"/studies/{study}").raise_for_status()


def _pixels(paths: list[Path]) -> dict[str, bytes]:
    return {str(ds.SOPInstanceUID): ds.PixelData for ds in map(pydicom.dcmread, paths)}


def _orthanc_pixels(orthanc: Orthanc) -> dict[str, bytes]:
    found = {}
    for identifier in orthanc.get("/instances"):
        content = orthanc.rest.get(f"/instances/{identifier}/file").raise_for_status().content
        ds = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
        found[str(ds.SOPInstanceUID)] = ds.PixelData
    return found


def _query(orthanc: Orthanc, level: str, query: dict[str, str]) -> str:
    return str(orthanc.post("/modalities/fileroom/query", {"Level": level, "Query": query})["ID"])


def _answers(orthanc: Orthanc, query: str) -> list[dict[str, Any]]:
    count = len(orthanc.get(f"/queries/{query}/answers"))
    return [orthanc.get(f"/queries/{query}/answers/{n}/content?simplify") for n in range(count)]


def test_orthanc_echoes(orthanc: Orthanc) -> None:
    orthanc.post("/modalities/fileroom/echo", {})


def test_orthanc_sends_to_us(fileroom: Fileroom, orthanc: Orthanc, ct_series: SeriesFactory) -> None:
    files = ct_series(5)
    result = orthanc.post("/modalities/fileroom/store", {"Resources": orthanc.upload(files), "Synchronous": True})
    assert result["FailedInstancesCount"] == 0
    assert set(retrieve(fileroom.dicomweb, f"studies/{study_uid(files[0])}")) == set(_pixels(files))


def test_orthanc_queries_us(fileroom: Fileroom, orthanc: Orthanc, ct_series: SeriesFactory) -> None:
    files = ct_series(3)
    send_exactly(fileroom.dicom_port, files)
    ds = pydicom.dcmread(files[0], stop_before_pixels=True)
    keys = {"PatientID": str(ds.PatientID), "StudyInstanceUID": "", "ModalitiesInStudy": "", "StudyDescription": ""}
    (answer,) = _answers(orthanc, _query(orthanc, "Study", keys))
    assert answer["StudyInstanceUID"] == ds.StudyInstanceUID
    assert (answer["ModalitiesInStudy"], answer["StudyDescription"]) == ("CT", ds.StudyDescription)
    keys = {"StudyInstanceUID": ds.StudyInstanceUID, "SeriesInstanceUID": "", "NumberOfSeriesRelatedInstances": ""}
    (answer,) = _answers(orthanc, _query(orthanc, "Series", keys))
    assert answer["NumberOfSeriesRelatedInstances"].strip() == "3"


@pytest.mark.parametrize("level", ["Study", "Series"])
def test_orthanc_retrieves_from_us_by_c_move(
    fileroom: Fileroom, orthanc: Orthanc, ct_series: SeriesFactory, level: str
) -> None:
    files = ct_series(4)
    send_exactly(fileroom.dicom_port, files)
    ds = pydicom.dcmread(files[0], stop_before_pixels=True)
    query = _query(orthanc, level, {"StudyInstanceUID": ds.StudyInstanceUID, "SeriesInstanceUID": ""})
    orthanc.post(f"/queries/{query}/retrieve", {"TargetAet": orthanc.aet, "Synchronous": True})
    assert _orthanc_pixels(orthanc) == _pixels(files)


def test_we_send_to_orthanc_by_c_move(
    fileroom: Fileroom, orthanc: Orthanc, dcmtk: Dcmtk, ct_series: SeriesFactory
) -> None:
    files = ct_series(4)
    send_exactly(fileroom.dicom_port, files)
    result = dcmtk.move(orthanc.aet, "STUDY", {"StudyInstanceUID": study_uid(files[0])})
    assert result.returncode == 0, result.stdout + result.stderr
    assert _orthanc_pixels(orthanc) == _pixels(files)


def test_our_commands_query_and_fetch_from_orthanc(
    fileroom: Fileroom, orthanc: Orthanc, ct_series: SeriesFactory, tmp_path: Path
) -> None:
    files = ct_series(4)
    orthanc.upload(files)
    study = study_uid(files[0])
    address = ("127.0.0.1", orthanc.port, "--aec", orthanc.aet)
    found = fileroom.command("find", *map(str, address), "-k", f"StudyInstanceUID={study}", "-k", "PatientName")
    assert found.returncode == 0, found.stderr
    assert study in found.stdout
    got = fileroom.command("get", *map(str, address), "--into", tmp_path / "got", "-k", f"StudyInstanceUID={study}")
    assert got.returncode == 0, got.stderr
    assert _pixels([path for path in (tmp_path / "got").rglob("*") if path.is_file()]) == _pixels(files)


def test_orthancs_dicomweb_client_queries_stores_and_retrieves(
    fileroom: Fileroom, orthanc: Orthanc, ct_series: SeriesFactory
) -> None:
    sent, fetched = ct_series(3), ct_series(3)
    result = orthanc.post("/dicom-web/servers/fileroom/stow", {"Resources": orthanc.upload(sent), "Synchronous": True})
    assert result, result
    study = study_uid(sent[0])
    wait_until(lambda: len(search(fileroom.dicomweb, f"studies/{study}/instances")) == 3, 30, "the objects of Orthanc")

    send_exactly(fileroom.dicom_port, fetched)
    study = study_uid(fetched[0])
    found = orthanc.post("/dicom-web/servers/fileroom/qido", {"Uri": "/studies", "Arguments": {"0020000D": study}})
    assert len(found) == 1
    orthanc.post("/dicom-web/servers/fileroom/retrieve", {"Resources": [{"Study": study}], "Synchronous": True})
    wait_until(lambda: _pixels(fetched).items() <= _orthanc_pixels(orthanc).items(), 30, "our objects in Orthanc")
