"""The study list: what it shows, how it is searched and paged, what it refuses, and that nothing stored can run."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import io
import re
import zipfile
from html.parser import HTMLParser

import httpx
import pytest
from pydicom import dcmread

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.settings import Settings
from fileroom.web.app import create_router
from fileroom.web.console.live import LiveStudies
from stored_objects import make_file, store_file

HOSTILE = "<script>alert(1)</script>\"' onmouseover=x^&amp;"
PART = {"x-fileroom-part": "1"}


async def store(archive: Archive, number: int, **attributes: object) -> None:
    uid = f"1.2.3.{number}"
    names = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.1.1"}
    await store_file(archive, make_file(**(names | {"PatientID": f"P{number}"} | attributes)))


def listed(html: str) -> list[str]:
    """The studies of a page, in their order."""
    return re.findall(r'<tr data-uid="([\d.]+)"', html)


async def test_the_newest_study_comes_first_and_the_undated_last(client: httpx.AsyncClient, archive: Archive) -> None:
    for number, date in ((1, "20260101"), (2, None), (3, "20260301"), (4, "20260201")):
        await store(archive, number, StudyDate=date or "")
    page = await client.get("/")
    found = page.text[page.text.index('id="found"') :]
    assert listed(found) == ["1.2.3.3", "1.2.3.4", "1.2.3.1", "1.2.3.2"]


async def test_pages_follow_each_other_without_gap_or_repeat(client: httpx.AsyncClient, archive: Archive) -> None:
    for number in range(60):
        date = ["", "20260101", "20260102"][number % 3]
        await store(archive, number + 1, StudyDate=date, StudyTime=["", "1000", "1100"][number % 2])
    seen: list[str] = []
    address = "/?StudyDescription=*"
    while address:
        html = (await client.get(address, headers=PART)).text
        seen += listed(html[html.index('id="found"') :])
        older = re.search(r'href="([^"]+)" rel="next"', html)
        address = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == 60
    assert len(set(seen)) == 60


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("PatientName=jane", {1}),
        ("PatientName=roe*", {2}),
        ("PatientID=p2", {2}),
        ("StudyDescription=knee", {2}),
        ("StudyDate=2026-01-01..2026-01-31", {1}),
        ("ModalitiesInStudy=mr", {2}),
        ("StationName=ST1", {1}),
        ("PatientSex=F", {1}),
        ("status=receiving", {1, 2}),
        ("status=exception", set()),
        ("PatientName=nobody", set()),
        ("StudyDate=rubbish", set()),
    ],
)
async def test_every_field_searches(
    client: httpx.AsyncClient, archive: Archive, question: str, expected: set[int]
) -> None:
    await store(archive, 1, PatientName="DOE^JANE", StudyDate="20260115", StationName="ST1", PatientSex="F")
    await store(
        archive, 2, PatientName="ROE^RICHARD", StudyDate="20260215", Modality="MR", StudyDescription="KNEE left"
    )
    html = (await client.get(f"/?{question}", headers=PART)).text
    assert set(listed(html)) == {f"1.2.3.{number}" for number in expected}


class _Scripts(HTMLParser):
    """Elements and attributes that could run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        source = dict(attrs).get("src") or ""
        if tag == "script" and not source.startswith("/static/"):
            self.found.append(tag)
        self.found += [name for name, _ in attrs if name.startswith("on") or name == "style"]


async def test_hostile_text_is_shown_and_cannot_run(client: httpx.AsyncClient, archive: Archive) -> None:
    names = ("PatientName", "PatientID", "StudyDescription", "AccessionNumber", "StationName", "ReferringPhysicianName")
    await store(archive, 1, **dict.fromkeys(names, HOSTILE[:60]))
    for address in ("/", f"/?PatientID={HOSTILE}", "/?PatientName=script", "/?behind=x", f"/nowhere?q={HOSTILE}"):
        page = await client.get(address)
        scripts = _Scripts()
        scripts.feed(page.text)
        assert scripts.found == []
    page = await client.get("/")
    assert "&lt;script&gt;alert(1)" in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


async def test_an_empty_archive_says_how_to_fill_it(client: httpx.AsyncClient) -> None:
    html = (await client.get("/", headers={"accept-language": "de"})).text
    assert "Es ist noch keine Studie gekommen" in html
    assert "<code>11112</code>" in html
    assert '<html lang="de"' in html


async def test_settings_cannot_put_markup_into_a_page(archive: Archive) -> None:
    named = dataclasses.replace(archive, settings=Settings(aet="<B>&"))
    async with _client_of(named, SYSTEM) as client:
        assert "&lt;B&gt;&amp;" in (await client.get("/")).text


async def test_looks_and_language_are_remembered(client: httpx.AsyncClient) -> None:
    for field, value in (("theme", "dark"), ("density", "compact"), ("language", "de")):
        answer = await client.post("/preferences", data={field: value, "back": "/?StudyDate=today"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?StudyDate=today"
    assert '<html lang="de" data-theme="dark" data-density="compact">' in (await client.get("/")).text


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x", ""])
async def test_going_back_never_leaves_the_server(client: httpx.AsyncClient, back: str) -> None:
    answer = await client.post("/preferences", data={"theme": "dark", "back": back})
    assert answer.headers["location"] == "/"


async def test_columns_are_chosen_and_nothing_unknown_is_kept(client: httpx.AsyncClient, archive: Archive) -> None:
    await store(archive, 1, InstitutionName="General")
    await client.post("/studies/columns", data={"column": ["institution", "bad; Path=/x"], "back": "/"})
    assert client.cookies["fileroom_columns"] == "institution"
    html = (await client.get("/")).text
    assert 'class="c-institution"' in html
    assert 'class="c-accession"' not in html
    assert 'class="c-name"' in html


async def test_a_search_is_kept_and_forgotten(client: httpx.AsyncClient, archive: Archive) -> None:
    await store(archive, 1)
    kept = {"name": "CT <today>", "question": "StudyDate=today&ModalitiesInStudy=CT", "back": "/"}
    assert (await client.post("/studies/filters", data=kept)).status_code == 303
    html = (await client.get("/")).text
    assert 'href="/?StudyDate=today&amp;ModalitiesInStudy=CT"' in html
    assert "CT &lt;today&gt;" in html
    number = re.search(r'name="remove" value="(\d+)"', html)
    assert number is not None
    await client.post("/studies/filters", data={"remove": number[1], "back": "/"})
    assert "CT &lt;today&gt;" not in (await client.get("/")).text
    assert (await client.post("/studies/filters", data={"remove": "1 OR 1=1"})).status_code == 400


async def test_changed_rows_are_asked_for_by_uid(client: httpx.AsyncClient, archive: Archive) -> None:
    await store(archive, 1)
    await store(archive, 2, PatientName="ROE^R")
    html = (await client.get("/studies/rows?uid=1.2.3.1,1.2.3.2,1.2.3.9&PatientName=roe", headers=PART)).text
    assert listed(html) == ["1.2.3.2"]
    assert (await client.get("/studies/rows?uid=abc")).status_code == 400


async def test_studies_are_downloaded_as_zip_and_as_medium(client: httpx.AsyncClient, archive: Archive) -> None:
    await store(archive, 1)
    await store(archive, 2)
    answer = await client.get("/studies/download?uid=1.2.3.1&uid=1.2.3.2&form=zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="studies.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = packed.namelist()
        assert names == ["study-0001/series-0001/000001.dcm", "study-0002/series-0002/000002.dcm"]
        assert dcmread(io.BytesIO(packed.read(names[0]))).StudyInstanceUID == "1.2.3.1"
    answer = await client.get("/studies/download?uid=1.2.3.1&form=media")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert "DICOMDIR" in packed.namelist()
    assert (await client.get("/studies/download?uid=9.9.9")).status_code == 404
    assert (await client.get("/studies/download")).status_code == 400


def _client_of(archive: Archive, access: Access) -> httpx.AsyncClient:
    router = create_router(archive)

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(access):
            await router(scope, receive, send)  # type: ignore[arg-type]

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


async def test_row_scope_holds_in_the_list_and_its_rows(archive: Archive) -> None:
    await store(archive, 1)
    await store(archive, 2)
    scoped = Access(
        ActorKind.PERSON, "ann", frozenset({Permission.STUDY_SEARCH}), RowScope(patient_ids=("P2",)), account_id=7
    )
    async with _client_of(archive, scoped) as client:
        assert listed((await client.get("/")).text) == ["1.2.3.2"]
        assert listed((await client.get("/studies/rows?uid=1.2.3.1,1.2.3.2")).text) == ["1.2.3.2"]
        assert (await client.get("/studies/download?uid=1.2.3.2")).status_code == 403


async def test_whoever_may_not_search_sees_no_list(archive: Archive) -> None:
    await store(archive, 1)
    async with _client_of(archive, Access(ActorKind.PERSON, "bob", account_id=8)) as client:
        page = await client.get("/")
    assert page.status_code == 403
    assert "1.2.3.1" not in page.text
    assert page.headers["content-type"].startswith("text/html")


async def test_a_listener_hears_of_a_study_that_arrives_and_again_when_it_is_quiet(archive: Archive) -> None:
    live = LiveStudies(archive)
    with live.listen() as listener:
        await store(archive, 1)
        async with asyncio.timeout(10):
            assert await listener.changed() == ["1.2.3.1"]
        with acting_as(SYSTEM):
            async with archive.pool.connection() as connection:
                await connection.execute(
                    b"UPDATE series SET changed_at = %s", (dt.datetime(2020, 1, 1, tzinfo=dt.UTC),)
                )
        async with asyncio.timeout(10):
            assert await listener.changed() == ["1.2.3.1"]


async def test_studies_are_found_by_who_sent_them(client: httpx.AsyncClient, archive: Archive) -> None:
    senders = {
        1: Access(ActorKind.NODE, "CT1@10.0.0.1", frozenset({Permission.STUDY_STORE})),
        2: Access(ActorKind.NODE, "CT_2@10.0.0.2", frozenset({Permission.STUDY_STORE})),
        3: Access(ActorKind.TOKEN, "ct-gateway", frozenset({Permission.STUDY_STORE})),
        4: SYSTEM,
    }
    for number, sender in senders.items():
        with acting_as(sender):
            await store(archive, number)

    async def found(text: str) -> set[str]:
        return set(listed((await client.get("/", params={"SourceApplicationEntityTitle": text})).text))

    assert await found("CT1") == {"1.2.3.1"}
    assert await found("ct") == {"1.2.3.1", "1.2.3.2", "1.2.3.3"}
    assert await found("CT_") == {"1.2.3.2"}
    assert await found("*gate*") == {"1.2.3.3"}
    assert await found('"CT"') == set()
    assert await found("10.0.0.1") == set()
