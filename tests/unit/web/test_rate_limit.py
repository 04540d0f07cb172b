"""Requests without a login are limited for each address; people who have logged in are not."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_token
from fileroom.archive.services import Archive
from fileroom.core.errors import TooManyAttemptsError
from fileroom.core.limits import RATE_ADDRESSES_MAX
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.rate_limit import STRANGERS, WRONG_CREDENTIALS, Rate, RateLimit
from people_of_tests import HeldClock, people_of

SLOW = Rate("slow", 2, 0.5)
Clients = Callable[..., httpx.AsyncClient]


def test_a_bucket_empties_and_fills_by_the_second() -> None:
    clock = HeldClock()
    limit = RateLimit(clock)
    limit.count(SLOW, "10.0.0.1")
    limit.count(SLOW, "10.0.0.1")
    with pytest.raises(TooManyAttemptsError) as refused:
        limit.count(SLOW, "10.0.0.1")
    assert refused.value.retry_after_s == 2
    limit.count(SLOW, "10.0.0.2")  # somebody else
    clock.wait(1)
    with pytest.raises(TooManyAttemptsError):
        limit.count(SLOW, "10.0.0.1")
    clock.wait(1)
    limit.count(SLOW, "10.0.0.1")
    clock.wait(3600)
    for _ in range(2):
        limit.count(SLOW, "10.0.0.1")  # never more than the burst
    with pytest.raises(TooManyAttemptsError):
        limit.count(SLOW, "10.0.0.1")


def test_an_address_of_ipv6_is_its_network() -> None:
    limit = RateLimit(HeldClock())
    limit.count(SLOW, "2001:db8:1:2::1")
    limit.count(SLOW, "2001:db8:1:2:ffff::9")
    with pytest.raises(TooManyAttemptsError):
        limit.count(SLOW, "2001:db8:1:2::3")


def test_invented_addresses_do_not_fill_the_memory() -> None:
    limit = RateLimit(HeldClock())
    for number in range(RATE_ADDRESSES_MAX + 100):
        limit.count(SLOW, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}")
    assert len(limit._kept) == RATE_ADDRESSES_MAX


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def far(archive: Archive, clock: HeldClock) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on the network."""
    app = create_app(dataclasses.replace(archive, settings=Settings(host="0.0.0.0"), now=clock))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://pacs.hospital") as client:
        yield client


async def test_a_flood_of_strangers_is_told_to_wait(far: httpx.AsyncClient, people: People, clock: HeldClock) -> None:
    token = await create_token(people, TokenRequest("reader"), "researcher")
    statuses = [(await far.get("/dicom-web/studies")).status_code for _ in range(STRANGERS.burst + 5)]
    assert statuses == [401] * STRANGERS.burst + [429] * 5
    refused = await far.get("/login")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    signed = await far.get("/dicom-web/studies", headers={"authorization": f"Bearer {token}"})
    assert signed.status_code == 200  # whoever is known is not kept out by others behind the same address
    clock.wait(1)
    assert (await far.get("/login")).status_code == 200


async def test_guessing_tokens_is_limited(far: httpx.AsyncClient, people: People) -> None:
    statuses = [
        (await far.get("/dicom-web/studies", headers={"authorization": f"Bearer fr_{number:043}"})).status_code
        for number in range(WRONG_CREDENTIALS.burst + 3)
    ]
    assert statuses == [401] * WRONG_CREDENTIALS.burst + [429] * 3
    forged = await far.get("/dicom-web/studies", headers={"cookie": "fileroom_session=guess"})
    assert forged.status_code == 429
    assert int(forged.headers["retry-after"]) >= 1
    assert (await far.get("/login")).status_code == 200  # a broken program does not keep people from logging in
