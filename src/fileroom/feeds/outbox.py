"""The outbox: HL7 messages that leave, each until its receiver has taken it, of one feed one at a time and in order.

    queue_message(connection, ...)   for who makes messages, in the transaction of what they tell of
    send_due(archive, ...)           the worker's round of one feed
    list_outgoing, resend_outgoing, cancel_outgoing, send_message   for people

The first message of a feed is locked while it is sent, so that several workers keep the order; a worker that is killed between
the answer and the commit sends it again under the same control ID, by which the receiver knows it.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import (
    ConfigurationError,
    ConflictError,
    Hl7Error,
    InvalidRequestError,
    NotFoundError,
    PeerError,
    TooLargeError,
    told,
)
from fileroom.db.pool import Pool
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import read_feeds
from fileroom.feeds.found_by import found_by
from fileroom.feeds.rewriting import rewritten
from fileroom.hl7.acknowledge import Answer
from fileroom.hl7.message import Message, parse_message

RETRY_FIRST_S: Final = 5.0
RETRY_MAX_S: Final = 600.0
"""Ten minutes between the last attempts: a receiver that is back is noticed within them."""
_JITTER: Final = 0.2
LIST_MAX: Final = 500
SENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a message that somebody sends by hand."""
ANSWER_BYTES_KEPT: Final = 64 * 1024
_REASON_CHARS_MAX: Final = 1000
_NEVER_TAKEN: Final = frozenset(("AR", "CR"))

Send = Callable[[Outgoing, bytes], Awaitable[Answer]]
"""Sends one message and returns its answer. Raises PeerError, and ConfigurationError where our own certificate is of no use."""


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A row of the outbox. `reason`: why it is not sent yet, or never will be."""

    id: int
    feed: str
    control_id: str
    kind: str
    state: str
    attempts: int
    next_try_at: dt.datetime
    reason: str
    cause: str
    made_at: dt.datetime
    made_by: str
    sent_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class OutgoingFilter:
    """Which of them: of a feed, in states, below an id."""

    feed: str = ""
    states: Sequence[str] = ()


async def queue_message(
    connection: AsyncConnection[Any], feed: str, message: Message, *, cause: str = "", who: str = ""
) -> bool:
    """Put a message in the outbox, in the caller's transaction; False: the same (`cause`) was told already."""
    found = found_by(message, [])
    cursor = await connection.execute(
        b"""INSERT INTO hl7_outgoing (feed, control_id, kind, raw, cause, patient_ids, accession_numbers, made_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (feed, cause) WHERE cause <> '' DO NOTHING""",
        (
            feed,
            message.control_id[:300],
            message.kind[:40],
            message.raw,
            cause,
            found.patient_ids,
            found.accession_numbers,
            who,
        ),
    )
    return cursor.rowcount == 1


# --- for people ---


async def list_outgoing(
    archive: Archive, wanted: OutgoingFilter | None = None, *, before: int | None = None, limit: int = 100
) -> list[OutgoingMessage]:
    """The newest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.MESSAGE_READ)
    wanted = wanted or OutgoingFilter()
    async with (
        archive.pool.connection() as connection,
        connection.cursor(row_factory=class_row(OutgoingMessage)) as cursor,
    ):
        await cursor.execute(
            _COLUMNS
            + b""" WHERE (%(feed)s = '' OR feed = %(feed)s) AND (%(states)s = '{}'::text[] OR state = ANY(%(states)s))
                AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s""",
            {"feed": wanted.feed, "states": list(wanted.states), "before": before, "limit": min(limit, LIST_MAX)},
        )
        return await cursor.fetchall()


async def send_message(archive: Archive, feed: str, raw: bytes) -> int:
    """Queue a message that somebody wrote; returns its number in the outbox.

    Raises InvalidRequestError, NotFoundError (no such feed out), TooLargeError, NotAllowedError.
    """
    who = require(Permission.MESSAGE_MANAGE).name
    if len(raw) > SENT_BYTES_MAX:
        raise TooLargeError(told("A message that is sent by hand has at most {most} bytes.", most=SENT_BYTES_MAX))
    try:
        message = parse_message(raw)
    except Hl7Error as error:
        raise InvalidRequestError(error.sentence) from error
    feeds = await read_feeds(archive.pool)
    if not any(one.name == feed for one in feeds.outgoing):
        raise NotFoundError(told("There is no feed out {name} in force.", name=feed))
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"SELECT nextval('hl7_outgoing_id_seq')")
        row = await cursor.fetchone()
        number = int(row[0]) if row else 0
        await connection.execute(
            b"""INSERT INTO hl7_outgoing (id, feed, control_id, kind, raw, made_by) OVERRIDING SYSTEM VALUE
                VALUES (%s, %s, %s, %s, %s, %s)""",
            (number, feed, message.control_id[:300], message.kind[:40], message.raw, who),
        )
        await record(connection, node_changed(feed, f"HL7 message sent by hand: {message.kind[:40]}, {number}"))
    return number


async def resend_outgoing(archive: Archive, number: int) -> int:
    """Send a message once more, behind what waits; returns the number of the new row. The old one stays as it is.

    Raises NotFoundError, ConflictError while it waits, NotAllowedError.
    """
    who = require(Permission.MESSAGE_MANAGE).name
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT feed, kind, state FROM hl7_outgoing WHERE id = %s FOR UPDATE", (number,)
        )
        row = await cursor.fetchone()
        if row is None:
            raise _unknown(number)
        if row[2] == "waiting":
            raise ConflictError(told("Message {number} still waits to be sent.", number=number))
        cursor = await connection.execute(
            b"""INSERT INTO hl7_outgoing (feed, control_id, kind, raw, patient_ids, accession_numbers, made_by)
                SELECT feed, control_id, kind, raw, patient_ids, accession_numbers, %s FROM hl7_outgoing WHERE id = %s
                RETURNING id""",
            (who, number),
        )
        made = await cursor.fetchone()
        await record(connection, node_changed(row[0], f"HL7 message sent again: {row[1]}, {number}"))
    return int(made[0]) if made else 0


async def cancel_outgoing(archive: Archive, number: int, reason: str) -> None:
    """Take a message that waits out of the way of those behind it. Raises NotFoundError, ConflictError, NotAllowedError."""
    who = require(Permission.MESSAGE_MANAGE).name
    reason = " ".join(reason.split())[:_REASON_CHARS_MAX]
    if not reason:
        raise InvalidRequestError(told("Say why the message shall not be sent."))
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE hl7_outgoing SET state = 'cancelled', reason = %s WHERE id = %s AND state = 'waiting'
                RETURNING feed""",
            (f"{reason} ({who})", number),
        )
        row = await cursor.fetchone()
        if row is None:
            raise ConflictError(told("Message {number} does not wait to be sent.", number=number))
        await record(connection, node_changed(row[0], f"HL7 message cancelled: {number}; {reason}"))


# --- the worker ---


async def waiting_feeds(pool: Pool, now: dt.datetime) -> list[str]:
    """Feeds whose first message is due. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT feed FROM (SELECT DISTINCT ON (feed) feed, next_try_at FROM hl7_outgoing WHERE state = 'waiting'
                ORDER BY feed, id) head WHERE next_try_at <= %s""",
            (now,),
        )
        return [row[0] for row in await cursor.fetchall()]


async def send_due(archive: Archive, feed: Outgoing, send: Send) -> bool:
    """Send the first message of a feed if it is due; whether there may be more. Raises DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""SELECT id, raw, attempts, made_at, next_try_at FROM hl7_outgoing WHERE id = (
                    SELECT id FROM hl7_outgoing WHERE feed = %s AND state = 'waiting' ORDER BY id LIMIT 1)
                AND state = 'waiting' FOR UPDATE SKIP LOCKED""",
            (feed.name,),
        )
        row = await cursor.fetchone()
        if row is None or row[4] > now:
            return False
        number, raw, attempts, made_at, _ = row
        answer: Answer | None = None
        try:
            answer = await send(feed, rewritten(bytes(raw), feed.rewrite))
            state, reason = _settled(answer, attempts + 1, feed.attempts_max)
        except Hl7Error as error:
            state, reason = "dead", error.sentence
        except (PeerError, ConfigurationError) as error:
            hours = feed.give_up_hours
            is_over = bool(hours) and now - made_at > dt.timedelta(hours=hours)
            state, reason = ("dead" if is_over else "waiting"), error.sentence
        await connection.execute(
            b"""UPDATE hl7_outgoing SET state = %s, attempts = attempts + 1, answer = %s, reason = %s, next_try_at = %s,
                sent_at = CASE WHEN %s THEN %s::timestamptz END WHERE id = %s""",
            (
                state,
                answer.raw[:ANSWER_BYTES_KEPT] if answer else None,
                reason.replace("\x00", "")[:_REASON_CHARS_MAX],
                now + dt.timedelta(seconds=retry_delay(attempts + 1)),
                state == "sent",
                archive.now(),
                number,
            ),
        )
    return state != "waiting"


def retry_delay(attempts: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds from attempt number `attempts` (from 1) to the next: 5, 10, 20 ..., at most ten minutes, a fifth by chance."""
    delay = min(RETRY_FIRST_S * 2.0 ** min(max(attempts, 1) - 1, 20), RETRY_MAX_S)
    return delay * (1 - _JITTER / 2 + _JITTER * chance())


# --- helpers ---

_COLUMNS: Final = b"""SELECT id, feed, control_id, kind, state, attempts, next_try_at, reason, cause, made_at, made_by, sent_at
    FROM hl7_outgoing"""


def _settled(answer: Answer, attempts: int, attempts_max: int) -> tuple[str, str]:
    """The state after an answer, and why."""
    if answer.is_good:
        return "sent", ""
    reason = f"The receiver answered {answer.code or 'without a code'}: {answer.reason or 'without a reason'}"
    return ("dead" if answer.code in _NEVER_TAKEN or attempts >= attempts_max else "waiting"), reason


def _unknown(number: int) -> NotFoundError:
    return NotFoundError(told("There is no message {number} in the outbox.", number=number))
