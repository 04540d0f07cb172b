"""Choices are kept with the account and found again on another machine; without one a cookie keeps them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import zoneinfo
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from asking import empty_viewer
from fileroom.admin.accounts import find_account
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.console import formats
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import PASSWORD, HeldClock, add, people_of
from stored_objects import make_file, store_file

BASE_URL = "http://pacs.hospital"
Clients = Callable[[], httpx.AsyncClient]


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def clients(archive: Archive, clock: HeldClock, tmp_path: Path) -> AsyncIterator[Clients]:
    """Makes browsers of one server, each with cookies of its own."""
    made: list[httpx.AsyncClient] = []
    settings = Settings(host="0.0.0.0", viewer_folder=str(empty_viewer(tmp_path)))
    app = create_app(dataclasses.replace(archive, settings=settings, now=clock))

    def client() -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=("10.0.0.9", 40000))
        made.append(httpx.AsyncClient(transport=transport, base_url=BASE_URL))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


async def _enter(client: httpx.AsyncClient) -> None:
    assert (await client.post("/login", data={"username": "mueller", "password": PASSWORD})).status_code == 303


async def _send(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    token = form_token(client.cookies[PLAIN_COOKIE])
    return await client.post(path, data={"form_token": token, **fields}, headers={"origin": BASE_URL})


async def test_choices_follow_the_person_to_another_machine(clients: Clients, people: People, archive: Archive) -> None:
    await store_file(archive, make_file(InstitutionName="General"))
    await add(people, "mueller")
    here, there = clients(), clients()
    await _enter(here)
    await _send(here, "/preferences", language="de", back="/")
    await _send(here, "/preferences", theme="dark", back="/")
    kept = await _send(here, "/studies/columns", column=["institution", "bad; Path=/x"], back="/")
    assert "Max-Age=9;" in kept.headers["set-cookie"]  # until every worker has heard of it
    await _enter(there)
    page = (await there.get("/")).text
    assert '<html lang="de" data-theme="dark"' in page
    assert "InstitutionName" in page
    assert "AccessionNumber" not in page
    profile = (await find_account(people, "mueller")).profile
    assert (profile.language, profile.theme, profile.columns) == ("de", "dark", ("institution",))
    await _send(there, "/preferences", theme="auto", back="/")
    assert (await find_account(people, "mueller")).profile.theme == ""


@pytest.mark.parametrize("path", ["/preferences", "/studies/columns", "/studies/filters"])
async def test_a_form_of_another_session_changes_nothing(clients: Clients, people: People, path: str) -> None:
    await add(people, "mueller")
    client = clients()
    form = {"theme": "dark", "column": "id", "name": "x", "question": "PatientID=1", "back": "/"}
    assert (await client.post(path, data=form)).status_code == 401
    await _enter(client)
    for token in ("", "forged", form_token("another session")):
        answer = await client.post(path, data={**form, "form_token": token}, headers={"origin": BASE_URL})
        assert answer.status_code == 403
    page = (await client.get("/")).text
    assert page.count('name="form_token"') >= 5  # every form of the page carries it


async def test_layout_and_hanging_protocol_reach_the_viewer(clients: Clients, people: People) -> None:
    await add(people, "mueller")
    client = clients()
    await _enter(client)
    usual = (await client.get("/viewer/app-config.js")).text
    assert "leftPanelClosed" not in usual
    assert '"hangingProtocol": {"$set": "default"}' in usual
    saved = await _send(client, "/account/profile", layout="images", hanging_protocol="mpr", time_zone="Asia/Tokyo")
    assert saved.status_code == 303
    own = await client.get("/viewer/app-config.js")
    assert '"leftPanelClosed": {"$set": true}' in own.text
    assert '"hangingProtocol": {"$set": "mpr"}' in own.text
    assert own.headers["cache-control"].startswith("private")
    refused = await _send(client, "/account/profile", layout="</script>")
    assert refused.status_code == 400


def test_moments_are_shown_in_the_readers_time_zone() -> None:
    moment = dt.datetime(2026, 11, 20, 23, 30, tzinfo=dt.UTC)
    assert "08:30" in formats.moment(moment, "de", "short", zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert "21.11.26" in formats.moment(moment, "de", "short", zoneinfo.ZoneInfo("Asia/Tokyo"))
    assert "00:30" in formats.moment(moment, "de", "short", zoneinfo.ZoneInfo("Europe/Berlin"))
