"""Alerts from the ledger to the mailbox: they begin, are told of, acknowledged, repeated, end; and quiet times are quiet."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.routing.alert_notices import send_due_notices
from fileroom.routing.alert_rules import AlertKind
from fileroom.routing.alert_sums import read_queues
from fileroom.routing.alerts import (
    USUAL,
    acknowledge_alert,
    add_usual_alerts,
    alert_events,
    alerts_due,
    count_firing,
    list_alerts,
    list_conditions,
    put_condition,
    remove_condition,
)
from fileroom.routing.destinations import put_destination
from fileroom.routing.health import note_failure
from fileroom.routing.planner import Planner
from fileroom.routing.schedules import put_schedule
from fileroom.routing.troubles import Troubles

NOON = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
WEBHOOK = {"kind": "webhook", "target": {"url": "https://example.org/hook"}}


@dataclass
class Clock:
    now: dt.datetime = NOON

    def __call__(self) -> dt.datetime:
        return self.now

    def forward(self, minutes: float) -> None:
        self.now += dt.timedelta(minutes=minutes)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clocked(archive: Archive, clock: Clock) -> Archive:
    return replace(archive, now=clock)


async def add_deliveries(archive: Archive, destination_id: int, states: dict[str, int], created: dt.datetime) -> None:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"INSERT INTO parcel (destination_id, study_instance_uid) VALUES (%s, '1.2') RETURNING id",
            (destination_id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        number = 0
        for state, count in states.items():
            for _ in range(count):
                number += 1
                await connection.execute(
                    b"""INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
                        sop_instance_uid, sop_class_uid, state, created_at)
                        VALUES (%s, %s, %s, '1.2', '1.2', '1.2', '1.2', %s, %s)""",
                    (destination_id, row[0], number, state, created),
                )


async def settle_all(archive: Archive, state: str) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE delivery SET state = %s", (state,))


async def test_alert_begins_goes_on_and_ends_with_its_history(clocked: Archive, clock: Clock) -> None:
    number = (await put_destination(clocked, "A", WEBHOOK)).id
    await put_condition(clocked, "old", {"kind": "queue_age", "above": 30})
    await add_deliveries(clocked, number, {"waiting": 3, "delivered": 5}, NOON - dt.timedelta(minutes=45))
    await alerts_due(clocked)
    [alert] = await list_alerts(clocked)
    assert (alert.condition_name, alert.subject, alert.state) == ("old", "A", "firing")
    assert alert.sentence == "3 objects wait for A, the oldest for 45 min."
    clock.forward(1)
    await alerts_due(clocked)
    assert [one.value for one in await list_alerts(clocked)] == [46]  # The same alert, with its number
    assert await count_firing(clocked) == 1
    await settle_all(clocked, "delivered")
    await alerts_due(clocked)
    assert len(await list_alerts(clocked)) == 1  # It ends when it was not so for a minute
    clock.forward(1)
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []
    [ended] = await list_alerts(clocked, ended=True)
    assert ended.ended_at == clock.now
    assert [one.event for one in (await alert_events(clocked, [ended.id]))[ended.id]] == ["began", "ended"]


async def test_ledger_health_and_troubles_are_what_it_looks_at(clocked: Archive, clock: Clock) -> None:
    number = (await put_destination(clocked, "A", WEBHOOK)).id
    await put_destination(clocked, "quiet", WEBHOOK)
    assert len(await add_usual_alerts(clocked)) == len(USUAL)
    assert await add_usual_alerts(clocked) == []
    await alerts_due(clocked)
    assert [one for one in await list_alerts(clocked) if one.kind != "disk"] == []
    await add_deliveries(clocked, number, {"failed": 2, "quarantined": 1}, NOON)
    for _ in range(12):
        await note_failure(clocked, number, "No connection.")
    troubles = Troubles()
    troubles.note(AlertKind.ROUTING_LOOP, "from FAR")
    troubles.note(AlertKind.RULE_ERROR, "the rule r")
    troubles.note(AlertKind.RULE_ERROR, "the rule s")
    await troubles.flush(clocked.pool, clock.now)
    assert troubles.counted == {}
    clock.forward(6)
    await alerts_due(clocked)
    found = {one.kind: one for one in await list_alerts(clocked) if one.kind != "disk"}
    assert set(found) == {
        "failure_rate",
        "dead_letters",
        "quarantined",
        "destination_down",
        "rule_error",
        "routing_loop",
    }
    assert found["failure_rate"].value == 100
    assert ": 2 in the last 15 minutes; the last: the rule s" in found["rule_error"].sentence
    assert found["destination_down"].sentence == "A is down for 6 min: No connection."
    assert (await list_alerts(clocked))[0].severity == "critical"


async def test_rule_that_fails_in_a_process_is_an_alert(clocked: Archive, clock: Clock) -> None:
    async with clocked.pool.connection() as connection:  # As a version of before left it: today it could not be saved
        await connection.execute(
            b"""INSERT INTO named_entry (section, name, fields, changed_by)
                VALUES ('rules', 'broken', '{"when": "((", "on": "instance", "to": []}', '')"""
        )
    await put_condition(clocked, "rules", {"kind": "rule_error"})
    planner = Planner(clocked.pool, clocked.settings, clock)
    await planner.look()
    await planner.tell()
    await alerts_due(clocked)
    [alert] = await list_alerts(clocked)
    assert "the last: broken: " in alert.sentence


async def test_what_waits_for_its_hours_or_is_held_is_not_late(clocked: Archive, clock: Clock) -> None:
    nights = {"windows": [{"days": "daily", "from": "20:00", "to": "04:00"}]}
    await put_schedule(clocked, "nights", nights)
    number = (await put_destination(clocked, "A", {**WEBHOOK, "schedule": "nights"})).id
    await put_condition(clocked, "old", {"kind": "queue_age", "above": 30})
    await add_deliveries(clocked, number, {"waiting": 1}, NOON - dt.timedelta(hours=5))
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []
    clock.now = NOON.replace(hour=20, minute=20)
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []
    clock.forward(20)
    await alerts_due(clocked)
    assert [one.value for one in await list_alerts(clocked)] == [pytest.approx(40)]
    await put_destination(clocked, "A", {**WEBHOOK, "hold": True})
    clock.forward(2)
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []


async def test_queues_tell_states_and_the_oldest(clocked: Archive) -> None:
    number = (await put_destination(clocked, "A", WEBHOOK)).id
    await add_deliveries(clocked, number, {"waiting": 2, "sent": 1, "failed": 4}, NOON)
    [queue] = await read_queues(clocked)
    assert (queue.name, queue.states, queue.oldest_at) == ("A", {"waiting": 2, "sent": 1, "failed": 4}, NOON)


# --- people ---


async def firing_alert(archive: Archive, **fields: Any) -> int:
    number = (await put_destination(archive, "A", WEBHOOK)).id
    await put_condition(archive, "dead", {"kind": "dead_letters", **fields})
    await add_deliveries(archive, number, {"failed": 1}, NOON)
    await alerts_due(archive)
    return (await list_alerts(archive))[0].id


async def test_person_acknowledges_with_a_note(clocked: Archive) -> None:
    number = await firing_alert(clocked)
    person = Access(ActorKind.PERSON, "mia", frozenset({Permission.ROUTING_READ, Permission.ROUTING_MANAGE}))
    with acting_as(person):
        alert = await acknowledge_alert(clocked, number, "  I call\nthem. ")
    assert (alert.state, alert.acknowledged_by, alert.note) == ("acknowledged", "mia", "I call them.")
    assert await count_firing(clocked) == 0
    await alerts_due(clocked)
    assert [one.state for one in await list_alerts(clocked)] == ["acknowledged"]
    with pytest.raises(NotFoundError):
        await acknowledge_alert(clocked, 10**6, "")
    with pytest.raises(InvalidRequestError, match="1000"):
        await acknowledge_alert(clocked, number, "x" * 1001)
    reader = Access(ActorKind.TOKEN, "reader", frozenset({Permission.ROUTING_READ}))
    with acting_as(reader):
        assert len(await list_alerts(clocked)) == 1
        with pytest.raises(NotAllowedError):
            await acknowledge_alert(clocked, number, "")


async def test_condition_that_is_removed_ends_its_alerts(clocked: Archive) -> None:
    await firing_alert(clocked)
    await remove_condition(clocked, "dead")
    await alerts_due(clocked)
    assert await list_alerts(clocked) == []
    assert await list_conditions(clocked) == []


async def test_condition_names_what_is_there(clocked: Archive) -> None:
    for fields, named in (
        ({"destinations": ["B"]}, "no destination B"),
        ({"notify": ["B"]}, "mail or webhook"),
        ({"quiet": "nights"}, "no schedule nights"),
    ):
        with pytest.raises(InvalidRequestError, match=named):
            await put_condition(clocked, "c", {"kind": "dead_letters", **fields})


# --- notices ---


@dataclass
class Mailbox:
    """A mail server that may refuse."""

    port: int = 0
    refuses: bool = False
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses:
            return "451 later"
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"

    def subjects(self) -> list[str]:
        return [str(one["subject"]).replace("\r\n", "") for one in self.mails]


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    yield box
    server.close()
    await server.wait_closed()


@pytest.fixture
async def hook() -> AsyncIterator[tuple[int, list[dict[str, Any]]]]:
    """A web server that takes whatever is posted."""
    events: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        events.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], events
    server.close()
    await server.wait_closed()


async def desk(archive: Archive, box: Mailbox) -> None:
    target = {
        "to": ["desk@example.org"],
        "sender": "fileroom@example.org",
        "host": "127.0.0.1",
        "port": box.port,
        "security": "none",
    }
    await put_destination(archive, "desk", {"kind": "mail", "target": target})


async def test_people_are_told_when_it_begins_again_until_somebody_acknowledges_and_when_it_ends(
    clocked: Archive, clock: Clock, mailbox: Mailbox
) -> None:
    await desk(clocked, mailbox)
    number = await firing_alert(clocked, notify=["desk"], repeat_min=60)
    assert await send_due_notices(clocked) == 1
    assert await send_due_notices(clocked) == 0
    assert mailbox.subjects() == [
        "[FILEROOM] Alert: 1 objects for A were given up. Look at their causes and retry them."
    ]
    clock.forward(61)
    await alerts_due(clocked)
    assert await send_due_notices(clocked) == 1
    assert "Nobody has acknowledged" in str(mailbox.mails[1].get_payload())
    await acknowledge_alert(clocked, number, "on it")
    clock.forward(61)
    await alerts_due(clocked)
    assert await send_due_notices(clocked) == 0
    await settle_all(clocked, "delivered")
    clock.forward(2)
    await alerts_due(clocked)
    assert await send_due_notices(clocked) == 1
    assert mailbox.subjects()[2].startswith("[FILEROOM] Ended: 1 objects for A")
    events = (await alert_events(clocked, [number]))[number]
    assert [one.event for one in events] == ["began", "told", "told", "acknowledged", "ended", "told"]
    assert len({str(one["message-id"]) for one in mailbox.mails}) == 3


async def test_who_could_not_be_told_is_tried_again_and_the_others_are_not_told_twice(
    clocked: Archive, clock: Clock, mailbox: Mailbox, hook: tuple[int, list[dict[str, Any]]]
) -> None:
    port, posted = hook
    await desk(clocked, mailbox)
    await put_destination(
        clocked, "chat", {"kind": "webhook", "target": {"url": f"http://127.0.0.1:{port}/alerts?key=1"}}
    )
    mailbox.refuses = True
    number = await firing_alert(clocked, notify=["desk", "chat"])
    await send_due_notices(clocked)
    assert [one["state"] for one in posted] == ["firing"]
    assert (posted[0]["event"], posted[0]["subject"], posted[0]["kind"]) == ("alert", "A", "dead_letters")
    mailbox.refuses = False
    clock.forward(2)
    await alerts_due(clocked)
    await send_due_notices(clocked)
    assert (len(mailbox.mails), len(posted)) == (1, 1)
    events = (await alert_events(clocked, [number]))[number]
    assert sorted(one.event for one in events) == ["began", "not told", "told", "told"]
    assert any("451" in one.note for one in events)


async def test_quiet_times_are_quiet_and_what_is_over_by_then_is_not_told(
    clocked: Archive, clock: Clock, mailbox: Mailbox
) -> None:
    await desk(clocked, mailbox)
    await put_schedule(clocked, "lunch", {"windows": [{"days": "daily", "from": "11:00", "to": "13:00"}]})
    await firing_alert(clocked, notify=["desk"], quiet="lunch")
    assert await send_due_notices(clocked) == 0
    clock.forward(30)
    await alerts_due(clocked)
    assert await send_due_notices(clocked) == 0
    clock.forward(31)
    await alerts_due(clocked)
    assert await send_due_notices(clocked) == 1
    await settle_all(clocked, "delivered")
    clock.now = NOON + dt.timedelta(days=1)
    await alerts_due(clocked)  # It ends in the next quiet time
    await settle_all(clocked, "failed")
    await alerts_due(clocked)  # Another one begins
    await settle_all(clocked, "delivered")
    clock.forward(2)
    await alerts_due(clocked)  # and is over before anybody may be told
    clock.forward(65)
    await send_due_notices(clocked)
    assert [one.split(":")[0] for one in mailbox.subjects()] == ["[FILEROOM] Alert", "[FILEROOM] Ended"]
