"""WADO-RS bulk data: values by their path, whole and in ranges."""

from __future__ import annotations

import httpx
import pytest
from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from stored_objects import make_file, store_file
from web_requests import split_parts

INSTANCE = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1"
DOCUMENT = b"%PDF-1.4 " + bytes(range(256)) * 8
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
ALONE = {"accept": "application/octet-stream"}


@pytest.fixture
async def stored(archive: Archive) -> None:
    item = Dataset()
    item.add_new(0x00091010, "OB", b"\x01\x02" * 600)
    item.add_new(0x00090010, "LO", "SOMEBODY")
    await store_file(archive, make_file(ReferencedImageSequence=[Dataset(), item], IconImageSequence=[]))


async def test_a_value_within_items_is_found_by_its_path(client: httpx.AsyncClient, stored: None) -> None:
    answer = await client.get(f"{INSTANCE}/bulkdata/00081140/1/00091010", headers=ALONE)
    assert answer.content == b"\x01\x02" * 600
    assert answer.headers["accept-ranges"] == "bytes"


async def test_metadata_lead_to_it(client: httpx.AsyncClient, stored: None) -> None:
    metadata = (await client.get(f"{INSTANCE}/metadata")).json()
    assert len(metadata) == 1
    url = metadata[0]["7FE00010"]["BulkDataURI"]
    assert (await client.get(url, headers=ALONE)).content == b"\1\2\3\4\5\6\7\x08"
    parts = await client.get(
        f"{INSTANCE}/metadata", headers={"accept": 'multipart/related; type="application/dicom+xml"'}
    )
    [(_, document)] = split_parts(parts.headers["content-type"], parts.content)
    assert f'uri="{url}"'.encode() in document


async def test_one_range(client: httpx.AsyncClient, stored: None) -> None:
    for header, body, shown in (
        ("bytes=2-3", b"\3\4", "bytes 2-3/8"),
        ("bytes=6-", b"\7\x08", "bytes 6-7/8"),
        ("bytes=-1", b"\x08", "bytes 7-7/8"),
        ("bytes=0-99", b"\1\2\3\4\5\6\7\x08", "bytes 0-7/8"),
    ):
        answer = await client.get(f"{INSTANCE}/bulkdata/7FE00010", headers={**ALONE, "range": header})
        assert (answer.status_code, answer.content) == (206, body)
        assert answer.headers["content-range"] == shown


async def test_several_ranges(client: httpx.AsyncClient, stored: None) -> None:
    answer = await client.get(f"{INSTANCE}/bulkdata/7FE00010", headers={**ALONE, "range": "bytes=0-1,6-7"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    parts = split_parts(answer.headers["content-type"], answer.content)
    assert [(head["content-range"], body) for head, body in parts] == [
        ("bytes 0-1/8", b"\1\2"),
        ("bytes 6-7/8", b"\7\x08"),
    ]


async def test_a_range_beyond_the_end(client: httpx.AsyncClient, stored: None) -> None:
    answer = await client.get(f"{INSTANCE}/bulkdata/7FE00010", headers={**ALONE, "range": "bytes=8-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */8"


async def test_ranges_of_another_version_are_not_sent(client: httpx.AsyncClient, stored: None) -> None:
    headers = {**ALONE, "range": "bytes=0-1", "if-range": '"something else"'}
    assert (await client.get(f"{INSTANCE}/bulkdata/7FE00010", headers=headers)).status_code == 200


async def test_a_document_comes_under_its_own_media_type(client: httpx.AsyncClient, archive: Archive) -> None:
    file = make_file(
        SOPClassUID=PDF, pixels=None, MIMETypeOfEncapsulatedDocument="application/pdf", EncapsulatedDocument=DOCUMENT
    )
    await store_file(archive, file)
    answer = await client.get(f"{INSTANCE}/bulkdata/00420011", headers={"accept": "application/pdf"})
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(DOCUMENT)
    rendered = await client.get(f"{INSTANCE}/rendered")
    assert rendered.headers["content-type"] == "application/pdf"
    assert rendered.content == answer.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("00100010/0", 400),
        ("xyz", 400),
        ("", 400),
        ("00081140/x/00091010", 400),
        ("00081140/9/00091010", 404),
        ("00081140/1/00091011", 404),
        ("7FE00008", 404),
        ("../../../etc/passwd", 400),
        ("00081140/" * 80 + "00081140", 400),
    ],
)
async def test_paths_that_lead_nowhere(client: httpx.AsyncClient, stored: None, path: str, status: int) -> None:
    answer = await client.get(f"{INSTANCE}/bulkdata/{path.replace('..', '%2e%2e')}")
    assert answer.status_code in (status, 404), answer.text
