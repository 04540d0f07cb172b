"""QIDO-RS: the six resources, what their answers hold, paging, and what is told beside them."""

from __future__ import annotations

import gzip

import httpx
import pytest
from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from stored_objects import make_file, store_file
from web_requests import split_parts

ROOT = "/dicom-web"


@pytest.fixture
async def filled(archive: Archive) -> Archive:
    """Two studies: one with two series of two instances, one of a single instance."""
    for series in (1, 2):
        for number in (1, 2):
            uid = f"1.2.3.1.{series}"
            await store_file(
                archive,
                make_file(
                    SeriesInstanceUID=uid,
                    SOPInstanceUID=f"{uid}.{number}",
                    InstanceNumber=number,
                    SeriesNumber=series,
                    Modality="CT" if series == 1 else "SR",
                    SliceThickness="2.5",
                    RequestAttributesSequence=[_request()],
                ),
            )
    other = {"StudyInstanceUID": "1.2.3.2", "SeriesInstanceUID": "1.2.3.2.1", "SOPInstanceUID": "1.2.3.2.1.1"}
    await store_file(
        archive,
        make_file(
            **other,
            SpecificCharacterSet="ISO_IR 192",
            PatientName="ROE^RICHARD=山田^太郎",
            PatientID="P2",
            StudyDate="20250101",
        ),
    )
    return archive


def _request() -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID = "STEP1"
    item.ScheduledProcedureStepDescription = "not asked for"
    return item


async def get(client: httpx.AsyncClient, path: str, **parameters: str) -> list[dict]:  # type: ignore[type-arg]
    answer = await client.get(f"{ROOT}{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    found: list[dict] = answer.json()  # type: ignore[type-arg]
    for match in found:
        assert list(match) == sorted(match)
    return found


async def test_studies_come_newest_first_with_their_computed_attributes(
    client: httpx.AsyncClient, filled: Archive
) -> None:
    first, second = await get(client, "/studies")
    assert first["0020000D"] == {"vr": "UI", "Value": ["1.2.3.1"]}
    assert first["00080061"] == {"vr": "CS", "Value": ["CT", "SR"]}
    assert first["00201206"] == {"vr": "IS", "Value": [2]}
    assert first["00201208"] == {"vr": "IS", "Value": [4]}
    assert first["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert first["00080050"] == {"vr": "SH"}
    assert first["00081190"]["Value"] == ["http://localhost:8080/dicom-web/studies/1.2.3.1"]
    assert second["00100010"]["Value"] == [{"Alphabetic": "ROE^RICHARD", "Ideographic": "山田^太郎"}]


@pytest.mark.parametrize(
    ("path", "count", "retrieve_url"),
    [
        ("/studies/1.2.3.1/series", 2, "/studies/1.2.3.1/series/1.2.3.1.1"),
        ("/series", 3, "/studies/1.2.3.1/series/1.2.3.1.1"),
        ("/studies/1.2.3.1/instances", 4, "/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1"),
        ("/studies/1.2.3.1/series/1.2.3.1.2/instances", 2, "/studies/1.2.3.1/series/1.2.3.1.2/instances/1.2.3.1.2.1"),
        ("/instances", 5, "/studies/1.2.3.2/series/1.2.3.2.1/instances/1.2.3.2.1.1"),
    ],
)
async def test_every_resource_finds_its_level(
    client: httpx.AsyncClient, filled: Archive, path: str, count: int, retrieve_url: str
) -> None:
    found = await get(client, path)
    assert len(found) == count
    assert f"http://localhost:8080/dicom-web{retrieve_url}" in [match["00081190"]["Value"][0] for match in found]


async def test_relational_searches_bring_the_attributes_above(client: httpx.AsyncClient, filled: Archive) -> None:
    found = (await get(client, "/instances", PatientName="doe*"))[0]
    assert found["00100010"]["Value"] == [{"Alphabetic": "DOE^JANE"}]
    assert found["00080060"]["Value"] == ["CT"]


async def test_items_hold_only_what_was_asked_for(client: httpx.AsyncClient, filled: Archive) -> None:
    found = (await get(client, "/studies/1.2.3.1/series"))[0]
    assert found["00400275"]["Value"] == [{"00400009": {"vr": "SH", "Value": ["STEP1"]}}]
    whole = (await get(client, "/studies/1.2.3.1/series", includefield="RequestAttributesSequence"))[0]
    assert "00400007" in whole["00400275"]["Value"][0]


async def test_keys_match(client: httpx.AsyncClient, filled: Archive) -> None:
    assert len(await get(client, "/studies", PatientID="P2")) == 1
    assert len(await get(client, "/studies", ModalitiesInStudy="SR")) == 1
    assert len(await get(client, "/studies", StudyDate="20260101-")) == 1
    assert len(await get(client, "/studies", StudyInstanceUID="1.2.3.1,1.2.3.2")) == 2
    assert await get(client, "/studies", PatientID="NOBODY") == []


async def test_nothing_found_is_an_empty_array(client: httpx.AsyncClient) -> None:
    assert await get(client, "/studies") == []
    assert await get(client, "/studies/1.2.3.4/series") == []


async def test_pages_follow_each_other_and_say_that_there_is_more(client: httpx.AsyncClient, filled: Archive) -> None:
    first = await client.get(f"{ROOT}/instances", params={"limit": "3"})
    assert len(first.json()) == 3
    assert first.headers["warning"].startswith("299 http://localhost:8080/dicom-web ")
    assert "additional results" in first.headers["warning"]
    second = await client.get(f"{ROOT}/instances", params={"limit": "3", "offset": "3"})
    assert len(second.json()) == 2
    assert "warning" not in second.headers
    uids = [match["00080018"]["Value"][0] for match in first.json() + second.json()]
    assert len(set(uids)) == 5
    assert "warning" not in (await client.get(f"{ROOT}/instances", params={"limit": "5"})).headers
    assert (await client.get(f"{ROOT}/instances", params={"limit": "0"})).json() == []


async def test_an_unknown_parameter_is_ignored_with_a_warning(client: httpx.AsyncClient, filled: Archive) -> None:
    answer = await client.get(f"{ROOT}/studies", params={"Colour": "blue", "accept": "application/json"})
    assert len(answer.json()) == 2
    assert "Colour" in answer.headers["warning"]
    assert "accept" not in answer.headers["warning"]
    assert answer.headers["content-type"] == "application/json"


async def test_include_all_leaves_out_what_is_empty(client: httpx.AsyncClient, filled: Archive) -> None:
    found = (await get(client, "/studies", includefield="all"))[0]
    assert "00100040" not in found
    assert found["00080062"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
async def test_attributes_beyond_the_index_come_from_the_object(
    client: httpx.AsyncClient, filled: Archive, path: str
) -> None:
    found = await get(client, path, includefield="SliceThickness", PatientID="P1")
    assert found[0]["00180050"] == {"vr": "DS", "Value": [2.5]}


async def test_matches_can_be_xml(client: httpx.AsyncClient, filled: Archive) -> None:
    headers = {"accept": 'multipart/related; type="application/dicom+xml"'}
    answer = await client.get(f"{ROOT}/studies", headers=headers)
    parts = split_parts(answer.headers["content-type"], answer.content)
    assert len(parts) == 2
    assert b'keyword="StudyInstanceUID"' in parts[0][1]
    assert (await client.get(f"{ROOT}/studies", params={"PatientID": "NOBODY"}, headers=headers)).status_code == 204


async def test_long_answers_are_compressed_for_who_takes_it(client: httpx.AsyncClient, filled: Archive) -> None:
    headers = {"accept-encoding": "gzip"}
    async with client.stream("GET", f"{ROOT}/instances", headers=headers) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["vary"]
    assert gzip.decompress(raw).startswith(b"[{")
    plain = await client.get(f"{ROOT}/instances", headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "offset=99999999999999999999",
        "limit=1&limit=2",
        "fuzzymatching=perhaps",
        "StudyDate=yesterday",
        "StudyInstanceUID=../../etc/passwd",
        "includefield=StudyDate.PatientName",
        "PatientName=%00",
        "PatientName=%ED%A0%80",
        "TimezoneOffsetFromUTC=%2B9999",
        "SeriesInstanceUID=%27%3B%20DROP%20TABLE%20study%3B--",
        "PixelData=1",
        "%FF=%FF",
        "=",
        "a" * 5000,
    ],
)
async def test_odd_questions_are_answered_or_refused_politely(
    client: httpx.AsyncClient, filled: Archive, query: str
) -> None:
    for path in ("/studies", "/series", "/instances", "/studies/1.2.3.1/series"):
        answer = await client.get(f"{ROOT}{path}?{query}")
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 400:
            assert len(answer.json()["detail"]) > 20
            assert answer.headers["content-type"] == "application/problem+json"


async def test_text_that_would_break_sql_is_only_text(client: httpx.AsyncClient, filled: Archive) -> None:
    assert await get(client, "/studies", PatientName="x' OR '1'='1") == []
    assert await get(client, "/studies", AccessionNumber="%") == []
    assert await get(client, "/studies", PatientID="_2") == []
