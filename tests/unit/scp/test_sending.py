"""Orders to send are carried out object by object; what failed says why; what was not sent is sent by the next worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fileroom.admin.nodes import Node, add_node, set_enabled
from fileroom.archive.delete import delete_instance
from fileroom.archive.send_jobs import (
    SendJob,
    cancel_job,
    claim_job,
    get_job,
    list_jobs,
    request_sending,
    retry_job,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError
from fileroom.dicom import uids
from fileroom.scp.sending import send_due
from stored_objects import make_file, store_file, undecodable_file
from unit.scp.conftest import Peer

STUDY = "1.2.3.1"


@pytest.fixture
def stop() -> asyncio.Event:
    return asyncio.Event()


def person(name: str, *more: Permission, rows: RowScope | None = None) -> Access:
    return Access(ActorKind.PERSON, name, frozenset({Permission.STUDY_EXPORT, *more}), rows or RowScope())


async def store(archive: Archive, count: int) -> list[str]:
    made = [f"1.2.3.1.1.{number}" for number in range(1, count + 1)]
    for uid in made:
        await store_file(archive, make_file(SOPInstanceUID=uid))
    return made


async def state(archive: Archive, number: int) -> SendJob:
    return (await get_job(archive, number)).job


async def test_what_was_ordered_arrives_and_is_an_export_in_the_audit_trail(
    archive: Archive, start_peer: Callable[..., Peer], stop: asyncio.Event
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", peer.port))
    made = await store(archive, 3)
    with acting_as(person("ann")):
        number = await request_sending(archive, "ws", [STUDY])
        assert (await state(archive, number)).state == "waiting"
    assert await send_due(archive, stop) == 1
    assert await send_due(archive, stop) == 0
    assert [one.SOPInstanceUID for one in peer.stored] == made
    job = await state(archive, number)
    assert (job.state, job.sent, job.failed, job.waiting, job.studies, job.actor) == ("done", 3, 0, 0, 1, "ann")
    async with archive.pool.connection() as connection:
        rows = await connection.execute(
            b"SELECT actor, message::text FROM audit_event WHERE event = '110106' AND study_uids @> ARRAY['1.2.3.1']"
        )
        [(actor, message)] = await rows.fetchall()
    assert actor == "ann"
    assert "node ws (PEER)" in message


async def test_an_object_that_fails_fails_alone_and_says_why(
    archive: Archive, start_peer: Callable[..., Peer], stop: asyncio.Event
) -> None:
    peer = start_peer(uids.EXPLICIT_VR_LITTLE_ENDIAN)
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", peer.port))
    await store(archive, 4)
    await store_file(archive, undecodable_file(SOPInstanceUID="1.2.3.1.1.9", InstanceNumber=9))
    peer.breaks_at = frozenset({"1.2.3.1.1.2"})
    peer.status = lambda dataset: {"1.2.3.1.1.3": 0xA700, "1.2.3.1.1.4": 0xB000}.get(dataset.SOPInstanceUID, 0)
    number = await request_sending(archive, "ws", [STUDY])
    await delete_instance(archive, STUDY, "1.2.3.1.1", "1.2.3.1.1.1", actor="ann", reason="test")
    await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.10"))  # too late for this order
    await send_due(archive, stop)
    details = await get_job(archive, number)
    assert (details.job.sent, details.job.warned, details.job.failed) == (0, 1, 4)
    reasons = {one.sop_instance_uid: one.reason for one in details.failures}
    assert "deleted" in reasons["1.2.3.1.1.1"]
    assert reasons["1.2.3.1.1.2"]
    assert "A700" in reasons["1.2.3.1.1.3"]
    assert reasons["1.2.3.1.1.9"]
    assert "1.2.3.1.1.10" not in {one.SOPInstanceUID for one in peer.stored}


async def test_what_failed_is_sent_again_and_nothing_else(
    archive: Archive, start_peer: Callable[..., Peer], stop: asyncio.Event
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", peer.port))
    await store(archive, 3)
    peer.status = lambda dataset: 0xA700 if dataset.SOPInstanceUID == "1.2.3.1.1.2" else 0
    number = await request_sending(archive, "ws", [STUDY])
    await send_due(archive, stop)
    peer.status = lambda _dataset: 0
    peer.stored.clear()
    await retry_job(archive, number)
    await send_due(archive, stop)
    assert [one.SOPInstanceUID for one in peer.stored] == ["1.2.3.1.1.2"]
    assert ((await state(archive, number)).sent, (await state(archive, number)).state) == (3, "done")


async def test_a_worker_that_stops_or_is_killed_leaves_the_rest_to_the_next(
    archive: Archive, start_peer: Callable[..., Peer], stop: asyncio.Event
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", peer.port))
    made = await store(archive, 5)

    def stop_after_two(_dataset: object) -> int:
        if len(peer.stored) == 2:
            stop.set()
        return 0

    peer.status = stop_after_two
    number = await request_sending(archive, "ws", [STUDY])
    await send_due(archive, stop)
    job = await state(archive, number)
    assert job.state == "running"
    assert 2 <= job.sent < 5
    assert await claim_job(archive) is not None  # by a worker that is killed right here
    assert await send_due(archive, asyncio.Event()) == 0  # its claim still stands
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE send_job SET claimed_until = now() - interval '1 second'")
    await send_due(archive, asyncio.Event())
    assert sorted(one.SOPInstanceUID for one in peer.stored) == made
    assert (await state(archive, number)).state == "done"


async def test_an_order_that_is_ended_early_sends_no_more(
    archive: Archive, start_peer: Callable[..., Peer], stop: asyncio.Event
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", peer.port))
    await store(archive, 2)
    number = await request_sending(archive, "ws", [STUDY])
    await cancel_job(archive, number)
    assert await send_due(archive, stop) == 0
    assert peer.stored == []
    assert (await state(archive, number)).state == "cancelled"


async def test_a_node_that_is_down_or_disabled_meanwhile_fails_every_object(
    archive: Archive, stop: asyncio.Event
) -> None:
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", 1))
    await store(archive, 2)
    first = await request_sending(archive, "ws", [STUDY])
    await send_due(archive, stop)
    second = await request_sending(archive, "ws", [STUDY])
    await set_enabled(archive.pool, "ws", enabled=False)
    await send_due(archive, stop)
    down, disabled = await get_job(archive, first), await get_job(archive, second)
    assert (down.job.failed, disabled.job.failed) == (2, 2)
    assert "could not be reached" in down.failures[0].reason
    assert "disabled" in disabled.job.cause
    with pytest.raises(ConflictError):
        await request_sending(archive, "ws", [STUDY])


async def test_nobody_sends_what_they_may_not_see_and_sees_orders_of_others(archive: Archive) -> None:
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", 1))
    await store(archive, 1)
    with acting_as(person("bob", rows=RowScope(modalities=("MR",)))), pytest.raises(NotFoundError):
        await request_sending(archive, "ws", [STUDY])
    with acting_as(person("ann")):
        number = await request_sending(archive, "ws", [STUDY])
        assert [job.id for job in await list_jobs(archive)] == [number]
    with acting_as(person("bob")):
        assert await list_jobs(archive) == []
        for refused in (get_job, cancel_job, retry_job):
            with pytest.raises(NotFoundError):
                await refused(archive, number)
    with acting_as(person("eve", Permission.LEDGER_READ)):
        assert [job.id for job in await list_jobs(archive)] == [number]


@pytest.mark.parametrize(
    ("node", "uids", "error"),
    [
        ("ws", [], InvalidRequestError),
        ("ws", [f"1.{n}" for n in range(501)], InvalidRequestError),
        ("nobody", [STUDY], NotFoundError),
        ("ws", ["9.9"], NotFoundError),
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(
    archive: Archive, node: str, uids: list[str], error: type[Exception]
) -> None:
    await add_node(archive.pool, Node("ws", "PEER", "127.0.0.1", 1))
    with pytest.raises(error):
        await request_sending(archive, node, uids)
