"""The inbox: every HL7 message that arrives, what became of it, and what was answered, in one transaction (ADR 0040).

    receive_at(...)        chooses the feed of a message and receives it; what no feed takes is kept too, and rejected
    receive_message(...)   one message of a feed: reads it, applies what it asks for, writes the row, then answers

An answer is given only after the commit. When the database does not commit there is none (DatabaseError): the caller closes
the connection, the sender repeats, and a message that was applied already is answered as it was before, but not applied again.
HL7 v2.5.1 ch. 2.9 (acknowledgement), 2.10.4 (sequence: messages of one connection are received one after another).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as, current_access
from fileroom.core.errors import (
    ConflictError,
    DatabaseError,
    FileroomError,
    Hl7Error,
    NotFoundError,
    RequestError,
    UnsupportedError,
    told,
)
from fileroom.feeds.answers import OwnAnswer
from fileroom.feeds.changes import Change, apply_asked
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet, InFeed
from fileroom.feeds.found_by import FoundBy, found_by, words_of
from fileroom.feeds.mapping import read_changes
from fileroom.feeds.order_answers import is_order, order_answer
from fileroom.feeds.queries import ANSWERED, answer_query, is_query
from fileroom.hl7.acknowledge import acknowledge, is_enhanced, wants_accept, wants_application
from fileroom.hl7.batch import join_answers, split_messages
from fileroom.hl7.message import Message, parse_message
from fileroom.worklist.changes import Cause, Effect, Nothing

NO_FEED: Final = ""
"""The feed of messages that no feed takes."""
ATTEMPTS_MAX: Final = 3
"""Two messages of one patient on two connections may stand in each other's way; the one that lost is applied again."""
REASON_CHARS_MAX: Final = 1000
EFFECTS_MAX: Final = 200
REJECTED_BYTES_MAX: Final = 256 * 1024
_SHORT_CHARS_MAX: Final = 300
_KIND_CHARS_MAX: Final = 40
_STEPPED_ON: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
)
_CODES: Final[tuple[tuple[type[FileroomError], str], ...]] = (
    (NotFoundError, "204"),
    (ConflictError, "205"),
    (UnsupportedError, "200"),
    (RequestError, "102"),
)
"""HL7 table 0357: unknown key identifier, duplicate key identifier, unsupported message type, data type error; else 207."""

_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Received:
    """A message on its way into its row."""

    raw: bytes
    address: str
    feed: str = NO_FEED
    message: Message | None = None
    state: str = "rejected"
    code: str = "AR"
    """In original mode; what is answered follows from it and from MSH-15."""
    error_code: str = "207"
    reason: str = ""
    effects: list[Effect] = field(default_factory=list)
    found: FoundBy = field(default_factory=lambda: FoundBy([], [], [], []))
    first: int | None = None
    answered: str = ""
    answer: bytes = b""
    own: OwnAnswer | None = None
    """What is answered beyond the acknowledgement."""
    forwards: Sequence[Outgoing] = ()
    started: float = field(default_factory=time.perf_counter)

    @property
    def digest(self) -> bytes:
        """Of the bytes as they came."""
        return hashlib.sha256(self.raw).digest()


async def receive_at(
    archive: Archive,
    feeds: FeedSet,
    port: int,
    raw: bytes,
    *,
    address: str,
    heard: Callable[[str], None] = lambda _: None,
) -> list[bytes]:
    """Take what came in one frame to `port` (0: the default one); returns the answers, each for a frame of its own.

    A batch is taken message by message and answered by one batch (v2.5.1 2.10.3). `heard` is told the feeds that took some.
    Raises DatabaseError: what was not kept is not answered, and what was kept of the frame is found again when the sender
    repeats it.
    """
    batch = split_messages(raw)
    answers = [await _receive_one(archive, feeds, port, one, address, heard) for one in batch.messages]
    if batch.is_batch:
        now = archive.now()
        return [join_answers(batch, [one for one in answers if one], now=now, control_id=_control_id(now))]
    return [one for answer in answers if answer for one in split_messages(answer).messages]


async def receive_message(archive: Archive, feed: InFeed, raw: bytes, *, address: str) -> bytes:
    """Take one message of a feed; returns its answer, empty where the sender wants none (MSH-15 NE).

    Raises DatabaseError: nothing was kept, and nothing may be answered.
    """
    try:
        message = parse_message(raw, assumed_charset=feed.feed.assumed_charset)
    except Hl7Error as error:
        return await _reject(archive, _Received(raw, address, feed.feed.name, reason=error.sentence, error_code="100"))
    return await _receive(archive, feed, message, _Received(raw, address, feed.feed.name, message))


async def keep_fault(archive: Archive, raw: bytes, reason: str, *, address: str) -> bytes:
    """Keep bytes that are no frame, as no feed's; returns what is answered. Raises DatabaseError."""
    try:
        message: Message | None = parse_message(raw)
    except Hl7Error:
        message = None
    return await _reject(archive, _Received(raw, address, message=message, reason=reason))


async def receive_again(archive: Archive, feed: InFeed, raw: bytes, *, first: int, who: str, is_forwarded: bool) -> int:
    """Apply a message of the inbox, or a mended copy of it, once more; returns the number of its new row.

    For `feeds.replay`, which has asked for permission. Raises Hl7Error, DatabaseError.
    """
    message = parse_message(raw, assumed_charset=feed.feed.assumed_charset)
    received = _Received(raw, "", feed.feed.name, message, first=first)
    received.forwards = feed.forwards if is_forwarded else ()
    return (await _write_with_changes(archive, feed, message, received, who=who, is_replay=True))[0]


# --- helpers ---


async def _receive_one(
    archive: Archive, feeds: FeedSet, port: int, raw: bytes, address: str, heard: Callable[[str], None]
) -> bytes:
    try:
        message = parse_message(raw)
    except Hl7Error as error:
        return await _reject(archive, _Received(raw, address, reason=error.sentence, error_code="100"))
    application, facility = message.get("MSH-3.1"), message.get("MSH-4.1")
    feed = feeds.choose(port, application, facility, address)
    if feed is None:
        who = f"{application or 'nobody'}|{facility or 'nowhere'}@{address}"
        reason = (
            f"No feed takes messages of {who}. Name this sender in a feed, then let it send again or replay it here."
        )
        return await _reject(archive, _Received(raw, address, message=message, reason=reason))
    if feed.feed.assumed_charset and not message.charset:
        message = parse_message(raw, assumed_charset=feed.feed.assumed_charset)
    answer = await _receive(archive, feed, message, _Received(raw, address, feed.feed.name, message))
    heard(feed.feed.name)
    return answer


async def _receive(archive: Archive, feed: InFeed, message: Message, received: _Received) -> bytes:
    received.forwards = feed.forwards
    return (await _write_with_changes(archive, feed, message, received, who="", is_replay=False))[1]


async def _write_with_changes(
    archive: Archive, feed: InFeed, message: Message, received: _Received, *, who: str, is_replay: bool
) -> tuple[int, bytes]:
    changes: list[Change] = []
    problem: FileroomError | None = None
    try:
        changes = read_changes(message, feed.mapping)
        _require_taken(message, changes, feed)
    except RequestError as error:
        problem = error
    except Exception as error:  # noqa: BLE001 - the boundary of a message: it is kept with the reason
        problem = _unexpected(error)
    received.found = found_by(message, changes)
    access = Access(ActorKind.SYSTEM, who or f"feed {feed.feed.name}", frozenset(Permission), address=received.address)
    with acting_as(access):
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with archive.pool.connection() as connection:
                    return await _transaction(
                        archive, connection, feed, received, changes, problem, is_replay=is_replay
                    )
            except _STEPPED_ON as error:
                if attempt == ATTEMPTS_MAX:
                    problem = _unexpected(error)
        async with archive.pool.connection() as connection:
            return await _transaction(archive, connection, feed, received, changes, problem, is_replay=is_replay)


async def _transaction(
    archive: Archive,
    connection: AsyncConnection[Any],
    feed: InFeed,
    received: _Received,
    changes: Sequence[Change],
    problem: FileroomError | None,
    *,
    is_replay: bool,
) -> tuple[int, bytes]:
    """Three times the way to the database, and what the changes need: begin and look, apply, write and commit."""
    message = received.message
    control_id = _short(message.control_id) if message else ""
    sender = _sender(message)
    try:
        async with connection.pipeline():
            await connection.execute(b"BEGIN")
            # The same few statements a hundred times a second: plans of rows by their keys, which need not be made anew.
            await connection.execute(b"SET LOCAL plan_cache_mode = auto")
            await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_lock(received.feed, sender, control_id),))
            cursor = await connection.execute(_LOOK, (control_id, received.feed, sender))
            await connection.execute(b"SAVEPOINT changes")
        rows = await cursor.fetchall()
        number = int(rows[0][0])
        outcome = replace(received, effects=[])
        if is_replay or not control_id or not _was_applied(outcome, rows):
            await _apply(archive, connection, feed, outcome, changes, problem, number)
        _answer(archive, outcome)
        await _write(archive, connection, outcome, number, control_id, sender)
    except BaseException:
        if not connection.closed:
            await connection.rollback()
        raise
    return number, outcome.answer


def _was_applied(outcome: _Received, rows: Sequence[tuple[Any, ...]]) -> bool:
    """Whether a message of this control ID with the same content stands already; one with other content is flagged."""
    for _, first, digest, state, code, answer, _ in rows:
        if first is None:
            continue
        if bytes(digest) != outcome.digest:
            outcome.reason = (
                outcome.reason or f"Its control ID was used before, with other content, by message {first}."
            )
        elif state in ("applied", "ignored") or code in ("AA", "CA"):
            outcome.state, outcome.first = "duplicate", first
            outcome.reason = f"It came before, as message {first}, and is answered as then."
            outcome.answered, outcome.answer = code, bytes(answer)
            return True
        else:
            outcome.first = first  # it failed then; the sender tries again
    return False


async def _apply(
    archive: Archive,
    connection: AsyncConnection[Any],
    feed: InFeed,
    outcome: _Received,
    changes: Sequence[Change],
    problem: FileroomError | None,
    number: int,
) -> None:
    """What the message asks for, or nothing of it. Raises DatabaseError and what `_STEPPED_ON` names."""
    flag = outcome.reason
    cause = Cause(current_access().name, number)
    try:
        if problem is not None:
            raise problem
        for change in changes:
            if isinstance(change, Nothing):
                continue
            outcome.effects += await apply_asked(archive, connection, change, cause, feed=feed.feed.name)
        await _say_more(connection, feed, outcome)
    except DatabaseError:
        raise
    except _STEPPED_ON:
        raise
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of a message: it is kept with the reason
        await connection.execute(b"ROLLBACK TO SAVEPOINT changes")
        known = error if isinstance(error, FileroomError) else _unexpected(error)
        outcome.effects = []
        outcome.state = "failed"
        outcome.code = "AA" if feed.feed.on_failure == "accept" else "AE"
        outcome.error_code = next((code for kind, code in _CODES if isinstance(known, kind)), "207")
        outcome.reason = " ".join(one for one in (known.sentence, flag) if one)
        if isinstance(known, UnsupportedError):
            outcome.state, outcome.code = "rejected", "AR"
        elif feed.feed.order_answer == "order" and outcome.message is not None and is_order(outcome.message):
            outcome.own = await order_answer(connection, outcome.message, (), is_done=False)
        return
    if outcome.own is not None and outcome.own.words:
        outcome.state, outcome.code, outcome.reason = "applied", outcome.own.code, flag
        outcome.effects.append(Effect(outcome.own.words))
        return
    asked = [one for one in changes if not isinstance(one, Nothing)]
    outcome.code = "AA"
    outcome.state = "applied" if asked else "ignored"
    if not asked:
        why = "; ".join(one.why for one in changes if isinstance(one, Nothing)) or "It asks for nothing here."
        outcome.reason = " ".join(one for one in (why, flag) if one)


async def _say_more(connection: AsyncConnection[Any], feed: InFeed, outcome: _Received) -> None:
    """What the answer says beyond that the message was taken: what a query found, how an order stands."""
    message = outcome.message
    if message is None:
        return
    if is_query(message):
        outcome.own = await answer_query(connection, message, feed.mapping)
    elif feed.feed.order_answer == "order" and is_order(message):
        outcome.own = await order_answer(connection, message, outcome.effects, is_done=True)


def _answer(archive: Archive, outcome: _Received) -> None:
    """The acknowledgements that the sender asked for: one in original mode; in enhanced mode as MSH-15 and MSH-16 say, the
    accept acknowledgement before that of the application."""
    if outcome.state == "duplicate":
        return
    message, own, is_good = outcome.message, outcome.own, outcome.code == "AA"
    wanted = [False]
    if message is not None and is_enhanced(message):
        wanted = [True] * wants_accept(message, is_good=is_good)
        # Who asks wants to hear; only NE is a no.
        is_asked = own is not None and bool(own.words) and message.get("MSH-16").strip().upper() != "NE"
        wanted += [False] * (is_asked or wants_application(message, is_good=is_good))
    now = archive.now()
    errors: Sequence[tuple[str, str, str]] = own.errors if own is not None else ()
    if not is_good and not errors:
        errors = [("", outcome.error_code, outcome.reason[:REASON_CHARS_MAX])]
    reason = "" if is_good else outcome.reason[:REASON_CHARS_MAX] or errors[0][2]
    answers = [
        acknowledge(
            message if message is not None else outcome.raw,
            outcome.code,
            reason=reason,
            errors=errors,
            now=now,
            control_id=_control_id(now),
            enhanced=is_accept,
            kind="" if own is None or is_accept else own.kind,
            body=() if own is None or is_accept else own.body,
        )
        for is_accept in wanted
    ]
    outcome.answered = "" if not wanted else f"C{outcome.code[1]}" if wanted[0] else outcome.code
    outcome.answer = b"".join(answers)


def _control_id(now: dt.datetime) -> str:
    """MSH-10 of an answer: 20 characters at most."""
    return f"F{now:%y%m%d%H%M%S%f}"


async def _write(
    archive: Archive,
    connection: AsyncConnection[Any],
    outcome: _Received,
    number: int,
    control_id: str,
    sender: str,
) -> None:
    message, found = outcome.message, outcome.found
    kind = _short(message.kind)[:_KIND_CHARS_MAX] if message else ""
    async with connection.pipeline():
        await connection.execute(
            _INSERT,
            (
                number,
                outcome.feed,
                sender,
                outcome.address,
                control_id,
                kind,
                outcome.raw,
                outcome.digest,
                _short(message.charset) if message else "",
                outcome.state,
                outcome.answered,
                outcome.answer,
                _short(outcome.reason, REASON_CHARS_MAX),
                Jsonb([_effect(one) for one in outcome.effects[:EFFECTS_MAX]]),
                found.patient_ids,
                found.accession_numbers,
                found.order_numbers,
                found.words,
                outcome.first,
                archive.now(),
                current_access().name,
                (time.perf_counter() - outcome.started) * 1000,
            ),
        )
        if outcome.first is not None and outcome.state in ("applied", "ignored"):
            await connection.execute(
                b"UPDATE hl7_message SET mended_by = %s WHERE id = %s AND state IN ('failed', 'rejected')",
                (number, outcome.first),
            )
        if outcome.state in ("applied", "ignored") and message is not None:
            for to in outcome.forwards:
                if to.forwards(outcome.feed, kind):
                    await connection.execute(
                        _FORWARD, (to.name, control_id, kind, outcome.raw, f"message {number}", *_numbers(found), "")
                    )
        await connection.execute(b"COMMIT")


async def _reject(archive: Archive, received: _Received) -> bytes:
    """Keep what no feed takes, or what is no message, with the reason; of large ones the beginning, as anybody may call."""
    if len(received.raw) > REJECTED_BYTES_MAX:
        received.reason += f" Kept of its {len(received.raw)} bytes: the first {REJECTED_BYTES_MAX}."
        received.raw = received.raw[:REJECTED_BYTES_MAX]
    if received.message is not None:
        received.found = found_by(received.message, [])
    else:
        received.found = FoundBy([], [], [], words_of(received.raw[:4096].decode("latin-1")))
    _answer(archive, received)
    control_id = _short(received.message.control_id) if received.message else ""
    async with archive.pool.connection() as connection:
        try:
            await connection.execute(b"BEGIN")
            cursor = await connection.execute(b"SELECT nextval('hl7_message_id_seq')")
            row = await cursor.fetchone()
            await _write(
                archive, connection, received, int(row[0]) if row else 0, control_id, _sender(received.message)
            )
        except BaseException:
            if not connection.closed:
                await connection.rollback()
            raise
    return received.answer


def _require_taken(message: Message, changes: Sequence[Change], feed: InFeed) -> None:
    """What asks for an answer that is not given, and what says nothing of what it is, is not taken. Raises UnsupportedError."""
    structure = message.get("MSH-9.1").strip().upper()
    if not structure and all(isinstance(one, Nothing) for one in changes):
        raise UnsupportedError(told("MSH-9 does not say what kind of message it is."))
    if is_query(message) and feed.feed.queries != "answer":
        raise UnsupportedError(
            told(
                "The feed {name} answers no queries ({kind}). Let it answer them if this sender may ask for patients.",
                name=feed.feed.name,
                kind=message.kind[:20],
            )
        )
    if is_query(message) and message.kind not in ANSWERED:
        raise UnsupportedError(
            told(
                "Queries of the kind {kind} are not answered; these are: {known}.",
                kind=message.kind[:20],
                known=", ".join(ANSWERED),
            )
        )


def _unexpected(error: Exception) -> FileroomError:
    """A mistake of ours, or a value that the database does not take: told without the value, which names a patient."""
    _log.error("message_not_applied", error_type=type(error).__name__, exc_info=error)
    return FileroomError(f"It could not be applied: {type(error).__name__}. The log of the HL7 worker says more.")


def _effect(one: Effect) -> dict[str, object]:
    return {"words": one.words[:REASON_CHARS_MAX], "subject": one.subject, "number": one.number}


def _sender(message: Message | None) -> str:
    return _short(f"{message.get('MSH-3')}|{message.get('MSH-4')}") if message else ""


def _short(text: str, most: int = _SHORT_CHARS_MAX) -> str:
    return text.replace("\x00", "")[:most]


def _lock(*parts: str) -> int:
    """Two copies of one message, sent on two connections, are looked at one after the other."""
    return int.from_bytes(hashlib.blake2b("\x00".join(parts).encode(), digest_size=8).digest(), "big", signed=True)


def _numbers(found: FoundBy) -> tuple[list[str], list[str]]:
    return found.patient_ids, found.accession_numbers


_LOOK: Final = b"""SELECT given.id, there.id, there.digest, there.state, there.answered, there.answer, there.mended_by
    FROM (SELECT nextval('hl7_message_id_seq') AS id) given LEFT JOIN LATERAL (
        SELECT id, digest, state, answered, answer, mended_by FROM hl7_message
        WHERE control_id = %s AND control_id <> '' AND feed = %s AND sender = %s
            AND state IN ('applied', 'ignored', 'failed')
        ORDER BY id DESC LIMIT 5) there ON true ORDER BY there.id"""

_INSERT: Final = b"""INSERT INTO hl7_message (id, feed, sender, address, control_id, kind, raw, digest, charset, state,
        answered, answer, reason, effects, patient_ids, accession_numbers, order_numbers, words, first, received_at,
        received_by, milliseconds)
    OVERRIDING SYSTEM VALUE
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, array_to_tsvector(%s), %s, %s, %s, %s)"""

_FORWARD: Final = b"""INSERT INTO hl7_outgoing (feed, control_id, kind, raw, cause, patient_ids, accession_numbers,
        made_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (feed, cause) WHERE cause <> '' DO NOTHING"""
