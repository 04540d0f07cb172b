"""`/account` and `/admin/people`: forms do what they say, for whoever may, and only from their own pages."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator

import httpx
import pyotp
import pytest

from fileroom.admin.accounts import find_account, list_accounts
from fileroom.admin.authentication import identity_of_token
from fileroom.admin.logins import Client, log_in
from fileroom.admin.people import People
from fileroom.admin.roles import find_role
from fileroom.admin.sessions import list_sessions
from fileroom.admin.tokens import list_tokens
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, RowScope
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import OTHER_PASSWORD, PASSWORD, HeldClock, add, people_of

BASE_URL = "http://pacs.hospital"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def client(archive: Archive, clock: HeldClock) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on the network."""
    app = create_app(dataclasses.replace(archive, settings=Settings(host="0.0.0.0"), now=clock))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        yield client


async def _enter(client: httpx.AsyncClient, login: str) -> None:
    client.cookies.clear()
    assert (await client.post("/login", data={"username": login, "password": PASSWORD})).status_code == 303


async def _send(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    """A form of the page, with its token."""
    token = form_token(client.cookies[PLAIN_COOKIE])
    return await client.post(path, data={"form_token": token, **fields}, headers={"origin": BASE_URL})


# --- one's own account ---


async def test_the_page_carries_the_token_of_its_session(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller", full_name=SCRIPT)
    await _enter(client, "mueller")
    page = await client.get("/account")
    assert page.status_code == 200
    assert SCRIPT not in page.text
    assert set(re.findall(r'name="form_token" value="(\w+)"', page.text)) == {form_token(client.cookies[PLAIN_COOKIE])}
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("token", ["", "wrong", None])
async def test_a_form_without_the_token_does_nothing(
    client: httpx.AsyncClient, people: People, token: str | None
) -> None:
    await add(people, "boss", "administrator")
    await _enter(client, "boss")
    fields = {"login": "boss", "password": OTHER_PASSWORD} | ({} if token is None else {"form_token": token})
    assert (await client.post("/admin/people/password", data=fields)).status_code == 403
    assert (await client.post("/account/tokens", data={"name": "x", **fields})).status_code == 403
    assert await log_in(people, "boss", PASSWORD, Client("10.0.0.1"))
    assert await list_tokens(people) == []


async def test_choices_are_kept_and_the_next_page_has_them(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _enter(client, "mueller")
    answer = await _send(
        client, "/account/profile", language="de", time_zone="Europe/Berlin", theme="light", density="roomy"
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?done=profile")
    page = (await client.get("/account?done=profile")).text
    assert '<html lang="de" data-theme="light" data-density="roomy">' in page
    assert "Erledigt." in page
    answer = await _send(client, "/account/profile", language="de", time_zone="Mars/Olympus")
    assert answer.status_code == 400
    assert "Mars/Olympus" in answer.text
    assert (await find_account(people, "mueller")).profile.time_zone == "Europe/Berlin"


async def test_a_password_is_changed_by_who_knows_it(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _enter(client, "mueller")
    await log_in(people, "mueller", PASSWORD, Client("10.0.0.1"))
    answer = await _send(client, "/account/password", old="wrong", new=OTHER_PASSWORD)
    assert answer.status_code == 400
    assert "present password is wrong" in answer.text
    assert (await _send(client, "/account/password", old=PASSWORD, new="password1234")).status_code == 400
    assert (await _send(client, "/account/password", old=PASSWORD, new=OTHER_PASSWORD)).status_code == 303
    assert (await client.get("/account")).status_code == 200
    assert len(await list_sessions(people, "mueller")) == 1
    assert await log_in(people, "mueller", OTHER_PASSWORD, Client("10.0.0.1"))


async def test_the_second_factor_is_set_up_on_the_page(
    client: httpx.AsyncClient, people: People, clock: HeldClock
) -> None:
    await add(people, "mueller")
    await _enter(client, "mueller")
    assert (await _send(client, "/account/second-factor", password="wrong")).status_code == 400
    page = (await _send(client, "/account/second-factor", password=PASSWORD)).text
    secret = re.search(r'class="secret">([^<]+)<', page)
    assert secret is not None
    otp = pyotp.TOTP(secret[1].replace(" ", ""))
    page = (await _send(client, "/account/second-factor/confirm", code=otp.at(clock()))).text
    codes = re.findall(r"<li><code>([a-z2-9-]+)</code></li>", page)
    assert len(codes) == 10
    assert codes[0] not in (await client.get("/account")).text
    assert (await log_in(people, "mueller", PASSWORD, Client("10.0.0.1"))).second_factor_due
    assert (await _send(client, "/account/second-factor/remove", password=PASSWORD)).status_code == 303
    assert not (await find_account(people, "mueller")).has_totp


async def test_sessions_and_tokens_are_ended_on_the_page(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await log_in(people, "mueller", PASSWORD, Client("10.0.0.1", SCRIPT))
    await _enter(client, "mueller")
    page = (await client.get("/account")).text
    assert SCRIPT not in page
    (other,) = re.findall(r'name="id" value="(\d+)"', page)
    assert (await _send(client, "/account/sessions/end", id=other)).status_code == 303
    assert len(await list_sessions(people, "mueller")) == 1
    assert (await _send(client, "/account/sessions/end", id=other)).status_code == 404
    assert (await _send(client, "/account/sessions/end", id="1; DROP")).status_code == 400

    page = (await _send(client, "/account/tokens", name="laptop", days="30", permission=["study.view"])).text
    secret = re.search(r"<code>(fr_[\w-]+)</code>", page)
    assert secret is not None
    identity = await identity_of_token(people, secret[1])
    assert identity is not None
    assert identity.access.permissions == {Permission.STUDY_VIEW}
    page = (await client.get("/account")).text
    assert secret[1] not in page
    assert "laptop" in page
    (token,) = await list_tokens(people)
    assert (await _send(client, "/account/tokens/revoke", id=token.id)).status_code == 303
    assert await list_tokens(people) == []


async def test_a_token_has_no_page_of_its_own(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _enter(client, "mueller")
    page = (await _send(client, "/account/tokens", name="t")).text
    secret = re.search(r"<code>(fr_[\w-]+)</code>", page)
    assert secret is not None
    client.cookies.clear()
    headers = {"authorization": f"Bearer {secret[1]}"}
    assert (
        await client.post("/account/tokens", data={"name": "u", "form_token": ""}, headers=headers)
    ).status_code == 403


# --- people ---


PATHS = (
    "/add", "/change", "/disable", "/enable", "/password", "/unlock", "/logout", "/second-factor/remove",
    "/roles/add", "/roles/change", "/roles/remove", "/tokens", "/tokens/revoke",
)  # fmt: skip


@pytest.mark.parametrize("role", ["radiologist", "physician", "technologist", "researcher", "auditor"])
async def test_only_who_may_manages_people(client: httpx.AsyncClient, people: People, role: str) -> None:
    await add(people, "mueller", role)
    await add(people, "boss", "administrator")
    await _enter(client, "mueller")
    assert (await client.get("/admin/people")).status_code == 403
    for path in PATHS:
        fields = {
            "login": "boss",
            "password": OTHER_PASSWORD,
            "role": "researcher",
            "name": "x",
            "permission": ["study.view"],
        }
        answer = await _send(client, "/admin/people" + path, **fields)
        assert answer.status_code in (403, 404), path
    assert [(one.login, one.role, one.disabled) for one in await list_accounts(people)] == [
        ("boss", "administrator", False),
        ("mueller", role, False),
    ]
    assert await log_in(people, "boss", PASSWORD, Client("10.0.0.1"))


async def test_an_account_is_made_changed_and_disabled_on_the_page(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    await _enter(client, "boss")
    new = {
        "login": "mueller",
        "password": OTHER_PASSWORD,
        "role": "radiologist",
        "full_name": "Anna",
        "modalities": "CT\r\n MR\r\n",
    }
    assert (await _send(client, "/admin/people/add", **new)).headers["location"] == "/admin/people?done=added"
    made = await find_account(people, "mueller")
    assert (made.full_name, made.rows) == ("Anna", RowScope(modalities=("CT", "MR")))
    answer = await _send(client, "/admin/people/add", **new)
    assert answer.status_code == 409
    assert "account mueller already" in answer.text
    assert OTHER_PASSWORD not in answer.text
    changed = {"login": "mueller", "version": "1", "role": "physician", "full_name": "Anna M."}
    assert (await _send(client, "/admin/people/change", **changed)).status_code == 303
    made = await find_account(people, "mueller")
    assert (made.role, made.full_name, made.rows) == ("physician", "Anna M.", RowScope())
    await log_in(people, "mueller", OTHER_PASSWORD, Client("10.0.0.1"))
    assert (await _send(client, "/admin/people/disable", login="mueller")).status_code == 303
    assert await list_sessions(people, "mueller") == []
    assert "disabled" in (await client.get("/admin/people")).text
    assert (await _send(client, "/admin/people/enable", login="mueller")).status_code == 303
    assert (await _send(client, "/admin/people/disable", login="boss")).status_code == 409


async def test_roles_and_tokens_are_made_on_the_page(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    await _enter(client, "boss")
    role = {"name": "ct-desk", "description": SCRIPT, "permission": ["study.view", "study.search"], "modalities": "CT"}
    assert (await _send(client, "/admin/people/roles/add", **role)).status_code == 303
    assert (await find_role(people, "ct-desk")).rows == RowScope(modalities=("CT",))
    page = (await client.get("/admin/people")).text
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    page = (await _send(client, "/admin/people/tokens", name="dose", role="ct-desk", days="1")).text
    assert re.search(r"<code>fr_[\w-]+</code>", page)
    assert (await _send(client, "/admin/people/roles/remove", name="ct-desk")).status_code == 409
    assert (await _send(client, "/admin/people/tokens/revoke", name="dose")).status_code == 303
    assert (await _send(client, "/admin/people/roles/remove", name="ct-desk")).status_code == 303


async def test_rights_that_were_taken_are_gone_at_once(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    await add(people, "other", "administrator")
    await _enter(client, "boss")
    assert (await client.get("/admin/people")).status_code == 200
    assert (await _send(client, "/admin/people/change", login="boss", version="1", role="physician")).status_code == 303
    assert (await client.get("/admin/people")).status_code == 403


async def test_the_second_to_save_an_account_sees_both_and_saves_on_top(
    client: httpx.AsyncClient, people: People
) -> None:
    await add(people, "boss", "administrator")
    await add(people, "mueller", full_name="Anna")
    await _enter(client, "boss")
    assert 'name="version" value="1"' in (await client.get("/admin/people")).text
    form = {"login": "mueller", "version": "1", "role": "radiologist", "full_name": "Anna"}
    theirs = {**form, "role": "physician", "full_name": SCRIPT, "modalities": "CT"}
    assert (await _send(client, "/admin/people/change", **theirs)).status_code == 303
    mine = {**form, "full_name": "Anna M.", "institutions": "North"}
    answer = await _send(client, "/admin/people/change", **mine)
    assert answer.status_code == 409
    assert "mueller was changed by boss while you were editing it" in answer.text
    assert SCRIPT not in answer.text
    conflict = re.search(r'<section id="conflict">.*?</section>', answer.text, re.DOTALL)
    assert conflict is not None
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"(?s)<tr>(.*?)</tr>", conflict[0])]
    assert [" ".join(row) for row in rows[1:]] == [
        "Name Anna &lt;script&gt;alert(1)&lt;/script&gt; Anna M.",
        "Role radiologist physician as now",
        "Modalities – CT as now",
    ]
    merged = answer.text.split('id="conflict"')[1].split("</form>")[0]
    assert 'name="version" value="2"' in merged
    assert 'name="full_name" value="Anna M."' in merged
    assert '<option value="physician" selected>' in merged
    assert '<textarea name="modalities" rows="2" spellcheck="false">CT</textarea>' in merged
    assert '<textarea name="institutions" rows="2" spellcheck="false">North</textarea>' in merged
    now = await find_account(people, "mueller")
    assert (now.full_name, now.role, now.rows) == (SCRIPT, "physician", RowScope(modalities=("CT",)))
    both = {**mine, "version": "2", "role": "physician", "modalities": "CT"}
    assert (await _send(client, "/admin/people/change", **both)).status_code == 303
    saved = await find_account(people, "mueller")
    assert (saved.full_name, saved.role) == ("Anna M.", "physician")
    assert saved.rows == RowScope(institutions=("North",), modalities=("CT",))
    for version in ("", "x", "-1", "9" * 99):
        assert (await _send(client, "/admin/people/change", **{**both, "version": version})).status_code == 400


async def test_the_second_to_save_a_role_sees_both_and_saves_on_top(client: httpx.AsyncClient, people: People) -> None:
    await add(people, "boss", "administrator")
    await _enter(client, "boss")
    form = {"name": "ct-desk", "description": "The desk", "permission": ["study.search", "study.view"]}
    assert (await _send(client, "/admin/people/roles/add", **form)).status_code == 303
    theirs = {**form, "version": "1", "permission": ["study.search"]}
    assert (await _send(client, "/admin/people/roles/change", **theirs)).status_code == 303
    mine = {**form, "version": "1", "permission": ["study.search", "study.view", "study.export"]}
    token = form_token(client.cookies[PLAIN_COOKIE])
    answer = await client.post(
        "/admin/people/roles/change",
        data={"form_token": token, **mine},
        headers={"origin": BASE_URL, "accept-language": "de"},
    )
    assert answer.status_code == 409
    assert "Was boss inzwischen geändert hat" in answer.text
    conflict = answer.text.split('id="conflict"')[1].split("</form>")[0]
    assert "<td>ja</td><td>nein</td>" in conflict
    assert re.findall(r'name="permission" value="([\w.-]+)" checked', conflict) == ["study.search", "study.export"]
    assert (await find_role(people, "ct-desk")).permissions == {Permission.STUDY_SEARCH}
    both = {**mine, "version": "2", "permission": ["study.search", "study.export"]}
    assert (await _send(client, "/admin/people/roles/change", **both)).status_code == 303
    assert (await find_role(people, "ct-desk")).permissions == {Permission.STUDY_SEARCH, Permission.STUDY_EXPORT}
