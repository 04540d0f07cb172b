"""The pages that say why something is not on the worklist, and what each modality sees; and the same over the API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.web.app import create_app
from fileroom.worklist.query_log import AskedQuery, note_query
from fileroom.worklist.worklist_views import get_view, list_views, put_view
from worklist_rows import add_step

ORIGIN = {"origin": "http://127.0.0.1:8080"}


@pytest.fixture
async def web(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        yield client


def texts(answer: httpx.Response) -> str:
    """The page without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


async def test_the_form_teaches_and_lists_who_has_asked(web: httpx.AsyncClient, archive: Archive) -> None:
    await note_query(archive.pool, AskedQuery("CT<7>", "10.0.0.1", {}, b""))
    answer = await web.get("/worklist/why")
    assert answer.status_code == 200
    assert "Give an order or a patient" in texts(answer)
    assert '<option value="CT&lt;7&gt;">' in answer.text


async def test_the_answer_stands_first_and_every_look_below(web: httpx.AsyncClient, archive: Archive) -> None:
    await add_step(archive, 1)
    answer = await web.get("/worklist/why", params={"accession": "A1", "aet": "CT1"})
    assert "CT1 has never asked for the worklist." in texts(answer)
    assert "The order A1 is scheduled." in texts(answer)
    assert 'href="/worklist/order?number=1"' in answer.text
    german = await web.get("/worklist/why?accession=A1&aet=CT1", headers={"accept-language": "de"})
    assert "CT1 hat noch nie nach der Arbeitsliste gefragt." in texts(german)
    assert "Der Auftrag A1 ist geplant." in texts(german)


async def test_what_is_missing_is_said(web: httpx.AsyncClient) -> None:
    answer = await web.get("/worklist/why", params={"accession": "A1"})
    assert answer.status_code == 400
    assert "Give an accession number or a patient ID" in texts(answer)


async def test_a_view_is_added_changed_and_removed(web: httpx.AsyncClient, archive: Archive) -> None:
    assert "There is no view" in texts(await web.get("/worklist/views"))
    form = {"name": "CT room", "aets": "CT1, CT*", "modalities": "CT", "begins": "today", "ends": "+12h"}
    added = await web.post("/worklist/views/save", data={**form, "states": ["scheduled"]}, headers=ORIGIN)
    assert added.status_code == 303
    with acting_as(SYSTEM):
        entry = await get_view(archive, "CT room")
    assert entry.fields == {
        "aets": ["CT1", "CT*"],
        "modalities": ["CT"],
        "begins": "today",
        "ends": "+12h",
        "states": ["scheduled"],
        "results_max": 10_000,
    }
    wrong = {**form, "version": "1", "begins": "yesterday", "locations": "<b>kept</b>"}
    refused = await web.post("/worklist/views/save", data=wrong, headers=ORIGIN)
    assert refused.status_code == 400
    assert "begins is today" in texts(refused)
    assert "&lt;b&gt;kept&lt;/b&gt;" in refused.text
    stale = await web.post("/worklist/views/save", data={**form, "version": "7"}, headers=ORIGIN)
    assert stale.status_code == 409
    await web.post("/worklist/views/remove", data={"name": "CT room"}, headers=ORIGIN)
    with acting_as(SYSTEM):
        assert await list_views(archive) == []


async def test_the_api_lists_says_why_and_keeps_views(web: httpx.AsyncClient, archive: Archive) -> None:
    await add_step(archive, 1)
    await add_step(archive, 2, modality="MR", station_aets=["MR1"])
    saved = await web.put("/api/v1/worklist/views/MR", json={"aets": ["MR1"], "own_aet": True})
    assert (saved.status_code, saved.json()["states"]) == (200, ["scheduled", "arrived"])
    assert (await web.put("/api/v1/worklist/views/MR", json={"begins": "soon"})).status_code == 422
    steps = (await web.get("/api/v1/worklist", params={"aet": "MR1"})).json()["items"]
    assert [(one["step_id"], one["station_aets"], one["patient_name"]) for one in steps] == [
        ("S2", ["MR1"], "Doe^Jane")
    ]
    assert len((await web.get("/api/v1/worklist?date=20261122")).json()["items"]) == 2
    why = (await web.get("/api/v1/worklist/why?aet=MR1&accession=A1")).json()
    assert (why["is_on"], why["view"]) == (False, "MR")
    assert why["answer"].startswith("View MR: only where the step is for MR1 itself.")
    assert [one["name"] for one in (await web.get("/api/v1/worklist/views")).json()["items"]] == ["MR"]
    assert (await web.delete("/api/v1/worklist/views/MR")).status_code == 204


async def test_every_change_of_a_view_is_in_the_audit_trail(archive: Archive) -> None:
    with acting_as(SYSTEM):
        await put_view(archive, "CT", {"modalities": ["CT"]})
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM audit_event")
        row = await cursor.fetchone()
    assert row is not None
    assert row[0] >= 1
