"""Orders told to a dictation system: what, when, once; checked by hl7apy and taken by python-hl7's server."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server
from hl7apy.parser import parse_segment

import hl7
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.feeds.feeds import put_feed, read_feeds
from fileroom.feeds.order_messages import send_exam, tell_orders
from fileroom.feeds.outbox import OutgoingFilter, list_outgoing
from fileroom.feeds.sending import Hl7Senders
from report_rows import add_study, insert
from worklist_rows import add_step


async def feed(archive: Archive, orders: str = "all", port: int = 9, name: str = "dictation") -> None:
    fields = {"direction": "out", "host": "127.0.0.1", "port": port, "orders": orders}
    await put_feed(archive, name, fields)


async def tell(archive: Archive) -> list[str]:
    """The messages that this round queued, the first first."""
    before = {one.id for one in await list_outgoing(archive)}
    await tell_orders(archive, await read_feeds(archive.pool))
    queued = [one.id for one in await list_outgoing(archive) if one.id not in before]
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT raw FROM hl7_outgoing WHERE id = ANY(%s) ORDER BY id", (queued,))
        return [bytes(row[0]).decode() for row in await cursor.fetchall()]


def check(text: str) -> None:
    """By hl7apy, segment by segment: of a choice of segments, as ORM has one, it wants all."""
    segments = text.rstrip("\r").split("\r")
    assert [one[:3] for one in segments] == ["MSH", "PID", "PV1", "ORC", "OBR", "ZDS"]
    for one in segments[1:-1]:
        assert parse_segment(one, version="2.5.1").validate()


def codes(text: str) -> tuple[str, str]:
    read = hl7.parse(text)
    return str(read.segment("ORC")[1]), str(read.segment("ORC")[5])


async def change(archive: Archive, state: str) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE imaging_order SET state = %s, version = version + 1, changed_at = now()", (state,)
        )


async def match(archive: Archive, uid: str) -> None:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT max(id) FROM imaging_order")
        [number] = await cursor.fetchone() or (0,)
    await insert(
        archive, "study_match", study_instance_uid=uid, imaging_order=number, how="person", score=1, matched_by="x"
    )


async def test_an_order_is_told_new_changed_begun_and_cancelled_each_once(archive: Archive) -> None:
    await feed(archive)
    await add_step(archive, 1, order={"priority": "STAT", "reason": "cough|^&"})
    [new] = await tell(archive)
    check(new)
    read = hl7.parse(new)
    assert codes(new) == ("NW", "SC")
    assert str(read.segment("OBR")[18]) == "A1"
    assert str(read.segment("OBR")[4]) == "CTTHX^CT of the thorax^99L"
    assert str(read.segment("OBR")[31]) == "^cough\\F\\\\S\\\\T\\"
    assert str(read.segment("OBR")[27]) == "^^^202611220830^^S"
    assert str(read.segment("ZDS")[1]) == "1.2.1^Fileroom^Application^DICOM"
    assert str(read.segment("PID")[3]).startswith("P1^^^HOSP")
    assert await tell(archive) == []
    told = []
    for state in ("arrived", "in_progress", "completed", "cancelled"):
        await change(archive, state)
        told += [codes(one) for one in await tell(archive)]
    assert told == [("XO", "SC"), ("SC", "IP"), ("CA", "CA")], "completed is told with the images"


async def test_an_exam_is_told_once_when_its_images_are_complete(archive: Archive) -> None:
    await feed(archive, "complete")
    await add_step(archive, 1)
    await add_study(archive, "9.8.7", came=archive.now(), accession_number="X")
    await match(archive, "9.8.7")
    await add_study(archive, "9.8.8", modality="SR")
    await add_study(archive, "9.8.9", patient_id="")
    assert await tell(archive) == [], "it is still coming"
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE series SET changed_at = %s", (archive.now() - dt.timedelta(hours=1),))
    [done] = await tell(archive)
    assert codes(done) == ("SC", "CM")
    read = hl7.parse(done)
    assert (str(read.segment("ZDS")[1][0][0]), str(read.segment("OBR")[18])) == ("9.8.7", "A1")
    assert await tell(archive) == []


async def test_a_study_without_an_order_is_told_as_its_images_say(archive: Archive) -> None:
    await feed(archive, "complete")
    await add_study(archive, "9.8.7", accession_number="X7", study_description="Knee", issuer_of_patient_id="HOSP")
    [done] = await tell(archive)
    check(done)
    read = hl7.parse(done)
    assert str(read.segment("PID")[3]).startswith("P1^^^HOSP")
    assert (str(read.segment("OBR")[18]), str(read.segment("OBR")[4])) == ("X7", "Knee^Knee^L")


async def test_no_feed_no_message_and_what_is_old_is_not_told(archive: Archive) -> None:
    await feed(archive, "none")
    await add_step(archive, 1)
    await add_study(archive, "9.8.7")
    assert await tell(archive) == []
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE imaging_order SET changed_at = now() - interval '3 days'")
        await connection.execute(b"UPDATE study SET received_at = now() - interval '3 days'")
    await feed(archive, "all")
    assert await tell(archive) == []
    with pytest.raises(InvalidRequestError, match="complete"):
        await feed(archive, "sometimes")


async def test_somebody_asks_for_an_exam(archive: Archive) -> None:
    await feed(archive, "none")
    await add_study(archive, "9.8.7")
    await send_exam(archive, "9.8.7", "dictation")
    await send_exam(archive, "9.8.7", "dictation")
    assert len(await list_outgoing(archive, OutgoingFilter("dictation"))) == 2
    with pytest.raises(NotFoundError, match="feed"):
        await send_exam(archive, "9.8.7", "nowhere")
    access = Access(
        ActorKind.PERSON, "ada", frozenset([Permission.REPORT_WRITE]), account_id=1, rows=RowScope(modalities=("MR",))
    )
    with acting_as(access), pytest.raises(NotFoundError, match="study"):
        await send_exam(archive, "9.8.7", "dictation")


async def test_the_server_of_python_hl7_takes_it(archive: Archive) -> None:
    taken: list[Any] = []
    came = asyncio.Event()

    async def answer(reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        message = await reader.readmessage()
        taken.append(message)
        writer.writemessage(message.create_ack())
        await writer.drain()
        came.set()
        writer.close()

    server = await start_hl7_server(answer, host="127.0.0.1", port=0, encoding="utf-8")
    await feed(archive, "complete", server.sockets[0].getsockname()[1])
    await add_study(archive, "9.8.7", patient_name="Müller^Änne")
    await tell(archive)
    feeds = await read_feeds(archive.pool)
    senders = Hl7Senders(archive, lambda: feeds)
    try:
        await senders.look()
        await asyncio.wait_for(came.wait(), 60)
    finally:
        await senders.close()
        server.close()
        await server.wait_closed()
    assert str(taken[0].segment("PID")[5]).startswith("Müller^Änne")
