"""DICOMweb as other people's programs speak it: the package dicomweb-client, and plain curl."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.uid import generate_uid

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import study_uid
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import wait_until
from acceptance.programs.pynetdicom_peer import send_exactly


@pytest.fixture
def client(fileroom: Fileroom) -> DICOMwebClient:
    """dicomweb-client, aimed at the shared Fileroom."""
    return DICOMwebClient(url=fileroom.dicomweb)


def _curl(*arguments: str) -> bytes:
    if shutil.which("curl") is None:
        pytest.skip("needs curl (Debian package curl)")
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", *arguments]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr + result.stdout[:500]
    return result.stdout


def test_client_stores_finds_and_retrieves(client: DICOMwebClient, ct_series: SeriesFactory) -> None:
    files = ct_series(3)
    originals = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, files)}
    stored = client.store_instances(datasets=list(originals.values()))
    assert len(stored.ReferencedSOPSequence) == 3
    ds = next(iter(originals.values()))

    (found,) = client.search_for_studies(search_filters={"PatientID": ds.PatientID})
    assert found["0020000D"]["Value"] == [ds.StudyInstanceUID]
    (series,) = client.search_for_series(ds.StudyInstanceUID)
    assert series["0020000E"]["Value"] == [ds.SeriesInstanceUID]
    assert len(client.search_for_instances(ds.StudyInstanceUID, ds.SeriesInstanceUID)) == 3

    for received in client.retrieve_study(ds.StudyInstanceUID):
        assert received == originals[received.SOPInstanceUID]
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert client.retrieve_instance(*uids) == ds
    assert client.retrieve_instance_frames(*uids, frame_numbers=[1]) == [ds.PixelData]
    metadata = client.retrieve_series_metadata(*uids[:2])
    assert {entry["00080018"]["Value"][0] for entry in metadata} == set(originals)


def test_client_gets_a_rendered_picture(client: DICOMwebClient, fileroom: Fileroom, ct_series: SeriesFactory) -> None:
    (file,) = ct_series(1)
    send_exactly(fileroom.dicom_port, [file])
    ds = pydicom.dcmread(file)
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert client.retrieve_instance_rendered(*uids, media_types=("image/png",)).startswith(b"\x89PNG")
    assert client.retrieve_instance_rendered(*uids, media_types=("image/jpeg",)).startswith(b"\xff\xd8")


def test_curl_searches_and_fetches_metadata(fileroom: Fileroom, ct_series: SeriesFactory) -> None:
    files = ct_series(2)
    send_exactly(fileroom.dicom_port, files)
    study = study_uid(files[0])
    (match,) = json.loads(_curl(f"{fileroom.dicomweb}/studies?StudyInstanceUID={study}&includefield=all"))
    assert match["0020000D"]["Value"] == [study]
    assert len(json.loads(_curl(f"{fileroom.dicomweb}/studies/{study}/metadata"))) == 2
    accept = 'Accept: multipart/related; type="application/dicom+xml"'
    assert b"<NativeDicomModel" in _curl("-H", accept, f"{fileroom.dicomweb}/studies?StudyInstanceUID={study}")


def test_curl_fetches_a_range_of_bulk_data(fileroom: Fileroom, ct_series: SeriesFactory) -> None:
    (file,) = ct_series(1)
    send_exactly(fileroom.dicom_port, [file])
    ds = pydicom.dcmread(file)
    base = f"{fileroom.dicomweb}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    (metadata,) = json.loads(_curl(f"{base}/instances/{ds.SOPInstanceUID}/metadata"))
    bulk = metadata["7FE00010"]["BulkDataURI"]
    url = bulk if bulk.startswith("http") else f"{base}/instances/{ds.SOPInstanceUID}/{bulk}"
    part = _curl("-H", "Accept: application/octet-stream", "-H", "Range: bytes=100-199", url)
    assert part == ds.PixelData[100:200]


def test_compressed_frames_come_plain_or_as_stored(client: DICOMwebClient, tmp_path: Path) -> None:
    ds = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm", download=False)))
    # Another test of this server sends the original, which is one of WG-04's images.
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    own = list(generate_frames(ds.PixelData, number_of_frames=1))
    client.store_instances([ds])
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    plain = ds.pixel_array.tobytes()
    assert client.retrieve_instance_frames(*uids, frame_numbers=[1]) == [plain]
    as_stored = (("application/octet-stream", "*"),)  # as OHIF asks
    assert client.retrieve_instance_frames(*uids, frame_numbers=[1], media_types=as_stored) == own
    bulk = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(bulk) == [plain]
    assert _curl("-H", "Accept: application/octet-stream", bulk) == plain
    rle = ("-H", "Accept: image/dicom-rle")
    assert _curl(*rle, bulk) == own[0]


def test_all_frames_come_as_one_value(client: DICOMwebClient) -> None:
    ds = pydicom.dcmread(str(get_testdata_file("rtdose_rle.dcm", download=False)))
    client.store_instances([ds])
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    bulk = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
    assert _curl("-H", "Accept: application/octet-stream", bulk) == ds.pixel_array.tobytes()
    parts = client.retrieve_bulkdata(bulk)
    assert b"".join(parts) == ds.pixel_array.tobytes()
    assert len(parts) == ds.NumberOfFrames


def test_a_quiet_series_is_described_from_its_document(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory
) -> None:
    fileroom = fileroom_factory(series_stable_s=1)
    files = ct_series(20)
    send_exactly(fileroom.dicom_port, files)
    url = f"{fileroom.dicomweb}/studies/{study_uid(files[0])}/metadata"
    from_headers = json.loads(_curl(url))
    documents = fileroom.data / "store" / "documents"
    wait_until(lambda: any(documents.rglob("*.json.deflate")), 90, "the document of the series", fileroom.log_tail)
    assert json.loads(_curl("--compressed", url)) == from_headers
    assert json.loads(_curl(url)) == from_headers
    packed = _curl("-H", "Accept-Encoding: gzip", url)
    assert json.loads(gzip.decompress(packed)) == from_headers
    assert len(packed) < len(_curl(url)) / 10


def test_curl_uploads_by_stow(fileroom: Fileroom, ct_series: SeriesFactory, tmp_path: Path) -> None:
    (file,) = ct_series(1)
    body = tmp_path / "body"
    body.write_bytes(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n--x--\r\n")
    kind = 'Content-Type: multipart/related; type="application/dicom"; boundary=x'
    accept = "Accept: application/dicom+json"
    answer = json.loads(_curl("-H", kind, "-H", accept, "--data-binary", f"@{body}", f"{fileroom.dicomweb}/studies"))
    assert len(answer["00081199"]["Value"]) == 1
    _curl(f"{fileroom.dicomweb}/studies/{study_uid(file)}/metadata")


def test_health_pages(fileroom: Fileroom) -> None:
    for page in ("healthz", "readyz"):
        _curl(f"{fileroom.url}/{page}")
