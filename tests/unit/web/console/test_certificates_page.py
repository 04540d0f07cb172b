"""`/admin/certificates`: forms with files do what they say, for whoever may; keys never come out."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import PASSWORD, add, people_of
from tls_material import authority

BASE_URL = "http://pacs.hospital"
PAGE = "/admin/certificates"


@pytest.fixture
async def client(archive: Archive, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator on the network."""
    archive = dataclasses.replace(archive, settings=Settings(host="0.0.0.0", data=tmp_path / "data"))
    await add(people_of(archive, archive.now), "boss", "administrator")
    transport = httpx.ASGITransport(create_app(archive), client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        answer = await client.post("/login", data={"username": "boss", "password": PASSWORD})
        assert answer.status_code == 303
        yield client


async def send(
    client: httpx.AsyncClient, path: str, files: dict[str, bytes] | None = None, **fields: str
) -> httpx.Response:
    token = form_token(client.cookies[PLAIN_COOKIE])
    return await client.post(
        PAGE + path,
        data={"form_token": token, **fields},
        files={name: (f"{name}.bin", content) for name, content in (files or {}).items()} or None,
        headers={"origin": BASE_URL},
    )


async def test_a_certificate_is_made_shown_and_removed(client: httpx.AsyncClient) -> None:
    empty = await client.get(PAGE)
    assert "There is none yet" in empty.text
    made = await send(client, "/self-signed", name="pacs", names="pacs.example.org\n10.1.2.3", key="ec", days="90")
    assert made.headers["location"] == f"{PAGE}?done=made"
    assert (await send(client, "/activate", name="pacs", use="web")).status_code == 303
    page = (await client.get(PAGE)).text
    assert "pacs.example.org, 10.1.2.3" in page
    pem = await client.get(f"{PAGE}/pem?name=pacs")
    assert pem.text.startswith("-----BEGIN CERTIFICATE-----")
    assert "PRIVATE" not in pem.text + page.replace("-----BEGIN PRIVATE KEY-----", "", 1)
    refused = await send(client, "/remove", name="pacs")
    assert refused.status_code == 409
    assert "pacs is active" in refused.text
    assert (await send(client, "/deactivate", use="web")).status_code == 303
    assert (await send(client, "/remove", name="pacs")).status_code == 303
    assert "There is none yet" in (await client.get(PAGE)).text


async def test_binary_files_come_as_they_are(client: httpx.AsyncClient) -> None:
    root = authority()
    for number in range(5):  # other bytes each time: line ends and boundaries among them
        leaf = root.issue(f"pacs{number}")
        locked = BestAvailableEncryption(b" p%ss ")
        file = pkcs12.serialize_key_and_certificates(b"x", leaf.key, leaf.certificate, [root.certificate], locked)
        answer = await send(client, "/add", {"certificate": file}, name=f"pacs{number}", password=" p%ss ")
        assert answer.status_code == 303, answer.text
    two = root.issue("two files")
    files = {"certificate": two.pem.encode(), "key": two.key_pem.encode()}
    assert (await send(client, "/add", files, name="two")).status_code == 303
    pasted = root.issue("pasted")
    answer = await send(client, "/add", name="pasted", certificate_text=pasted.pem + pasted.key_pem)
    assert answer.status_code == 303
    wrong = await send(client, "/add", {"certificate": two.pem.encode(), "key": pasted.key_pem.encode()}, name="wrong")
    assert wrong.status_code == 400
    assert "None of the certificates belongs to the key" in wrong.text
    assert pasted.key_pem[40:80] not in wrong.text


async def test_trust_and_a_list_of_revoked_ones(client: httpx.AsyncClient) -> None:
    root = authority("<script>alert(1)</script>")
    assert (await send(client, "/trust", {"certificate": root.pem.encode()}, name="ca")).status_code == 303
    crl = root.crl(root.issue("lost")).encode()
    assert (await send(client, "/revoked", {"list": crl}, name="ca")).status_code == 303
    page = (await client.get(PAGE)).text
    assert "<script>alert" not in page
    assert "with a list of revoked ones" in page
    assert (await client.get(f"{PAGE}/pem?of=trusted&name=ca")).text == root.pem
    assert (await send(client, "/distrust", name="ca")).status_code == 303


async def test_what_ends_soon_is_told(client: httpx.AsyncClient) -> None:
    soon = authority().issue("soon", ends=dt.timedelta(days=3, hours=1))
    await send(client, "/add", {"certificate": (soon.pem + soon.key_pem).encode()}, name="soon")
    assert "expires in" not in (await client.get(PAGE)).text  # it is shown nowhere
    await send(client, "/activate", name="soon", use="dicom")
    assert "soon expires in 3 days" in (await client.get(PAGE)).text
    german = await client.get("/system", headers={"accept-language": "de"})
    assert "soon läuft in 3 Tagen ab" in german.text


async def test_the_forms_of_others_do_nothing(client: httpx.AsyncClient) -> None:
    refused = await client.post(f"{PAGE}/self-signed", data={"name": "x", "names": "x"}, headers={"origin": BASE_URL})
    assert refused.status_code == 403
    unreadable = await client.post(
        f"{PAGE}/add",
        content=b"--x\r\nnonsense",
        headers={"origin": BASE_URL, "content-type": "multipart/form-data; boundary=x"},
    )
    assert unreadable.status_code in (400, 403)
    huge = await send(client, "/add", {"certificate": b"x" * 1_200_000}, name="x")
    assert huge.status_code == 413
    assert "There is none yet" in (await client.get(PAGE)).text
