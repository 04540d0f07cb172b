"""Who asked, by the word of trusted proxies only; everything that clients invent is passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.admin.people import People
from fileroom.admin.sessions import list_sessions
from fileroom.archive.services import Archive
from fileroom.core.limits import ADDRESS_FAILURES_MAX
from fileroom.core.networks import networks_of
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, SECURE_COOKIE
from fileroom.web.forwarded import HOPS_MAX, ContradictionError, Forwarded, read_forwarded
from people_of_tests import PASSWORD, HeldClock, add, people_of

TRUSTED = networks_of("10.1.0.0/16, 192.168.0.7 fd00::/8")
Clients = Callable[..., httpx.AsyncClient]


def told(**headers: str) -> Forwarded:
    pairs = [(name.replace("_", "-").encode(), value.encode("latin_1")) for name, value in headers.items()]
    return read_forwarded(pairs, TRUSTED)


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),  # the left one is the client's own invention
        ("203.0.113.9, 10.1.2.3, 192.168.0.7", "203.0.113.9"),  # through three proxies
        ("1.2.3.4, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.1.9.9, 10.1.2.3", "10.1.9.9"),  # somebody among the proxies themselves
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::9", "2001:db8::9"),
        ("[2001:db8::9]:4711, fd00::1", "2001:db8::9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", None),
        ("203.0.113.9, unknown", None),
        ("203.0.113.9, _hidden, 10.1.2.3", "10.1.2.3"),
        ("<script>, 10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", None),
        ("", None),
    ],
)
def test_the_rightmost_address_that_is_no_proxy_counts(chain: str, client: str | None) -> None:
    assert told(x_forwarded_for=chain).address == client


def test_a_chain_without_end_is_not_followed() -> None:
    chain = ["203.0.113.9"] + [f"10.1.0.{number}" for number in range(HOPS_MAX)]
    assert told(x_forwarded_for=", ".join(chain)).address == "10.1.0.0"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("for=203.0.113.9;proto=https;host=pacs.example", Forwarded("203.0.113.9", "https", "pacs.example")),
        ('For="[2001:db8::9]:4711";Proto=HTTPS', Forwarded("2001:db8::9", "https", None)),
        (
            "for=1.2.3.4;host=evil.example, for=203.0.113.9;proto=https;host=pacs.example",
            Forwarded("203.0.113.9", "https", "pacs.example"),
        ),
        (
            'for=203.0.113.9;proto=https;host="pacs.example:8443", for=10.1.2.3;proto=http;host=inner',
            Forwarded("203.0.113.9", "https", "pacs.example:8443"),
        ),
        ("for=_secret;proto=https", Forwarded(None, "https", None)),
        ("nonsense", Forwarded()),
        ('for="203.0.113.9', Forwarded()),
        ("for=203.0.113.9;proto=javascript;host=a/b", Forwarded("203.0.113.9", None, None)),
    ],
)
def test_the_standard_header_says_the_same(header: str, expected: Forwarded) -> None:
    assert told(forwarded=header) == expected


def test_each_proxy_adds_its_own_scheme_and_name() -> None:
    assert told(
        x_forwarded_for="203.0.113.9, 10.1.2.3",
        x_forwarded_proto="gopher, https, http",
        x_forwarded_host="evil.example, pacs.example, inner",
    ) == Forwarded("203.0.113.9", "https", "pacs.example")
    assert told(x_forwarded_for="203.0.113.9", x_forwarded_proto="https", x_forwarded_host="PACS.example") == Forwarded(
        "203.0.113.9", "https", "pacs.example"
    )


@pytest.mark.parametrize(
    ("host", "port", "proto", "expected"),
    [
        ("pacs.example", "8443", "https", "pacs.example:8443"),
        ("pacs.example", "443", "https", "pacs.example"),
        ("pacs.example:8443", "9999", "https", "pacs.example:8443"),
        ("[2001:db8::1]", "8443", "https", "[2001:db8::1]:8443"),
        ("pacs.example", "x", "https", "pacs.example"),
        ("a b", "1", "https", None),
        ("a\\b", "", "http", None),
    ],
)
def test_name_and_port(host: str, port: str, proto: str, expected: str | None) -> None:
    found = told(x_forwarded_for="203.0.113.9", x_forwarded_host=host, x_forwarded_port=port, x_forwarded_proto=proto)
    assert found.host == expected


def test_two_headers_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ContradictionError):
        told(forwarded="for=1.2.3.4", x_forwarded_for="203.0.113.9")
    assert told(forwarded="for=203.0.113.9", x_forwarded_for="203.0.113.9").address == "203.0.113.9"


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_text_breaks_the_reader(standard: str, chain: str) -> None:
    try:
        found = told(forwarded=standard, x_forwarded_for=chain, x_forwarded_host=chain, x_forwarded_proto=chain)
    except ContradictionError:
        return
    assert found.scheme in (None, "http", "https")
    assert found.host is None or found.host.isascii()


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "10.0.0.1-10.0.0.9", ",".join(["10.0.0.1"] * 101)])
def test_a_setting_that_is_no_list_of_networks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies=text)


# --- what it decides ---


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def clients(archive: Archive, clock: HeldClock) -> AsyncIterator[Clients]:
    """Makes clients that come from an address to an application that trusts 10.1.0.0/16."""
    made: list[httpx.AsyncClient] = []
    values = {"host": "0.0.0.0", "trusted_proxies": "10.1.0.0/16"}
    app = create_app(dataclasses.replace(archive, settings=Settings(**values), now=clock))  # type: ignore[arg-type]

    def client(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 40000))
        made.append(httpx.AsyncClient(transport=transport, base_url="http://inner:8080"))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


FORWARDED = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "pacs.example"}


async def test_a_trusted_proxy_decides_cookie_session_list_and_addresses(clients: Clients, people: People) -> None:
    await add(people, "mueller")
    proxy = clients("10.1.2.3")
    data = {"username": "mueller", "password": PASSWORD}
    answer = await proxy.post("/login", data=data, headers={**FORWARDED, "origin": "https://pacs.example"})
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith(f"{SECURE_COOKIE}=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert [one.address for one in await list_sessions(people, "mueller")] == ["203.0.113.9"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    root = await proxy.get("/dicom-web/", headers={**FORWARDED, "cookie": cookie})
    assert "https://pacs.example/dicom-web" in root.text  # addresses that we make
    foreign = await proxy.post("/login", data=data, headers={**FORWARDED, "origin": "https://evil.example"})
    assert foreign.status_code == 403


async def test_anybody_else_is_not_believed(clients: Clients, people: People) -> None:
    await add(people, "mueller")
    stranger = clients("203.0.113.50")
    answer = await stranger.post("/login", data={"username": "mueller", "password": PASSWORD}, headers=FORWARDED)
    assert answer.headers["set-cookie"].startswith(f"{PLAIN_COOKIE}=")
    assert [one.address for one in await list_sessions(people, "mueller")] == ["203.0.113.50"]


async def test_guessing_is_counted_for_the_client_and_not_for_its_inventions(clients: Clients, people: People) -> None:
    proxy = clients("10.1.2.3")
    for number in range(ADDRESS_FAILURES_MAX + 1):
        headers = {"x-forwarded-for": f"192.0.2.{number}, 203.0.113.9"}
        last = await proxy.post("/login", data={"username": f"x{number}", "password": "wrong"}, headers=headers)
    assert last.status_code == 429
    other = await proxy.post(
        "/login", data={"username": "y", "password": "wrong"}, headers={"x-forwarded-for": "203.0.113.10"}
    )
    assert other.status_code == 401  # somebody else behind the same proxy


async def test_contradicting_headers_are_a_wrong_request(clients: Clients) -> None:
    headers = {"forwarded": "for=1.2.3.4", "x-forwarded-for": "203.0.113.9"}
    assert (await clients("10.1.2.3").get("/login", headers=headers)).status_code == 400
    assert (await clients("203.0.113.50").get("/login", headers=headers)).status_code == 200
