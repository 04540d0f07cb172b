"""STOW-RS: what is sent is stored, refused or kept aside, and the answer says which."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import httpx
import numpy as np
import orjson
import psycopg
import pydicom
import pytest
from PIL import Image

from corpus.ct import make_ct_series
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.storage.local import LocalStore
from fileroom.web.app import create_app
from stored_objects import make_file
from web_requests import BOUNDARY, DICOM_RELATED, dicom_parts, multipart

STUDIES = "/dicom-web/studies"
FAILED, REFERENCED, OTHERS, REASON, WARNING = "00081198", "00081199", "0008119A", "00081197", "00081196"


async def post(client: httpx.AsyncClient, body: bytes, content_type: str = DICOM_RELATED, path: str = STUDIES):  # type: ignore[no-untyped-def]
    return await client.post(path, content=body, headers={"content-type": content_type})


async def test_every_file_of_a_request_is_stored(client: httpx.AsyncClient, archive: Archive) -> None:
    answer = await post(client, dicom_parts(*make_ct_series(None, 20)))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(answer.json()[REFERENCED]["Value"]) == 20
    url = answer.json()["00081190"]["Value"][0]
    assert url.startswith("http://localhost:8080/dicom-web/studies/2.25.")
    study = url.rsplit("/", 1)[1]
    assert len(await list_instances(archive, Selection(study_uids=(study,)))) == 20


async def test_one_file_may_come_without_multipart(client: httpx.AsyncClient, archive: Archive) -> None:
    answer = await post(client, make_file(), "application/dicom")
    assert answer.status_code == 200
    assert len(await list_instances(archive, Selection(study_uids=("1.2.3.1",)))) == 1


async def test_a_body_in_small_chunks_gives_the_same_object(client: httpx.AsyncClient, archive: Archive) -> None:
    body = dicom_parts(make_file())

    async def chunks():  # type: ignore[no-untyped-def]
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    answer = await client.post(STUDIES, content=chunks(), headers={"content-type": DICOM_RELATED})
    assert answer.status_code == 200


async def test_the_same_object_again_is_stored_once(client: httpx.AsyncClient, archive: Archive) -> None:
    for _ in range(2):
        assert (await post(client, dicom_parts(make_file()))).status_code == 200
    assert len(await list_instances(archive, Selection(study_uids=("1.2.3.1",)))) == 1


async def test_other_content_under_a_known_uid_is_a_warning(client: httpx.AsyncClient) -> None:
    await post(client, dicom_parts(make_file()))
    answer = await post(client, dicom_parts(make_file(PatientName="ROE^RICHARD")))
    assert answer.status_code == 202
    assert answer.json()[REFERENCED]["Value"][0][WARNING]["Value"] == [0xB007]


async def test_an_object_of_another_study_than_the_address_is_refused(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    answer = await post(client, dicom_parts(make_file()), path=f"{STUDIES}/1.2.3.9")
    assert answer.status_code == 409
    failed = answer.json()[FAILED]["Value"][0]
    assert failed[REASON]["Value"] == [0xA900]
    assert failed["00081155"]["Value"] == ["1.2.3.1.1.1"]
    assert await list_instances(archive, Selection(study_uids=("1.2.3.1",))) == []


async def test_an_object_of_the_study_of_the_address_is_stored(client: httpx.AsyncClient) -> None:
    assert (await post(client, dicom_parts(make_file()), path=f"{STUDIES}/1.2.3.1")).status_code == 200


async def test_rubbish_between_good_objects_does_not_harm_them(client: httpx.AsyncClient, database_url: str) -> None:
    good = make_ct_series(None, 2)
    answer = await post(client, dicom_parts(good[0], b"this is no DICOM object" * 300, good[1]))
    assert answer.status_code == 202
    assert len(answer.json()[REFERENCED]["Value"]) == 2
    assert answer.json()[OTHERS]["Value"][0][REASON]["Value"] == [0xC000]
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT received_by FROM refusal").fetchall() == [("stow",)]


async def test_rubbish_alone_is_a_bad_request(client: httpx.AsyncClient) -> None:
    assert (await post(client, dicom_parts(b"nothing"))).status_code == 400


async def test_a_truncated_object_is_refused(client: httpx.AsyncClient) -> None:
    answer = await post(client, dicom_parts(make_file()[:-4]))
    assert answer.status_code == 409
    assert answer.json()[FAILED]["Value"][0][REASON]["Value"] == [0xC000]


async def test_a_request_that_breaks_off_keeps_what_was_complete(client: httpx.AsyncClient, archive: Archive) -> None:
    first, second = make_ct_series(None, 2)
    body = dicom_parts(first, second)
    answer = await post(client, body[: len(body) - len(second) // 2])
    assert answer.status_code == 400
    assert "closing boundary" in answer.json()["detail"]
    found = await client.get("/dicom-web/instances")
    assert len(found.json()) == 1


async def test_metadata_with_bulk_data_become_one_object(client: httpx.AsyncClient, archive: Archive) -> None:
    model = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.5.1.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3.5"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.5.1"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Größe^Ä"}]},
        "00280002": {"vr": "US", "Value": [1]},
        "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
        "00280010": {"vr": "US", "Value": [2]},
        "00280011": {"vr": "US", "Value": [2]},
        "00280100": {"vr": "US", "Value": [8]},
        "00280101": {"vr": "US", "Value": [8]},
        "00280102": {"vr": "US", "Value": [7]},
        "00280103": {"vr": "US", "Value": [0]},
        "7FE00010": {"vr": "OB", "BulkDataURI": "pixels"},
    }
    body = b"".join(
        [
            f"--{BOUNDARY}\r\nContent-Type: application/dicom+json\r\n\r\n".encode(),
            orjson.dumps([model]),
            f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Location: pixels\r\n\r\n".encode(),
            b"\1\2\3\4",
            f"\r\n--{BOUNDARY}--\r\n".encode(),
        ]
    )
    answer = await post(client, body, f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}')
    assert answer.status_code == 200, answer.text
    instance = (await list_instances(archive, Selection(study_uids=("1.2.3.5",))))[0]
    assert instance.rows == 2
    stored = await archive.store.read(instance.storage_key, 0, instance.file_bytes)
    assert stored.endswith(b"\1\2\3\4")
    assert "Größe^Ä".encode() in stored


@pytest.mark.parametrize("kind", ["image/png", "image/gif"])
async def test_a_picture_becomes_an_image_without_loss(client: httpx.AsyncClient, kind: str) -> None:
    colours = np.arange(2 * 48 * 3, dtype=np.uint8).reshape(6, 16, 3) // 16 * 16
    frames = [Image.fromarray(colours), Image.fromarray(255 - colours)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if kind == "image/gif" else {}
    frames[0].save(file, kind.partition("/")[2], **more)
    model = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7.4"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.6.1.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3.6"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.6.1"]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "picture"},
    }
    body = multipart(
        ("application/dicom+json", orjson.dumps([model])), (f"{kind}\r\nContent-Location: picture", file.getvalue())
    )
    answer = await post(client, body, f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}')
    assert answer.status_code == 200, answer.text
    instance = "/dicom-web/studies/1.2.3.6/series/1.2.3.6.1/instances/1.2.3.6.1.1"
    stored = await client.get(instance, headers={"accept": "application/dicom; transfer-syntax=*"})
    image = pydicom.dcmread(io.BytesIO(stored.content))
    expected = np.stack([np.asarray(frame) for frame in frames[: 1 if kind == "image/png" else 2]])
    assert np.array_equal(image.pixel_array.reshape(expected.shape), expected)
    assert (image.PhotometricInterpretation, image.PlanarConfiguration, image.BitsAllocated) == ("RGB", 0, 8)

    broken = multipart(
        ("application/dicom+json", orjson.dumps([model])),
        (f"{kind}\r\nContent-Location: picture", file.getvalue()[:60]),
    )
    refused = await post(client, broken, f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}')
    assert refused.status_code == 409
    assert "damaged" in refused.text


async def test_metadata_without_their_bulk_data_are_refused(client: httpx.AsyncClient) -> None:
    model = {"00080018": {"vr": "UI", "Value": ["1.2.3"]}, "7FE00010": {"vr": "OB", "BulkDataURI": "elsewhere"}}
    body = multipart(("application/dicom+json", orjson.dumps([model])))
    answer = await post(client, body, f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}')
    assert answer.status_code in (400, 409)
    assert answer.json()[FAILED]["Value"][0]["00081155"]["Value"] == ["1.2.3"]


async def test_the_answer_can_be_xml(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        STUDIES,
        content=dicom_parts(make_file()),
        headers={"content-type": DICOM_RELATED, "accept": "application/dicom+xml"},
    )
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b"ReferencedSOPSequence" in answer.content


async def test_a_body_of_another_kind_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "image/jpeg"):
        assert (await post(client, b"a=b", content_type)).status_code == 415
    assert (await client.post(STUDIES, content=b"x")).status_code == 415


async def test_broken_multipart_headers_are_a_bad_request(client: httpx.AsyncClient) -> None:
    for content_type in (
        "multipart/related",
        "multipart/related; boundary=",
        'multipart/related; type="x"; boundary=a',
    ):
        assert (await post(client, dicom_parts(make_file()), content_type)).status_code == 400
    assert (await post(client, b"", DICOM_RELATED)).status_code == 400
    assert (await post(client, f"--{BOUNDARY}--\r\n".encode())).status_code == 400


async def test_a_full_store_asks_to_come_back_later(archive: Archive, tmp_path: Path) -> None:
    full = dataclasses.replace(archive, store=LocalStore(tmp_path / "full", reserve_bytes=2**62))
    transport = httpx.ASGITransport(create_app(full))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await post(client, dicom_parts(make_file()))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()[FAILED]["Value"][0][REASON]["Value"] == [0xA700]


async def test_unreadable_metadata_are_a_bad_request(client: httpx.AsyncClient) -> None:
    for media_type, body in (("application/dicom+json", b"{"), ("application/dicom+xml", b"<a/>")):
        related = f'multipart/related; type="{media_type}"; boundary={BOUNDARY}'
        assert (await post(client, multipart((media_type, body)), related)).status_code == 400


async def test_a_document_becomes_an_object_from_its_metadata(client: httpx.AsyncClient, archive: Archive) -> None:
    pdf = b"%PDF-1.4 nothing"
    model = {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3.6.1.1"]},
        "0020000D": {"vr": "UI", "Value": ["1.2.3.6"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.6.1"]},
        "00420011": {"vr": "OB", "BulkDataURI": "bulk/document"},
    }
    body = multipart(("application/dicom+json", orjson.dumps([model])), ("application/pdf", pdf))
    related = f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'
    assert (await post(client, body, related)).status_code == 200
    url = "/dicom-web/studies/1.2.3.6/series/1.2.3.6.1/instances/1.2.3.6.1.1/bulkdata/00420011"
    back = await client.get(url, headers={"accept": "application/pdf"})
    assert back.content == pdf
