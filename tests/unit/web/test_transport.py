"""Who is served by plain HTTP, where others are led, what browsers are told of HTTPS, and headers of every answer."""

from __future__ import annotations

import dataclasses

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.web.app import create_app


def client_of(archive: Archive, address: str, base_url: str, **settings: object) -> httpx.AsyncClient:
    """Somebody at an address, who calls the server by `base_url`."""
    values = Settings(**({"host": "0.0.0.0", "web_plain_http": "loopback"} | settings))  # type: ignore[arg-type]
    transport = httpx.ASGITransport(create_app(dataclasses.replace(archive, settings=values)), client=(address, 40000))
    return httpx.AsyncClient(transport=transport, base_url=base_url)


async def test_others_are_led_to_https_on_the_same_port(archive: Archive) -> None:
    async with client_of(archive, "10.0.0.9", "http://pacs.hospital:8080") as client:
        answer = await client.get("/studies/1.2?x=a%20b")
        assert answer.status_code == 307
        assert answer.headers["location"] == "https://pacs.hospital:8080/studies/1.2?x=a%20b"
        assert "strict-transport-security" not in answer.headers
        refused = await client.post("/login", data={"username": "x", "password": "y"})
        assert refused.status_code == 403
        assert (await client.get("/healthz")).status_code == 200
        # A header that splits, or leads elsewhere, leads nowhere.
        for host in ("evil.example/x", "a b", "x\\y"):
            assert "location" not in (await client.get("/", headers={"host": host})).headers


async def test_this_machine_is_served(archive: Archive) -> None:
    async with client_of(archive, "127.0.0.1", "http://localhost:8080") as client:
        assert (await client.get("/login")).status_code == 200
    async with client_of(archive, "127.0.0.1", "http://localhost:8080", web_plain_http="never") as client:
        assert (await client.get("/login")).status_code == 307


async def test_everybody_where_the_settings_say_so(archive: Archive) -> None:
    async with client_of(archive, "10.0.0.9", "http://pacs.hospital", web_plain_http="everywhere") as client:
        assert (await client.get("/login")).status_code == 200


async def test_a_trusted_proxy_that_ends_tls(archive: Archive) -> None:
    async with client_of(archive, "10.0.0.5", "http://pacs.hospital", trusted_proxies="10.0.0.5") as client:
        told = {"x-forwarded-for": "10.9.9.9", "x-forwarded-proto": "https"}
        answer = await client.get("/login", headers=told)
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=2592000"
        assert (await client.get("/login", headers=told | {"x-forwarded-proto": "http"})).status_code == 307
    async with client_of(archive, "10.0.0.6", "http://pacs.hospital", trusted_proxies="10.0.0.5") as client:
        assert (await client.get("/login", headers=told)).status_code == 307  # anybody can write that


@pytest.mark.parametrize(
    ("base_url", "settings", "expected"),
    [
        ("https://pacs.hospital", {}, "max-age=2592000"),
        ("https://pacs.hospital", {"web_hsts_days": 365}, "max-age=31536000"),
        ("https://pacs.hospital", {"web_hsts_days": 0}, None),
        ("https://localhost:8080", {}, None),
        ("https://127.0.0.1:8080", {}, None),
    ],
)
async def test_hsts(archive: Archive, base_url: str, settings: dict[str, object], expected: str | None) -> None:
    async with client_of(archive, "10.0.0.9", base_url, **settings) as client:
        answer = await client.get("/login")
        assert answer.status_code == 200
        assert answer.headers.get("strict-transport-security") == expected


@pytest.mark.parametrize("path", ["/login", "/", "/viewer", "/dicom-web/studies", "/healthz", "/nothing", "/metrics"])
async def test_every_answer_keeps_others_out(archive: Archive, path: str) -> None:
    async with client_of(archive, "10.0.0.9", "https://pacs.hospital") as client:
        headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
