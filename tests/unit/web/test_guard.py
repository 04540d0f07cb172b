"""Who is answered at all, and the headers that every answer carries."""

from __future__ import annotations

import httpx
import pytest

from stored_objects import make_file
from web_requests import DICOM_RELATED, dicom_parts


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST."])
async def test_local_names_are_answered(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "@localhost"]
)
async def test_other_names_are_not(client: httpx.AsyncClient, host: str) -> None:
    answer = await client.get("/healthz", headers={"host": host})
    if host == "@localhost":  # the name after the at sign is the host of a URL
        assert answer.status_code in (200, 421)
    else:
        assert answer.status_code == 421
        assert "localhost" in answer.json()["detail"]


async def test_another_site_cannot_send_objects_through_the_browser(client: httpx.AsyncClient) -> None:
    headers = {"content-type": DICOM_RELATED, "origin": "http://evil.example"}
    answer = await client.post("/dicom-web/studies", content=dicom_parts(make_file()), headers=headers)
    assert answer.status_code == 403
    assert (await client.get("/dicom-web/studies")).json() == []
    headers["origin"] = "http://localhost:8080"
    answer = await client.post("/dicom-web/studies", content=dicom_parts(make_file()), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/dicom-web/studies", "/nowhere", "/dicom-web/studies/x"])
async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"origin": "http://evil.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control")]
