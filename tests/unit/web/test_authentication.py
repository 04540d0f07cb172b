"""Who a request comes from: the session's cookie, tokens, Basic, and the rule for this machine."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pyotp
import pytest

from fileroom.admin.accounts import AccountChange, change_account, set_password
from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_own_token, create_token, revoke_token
from fileroom.admin.totp import confirm_totp, offer_totp
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, Permission, acting_as, set_process_access
from fileroom.core.limits import ACCESS_CACHE_S, ACCOUNT_FAILURES_MAX
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, SECURE_COOKIE, form_token
from people_of_tests import OTHER_PASSWORD, PASSWORD, HeldClock, access_of, add, people_of

STUDIES = "/dicom-web/studies"
PAGE = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
Clients = Callable[..., httpx.AsyncClient]


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def clients(archive: Archive, clock: HeldClock) -> AsyncIterator[Clients]:
    """Makes clients of an application with given settings, at an address; nobody acts but by what they show."""
    made: list[httpx.AsyncClient] = []

    def client(
        address: str = "10.0.0.9", base_url: str = "http://pacs.hospital", **settings: object
    ) -> httpx.AsyncClient:
        values = {"host": "0.0.0.0"} | settings
        app = create_app(dataclasses.replace(archive, settings=Settings(**values), now=clock))  # type: ignore[arg-type]
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 40000)), base_url=base_url))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


@pytest.fixture
def far(clients: Clients) -> httpx.AsyncClient:
    """Somebody on the network."""
    return clients()


@pytest.fixture
def near(clients: Clients) -> httpx.AsyncClient:
    """Somebody at this machine, where nobody needs to log in."""
    return clients("127.0.0.1", "http://localhost:8080", host="127.0.0.1")


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _basic(login: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()}


async def _log_in(client: httpx.AsyncClient, login: str = "mueller", password: str = PASSWORD) -> httpx.Response:
    return await client.post("/login", data={"username": login, "password": password})


# --- nobody ---


@pytest.mark.parametrize(
    "path", ["/", STUDIES, f"{STUDIES}/1.2/series", "/wado", "/viewer", "/nowhere", "/metrics", "/account"]
)
async def test_who_shows_nothing_is_refused(far: httpx.AsyncClient, path: str) -> None:
    answer = await far.get(path)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="Fileroom"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await far.post(path, content=b"x")).status_code == 401


async def test_a_browser_is_shown_the_way_to_the_login(far: httpx.AsyncClient) -> None:
    answer = await far.get("/studies/1.2?a=b&c=d", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fstudies%2F1.2%3Fa%3Db%26c%3Dd"
    page = await far.get(answer.headers["location"])
    assert page.status_code == 200
    assert 'value="/studies/1.2?a=b&amp;c=d"' in page.text
    assert (await far.post("/studies/1.2", headers=PAGE)).status_code == 401


async def test_health_and_the_style_of_the_login_are_open(far: httpx.AsyncClient) -> None:
    assert (await far.get("/healthz")).status_code == 200
    assert (await far.get("/readyz")).json()["parts"]["database"]["ready"] is True
    page = (await far.get("/login")).text
    style = page.split('rel="stylesheet" href="')[1].split('"')[0]
    assert (await far.get(style)).status_code == 200


async def test_metrics_are_open_on_this_machine_and_need_a_token_elsewhere(
    clients: Clients, far: httpx.AsyncClient, people: People
) -> None:
    here = clients("127.0.0.1")
    assert (await here.get("/metrics")).status_code == 200
    assert (await here.get(STUDIES)).status_code == 401
    assert (await here.get("/metrics", headers={"x-forwarded-for": "10.1.1.1"})).status_code == 401
    auditor = await create_token(people, TokenRequest("prometheus", frozenset({Permission.SYSTEM_READ})), "auditor")
    assert (await far.get("/metrics", headers=_bearer(auditor))).status_code == 200


# --- this machine ---


async def test_at_this_machine_nobody_needs_to_log_in(near: httpx.AsyncClient) -> None:
    set_process_access(NOBODY)
    assert (await near.get(STUDIES)).status_code == 200


@pytest.mark.parametrize(
    "header", ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"]
)
async def test_who_comes_through_a_proxy_is_not_at_this_machine(near: httpx.AsyncClient, header: str) -> None:
    assert (await near.get(STUDIES, headers={header: "10.1.2.3"})).status_code == 401


@pytest.mark.parametrize(
    ("address", "settings"),
    [
        ("127.0.0.1", {"host": "127.0.0.1", "web_login": "always"}),
        ("127.0.0.1", {"host": "0.0.0.0"}),
        ("127.0.0.1", {"host": "127.0.0.1", "http_host": "0.0.0.0"}),
        ("10.0.0.9", {"host": "127.0.0.1"}),
        ("", {"host": "127.0.0.1"}),
    ],
)
async def test_otherwise_everybody_logs_in(clients: Clients, address: str, settings: dict[str, str]) -> None:
    client = clients(address, "http://localhost:8080", **settings)
    assert (await client.get(STUDIES)).status_code == 401


async def test_names_of_others_are_answered_where_everybody_logs_in(clients: Clients) -> None:
    """A web site that points its own name here meets no login that it could use; where none is needed, it is refused."""
    headers = {"host": "pacs.hospital"}
    asked = clients("127.0.0.1", host="127.0.0.1", web_login="always")
    assert (await asked.get(STUDIES, headers=headers)).status_code == 401
    trusted = clients("127.0.0.1", host="127.0.0.1")
    assert (await trusted.get(STUDIES, headers=headers)).status_code == 421


async def test_what_is_wrong_is_refused_here_too(near: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    for headers in (
        _bearer("forged"),
        _bearer(""),
        _basic("mueller", "wrong"),
        {"authorization": "Basic !!!"},
        {"authorization": "Digest x"},
        {"authorization": ""},
        {"cookie": f"{PLAIN_COOKIE}=forged"},
        {"cookie": f"a=b; {PLAIN_COOKIE}=; c=d"},
    ):
        assert (await near.get(STUDIES, headers=headers)).status_code == 401, headers
    both = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
    assert (await near.get(STUDIES, headers=both)).status_code == 401


# --- sessions ---


async def test_a_login_opens_what_the_role_allows(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    set_process_access(NOBODY)
    answer = await far.post("/login", data={"username": "mueller", "password": PASSWORD, "next": "/studies/1.2?a=b"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/1.2?a=b")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{PLAIN_COOKIE}=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert (await far.get(STUDIES)).status_code == 200


async def test_over_https_the_cookie_is_bound_to_it(clients: Clients, people: People) -> None:
    await add(people, "mueller")
    client = clients(base_url="https://pacs.hospital")
    cookie = (await _log_in(client)).headers["set-cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE}=")
    assert "Secure" in cookie.split("; ")
    assert "Domain" not in cookie
    assert (await client.get(STUDIES)).status_code == 200
    secret = client.cookies[SECURE_COOKIE]
    client.cookies.clear()
    # Whoever can write cookies over plain http must not choose the session of https.
    assert (await client.get(STUDIES, headers={"cookie": f"{PLAIN_COOKIE}={secret}"})).status_code == 401


async def test_a_wrong_password_shows_the_form_again(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    answer = await far.post("/login", data={"username": '"><script>x', "password": "wrong", "next": "/a"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "<script>x" not in answer.text
    assert 'value="/a"' in answer.text
    assert "is wrong" in answer.text


async def test_wrong_passwords_in_bulk_have_to_wait(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    for _ in range(ACCOUNT_FAILURES_MAX):
        assert (await _log_in(far, password="wrong")).status_code == 401
    for answer in (await _log_in(far), await far.get(STUDIES, headers=_basic("mueller", PASSWORD))):
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "following",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil", "/a\r\nx: y"],
)
async def test_a_login_leads_nowhere_else(far: httpx.AsyncClient, people: People, following: str) -> None:
    await add(people, "mueller")
    answer = await far.post("/login", data={"username": "mueller", "password": PASSWORD, "next": following})
    assert answer.headers["location"] == "/"
    assert "x" not in answer.headers


async def test_the_second_factor_is_asked_for(far: httpx.AsyncClient, people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    with acting_as(await access_of(people, account)):
        otp = pyotp.TOTP((await offer_totp(people)).secret)
        await confirm_totp(people, otp.at(clock()))
    answer = await _log_in(far)
    assert answer.headers["location"] == "/login/code?next=%2F"
    half = far.cookies[PLAIN_COOKIE]
    assert (await far.get(STUDIES)).status_code == 401
    far.cookies.set(PLAIN_COOKIE, half, domain="pacs.hospital", path="/")
    assert (await far.post("/login/code", data={"code": "000000"})).status_code == 401
    clock.wait(30)
    answer = await far.post("/login/code", data={"code": otp.at(clock()), "next": "/a"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/a")
    assert far.cookies[PLAIN_COOKIE] != half
    assert (await far.get(STUDIES)).status_code == 200
    assert (await far.get(STUDIES, headers=_basic("mueller", PASSWORD))).status_code == 401


async def test_an_ended_session_is_refused_and_its_cookie_removed(
    far: httpx.AsyncClient, people: People, clock: HeldClock
) -> None:
    await add(people, "mueller")
    await _log_in(far)
    assert (await far.get(STUDIES)).status_code == 200
    await set_password(people, "mueller", OTHER_PASSWORD)
    clock.wait(ACCESS_CACHE_S)
    answer = await far.get("/", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert PLAIN_COOKIE not in far.cookies


async def test_a_session_is_over_in_time_whatever_is_remembered(
    clients: Clients, people: People, clock: HeldClock
) -> None:
    await add(people, "mueller")
    client = clients(session_hours=1, session_idle_minutes=120)
    await _log_in(client)
    clock.wait(3600 - 1)
    assert (await client.get(STUDIES)).status_code == 200
    clock.wait(1)
    assert (await client.get(STUDIES)).status_code == 401


async def test_logging_out_ends_the_session_here_and_now(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _log_in(far)
    secret = far.cookies[PLAIN_COOKIE]
    assert (await far.get(STUDIES)).status_code == 200
    await far.post("/logout", data={"form_token": "of another session"})
    far.cookies.set(PLAIN_COOKIE, secret, domain="pacs.hospital", path="/")
    assert (await far.get(STUDIES)).status_code == 200
    answer = await far.post("/logout", data={"form_token": form_token(secret)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert PLAIN_COOKIE not in far.cookies
    assert (await far.get(STUDIES, headers={"cookie": f"{PLAIN_COOKIE}={secret}"})).status_code == 401
    assert (await far.get("/logout")).status_code == 405


# --- other sites ---


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://pacs.hospital:8081"},
        {"origin": "http://pacs.hospital.evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://pacs.hospital", "sec-fetch-site": "cross-site"},
    ],
)
async def test_another_site_changes_nothing(far: httpx.AsyncClient, people: People, headers: dict[str, str]) -> None:
    await add(people, "mueller")
    assert (
        await far.post("/login", data={"username": "mueller", "password": PASSWORD}, headers=headers)
    ).status_code == 403
    await _log_in(far)
    for path in (STUDIES, "/preferences", "/logout"):
        assert (await far.post(path, content=b"", headers=headers)).status_code == 403
    assert (await far.get(STUDIES)).status_code == 200


async def test_another_port_of_this_machine_changes_nothing(near: httpx.AsyncClient) -> None:
    answer = await near.post(STUDIES, content=b"", headers={"origin": "http://localhost:9999"})
    assert answer.status_code == 403


async def test_ones_own_pages_do(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    headers = {"origin": "http://pacs.hospital", "sec-fetch-site": "same-origin"}
    answer = await far.post("/login", data={"username": "mueller", "password": PASSWORD}, headers=headers)
    assert answer.status_code == 303


@pytest.mark.parametrize("host", ["", "a b", "evil\\.example", "@evil", "[::1", "a" * 300, "exa<mple"])
async def test_a_name_that_is_none_is_not_answered(far: httpx.AsyncClient, host: str) -> None:
    answer = await far.get("/healthz", headers={"host": host})
    assert answer.status_code == 421 or host == "@evil"


# --- tokens and Basic ---


async def test_a_token_opens_what_its_role_allows(far: httpx.AsyncClient, people: People, clock: HeldClock) -> None:
    token = await create_token(people, TokenRequest("one", days=1), "researcher")
    for headers in (
        _bearer(token),
        {"authorization": f"bearer  {token} "},
        _basic("anything", token),
        _basic("", token),
    ):
        assert (await far.get(STUDIES, headers=headers)).status_code == 200
    clock.wait(86_400)
    answer = await far.get(STUDIES, headers=_bearer(token))
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


async def test_a_revoked_token_is_refused_within_seconds(
    far: httpx.AsyncClient, people: People, clock: HeldClock
) -> None:
    token = await create_token(people, TokenRequest("one"), "researcher")
    assert (await far.get(STUDIES, headers=_bearer(token))).status_code == 200
    await revoke_token(people, "one")
    clock.wait(ACCESS_CACHE_S)
    assert (await far.get(STUDIES, headers=_bearer(token))).status_code == 401


async def test_login_and_password_by_basic(far: httpx.AsyncClient, people: People, clock: HeldClock) -> None:
    await add(people, "mueller")
    assert (await far.get(STUDIES, headers=_basic("Mueller", PASSWORD))).status_code == 200
    answer = await far.get(STUDIES, headers=_basic("mueller", "wrong"))
    assert answer.status_code == 401
    assert "basic" not in answer.headers["www-authenticate"].lower()  # browsers would ask in a window of their own
    await change_account(people, "mueller", AccountChange(disabled=True))
    clock.wait(ACCESS_CACHE_S)
    assert (await far.get(STUDIES, headers=_basic("Mueller", PASSWORD))).status_code == 401


async def test_a_token_beside_a_cookie_is_what_counts(far: httpx.AsyncClient, people: People) -> None:
    await add(people, "mueller")
    await _log_in(far)
    assert (await far.get(STUDIES, headers=_bearer("forged"))).status_code == 401
    assert PLAIN_COOKIE in far.cookies


async def test_what_was_remembered_of_one_is_not_anothers(far: httpx.AsyncClient, people: People) -> None:
    """Fifty requests at once, by three people and nobody."""
    tokens = []
    for login in ("a1", "b1", "c1"):
        with acting_as(await access_of(people, await add(people, login))):
            tokens.append(await create_own_token(people, TokenRequest("t")))
    wanted = [*tokens, "forged"] * 12
    answers = await asyncio.gather(*(far.get(STUDIES, headers=_bearer(token)) for token in wanted))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 401] * 12
