"""Subscriptions: made, read and changed as FHIR says; told of what changed, with the rights of their owner."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fhir.resources.R4B import get_fhir_model_class

from fhir_asking import get, resources
from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_token, revoke_token
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.fhir.notices import tell_subscribers
from fileroom.fhir.subscriptions import may_be_called
from stored_objects import make_file, store_file


@dataclass
class Receiver:
    """A program that is told: what it was sent, and what it answers."""

    url: str = ""
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A small HTTP server on loopback."""
    told = Receiver()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            headers = {name.lower(): value for name, value in headers.items()}
            told.requests.append((headers, await reader.readexactly(int(headers.get("content-length", "0")))))
            writer.write(f"HTTP/1.1 {told.status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    told.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told?key=1"
    yield told
    server.close()
    await server.wait_closed()


def subscription(url: str, criteria: str = "ImagingStudy?modality=CT", **channel: Any) -> dict[str, Any]:
    """A subscription with a payload."""
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "Test",
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": url, "payload": "application/fhir+json", **channel},
    }


async def send(
    client: httpx.AsyncClient, method: str, path: str, body: Any, status: int, **headers: str
) -> dict[str, Any]:
    """A resource that is sent; what is answered is valid."""
    answer = await client.request(
        method, f"/fhir/{path}", content=json.dumps(body), headers={"content-type": "application/fhir+json", **headers}
    )
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    get_fhir_model_class(found["resourceType"]).model_validate(found)
    return found


async def new_study(archive: Archive, uid: str, **attributes: str) -> None:
    """A study of one CT image."""
    values = {
        "Modality": "CT",
        "PatientID": "P1",
        "IssuerOfPatientID": "HOSPITAL",
        "StudyDate": "20261123",
    } | attributes
    with acting_as(SYSTEM):
        await store_file(
            archive,
            make_file(
                StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", StudyTime="", **values
            ),
        )


async def rounds(archive: Archive) -> int:
    """Note what changed, let the moment of quiet be over, and tell."""
    with acting_as(SYSTEM):
        tried = await tell_subscribers(archive)
        async with archive.pool.connection() as connection:
            await connection.execute(b"UPDATE fhir_notice SET due_at = now() WHERE state = 'waiting'")
        return tried + await tell_subscribers(archive)


async def test_a_subscription_is_made_read_changed_and_ended(client: httpx.AsyncClient, receiver: Receiver) -> None:
    made = await send(
        client, "POST", "Subscription", subscription(receiver.url, header=["Authorization: Bearer secret"]), 201
    )
    assert (made["status"], made["channel"]["header"]) == ("active", ["Authorization: ***"])
    path = f"Subscription/{made['id']}"
    assert await get(client, path) == made
    assert resources(await get(client, "Subscription?status=active")) == [made]
    changed = await send(client, "PUT", path, made | {"status": "off"}, 200, **{"if-match": 'W/"1"'})
    assert (changed["status"], changed["meta"]["versionId"]) == ("off", "2")
    await send(client, "PUT", path, made, 409, **{"if-match": 'W/"1"'})
    await send(client, "PUT", "Subscription/99", made | {"id": "99"}, 404)
    assert (await client.delete(f"/fhir/{path}")).status_code == 204
    assert (await get(client, path, 410))["issue"][0]["code"] == "deleted"
    assert resources(await get(client, "Subscription")) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"criteria": "Observation?code=1"},
        {"criteria": "ImagingStudy?color=red"},
        {"criteria": "ImagingStudy?_count=2"},
        {"criteria": ""},
        {"status": "done"},
        {"channel": None},
        {"channel": {"type": "websocket", "endpoint": "https://example.org"}},
        {"channel": {"type": "rest-hook", "endpoint": "ftp://example.org"}},
        {"channel": {"type": "rest-hook", "endpoint": "https://user:password@example.org"}},
        {"channel": {"type": "rest-hook", "endpoint": "https://example.org", "payload": "application/fhir+xml"}},
        {"channel": {"type": "rest-hook", "endpoint": "https://example.org", "header": ["Host: other"]}},
        {"channel": {"type": "rest-hook", "endpoint": "https://example.org", "header": ["X: a\r\nY: b"]}},
        {"channel": {"type": "rest-hook", "endpoint": "https://example.org", "header": ["Authorization: ***"]}},
        {"channel": {"type": "rest-hook", "endpoint": "http://192.0.2.1/", "payload": "application/fhir+json"}},
        {"channel": {"type": "rest-hook", "endpoint": "http://192.0.2.1/", "header": ["Authorization: x"]}},
        {"end": "tomorrow"},
    ],
)
async def test_what_cannot_be_told_is_not_taken(client: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    found = await send(client, "POST", "Subscription", subscription("https://example.org/hook") | wrong, 422)
    assert found["issue"][0]["code"] == "processing"


async def test_what_is_no_subscription_is_refused(client: httpx.AsyncClient) -> None:
    for body, content_type, status in (
        (b"{", "application/fhir+json", 400),
        (b'{"resourceType": "Patient"}', "application/fhir+json", 422),
        (b"[]", "application/json", 422),
        (b"<Subscription/>", "application/fhir+xml", 415),
    ):
        answer = await client.post("/fhir/Subscription", content=body, headers={"content-type": content_type})
        assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")


def test_without_tls_only_this_machine_is_told_of_patients() -> None:
    assert may_be_called("https://192.0.2.1/", plain_http=False, has_secrets=True)
    assert may_be_called("http://127.0.0.1:1/", plain_http=False, has_secrets=True)
    assert may_be_called("http://[::1]/", plain_http=False, has_secrets=True)
    assert may_be_called("http://192.0.2.1/", plain_http=False, has_secrets=False)
    assert may_be_called("http://192.0.2.1/", plain_http=True, has_secrets=True)
    assert not may_be_called("http://192.0.2.1/", plain_http=False, has_secrets=True)
    assert not may_be_called("http://localhost.example.org/", plain_http=False, has_secrets=True)


async def test_a_new_study_that_fits_is_told_once(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    await send(client, "POST", "Subscription", subscription(receiver.url, header=["Authorization: Bearer secret"]), 201)
    await rounds(filled)
    assert receiver.requests == []
    await new_study(filled, "1.2.5.1")
    await new_study(filled, "1.2.5.2", Modality="MR")
    await rounds(filled)
    await rounds(filled)
    [(headers, body)] = receiver.requests
    assert (headers["authorization"], headers["content-type"]) == ("Bearer secret", "application/fhir+json")
    assert json.loads(body) == await get(client, "ImagingStudy/1.2.5.1")


async def test_orders_reports_and_patients_are_told_of_too(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    for criteria in ("ServiceRequest?status=active", "DiagnosticReport?status=final", "Patient?family=muller"):
        await send(client, "POST", "Subscription", subscription(receiver.url, criteria), 201)
    await send(client, "POST", "Subscription", subscription(receiver.url, "Patient?family=other"), 201)
    async with filled.pool.connection() as connection:
        for table in ("imaging_order", "report", "registered_patient"):
            await connection.execute(f"UPDATE {table} SET changed_at = clock_timestamp()".encode())
    await rounds(filled)
    kinds = sorted(json.loads(body)["resourceType"] for _, body in receiver.requests)
    assert kinds == ["DiagnosticReport", "Patient", "ServiceRequest"]


async def test_without_a_payload_the_notice_is_empty(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    await send(client, "POST", "Subscription", subscription(receiver.url, payload=""), 201)
    await new_study(filled, "1.2.5.1")
    await rounds(filled)
    [(headers, body)] = receiver.requests
    assert (headers["content-length"], body) == ("0", b"")


async def test_who_does_not_answer_is_tried_again_and_then_no_more(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    made = await send(client, "POST", "Subscription", subscription(receiver.url), 201)
    await new_study(filled, "1.2.5.1")
    receiver.status = 503
    await rounds(filled)
    found = await get(client, f"Subscription/{made['id']}")
    assert (found["status"], found["error"]) == ("active", "It answers 503.")
    receiver.status = 200
    await rounds(filled)
    assert len(receiver.requests) == 2
    receiver.status = 400
    await new_study(filled, "1.2.5.2")
    for _ in range(12):
        await rounds(filled)
    assert (await get(client, f"Subscription/{made['id']}"))["status"] == "error"
    tried = len(receiver.requests)
    await rounds(filled)
    assert len(receiver.requests) == tried


async def test_the_owner_is_told_only_of_what_they_may_see(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    people = People(filled.pool, filled.settings, filled.now)
    with acting_as(SYSTEM):
        scopes = ("patient/*.rs", "user/Subscription.cruds")
        secret = await create_token(people, TokenRequest("app", fhir_scopes=scopes, fhir_patient=1), "administrator")
    header = {"authorization": f"Bearer {secret}"}
    made = await send(client, "POST", "Subscription", subscription(receiver.url, "ImagingStudy?"), 201, **header)
    await new_study(filled, "1.2.5.1")
    await new_study(filled, "1.2.5.2", PatientID="P2")
    await rounds(filled)
    assert [json.loads(body)["id"] for _, body in receiver.requests] == ["1.2.5.1"]
    with acting_as(SYSTEM):
        await revoke_token(people, "app")
    await new_study(filled, "1.2.5.3")
    await rounds(filled)
    assert len(receiver.requests) == 1
    assert (await get(client, f"Subscription/{made['id']}"))["status"] == "off"


async def test_what_changed_before_somebody_listened_is_nothing_new(
    client: httpx.AsyncClient, filled: Archive, receiver: Receiver
) -> None:
    made = await send(client, "POST", "Subscription", subscription(receiver.url), 201)
    await send(client, "PUT", f"Subscription/{made['id']}", made | {"status": "off"}, 200)
    await rounds(filled)
    await new_study(filled, "1.2.5.1")
    await send(client, "PUT", f"Subscription/{made['id']}", made | {"status": "requested"}, 200)
    await rounds(filled)
    assert receiver.requests == []
