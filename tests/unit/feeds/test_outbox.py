"""Messages leave in order, one at a time, until they are taken or are dead letters; people send again and cancel."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace

import pytest

from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, PeerRefusedError
from fileroom.feeds.alarms import failed_counts
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import put_feed, remove_feed
from fileroom.feeds.outbox import (
    RETRY_MAX_S,
    OutgoingFilter,
    cancel_outgoing,
    list_outgoing,
    queue_message,
    resend_outgoing,
    retry_delay,
    send_due,
    send_message,
    waiting_feeds,
)
from fileroom.hl7.acknowledge import Answer, read_answer
from fileroom.hl7.message import parse_message

WARD = Outgoing("ward", "127.0.0.1", 2575, attempts_max=2, give_up_hours=1)
START = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def message(control_id: str) -> bytes:
    return f"MSH|^~\\&|RIS|H|FR|H|20261122||ADT^A08|{control_id}|P|2.5\rPID|||P1^^^H\r".encode()


def ack(code: str, words: str = "") -> bytes:
    return f"MSH|^~\\&|W|H|FR|H|20261122||ACK|1|P|2.5\rMSA|{code}|X|{words}\r".encode()


@dataclass
class Receiver:
    """Answers as it is told, and remembers what it got."""

    answers: list[bytes | Exception]
    got: list[str] = field(default_factory=list)

    async def __call__(self, feed: Outgoing, raw: bytes) -> Answer:
        self.got.append(parse_message(raw).control_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return read_answer(answer)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> dt.datetime:
        return self.time

    def later(self, **interval: float) -> None:
        self.time += dt.timedelta(**interval)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def clocked(archive: Archive, clock: Clock) -> Archive:
    async with archive.pool.connection() as connection:
        for control_id in ("A", "B", "C"):
            await queue_message(connection, "ward", parse_message(message(control_id)), cause=f"message {control_id}")
        await connection.execute("UPDATE hl7_outgoing SET made_at = %s, next_try_at = %s", (START, START))
    return replace(archive, now=clock)


async def states(archive: Archive) -> dict[str, str]:
    return {one.control_id: one.state for one in await list_outgoing(archive)}


async def test_messages_leave_one_after_the_other_in_their_order(clocked: Archive) -> None:
    receiver = Receiver([ack("AA")])
    while await send_due(clocked, WARD, receiver):
        pass
    assert receiver.got == ["A", "B", "C"]
    assert set((await states(clocked)).values()) == {"sent"}


async def test_a_message_that_is_not_taken_holds_up_those_behind_it_until_it_is_dead(
    clocked: Archive, clock: Clock
) -> None:
    receiver = Receiver([ack("AE", "no such ward"), ack("AE", "no such ward"), ack("CA")])
    assert not await send_due(clocked, WARD, receiver)
    assert not await send_due(clocked, WARD, receiver)  # not due yet
    assert receiver.got == ["A"]
    assert await waiting_feeds(clocked.pool, clock()) == []
    clock.later(seconds=10)
    assert await waiting_feeds(clocked.pool, clock()) == ["ward"]
    assert await send_due(clocked, WARD, receiver)
    assert await send_due(clocked, WARD, receiver)
    assert receiver.got == ["A", "A", "B"]
    assert await states(clocked) == {"A": "dead", "B": "sent", "C": "waiting"}
    dead = (await list_outgoing(clocked, OutgoingFilter("ward", ("dead",))))[0]
    assert "answered AE: no such ward" in dead.reason
    assert [(one.feed, one.failed, one.dead) for one in await failed_counts(clocked.pool)] == [("ward", 0, 1)]


async def test_a_message_that_is_refused_for_good_is_dead_at_once(clocked: Archive) -> None:
    assert await send_due(clocked, WARD, Receiver([ack("AR")]))
    assert (await states(clocked))["A"] == "dead"


async def test_who_does_not_answer_is_asked_again_until_it_is_given_up(clocked: Archive, clock: Clock) -> None:
    receiver = Receiver([PeerRefusedError("ward is down")])
    for _ in range(5):
        assert not await send_due(clocked, WARD, receiver)
        clock.later(minutes=11)
    [one] = [one for one in await list_outgoing(clocked) if one.control_id == "A"]
    assert (one.state, one.attempts) == ("waiting", 5)
    assert one.reason == "ward is down"
    clock.later(hours=1)
    assert await send_due(clocked, WARD, receiver)
    assert (await states(clocked))["A"] == "dead"


async def test_the_same_is_not_told_twice(clocked: Archive) -> None:
    async with clocked.pool.connection() as connection:
        assert not await queue_message(connection, "ward", parse_message(message("A")), cause="message A")
        assert await queue_message(connection, "other", parse_message(message("A")), cause="message A")


async def test_people_send_again_and_cancel(clocked: Archive) -> None:
    first = (await list_outgoing(clocked))[-1].id
    with pytest.raises(ConflictError, match="still waits"):
        await resend_outgoing(clocked, first)
    with pytest.raises(InvalidRequestError, match="why"):
        await cancel_outgoing(clocked, first, " ")
    await cancel_outgoing(clocked, first, "sent by hand")
    with pytest.raises(ConflictError, match="does not wait"):
        await cancel_outgoing(clocked, first, "again")
    again = await resend_outgoing(clocked, first)
    assert again > first
    assert (await list_outgoing(clocked))[0].control_id == "A"
    with pytest.raises(NotFoundError):
        await resend_outgoing(clocked, 999)


async def test_a_message_by_hand_needs_a_feed_in_force_and_is_one(archive: Archive) -> None:
    await put_feed(archive, "ward", {"direction": "out", "host": "127.0.0.1", "port": 2575})
    number = await send_message(archive, "ward", message("H"))
    assert [(one.id, one.made_by) for one in await list_outgoing(archive)] == [(number, "system")]
    with pytest.raises(NotFoundError, match="no feed out"):
        await send_message(archive, "nowhere", message("H"))
    with pytest.raises(InvalidRequestError, match="no HL7 message"):
        await send_message(archive, "ward", b"hello")
    await remove_feed(archive, "ward")
    assert (await states(archive))["H"] == "cancelled"


def test_pauses_grow_to_ten_minutes() -> None:
    pauses = [retry_delay(attempt, lambda: 0.5) for attempt in (1, 2, 3, 100)]
    assert pauses == [5.0, 10.0, 20.0, RETRY_MAX_S]
    assert retry_delay(1, lambda: 0.0) == pytest.approx(4.5)


async def test_lines_of_the_feed_change_what_leaves_and_not_what_is_kept(clocked: Archive) -> None:
    told = replace(WARD, rewrite=("MSH-10 = NEW", "PID-4 = $PID-3.1"))
    receiver = Receiver([ack("AA")])
    assert await send_due(clocked, told, receiver)
    assert receiver.got == ["NEW"]
    broken = replace(WARD, rewrite=("PID-5 = \u674e",))
    assert await send_due(clocked, broken, receiver)
    assert receiver.got == ["NEW"]
    assert await states(clocked) == {"A": "sent", "B": "dead", "C": "waiting"}
    dead = (await list_outgoing(clocked, OutgoingFilter("ward", ("dead",))))[0]
    assert "PID-5 = " in dead.reason
