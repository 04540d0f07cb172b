"""The edge link over a real server: an edge whose archive is also the centre's, and another one's objects."""

from __future__ import annotations

import asyncio
import hashlib
import io
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from pydicom import dcmread

from fileroom.archive.retrieve import Selection, list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, NotAllowedError
from fileroom.core.settings import Settings
from fileroom.routing.alerts import alerts_due, list_alerts, put_condition
from fileroom.routing.contract import DestinationContract, SampleObject, Settled, sample_object, sample_objects
from fileroom.routing.destination_kind import KindContext, OutcomeKind
from fileroom.routing.edge_call import calling
from fileroom.routing.edge_centres import connect_centre, list_centres, read_centre
from fileroom.routing.edge_client import link_due
from fileroom.routing.edge_destination import EDGE
from fileroom.routing.edge_outbox import EDGE_INBOX
from fileroom.routing.edge_parts import Parts, remove_dead_parts
from fileroom.routing.edge_wire import Piece, content_digest
from fileroom.routing.edges import add_edge, get_edge, renew_edge_token, set_edge_enabled, silent_edges
from fileroom.web.app import create_app
from fileroom.web.server import GatheringHttpProtocol


@pytest.fixture
async def archive(archive: Archive, tmp_path: Path) -> Archive:
    """With a data folder of the test's own."""
    settings = Settings(data=tmp_path / "data", storage_reserve_mib=1)
    return Archive(archive.store, archive.writer, archive.pool, settings, archive.now)


@pytest.fixture
async def url(archive: Archive) -> AsyncIterator[str]:
    """The centre's web port."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(archive), http=GatheringHttpProtocol, log_config=None, access_log=False, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await server.shutdown([listening])
        await asyncio.sleep(0)


@pytest.fixture
async def token(archive: Archive) -> str:
    """Of the edge `clinic`."""
    return (await add_edge(archive, "clinic")).token


@pytest.fixture
async def centre(archive: Archive, url: str, token: str) -> str:
    """The centre as the edge knows it; pieces of 64 KiB, so that an image has several."""
    await connect_centre(archive, "hospital", {"url": url, "token": token, "piece_kib": 64})
    return "hospital"


async def stored_uids(archive: Archive) -> list[str]:
    """In the order in which they came."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT sop_instance_uid FROM instance ORDER BY id")
        return [row[0] for row in await cursor.fetchall()]


async def data_set(archive: Archive, uid: str) -> bytes:
    """The stored data set of an object."""
    (found,) = await list_instances(archive, Selection(sop_uids=(uid,)))
    opened = await open_object(archive, found, part10=False)
    return b"".join([piece async for piece in opened.chunks])


def data_set_in(one: SampleObject) -> bytes:
    """The data set of a made object as encoded there."""
    buffer = io.BytesIO(one.data)
    buffer.seek(132)
    length = int.from_bytes(one.data[140:144], "little")
    return one.data[144 + length :]


def large_object(index: int = 1, kib: int = 700) -> SampleObject:
    """An object of several pieces."""
    study = "1.2.826.0.1.3680043.2.1143.79"
    pixels = hashlib.shake_256(str(index).encode()).digest(kib * 1024)
    return sample_object(index, study, Rows=kib, Columns=512, EncapsulatedDocument=pixels)


class TestEdge(DestinationContract):
    """From the edge to the centre."""

    kind = EDGE

    @pytest.fixture(autouse=True)
    def _with(self, archive: Archive, centre: str) -> None:
        self._archive = archive

    @pytest.fixture
    def target(self, centre: str) -> Mapping[str, Any]:
        """The centre."""
        return {"centre": centre}

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        """What the centre's archive holds."""
        return await stored_uids(self._archive)

    def archive(self, folder: Path) -> Archive:
        """With a database."""
        return self._archive


class TestEdgeInbox(DestinationContract):
    """From the centre to the edge."""

    kind = EDGE_INBOX

    @pytest.fixture(autouse=True)
    async def _with(self, archive: Archive, centre: str) -> AsyncIterator[None]:
        self._archive = archive
        stop = asyncio.Event()
        link = asyncio.create_task(link_due(archive, stop))
        try:
            await until(lambda: is_here(archive))
            yield
        finally:
            stop.set()
            await link

    @pytest.fixture
    def target(self) -> Mapping[str, Any]:
        """The edge."""
        return {"edge": "clinic"}

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        """What the edge's archive holds."""
        return await stored_uids(self._archive)

    def archive(self, folder: Path) -> Archive:
        """With a database."""
        return self._archive


async def is_here(archive: Archive) -> bool:
    """Whether the edge has said hello."""
    return (await get_edge(archive, "clinic")).state == "here"


async def until(is_so: Any) -> None:
    """Wait for something that comes by itself."""
    async with asyncio.timeout(20):
        while not await is_so():
            await asyncio.sleep(0.02)


# --- pieces ---


@pytest.mark.parametrize("compress", [False, True])
async def test_an_object_of_many_pieces_arrives_bit_by_bit(
    archive: Archive, url: str, token: str, compress: bool
) -> None:
    """And leaves no part behind."""
    await connect_centre(archive, "hospital", {"url": url, "token": token, "piece_kib": 64, "compress": compress})
    one, settled = large_object(), Settled()
    async with EDGE.open(KindContext(archive, "d", {"centre": "hospital"})) as session:
        await session.send([one], settled)
    assert settled.kinds == [OutcomeKind.TAKEN]
    assert await data_set(archive, one.sop_instance_uid) == data_set_in(one)
    assert not [path for path in (archive.settings.data / "edge").rglob("*") if path.is_file()]


async def test_what_came_of_a_broken_piece_stays_and_the_rest_is_enough(
    archive: Archive, centre: str, url: str, token: str
) -> None:
    """The receiver says how much it has, to the byte."""
    one = large_object()
    sha256 = hashlib.sha256(one.data).hexdigest()
    edge = await get_edge(archive, "clinic")
    half = one.data[:100_000]

    async def broken() -> AsyncIterator[bytes]:
        yield half
        raise ConnectionResetError

    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
        with pytest.raises(ConnectionResetError):
            await client.put(
                f"{url}/edge/v1/objects/{sha256}",
                content=broken(),
                headers={
                    "content-range": f"bytes 0-199999/{len(one.data)}",
                    "content-digest": content_digest(hashlib.sha256(one.data[:200_000]).digest()),
                    "content-length": "200000",
                },
            )

        async def has_come() -> bool:
            return Parts(archive.settings, edge.id).size(sha256) == len(half)

        await until(has_come)
        answer = await client.head(f"{url}/edge/v1/objects/{sha256}")
        assert answer.headers["edge-have"] == str(len(half))
        rest = one.data[len(half) :]
        answer = await client.put(
            f"{url}/edge/v1/objects/{sha256}",
            content=rest,
            headers={
                "content-range": f"bytes {len(half)}-{len(one.data) - 1}/{len(one.data)}",
                "content-digest": content_digest(hashlib.sha256(rest).digest()),
            },
        )
        assert (answer.status_code, answer.json()["state"]) == (201, "stored")
        assert await data_set(archive, one.sop_instance_uid) == data_set_in(one)
        # Only the answer was lost: it need not come again.
        answer = await client.head(f"{url}/edge/v1/objects/{sha256}")
        assert answer.headers["edge-state"] == "already there"


@pytest.mark.parametrize("piece_kib", [64, 8192], ids=["many pieces", "one piece"])
async def test_a_part_that_was_whole_when_the_centre_was_killed_is_stored(
    archive: Archive, url: str, token: str, piece_kib: int
) -> None:
    await connect_centre(archive, "hospital", {"url": url, "token": token, "piece_kib": piece_kib})
    one, settled = large_object(), Settled()
    parts = Parts(archive.settings, (await get_edge(archive, "clinic")).id)
    sha256 = hashlib.sha256(one.data).hexdigest()
    with parts.opened(sha256, len(one.data)) as part:
        await part.append(one.data)
    async with EDGE.open(KindContext(archive, "d", {"centre": "hospital"})) as session:
        await session.send([one], settled)
    assert settled.kinds == [OutcomeKind.TAKEN]
    assert await data_set(archive, one.sop_instance_uid) == data_set_in(one)
    assert parts.size(sha256) == 0


async def test_spoilt_pieces_and_spoilt_objects_are_not_taken(archive: Archive, centre: str) -> None:
    """A piece that is not what its digest says, an object that is not what its address says."""
    one = large_object()
    sha256 = hashlib.sha256(one.data).hexdigest()
    total = len(one.data)
    async with calling(archive, await read_centre(archive, centre)) as call:
        first = await call.put_piece(sha256, Piece(0, 65536, total), one.data[:65536])
        assert (first.state, first.have) == ("part", 65536)
        other = await call.put_piece(sha256, Piece(131072, 196608, total), one.data[131072:196608])
        assert other.is_wrong
        assert other.have == 65536
        spoilt = b"\0" * (total - 65536)
        last = await call.put_piece(sha256, Piece(65536, total, total), spoilt)
        assert last.is_wrong
        assert last.have == 0
        assert "SHA-256" in last.cause
        small = sample_objects(1)[0]
        wrong = await call.put_piece("0" * 64, Piece(0, len(small.data), len(small.data)), small.data)
        assert wrong.is_wrong
        no_dicom = b"this is no DICOM object, and it never will be" * 10
        refused = await call.put_piece(
            hashlib.sha256(no_dicom).hexdigest(), Piece(0, len(no_dicom), len(no_dicom)), no_dicom
        )
        assert refused.state == "refused"
        assert refused.cause
    assert await stored_uids(archive) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-range": "bytes 0-9/10"}, 400),
        ({"content-digest": content_digest(bytes(32))}, 400),
        ({"content-range": "bytes 5-2/10", "content-digest": content_digest(bytes(32))}, 400),
        ({"content-range": "bytes 0-99999999/100000000", "content-digest": content_digest(bytes(32))}, 400),
        ({"content-range": "bytes 0-9/99999999999999", "content-digest": content_digest(bytes(32))}, 400),
        ({"content-range": "bytes 0-4/10", "content-digest": content_digest(bytes(32))}, 400),
        (
            {
                "content-range": "bytes 0-9/10",
                "content-digest": content_digest(bytes(32)),
                "content-encoding": "gzip",
            },
            400,
        ),
        (
            {"content-range": "bytes 0-9/10", "content-digest": content_digest(bytes(32)), "edge-turn": "x/1"},
            400,
        ),
    ],
)
async def test_bad_pieces_are_refused(url: str, token: str, headers: dict[str, str], status: int) -> None:
    """Without limits, with others, of other lengths, of other codings."""
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
        answer = await client.put(f"{url}/edge/v1/objects/{'0' * 64}", content=b"0123456789", headers=headers)
        assert answer.status_code == status
        for path in ("..", "A" * 64, "%2e%2e%2f" + "0" * 55, "0" * 63):
            assert (await client.put(f"{url}/edge/v1/objects/{path}", content=b"0")).status_code in (307, 400, 404)


# --- who may ---


async def test_only_the_token_of_an_edge_opens_the_link_and_nothing_else(
    archive: Archive, url: str, token: str
) -> None:
    """Wrong, renewed, disabled; and an edge's token is good for no other address."""
    async with httpx.AsyncClient() as client:

        async def hello(secret: str) -> int:
            return (
                await client.post(f"{url}/edge/v1/hello", json={}, headers={"authorization": f"Bearer {secret}"})
            ).status_code

        assert await hello("fr_wrong") == 401
        assert (await client.post(f"{url}/edge/v1/hello", json={})).status_code == 403  # this machine is no edge
        assert await hello(token) == 200
        for path in ("/dicom-web/studies", "/api/v1/nodes", "/metrics", "/"):
            answer = await client.get(url + path, headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == 403, path
        await set_edge_enabled(archive, "clinic", enabled=False)
        assert await hello(token) == 403
        await set_edge_enabled(archive, "clinic", enabled=True)
        assert await hello((await renew_edge_token(archive, "clinic")).token) == 200


async def test_an_edge_gets_nothing_of_another(archive: Archive, url: str, token: str) -> None:
    """Neither in its list nor by the number of an offer, and cannot settle it."""
    other = await add_edge(archive, "other")
    async with httpx.AsyncClient(base_url=f"{url}/edge/v1") as client:
        ours, theirs = ({"authorization": f"Bearer {one}"} for one in (token, other.token))
        await client.post("/hello", json={}, headers=ours)
        context = KindContext(archive, "d", {"edge": "clinic"})
        settled = Settled()

        async def send() -> None:
            async with EDGE_INBOX.open(context) as session:
                await session.send(sample_objects(1), settled)

        lane = asyncio.create_task(send())
        (offer,) = (await client.get("/offers?wait=10&most=5", headers=ours)).json()["offers"]
        assert (await client.get("/offers?wait=0&most=5", headers=theirs)).json()["offers"] == []
        assert (await client.get(f"/offers/{offer['id']}", headers=theirs)).status_code == 404
        outcomes = {"outcomes": [{"id": offer["id"], "outcome": "taken"}]}
        assert (await client.post("/outcomes", json=outcomes, headers=theirs)).json() == {"taken": 0}
        body = (await client.get(f"/offers/{offer['id']}", headers=ours)).content
        assert hashlib.sha256(body).hexdigest() == offer["sha256"]
        part = await client.get(f"/offers/{offer['id']}", headers={**ours, "range": "bytes=100-"})
        assert part.status_code == 206
        assert part.content == body[100:]
        assert (await client.post("/outcomes", json=outcomes, headers=ours)).json() == {"taken": 1}
        await lane
    assert settled.kinds == [OutcomeKind.TAKEN]


async def test_an_edge_must_be_named_and_have_a_good_entry(archive: Archive) -> None:
    """Names and fields are checked; a token that is kept goes to no other address."""
    with pytest.raises(InvalidRequestError, match="50 characters"):
        await add_edge(archive, "x" * 51)
    with pytest.raises(InvalidRequestError, match="no field"):
        await add_edge(archive, "clinic", {"colour": "blue"})
    await connect_centre(archive, "c", {"url": "https://a.example/", "token": "fr_1"})
    with pytest.raises(InvalidRequestError, match="Enter the token again"):
        await connect_centre(archive, "c", {"url": "https://b.example/", "token": "secret"})
    await connect_centre(archive, "c", {"url": "https://a.example/", "token": "secret", "compress": True})
    assert (await read_centre(archive, "c")).token == "fr_1"
    (shown,) = await list_centres(archive)
    assert shown.fields["token"] == "secret"
    assert not shown.connected


# --- the link ---


async def test_the_centre_sees_an_edge_come_and_fall_silent(archive: Archive, url: str, token: str) -> None:
    """With version, address, clock and queues; silence is a state of its own."""
    assert (await get_edge(archive, "clinic")).state == "never seen"
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
        said = {
            "session": "a",
            "version": "9.9\x00\n",
            "time": archive.now().timestamp() + 120,
            "waiting": 7,
            "failed": 2,
            "round_trip_s": 0.5,
        }
        assert (await client.post(f"{url}/edge/v1/hello", json=said)).json()["edge"] == "clinic"
        for wrong in (b"[]", b"{", b"\xff" * 10):
            assert (await client.post(f"{url}/edge/v1/hello", content=wrong)).status_code == 400
    edge = await get_edge(archive, "clinic")
    assert (edge.state, edge.software, edge.waiting_there, edge.failed_there) == ("here", "9.9", 7, 2)
    assert edge.address == "127.0.0.1"
    assert 118 < edge.clock_ahead_s < 122
    assert await silent_edges(archive) == []
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE edge_state SET seen_at = now() - interval '301 seconds'")
    assert [one.name for one in await silent_edges(archive)] == ["clinic"]
    await put_condition(archive, "Edge silent", {"kind": "edge_silent"})
    await alerts_due(archive)
    [alert] = await list_alerts(archive)
    assert (alert.subject, alert.kind, round(alert.value)) == ("clinic", "edge_silent", 5)


async def test_an_inbox_waits_while_its_edge_is_away(archive: Archive, centre: str) -> None:
    """A lane learns at once that it is not there."""
    from fileroom.core.errors import PeerRefusedError

    with pytest.raises(PeerRefusedError, match="never called"):
        async with EDGE_INBOX.open(KindContext(archive, "d", {"edge": "clinic"})):
            pass


@pytest.mark.parametrize("compress", [False, True])
async def test_an_edge_that_is_restarted_goes_on_where_it_was(
    archive: Archive, url: str, token: str, compress: bool
) -> None:
    """Its part is on the disk; only the rest is fetched, and the object arrives bit by bit."""
    await connect_centre(archive, "hospital", {"url": url, "token": token, "compress": compress})
    one = large_object()
    state = (await list_centres(archive))[0]
    parts = Parts(archive.settings, state.id)
    sha256 = hashlib.sha256(one.data).hexdigest()
    with parts.opened(sha256, len(one.data)) as part:
        await part.append(one.data[:300_000])
    stop = asyncio.Event()
    link = asyncio.create_task(link_due(archive, stop))
    try:
        await until(lambda: is_here(archive))
        settled = Settled()
        async with EDGE_INBOX.open(KindContext(archive, "d", {"edge": "clinic"})) as session:
            await session.send([one], settled)
    finally:
        stop.set()
        await link
    assert settled.kinds == [OutcomeKind.TAKEN]
    assert await data_set(archive, one.sop_instance_uid) == data_set_in(one)
    assert dcmread(io.BytesIO(one.data)).SOPInstanceUID == one.sop_instance_uid


async def test_parts_that_nobody_continues_are_removed(archive: Archive) -> None:
    """After two days."""
    parts = Parts(archive.settings, 7)
    with parts.opened("0" * 64, 10) as part:
        await part.append(b"01234")
    written = parts.path("0" * 64).stat().st_mtime
    assert remove_dead_parts(archive.settings, written + 86_400) == 0
    assert remove_dead_parts(archive.settings, written + 3 * 86_400) == 1
    assert parts.size("0" * 64) == 0


async def test_services_ask_for_permissions(archive: Archive) -> None:
    """Whoever is nobody cannot even look."""
    from fileroom.core.access import NOBODY, acting_as
    from fileroom.routing.edges import calling_edge, list_edges

    with acting_as(NOBODY):
        for work in (lambda: list_edges(archive), lambda: calling_edge(archive), lambda: add_edge(archive, "x")):
            with pytest.raises(NotAllowedError):
                await work()
