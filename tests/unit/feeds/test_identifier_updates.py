"""ADT^A31 to who wants to hear of changed numbers: linked, merged, taken apart; only of the domains that were asked for."""

from __future__ import annotations

from hl7apy.parser import parse_message as parse_by_hl7apy

from fileroom.archive.services import Archive
from fileroom.feeds.feeds import put_feed, read_feeds, remove_feed
from fileroom.feeds.identifier_updates import tell_identifiers
from fileroom.feeds.inbox import receive_message
from fileroom.hl7.message import Message, parse_message


def adt(kind: str, control_id: str, *segments: str) -> bytes:
    head = f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||{kind}|{control_id}|P|2.5"
    return "\r".join((head, "EVN||20261122", *segments, "")).encode()


async def tell(archive: Archive, raw: bytes) -> None:
    feeds = await read_feeds(archive.pool)
    assert feeds.built_in is not None
    assert parse_message(await receive_message(archive, feeds.built_in, raw, address="")).get("MSA-1") == "AA"


async def told(archive: Archive, feed: str = "mpi") -> list[Message]:
    """What was queued since the last call, oldest first."""
    await tell_identifiers(archive, await read_feeds(archive.pool))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""WITH gone AS (DELETE FROM hl7_outgoing WHERE feed = %s RETURNING id, raw) SELECT raw FROM gone ORDER BY id""",
            (feed,),
        )
        return [parse_message(bytes(row[0])) for row in await cursor.fetchall()]


def numbers(message: Message) -> set[str]:
    [pid] = message.all("PID")
    return {one.component(1) for one in pid.field(3).repetitions}


async def want(archive: Archive, *domains: str, name: str = "mpi") -> None:
    fields = {"direction": "out", "host": "127.0.0.1", "port": 9, "identifier_domains": list(domains)}
    await put_feed(archive, name, fields)
    assert await told(archive, name) == []


async def test_changes_of_a_persons_numbers_are_told_once(archive: Archive) -> None:
    await want(archive, "*")
    await tell(archive, adt("ADT^A04", "1", "PID|1||A1^^^HOSP^MR||Doe^Jane"))
    assert await told(archive) == []  # one number is no cross-reference
    await tell(archive, adt("ADT^A08", "2", "PID|1||A1^^^HOSP^MR~C1^^^CLINIC^MR||Doe^Jane"))
    [first] = await told(archive)
    assert (first.kind, numbers(first), first.get("PV1-2")) == ("ADT^A31", {"A1", "C1"}, "N")
    assert parse_by_hl7apy(first.raw.decode(), find_groups=True).validate()
    await tell(archive, adt("ADT^A08", "3", "PID|1||A1^^^HOSP^MR~C1^^^CLINIC^MR||Doe^Joan"))
    assert await told(archive) == []
    await tell(archive, adt("ADT^A04", "4", "PID|1||X1^^^LAB^MR||Doe^Jane"))
    await tell(archive, adt("ADT^A24", "5", "PID|1||A1^^^HOSP^MR", "PID|2||X1^^^LAB^MR"))
    [linked] = await told(archive)
    assert numbers(linked) == {"A1", "C1", "X1"}
    await tell(archive, adt("ADT^A37", "6", "PID|1||A1^^^HOSP^MR", "PID|2||X1^^^LAB^MR"))
    [parted] = await told(archive)
    assert numbers(parted) == {"A1", "C1"}
    assert parted.control_id != linked.control_id


async def test_a_merge_is_told_with_the_numbers_that_are_left(archive: Archive) -> None:
    await tell(archive, adt("ADT^A04", "1", "PID|1||A1^^^HOSP^MR~C1^^^CLINIC^MR||Doe^Jane"))
    await tell(archive, adt("ADT^A04", "2", "PID|1||A2^^^HOSP^MR~L2^^^LAB^MR||Doe^Jane"))
    await want(archive, "HOSP", "LAB")
    await tell(archive, adt("ADT^A40^ADT_A39", "3", "PID|1||A1^^^HOSP^MR", "MRG|A2^^^HOSP^MR"))
    [merged] = await told(archive)
    assert numbers(merged) == {"A1", "L2"}  # A2 is not to be used any more, CLINIC is not asked for


async def test_nothing_is_noted_where_nobody_wants_it(archive: Archive) -> None:
    await want(archive, "*")
    await remove_feed(archive, "mpi")
    assert await told(archive) == []
    await tell(archive, adt("ADT^A04", "1", "PID|1||A1^^^HOSP^MR~C1^^^CLINIC^MR||Doe^Jane"))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM identifier_note")
        assert await cursor.fetchone() == (0,)
