"""WADO-RS studies, series and instances: the very objects, in the package and encoding that is accepted."""

from __future__ import annotations

import io
import zipfile

import httpx
import pydicom
import pytest

from corpus.ct import make_ct_series
from fileroom.archive.services import Archive
from fileroom.dicom import uids
from stored_objects import data_set_of, make_file, store_file
from web_requests import split_parts

STUDY = "/dicom-web/studies/1.2.3.1"
SERIES = f"{STUDY}/series/1.2.3.1.1"
INSTANCE = f"{SERIES}/instances/1.2.3.1.1.1"
RELATED = 'multipart/related; type="application/dicom"'


async def test_a_series_comes_as_parts_with_the_stored_bytes(client: httpx.AsyncClient, archive: Archive) -> None:
    files = make_ct_series(None, 5)
    outcomes = [await store_file(archive, file) for file in files]
    study, series = outcomes[0].study_instance_uid, outcomes[0].series_instance_uid
    for path in (f"/dicom-web/studies/{study}", f"/dicom-web/studies/{study}/series/{series}"):
        answer = await client.get(path, headers={"accept": f"{RELATED}; transfer-syntax=*"})
        parts = split_parts(answer.headers["content-type"], answer.content)
        assert [data_set_of(body) for _, body in parts] == [data_set_of(file) for file in files]
        head = parts[0][0]
        assert head.get_content_type() == "application/dicom"
        assert head.get_param("transfer-syntax") == uids.EXPLICIT_VR_LITTLE_ENDIAN
        assert head["content-location"].endswith(f"/instances/{outcomes[0].sop_instance_uid}")


async def test_one_instance_comes_alone_when_that_is_accepted(client: httpx.AsyncClient, archive: Archive) -> None:
    file = make_file()
    await store_file(archive, file)
    answer = await client.get(INSTANCE, headers={"accept": "application/dicom"})
    assert answer.headers["content-type"].startswith("application/dicom; transfer-syntax=")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content.endswith(data_set_of(file))
    assert pydicom.dcmread(io.BytesIO(answer.content)).PatientName == "DOE^JANE"


async def test_a_study_comes_as_a_zip_file(client: httpx.AsyncClient, archive: Archive) -> None:
    files = make_ct_series(None, 3)
    outcomes = [await store_file(archive, file) for file in files]
    answer = await client.get(
        f"/dicom-web/studies/{outcomes[0].study_instance_uid}", headers={"accept": "application/zip"}
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [f"series-0001/{number:06d}.dcm" for number in (1, 2, 3)]
        assert data_set_of(packed.read("series-0001/000001.dcm")) == data_set_of(files[0])


async def test_implicit_vr_leaves_as_explicit_vr(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file(uids.IMPLICIT_VR_LITTLE_ENDIAN))
    for accept in ("application/dicom", "application/dicom; transfer-syntax=*"):
        answer = await client.get(INSTANCE, headers={"accept": accept})
        found = pydicom.dcmread(io.BytesIO(answer.content))
        assert found.file_meta.TransferSyntaxUID == uids.EXPLICIT_VR_LITTLE_ENDIAN
        assert found.PixelData == b"\1\2\3\4\5\6\7\x08"


async def test_who_has_it_already_gets_no_second_copy(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    first = await client.get(INSTANCE, headers={"accept": "application/dicom"})
    headers = {"accept": "application/dicom", "if-none-match": first.headers["etag"]}
    again = await client.get(INSTANCE, headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    headers["accept"] = RELATED
    assert (await client.get(INSTANCE, headers=headers)).status_code == 200
    assert first.headers["cache-control"].startswith("private")


@pytest.mark.parametrize("accept", ["text/html", "application/dicom+json", f"{RELATED}; transfer-syntax=1.2.3"])
async def test_what_cannot_be_sent_is_told_with_what_can(
    client: httpx.AsyncClient, archive: Archive, accept: str
) -> None:
    await store_file(archive, make_file())
    answer = await client.get(INSTANCE, headers={"accept": accept})
    assert answer.status_code == 406
    assert "application/dicom" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/dicom-web/studies/1.2.9",
        f"{STUDY}/series/1.2.9",
        f"{SERIES}/instances/1.2.9",
        "/dicom-web/studies/1.2.9/series/1.2.3.1.1/instances/1.2.3.1.1.1",
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, archive: Archive, path: str) -> None:
    await store_file(archive, make_file())
    for below in ("", "/metadata", "/rendered", "/thumbnail"):
        answer = await client.get(path + below)
        assert answer.status_code == 404, (path + below, answer.text)
        assert len(answer.json()["detail"]) > 20


async def test_a_lost_file_is_told_before_the_first_byte(client: httpx.AsyncClient, archive: Archive) -> None:
    outcome = await store_file(archive, make_file())
    await archive.store.delete(outcome.storage_key)
    for accept in ("application/dicom", RELATED):
        assert (await client.get(INSTANCE, headers={"accept": accept})).status_code == 404


async def test_head_sends_no_body(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    answer = await client.head(INSTANCE, headers={"accept": "application/dicom"})
    assert (answer.status_code, answer.content) == (200, b"")
