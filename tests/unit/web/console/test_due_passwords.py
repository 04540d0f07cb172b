"""A password that somebody else has set: a session by it is good for nothing but changing it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.admin.accounts import find_account, reset_password, set_password
from fileroom.admin.logins import Client, log_in
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import acting_as
from fileroom.core.errors import NotAllowedError
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import OTHER_PASSWORD, PASSWORD, HeldClock, access_of, add, people_of

BASE_URL = "http://pacs.hospital"
DUE = "/account/new-password"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def client(archive: Archive, clock: HeldClock) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(dataclasses.replace(archive, settings=Settings(host="0.0.0.0"), now=clock))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers={"accept": "text/html"}) as client:
        yield client


async def _enter(client: httpx.AsyncClient, login: str, password: str) -> None:
    client.cookies.clear()
    assert (await client.post("/login", data={"username": login, "password": password})).status_code == 303


async def _send(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    token = form_token(client.cookies[PLAIN_COOKIE])
    return await client.post(path, data={"form_token": token, **fields}, headers={"origin": BASE_URL})


async def test_nothing_goes_before_the_password_is_changed(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller", "administrator")
    password = await reset_password(people, "mueller")
    await _enter(client, "mueller", password)
    for path in ("/", "/account", "/admin/people", "/system", "/break-glass", "/viewer?StudyInstanceUIDs=1.2"):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, DUE)
    for path in ("/dicom-web/studies", "/api/v1/me", "/metrics"):
        assert (await client.get(path, headers={"accept": "application/json"})).status_code == 403
    for path, form in (
        ("/account/tokens", {"name": "way-out", "days": "1"}),
        ("/account/password", {"old": password, "new": OTHER_PASSWORD}),
        ("/admin/people/add", {"login": "x", "role": "administrator", "password": OTHER_PASSWORD}),
        ("/account/passkeys/offer", {}),
    ):
        assert (await _send(client, path, **form)).status_code == 403
    assert "New password" in (await client.get(DUE)).text

    wrong = await _send(client, DUE, old="wrong", new=OTHER_PASSWORD)
    same = await _send(client, DUE, old=password, new=password)
    weak = await _send(client, DUE, old=password, new="password1234")
    assert [one.status_code for one in (wrong, same, weak)] == [400, 400, 400]
    assert "present password is wrong" in wrong.text

    changed = await _send(client, DUE, old=password, new=OTHER_PASSWORD)
    assert (changed.status_code, changed.headers["location"]) == (303, "/")
    assert (await client.get("/")).status_code == 200
    assert not (await find_account(people, "mueller")).password_must_change


async def test_logging_out_needs_no_new_password(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _enter(client, "mueller", await reset_password(people, "mueller"))
    assert (await _send(client, "/logout")).headers["location"] == "/login"


async def test_who_chose_it_decides(people: People) -> None:
    boss = await add(people, "boss", "administrator")
    await add(people, "mueller")
    assert not (await find_account(people, "mueller")).password_must_change  # at the server itself
    with acting_as(await access_of(people, boss)):
        await add(people, "new")
        await set_password(people, "mueller", OTHER_PASSWORD)
        await set_password(people, "boss", OTHER_PASSWORD)
    due = {login: (await find_account(people, login)).password_must_change for login in ("new", "mueller", "boss")}
    assert due == {"new": True, "mueller": True, "boss": False}
    await set_password(people, "boss", PASSWORD, must_change=True)
    assert (await find_account(people, "boss")).password_must_change


async def test_only_who_manages_people_resets(people: People) -> None:
    account = await add(people, "mueller")
    await add(people, "boss", "administrator")
    with acting_as(await access_of(people, account)), pytest.raises(NotAllowedError):
        await reset_password(people, "boss")


async def test_programs_do_not_pass_with_it(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    password = await reset_password(people, "mueller")
    answer = await client.get("/dicom-web/studies", auth=("mueller", password), headers={"accept": "*/*"})
    assert answer.status_code == 401
    assert "must be changed first" in answer.text


async def test_the_page_of_people_shows_the_random_password_once(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    await add(people, "mueller")
    await _enter(client, "boss", PASSWORD)
    shown = await _send(client, "/admin/people/reset-password", login="mueller")
    assert shown.status_code == 200
    password = shown.text.split("<p><code>")[1].split("<")[0]
    again = (await client.get("/admin/people")).text
    assert password not in again
    assert "must change the password" in again
    assert (await log_in(people, "mueller", password, Client("10.0.0.1"))).secret


async def test_errors_are_told_in_the_readers_language(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    client.headers["accept-language"] = "de"
    wrong = await client.post("/login", data={"username": "boss", "password": "wrong"})
    assert "Anmeldename oder Passwort ist falsch." in wrong.text
    await _enter(client, "boss", PASSWORD)
    weak = await _send(client, "/admin/people/add", login="x", role="physician", password="kurz")
    assert "Das Passwort ist zu kurz: Es braucht 12 Zeichen." in weak.text
    taken = await _send(client, "/admin/people/add", login="boss", role="physician", password=OTHER_PASSWORD)
    assert "Ein Konto boss gibt es schon" in taken.text
    roles = (await client.get("/admin/people")).text
    assert "Findet, liest und exportiert." in roles
    assert "Studien finden, ihre Listen und Attribute sehen" in roles
    missing = await client.get("/studies/1.2.3.4")
    assert "Diese Studie gibt es im Archiv nicht." in missing.text
