"""UPS-RS asked by httpx, and its events heard by the `websockets` client (PS3.18 chapter 11)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.dicom.xml_model import stream_xml
from fileroom.web import notifications
from fileroom.web.app import create_app
from fileroom.web.server import GatheringHttpProtocol
from fileroom.worklist.workitem_outbox import forget_old_workitems
from fileroom.worklist.workitem_rules import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from workitem_models import TRANSACTION, UID, json_of, performed, progress, workitem

JSON = {"content-type": "application/dicom+json"}
WORKITEMS = "/dicom-web/workitems"
ONE = f"{WORKITEMS}/{UID}"
WAIT_S = 60


def body(model: dict[str, Any]) -> bytes:
    return orjson.dumps([model])


def state(wanted: str, key: str = TRANSACTION) -> bytes:
    model: dict[str, Any] = {"00741000": {"vr": "CS", "Value": [wanted]}}
    if key:
        model["00081195"] = {"vr": "UI", "Value": [key]}
    return body(model)


async def make(client: httpx.AsyncClient, uid: str = UID, **values: Any) -> httpx.Response:
    return await client.post(f"{WORKITEMS}?{uid}", content=body(json_of(workitem(**values))), headers=JSON)


async def test_a_workitem_from_its_making_to_its_end(client: httpx.AsyncClient) -> None:
    made = await make(client)
    assert made.status_code == 201
    assert made.headers["location"] == f"http://localhost:8080{ONE}"
    assert "warning" not in made.headers
    assert (await make(client)).status_code == 409
    shown = await client.get(ONE)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "application/dicom+json")
    assert shown.json()[0]["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    begun = await client.put(f"{ONE}/state", content=state("IN PROGRESS"), headers=JSON)
    assert begun.status_code == 200
    again = await client.put(f"{ONE}/state", content=state("IN PROGRESS"), headers=JSON)
    assert again.status_code == 409
    assert "inconsistent with the state" in again.headers["warning"]
    for key, words in (("", "missing"), ("1.2.3", "incorrect")):
        wrong = await client.put(f"{ONE}/state", content=state("COMPLETED", key), headers=JSON)
        assert (wrong.status_code, f"The Transaction UID is {words}." in wrong.headers["warning"]) == (400, True)
    early = await client.put(f"{ONE}/state", content=state("COMPLETED"), headers=JSON)
    assert early.status_code == 409
    assert "UnifiedProcedureStepPerformedProcedureSequence" in early.json()["detail"]
    for change in (progress("50", "halfway"), performed()):
        done = await client.post(f"{ONE}?{TRANSACTION}", content=body(json_of(change)), headers=JSON)
        assert done.status_code == 200
    refused = await client.post(ONE, content=body(json_of(progress("60"))), headers=JSON)
    assert (refused.status_code, "missing" in refused.headers["warning"]) == (400, True)
    assert (await client.put(f"{ONE}/state", content=state("COMPLETED"), headers=JSON)).status_code == 200
    over = await client.put(f"{ONE}/state", content=state("COMPLETED"), headers=JSON)
    assert over.status_code == 200
    assert "The UPS is already in the requested state of COMPLETED." in over.headers["warning"]
    late = await client.post(f"{ONE}?{TRANSACTION}", content=body(json_of(progress("60"))), headers=JSON)
    assert late.status_code == 400
    shown = await client.get(ONE)
    assert shown.json()[0]["00741000"]["Value"] == ["COMPLETED"]
    assert "00081195" not in shown.json()[0]
    assert (await client.post(f"{ONE}/cancelrequest")).status_code == 409


async def test_xml_and_multipart(client: httpx.AsyncClient) -> None:
    document = b"".join(stream_xml(json_of(workitem(WorklistLabel=None))))
    made = await client.post(
        f"{WORKITEMS}?workitem=1.1", content=document, headers={"content-type": "application/dicom+xml"}
    )
    assert made.status_code == 201
    assert "created with modifications" in made.headers["warning"]
    parts = b"--b\r\nContent-Type: application/dicom+xml\r\n\r\n" + document + b"\r\n--b--\r\n"
    header = {"content-type": 'multipart/related; type="application/dicom+xml"; boundary=b'}
    assert (await client.post(f"{WORKITEMS}?1.2", content=parts, headers=header)).status_code == 201
    shown = await client.get(f"{WORKITEMS}/1.1", headers={"accept": "application/dicom+xml"})
    assert shown.headers["content-type"] == "application/dicom+xml"
    assert b"<FamilyName>M\xc3\xbcller</FamilyName>" in shown.content
    parts_of = await client.get(
        f"{WORKITEMS}/1.2", headers={"accept": 'multipart/related; type="application/dicom+xml"'}
    )
    assert parts_of.headers["content-type"].startswith("multipart/related")
    found = await client.get(WORKITEMS, headers={"accept": 'multipart/related; type="application/dicom+xml"'})
    assert found.content.count(b"<NativeDicomModel") == 2


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/dicom+json", 400),
        (b"{", "application/dicom+json", 400),
        (b"[]", "application/dicom+json", 400),
        (b'[{"nonsense": 1}]', "application/dicom+json", 400),
        (b'[{"00741000": {"vr": "CS", "Value": "no list"}}]', "application/dicom+json", 400),
        (body(json_of(workitem(ProcedureStepLabel=None))), "application/dicom+json", 400),
        (body(json_of(workitem(ProcedureStepState="COMPLETED"))), "application/dicom+json", 409),
        (b"<x/>", "application/dicom+xml", 400),
        (b"x", "text/plain", 415),
        (b'[{"00741204": {"vr": "LO", "Value": ["' + b"x" * 5_000_000 + b'"]}}]', "application/dicom+json", 413),
    ],
)
async def test_what_is_no_workitem(client: httpx.AsyncClient, content: bytes, kind: str, status: int) -> None:
    answer = await client.post(f"{WORKITEMS}?1.1", content=content, headers={"content-type": kind})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


async def test_searching(client: httpx.AsyncClient) -> None:
    assert (await client.get(WORKITEMS)).status_code == 204
    await make(client, "1.1")
    await make(client, "1.2", PatientName="Schmidt^Ute", PatientID="P2", ScheduledProcedureStepStartDateTime="20261124")
    await make(client, "1.3", ScheduledProcedureStepPriority="HIGH")

    async def found(query: str) -> list[str]:
        answer = await client.get(f"{WORKITEMS}?{query}")
        return [one["00080018"]["Value"][0] for one in answer.json()] if answer.status_code == 200 else []

    assert await found("PatientID=P2") == ["1.2"]
    assert await found("00100010=SCHM*&ProcedureStepState=SCHEDULED") == ["1.2"]
    assert await found("ScheduledProcedureStepStartDateTime=20261123-20261123235959") == ["1.1", "1.3"]
    assert await found("ReferencedRequestSequence.AccessionNumber=A1&ScheduledProcedureStepPriority=HIGH,LOW") == [
        "1.3"
    ]
    assert await found("ScheduledWorkitemCodeSequence.CodeValue=110004&limit=1&offset=1") == ["1.3"]
    assert await found("PatientID=nobody") == []
    cut = await client.get(f"{WORKITEMS}?limit=1&fuzzymatching=true&nonsense=1")
    assert "additional results" in cut.headers["warning"]
    assert "fuzzymatching" in cut.headers["warning"]
    [one] = cut.json()
    assert one["0040A370"]["Value"][0]["00080050"]["Value"] == ["A1"]
    assert "00400400" in one
    assert "00741210" not in one
    everything = await client.get(f"{WORKITEMS}?SOPInstanceUID=1.1&includefield=all")
    assert "00741210" in everything.json()[0]
    assert (await client.get(f"{WORKITEMS}?ScheduledProcedureStepStartDateTime=soon")).status_code == 400


async def test_a_cancel_request_and_what_is_gone(archive: Archive, client: httpx.AsyncClient) -> None:
    await make(client)
    why = body({"00741238": {"vr": "LT", "Value": ["Patient went home"]}})
    assert (await client.post(f"{ONE}/cancelrequest/RIS", content=why, headers=JSON)).status_code == 202
    again = await client.post(f"{ONE}/cancelrequest")
    assert (again.status_code, "state of CANCELED" in again.headers["warning"]) == (409, True)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE workitem SET ended_at = now() - interval '2 years'")
    with acting_as(SYSTEM):
        assert await forget_old_workitems(archive) == 1
    for answer in (await client.get(ONE), await client.put(f"{ONE}/state", content=state("CANCELED"), headers=JSON)):
        assert answer.status_code == 410
    assert (await client.get(f"{WORKITEMS}/1.2.3.none")).status_code in (400, 404)
    assert (await client.get(f"{WORKITEMS}/1.2.3")).status_code == 404


async def test_subscribing_over_the_web(client: httpx.AsyncClient) -> None:
    await make(client)
    made = await client.post(f"{ONE}/subscribers/WATCHER?deletionlock=true")
    assert made.status_code == 201
    assert made.headers["content-location"] == "ws://localhost:8080/dicom-web/subscribers/WATCHER"
    assert (await client.post(f"{WORKITEMS}/{FILTERED_SUBSCRIPTION}/subscribers/WATCHER")).status_code == 400
    some = f"{WORKITEMS}/{FILTERED_SUBSCRIPTION}/subscribers/WATCHER?filter=PatientID=P2,ProcedureStepState=SCHEDULED"
    assert (await client.post(some)).status_code == 201
    assert (await client.post(f"{WORKITEMS}/1.2.3/subscribers/WATCHER")).status_code == 404
    assert (await client.post(f"{ONE}/subscribers/MUCH-TOO-LONG-A-TITLE")).status_code == 400
    assert (await client.post(f"{ONE}/subscribers/WATCHER/suspend")).status_code == 409
    assert (await client.post(f"{WORKITEMS}/{GLOBAL_SUBSCRIPTION}/subscribers/WATCHER/suspend")).status_code == 200
    assert (await client.delete(f"{ONE}/subscribers/WATCHER")).status_code == 200
    assert (await client.delete(f"{ONE}/subscribers/WATCHER")).status_code == 404


async def test_the_service_says_what_it_can(client: httpx.AsyncClient) -> None:
    document = (await client.get("/dicom-web/", headers={"accept": "application/json"})).json()
    methods = {one["path"]: [method["identifier"] for method in one["methods"]] for one in document["resources"]}
    assert methods["workitems"] == ["SearchWorkitems", "CreateWorkitem"]
    assert methods["workitems/{workitem}/state"] == ["ChangeState"]
    assert methods["subscribers/{aetitle}"] == ["OpenNotificationConnection"]


# --- events ---


@pytest.fixture
async def port(archive: Archive) -> AsyncIterator[int]:
    """A real server with WebSockets, as `app.web_worker` makes it."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(archive),
        http=GatheringHttpProtocol,
        ws="wsproto",
        ws_max_size=4096,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    server.config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    yield listening.getsockname()[1]
    server.should_exit = True
    await server.shutdown([listening])
    await asyncio.sleep(0)


async def heard(connection: ClientConnection) -> tuple[str, int, str]:
    """The next event: workitem, event type, state."""
    async with asyncio.timeout(WAIT_S):
        report = orjson.loads(await connection.recv())
    assert report["00000002"] == {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.34.6.4"]}
    told = report.get("00741000", {"Value": [""]})["Value"][0]
    return report["00001000"]["Value"][0], report["00001002"]["Value"][0], told


@contextlib.asynccontextmanager
async def listening_at(
    port: int, aet: str = "WATCHER", path: str = "/dicom-web", **more: Any
) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}{path}/subscribers/{aet}", proxy=None, **more) as connection:
        yield connection


async def test_events_come_over_the_socket(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client, listening_at(port) as connection:
        assert (await client.post(f"{WORKITEMS}/{GLOBAL_SUBSCRIPTION}/subscribers/WATCHER")).status_code == 201
        await make(client)
        assert await heard(connection) == (UID, 1, "SCHEDULED")
        assert await heard(connection) == (UID, 5, "")
        await client.put(f"{ONE}/state", content=state("IN PROGRESS"), headers=JSON)
        assert await heard(connection) == (UID, 1, "IN PROGRESS")
        await client.post(f"{ONE}?{TRANSACTION}", content=body(json_of(progress("50"))), headers=JSON)
        assert await heard(connection) == (UID, 3, "")
        await client.post(f"{ONE}/cancelrequest")
        assert await heard(connection) == (UID, 2, "")


async def test_what_happened_meanwhile_is_told_to_who_comes_back(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        await client.post(f"{WORKITEMS}/{GLOBAL_SUBSCRIPTION}/subscribers/WATCHER")
        async with listening_at(port, path="/ws") as connection:
            await make(client)
            assert await heard(connection) == (UID, 1, "SCHEDULED")
            assert await heard(connection) == (UID, 5, "")
        await client.put(f"{ONE}/state", content=state("IN PROGRESS"), headers=JSON)
        async with listening_at(port) as connection:
            assert await heard(connection) == (UID, 1, "IN PROGRESS")


async def test_a_newer_connection_speaks_for_the_title(port: int) -> None:
    async with listening_at(port) as first, listening_at(port) as second:
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(WAIT_S):
                await first.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4001
        await second.ping()


async def test_who_may_listen(port: int) -> None:
    for more in (
        {"origin": "https://elsewhere.example"},
        {"additional_headers": {"Authorization": "Bearer fr_wrong"}},
        {"additional_headers": {"X-Forwarded-For": "10.0.0.1"}},
    ):
        with pytest.raises(InvalidStatus) as caught:
            async with listening_at(port, **more):
                pass
        assert caught.value.response.status_code in (401, 403)
    with pytest.raises(InvalidStatus) as caught:
        async with listening_at(port, aet="MUCH-TOO-LONG-A-TITLE"):
            pass
    assert caught.value.response.status_code == 400
    async with listening_at(port, origin=f"http://127.0.0.1:{port}"):
        pass


async def test_nobody_takes_all_connections(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "NOTIFICATION_CHANNELS_PER_CALLER_MAX", 1)
    async with listening_at(port, "A"):
        with pytest.raises(InvalidStatus) as caught:
            async with listening_at(port, "B"):
                pass
        assert caught.value.response.status_code == 403


async def test_a_login_that_is_over_ends_the_connection(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "CHECK_AGAIN_EVERY_S", 0.0)
    async with listening_at(port) as connection:
        await connection.ping()
        # From now on whoever comes from this machine needs a login as well.
        monkeypatch.setattr("fileroom.web.authentication.is_loopback", lambda _address: False)
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(WAIT_S):
                await connection.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4003


async def test_elsewhere_there_is_no_socket_and_much_is_not_taken(port: int) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{port}/dicom-web/studies", proxy=None):
            pass
    assert caught.value.response.status_code == 200  # answered as any GET
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        plain = await client.get("/dicom-web/subscribers/WATCHER")
        assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")
    async with listening_at(port) as connection:
        await connection.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            async with asyncio.timeout(WAIT_S):
                await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
