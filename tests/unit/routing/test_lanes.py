"""What lanes make of what destinations answer: pynetdicom as the destination, well and unwell."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from fileroom.admin.entries import put_entry
from fileroom.admin.nodes import Node, add_node, change_node, get_node
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.examine import Claim
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.errors import DatabaseError
from fileroom.dicom.header_scan import ScannedHeader
from fileroom.index.attributes import SCANNED_TAGS
from fileroom.routing import lanes
from fileroom.routing.deliveries import (
    DeliveryFilter,
    cancel_deliveries,
    hold_deliveries,
    list_deliveries,
    redirect_deliveries,
    release_deliveries,
    retry_deliveries,
)
from fileroom.routing.destinations import DESTINATIONS, read_destinations
from fileroom.routing.dispatcher import Dispatcher
from fileroom.routing.lanes import Errand, Lane, Rest
from fileroom.routing.throttle import AccountsInDatabase, Throttle
from stored_objects import make_file, store_file

EXPLICIT_LE = "1.2.840.10008.1.2.1"


class Everything:
    """Rules that send everything to some destinations."""

    tags = SCANNED_TAGS
    gathers = True

    def __init__(self, *planned: PlannedDelivery) -> None:
        self._planned = planned

    def plan(self, _header: ScannedHeader, _claim: Claim) -> Sequence[PlannedDelivery]:
        return self._planned


class Receiver:
    """A pynetdicom Storage SCP that answers as it is told to."""

    def __init__(self) -> None:
        self.statuses: dict[str, int] = {}
        self.breaks_at: set[str] = set()
        self.breaks_once_at: set[str] = set()
        self.silent_at: set[str] = set()
        self.taken: list[str] = []
        self.associations = 0

    def store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.breaks_at | self.breaks_once_at:
            self.breaks_once_at.discard(uid)
            event.assoc.abort()
            return 0
        status = self.statuses.get(uid, 0)
        if status == 0 or status >> 12 == 0xB:
            self.taken.append(uid)
        return status

    def accepted(self, _event: evt.Event) -> None:
        self.associations += 1


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, int]]:
    made = Receiver()
    entity = AE(ae_title="WS1")
    entity.add_supported_context(CTImageStorage, EXPLICIT_LE)
    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, made.store), (evt.EVT_ACCEPTED, made.accepted)],
    )
    assert server is not None
    yield made, server.server_address[1]
    server.shutdown()


@pytest.fixture(autouse=True)
def _as_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


@pytest.fixture
async def routed(archive: Archive, receiver: tuple[Receiver, int]) -> Archive:
    """An archive whose objects all go to WS1."""
    await add_node(archive.pool, Node("WS1", "WS1", "127.0.0.1", receiver[1]))
    fields = {"kind": "dicom", "target": {"node": "WS1"}}
    entry = await put_entry(archive.pool, archive.settings, DESTINATIONS, "WS1", fields)
    return dataclasses.replace(archive, arrivals=Everything(PlannedDelivery(entry.id, None)))


async def store(archive: Archive, *numbers: int, **more: Any) -> list[str]:
    """Store objects of one study; their SOP Instance UIDs."""
    uids = [f"1.2.3.1.1.{number}" for number in numbers]
    for uid in uids:
        await store_file(archive, make_file(SOPInstanceUID=uid, **more))
    return uids


async def bring(archive: Archive, name: str = "WS1") -> Rest:
    """Let one lane work until nothing is ready."""
    members = await read_destinations(archive)
    destination = members[name]
    rest = Rest()

    async def is_empty() -> bool:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(b"SELECT count(*) FROM parcel WHERE state IN ('ready', 'claimed')")
            row = await cursor.fetchone()
            return row is not None and row[0] == 0

    stop = asyncio.Event()
    throttle = Throttle(AccountsInDatabase(archive.pool))
    errand = Errand(archive, destination, rest, asyncio.Event(), stop.is_set, throttle, members)
    lane = asyncio.create_task(Lane(errand).run())
    async with asyncio.timeout(20):
        while not lane.done() and not await is_empty():
            await asyncio.sleep(0.02)
    stop.set()
    errand.wake.set()
    await lane
    return rest


async def by_uid(archive: Archive) -> dict[str, Any]:
    return {row.sop_instance_uid: row for row in await list_deliveries(archive, DeliveryFilter())}


async def test_what_is_answered_with_success_is_delivered_in_order_over_one_association(
    routed: Archive, receiver: tuple[Receiver, int]
) -> None:
    uids = await store(routed, 3, 1, 2)
    await bring(routed)
    assert receiver[0].taken == uids
    assert receiver[0].associations == 1
    assert {row.state for row in (await by_uid(routed)).values()} == {"delivered"}


@pytest.mark.parametrize(
    ("status", "state", "says"),
    [
        (0xA700, "waiting", "no room"),
        (0x0110, "waiting", "no room"),
        (0xA900, "failed", "refused"),
        (0xC000, "failed", "refused"),
        (0x0122, "failed", "refused"),
        (0xB000, "delivered", "remarked"),
        (0xB007, "delivered", "remarked"),
        (0x0111, "delivered", "already"),
    ],
)
async def test_an_answer_says_what_becomes_of_its_object_alone(
    routed: Archive, receiver: tuple[Receiver, int], status: int, state: str, says: str
) -> None:
    first, second, third = await store(routed, 1, 2, 3)
    receiver[0].statuses[second] = status
    await bring(routed)
    rows = await by_uid(routed)
    assert (rows[first].state, rows[third].state) == ("delivered", "delivered")
    assert rows[second].state == state
    assert says in rows[second].cause
    assert rows[second].status == status


async def test_an_object_that_breaks_the_association_waits_and_the_others_go_on(
    routed: Archive, receiver: tuple[Receiver, int]
) -> None:
    first, second, third = await store(routed, 1, 2, 3)
    receiver[0].breaks_at.add(second)
    await bring(routed)
    rows = await by_uid(routed)
    assert {uid: row.state for uid, row in rows.items()} == {first: "delivered", second: "waiting", third: "delivered"}
    assert "broke" in rows[second].cause
    assert receiver[0].associations == 2


async def test_what_broke_at_a_member_of_a_pool_does_not_wait_for_the_other_one(
    routed: Archive, receiver: tuple[Receiver, int]
) -> None:
    await add_node(routed.pool, Node("WS2", "WS2", "127.0.0.1", receiver[1]))
    await put_entry(routed.pool, routed.settings, DESTINATIONS, "WS2", {"kind": "dicom", "target": {"node": "WS2"}})
    pair = {"kind": "pool", "target": {"members": [{"destination": "WS1"}, {"destination": "WS2"}]}}
    entry = await put_entry(routed.pool, routed.settings, DESTINATIONS, "PAIR", pair)
    pooled = dataclasses.replace(routed, arrivals=Everything(PlannedDelivery(entry.id, None)))
    first, second, third = await store(pooled, 1, 2, 3)
    receiver[0].breaks_once_at.add(second)
    await bring(pooled, "PAIR")
    rows = await by_uid(pooled)
    assert {uid: (row.state, row.attempts) for uid, row in rows.items()} == {
        first: ("delivered", 1),
        second: ("delivered", 2),
        third: ("delivered", 1),
    }


async def test_a_class_that_is_not_taken_is_told_with_the_next_step(routed: Archive) -> None:
    await store_file(routed, make_file(SOPInstanceUID="1.2.3.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.4"))
    await bring(routed)
    row = (await by_uid(routed))["1.2.3.9"]
    assert row.state == "failed"
    assert "does not accept MR Image Storage" in row.cause


async def test_a_node_that_is_gone_lets_everything_wait_and_says_so(routed: Archive) -> None:
    async with routed.pool.connection() as connection:
        await connection.execute(b"UPDATE node SET enabled = false")
    await store(routed, 1)
    rest = await bring(routed)
    row = (await by_uid(routed))["1.2.3.1.1.1"]
    assert (row.state, "disabled" in row.cause) == ("waiting", True)
    assert rest.left_s > 0


async def test_an_object_that_was_deleted_meanwhile_is_cancelled(routed: Archive) -> None:
    await store(routed, 1)
    async with routed.pool.connection() as connection:
        await connection.execute(b"DELETE FROM instance")
    await bring(routed)
    assert (await by_uid(routed))["1.2.3.1.1.1"].state == "cancelled"


async def test_what_was_refused_goes_again_when_somebody_retries(
    routed: Archive, receiver: tuple[Receiver, int]
) -> None:
    (uid,) = await store(routed, 1)
    receiver[0].statuses[uid] = 0xC001
    await bring(routed)
    receiver[0].statuses.clear()
    changed = await retry_deliveries(routed, DeliveryFilter(destination="WS1", states=("failed",)), "repaired")
    assert (changed.deliveries, changed.studies) == (1, 1)
    await bring(routed)
    row = (await by_uid(routed))[uid]
    assert (row.state, row.attempts) == ("delivered", 2)


async def test_what_is_held_is_not_sent_and_what_is_released_is(
    routed: Archive, receiver: tuple[Receiver, int]
) -> None:
    (uid,) = await store(routed, 1)
    assert (await hold_deliveries(routed, DeliveryFilter(destination="WS1"), "wait")).deliveries == 1
    await bring(routed)
    assert receiver[0].taken == []
    await release_deliveries(routed, DeliveryFilter(ids=((await by_uid(routed))[uid].id,)), "go")
    await bring(routed)
    assert receiver[0].taken == [uid]


async def test_what_goes_elsewhere_is_cancelled_here(routed: Archive, receiver: tuple[Receiver, int]) -> None:
    (uid,) = await store(routed, 1)
    fields = {"kind": "dicom", "target": {"node": "WS1"}}
    await put_entry(routed.pool, routed.settings, DESTINATIONS, "OTHER", fields)
    await redirect_deliveries(routed, DeliveryFilter(destination="WS1"), "OTHER", "being repaired")
    await bring(routed, "OTHER")
    states = {row.destination: row.state for row in await list_deliveries(routed, DeliveryFilter())}
    assert states == {"WS1": "cancelled", "OTHER": "delivered"}
    assert receiver[0].taken == [uid]


async def test_the_sums_always_are_what_the_rows_are(routed: Archive, receiver: tuple[Receiver, int]) -> None:
    uids = await store(routed, 1, 2, 3, 4)
    receiver[0].statuses = {uids[0]: 0xC000, uids[1]: 0xA700}
    await bring(routed)
    await cancel_deliveries(routed, DeliveryFilter(states=("failed",)), "not wanted")
    async with routed.pool.connection() as connection:
        rows = await (
            await connection.execute(b"SELECT state, count(*) FROM delivery GROUP BY 1 ORDER BY 1")
        ).fetchall()
        sums = await (
            await connection.execute(
                b"SELECT state, sum(number)::bigint FROM delivery_tally GROUP BY 1 HAVING sum(number) <> 0 ORDER BY 1"
            )
        ).fetchall()
    assert rows == sums == [("cancelled", 1), ("delivered", 2), ("waiting", 1)]


async def test_what_was_taken_while_the_database_was_away_is_written_and_not_sent_again(
    routed: Archive, receiver: tuple[Receiver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = await store(routed, 1, 2, 3)
    fails = iter(range(3))

    async def settle(*arguments: Any) -> bool:
        if next(fails, None) is not None:
            raise DatabaseError("The server is starting up.")
        return await lanes_settle(*arguments)

    lanes_settle = lanes.settle
    monkeypatch.setattr(lanes, "settle", settle)
    monkeypatch.setattr(lanes, "SETTLE_INTERVAL_S", 0.01)
    await bring(routed)
    assert receiver[0].taken == uids
    assert {row.state for row in (await by_uid(routed)).values()} == {"delivered"}


async def test_a_retry_does_not_wait_until_the_destination_has_rested(
    routed: Archive, receiver: tuple[Receiver, int], empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "REST_FIRST_S", 1000.0)
    await change_node(routed.pool, "WS1", dataclasses.replace(await get_node(routed.pool, "WS1"), port=9))
    await store(routed, 1, 2)
    stop = asyncio.Event()
    running = asyncio.create_task(Dispatcher(routed, empty_database).run(stop))

    async def until(wanted: Any) -> None:
        async with asyncio.timeout(20):
            while not wanted(list((await by_uid(routed)).values())):
                await asyncio.sleep(0.02)

    try:
        await until(lambda rows: all(row.attempts for row in rows))
        assert {row.state for row in (await by_uid(routed)).values()} == {"waiting"}
        well = dataclasses.replace(await get_node(routed.pool, "WS1"), port=receiver[1])
        await change_node(routed.pool, "WS1", well)
        await retry_deliveries(routed, DeliveryFilter(destination="WS1"), "it is back")
        await until(lambda rows: all(row.state == "delivered" for row in rows))
    finally:
        stop.set()
        await running
