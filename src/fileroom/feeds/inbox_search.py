"""Finding messages in the inbox, and one message as people look at it: segments, fields by name, what is new in it.

Whoever may not see patients (`feeds.masking`) sees their names, dates of birth and addresses masked, and searches by numbers
alone, not by words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import Hl7Error, NotFoundError, told
from fileroom.feeds.feeds import charset_of_feed
from fileroom.feeds.found_by import words_of
from fileroom.feeds.masking import masked, sees_patients
from fileroom.hl7.message import Message, parse_message
from fileroom.hl7.names import field_name, segment_name

LIST_MAX: Final = 500
SEARCH_WORDS_MAX: Final = 10
SEGMENTS_SHOWN_MAX: Final = 500
FIELD_CHARS_SHOWN_MAX: Final = 4000
"""An encoded document is shown by its beginning and its size."""
DIFFERENCES_MAX: Final = 200
STATES: Final = ("applied", "ignored", "failed", "rejected", "duplicate")
_PREVIOUS_LOOKED_AT: Final = 50


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages: those that fit everything that is given."""

    text: str = ""
    """Words, or their beginnings, each of which stands in the message; or a number."""
    feed: str | None = None
    """"" : those that no feed took."""
    states: Sequence[str] = ()
    is_troubled: bool = False
    """Failed or rejected, and nobody has mended it."""
    kind: str = ""
    """ADT^A08, or ADT for all that begin so."""
    patient: str = ""
    accession: str = ""
    order: str = ""
    control_id: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message in the list."""

    id: int
    feed: str
    sender: str
    address: str
    control_id: str
    kind: str
    state: str
    answered: str
    reason: str
    effects: Sequence[Mapping[str, Any]]
    patient_ids: Sequence[str]
    accession_numbers: Sequence[str]
    order_numbers: Sequence[str]
    first: int | None
    mended_by: int | None
    received_at: dt.datetime
    received_by: str
    milliseconds: float
    bytes: int

    @property
    def is_troubled(self) -> bool:
        """Waits for somebody to mend it."""
        return self.state in ("failed", "rejected") and self.mended_by is None


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field: its number and name (v2.5.1), its text as it stands there, and what it was in the previous message."""

    number: int
    name: str
    text: str
    is_cut: bool = False
    before: str | None = None
    """None: it is as it was, or there is no previous message."""


@dataclass(frozen=True, slots=True)
class ShownSegment:
    """A segment. `state`: "new" where the previous message has none such, "" otherwise."""

    name: str
    title: str
    fields: Sequence[ShownField]
    state: str = ""


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message as people look at it. `text` is for mending, empty for who may not see patients."""

    row: MessageRow
    segments: Sequence[ShownSegment]
    answer: Sequence[ShownSegment]
    text: str
    is_masked: bool
    is_readable: bool
    warnings: Sequence[str] = ()
    previous: int | None = None
    """The message before it of the same order, or of the same patient."""
    gone: Sequence[ShownSegment] = field(default_factory=tuple)
    """Segments of the previous message that this one does not have."""
    outgoing: Sequence[tuple[int, str, str]] = ()
    """Where it was forwarded: number in the outbox, feed, state."""


async def list_messages(
    archive: Archive, wanted: MessageFilter | None = None, *, before: int | None = None, limit: int = 100
) -> list[MessageRow]:
    """The newest first, from below `before`. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.MESSAGE_READ)
    where, values = _conditions(wanted or MessageFilter(), with_words=sees_patients(access))
    if before is not None:
        where.append("id < %(before)s")
    values |= {"before": before, "limit": max(1, min(limit, LIST_MAX))}
    text = f"WHERE {' AND '.join(where)}" if where else ""
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(MessageRow)) as cursor:
        await cursor.execute(f"{_COLUMNS} {text} ORDER BY id DESC LIMIT %(limit)s".encode(), values)
        return await cursor.fetchall()


async def get_message(archive: Archive, number: int) -> ShownMessage:
    """One message with what became of it. Raises NotFoundError, NotAllowedError, DatabaseError."""
    access = require(Permission.MESSAGE_READ)
    row = await _row(archive, number)
    raw, answer = await _bytes(archive, number)
    is_open = sees_patients(access)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT id, feed, state FROM hl7_outgoing WHERE cause = %s ORDER BY id", (f"message {number}",)
        )
        outgoing = [(int(one[0]), str(one[1]), str(one[2])) for one in await cursor.fetchall()]
    answer_shown = _segments(_parsed(answer), is_open=is_open)
    assumed = await charset_of_feed(archive.pool, row.feed)
    message = _parsed(raw, assumed)
    if message is None:
        text = raw[:FIELD_CHARS_SHOWN_MAX].decode("latin-1")
        shown = text if is_open else "•" * min(len(text), 200)
        return ShownMessage(row, (), answer_shown, shown, not is_open, is_readable=False, outgoing=outgoing)
    previous = await _previous(archive, row)
    before = _parsed((await _bytes(archive, previous))[0], assumed) if previous is not None else None
    segments, gone = compared(message, before, is_open=is_open)
    return ShownMessage(
        row,
        segments,
        answer_shown,
        message.text if is_open else "",
        not is_open,
        is_readable=True,
        warnings=message.warnings,
        previous=previous if before is not None else None,
        gone=gone,
        outgoing=outgoing,
    )


async def message_bytes(archive: Archive, number: int) -> bytes:
    """A message as it was received. Raises NotFoundError, NotAllowedError (also who may not see patients), DatabaseError."""
    access = require(Permission.MESSAGE_READ)
    if not sees_patients(access):
        access.require(Permission.ORDER_READ)
    return (await _bytes(archive, number))[0]


def compared(
    message: Message, before: Message | None, *, is_open: bool
) -> tuple[list[ShownSegment], list[ShownSegment]]:
    """The segments with what each field was before, and the segments that are gone. The header is not compared."""
    shown = _segments(message, is_open=is_open)
    if before is None:
        return shown, []
    earlier: dict[tuple[str, int], ShownSegment] = {}
    for place, segment in _placed(_segments(before, is_open=True)):
        earlier[place] = segment
    found: list[ShownSegment] = []
    differences = 0
    opened = dict(_placed(_segments(message, is_open=True)))
    for (place, segment), clear in zip(_placed(shown), opened.values(), strict=True):
        was = earlier.pop(place, None)
        if segment.name == "MSH" or differences >= DIFFERENCES_MAX:
            found.append(segment)
            continue
        if was is None:
            found.append(ShownSegment(segment.name, segment.title, segment.fields, "new"))
            continue
        fields, changed = _compared_fields(segment, clear, was, is_open=is_open)
        differences += changed
        found.append(ShownSegment(segment.name, segment.title, fields))
    gone = [segment if is_open else _masked_segment(segment) for segment in earlier.values() if segment.name != "MSH"]
    return found, gone[:DIFFERENCES_MAX]


# --- helpers ---


def _conditions(wanted: MessageFilter, *, with_words: bool) -> tuple[list[str], dict[str, Any]]:
    where: list[str] = []
    values: dict[str, Any] = {}

    def add(text: str, /, **given: Any) -> None:
        where.append(text)
        values.update(given)

    if wanted.feed is not None:
        add("feed = %(feed)s", feed=wanted.feed)
    if wanted.states:
        add("state = ANY(%(states)s)", states=list(wanted.states))
    if wanted.is_troubled:
        add("state IN ('failed', 'rejected') AND mended_by IS NULL")
    if wanted.kind:
        kind = wanted.kind.strip().upper().replace("_", "^").rstrip("*").rstrip("^")
        add("(kind = %(kind)s OR starts_with(kind, %(kind)s || '^'))", kind=kind)
    for name in ("patient", "accession", "order"):
        value = getattr(wanted, name).strip()
        if value:
            column = {"patient": "patient_ids", "accession": "accession_numbers", "order": "order_numbers"}[name]
            add(f"{column} @> %({name})s", **{name: [value]})
    if wanted.control_id.strip():
        add("control_id = %(control_id)s", control_id=wanted.control_id.strip())
    if wanted.since is not None:
        add("received_at >= %(since)s", since=wanted.since)
    if wanted.until is not None:
        add("received_at < %(until)s", until=wanted.until)
    if wanted.text.strip():
        _add_text(wanted.text.strip(), add, with_words=with_words)
    return where, values


def _add_text(text: str, add: Any, *, with_words: bool) -> None:
    words = words_of(text)[:SEARCH_WORDS_MAX]
    if with_words and words:
        # Quoted lexemes (PostgreSQL 8.11.2): nothing that is typed is an operator.
        quoted = ["'" + word.replace("\\", "\\\\").replace("'", "''") + "':*" for word in words]
        add("words @@ %(words)s::tsquery", words=" & ".join(quoted))
        return
    add(
        """(control_id = %(text)s OR patient_ids @> %(texts)s OR accession_numbers @> %(texts)s
            OR order_numbers @> %(texts)s)""",
        text=text,
        texts=[text],
    )


async def _row(archive: Archive, number: int) -> MessageRow:
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(MessageRow)) as cursor:
        await cursor.execute(f"{_COLUMNS} WHERE id = %s".encode(), (number,))
        row = await cursor.fetchone()
    if row is None:
        raise _unknown(number)
    return row


async def _bytes(archive: Archive, number: int) -> tuple[bytes, bytes]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT raw, answer FROM hl7_message WHERE id = %s", (number,))
        row = await cursor.fetchone()
    if row is None:
        raise _unknown(number)
    return bytes(row[0]), bytes(row[1])


async def _previous(archive: Archive, row: MessageRow) -> int | None:
    """Of the same order, else of the same patient; of the same type (ADT, ORM ...) in both cases."""
    for statement, values in ((_OF_ORDER, row.order_numbers), (_OF_PATIENT, row.patient_ids)):
        if not values:
            continue
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(statement, (list(values), row.id, _PREVIOUS_LOOKED_AT))
            for number, kind, state in await cursor.fetchall():
                if state in ("applied", "ignored", "failed") and kind.partition("^")[0] == row.kind.partition("^")[0]:
                    return int(number)
    return None


def _parsed(raw: bytes, assumed: str = "") -> Message | None:
    try:
        return parse_message(raw, assumed_charset=assumed)
    except Hl7Error:
        return None


def _segments(message: Message | None, *, is_open: bool) -> list[ShownSegment]:
    if message is None:
        return []
    found: list[ShownSegment] = []
    for segment in message.segments[:SEGMENTS_SHOWN_MAX]:
        fields: list[ShownField] = []
        for number in range(1, segment.field_count + 1):
            there = segment.field(number)
            if not there.is_present:
                continue
            text = '""' if there.is_null else there.text
            is_cut = len(text) > FIELD_CHARS_SHOWN_MAX
            if is_cut:
                text = text[:FIELD_CHARS_SHOWN_MAX]
            if not is_open:
                text = masked(segment.name, number, text)
            fields.append(ShownField(number, field_name(segment.name, number), text, is_cut))
        found.append(ShownSegment(segment.name, segment_name(segment.name), fields))
    return found


def _placed(segments: Sequence[ShownSegment]) -> list[tuple[tuple[str, int], ShownSegment]]:
    """Each with its name and which of that name it is."""
    counted: dict[str, int] = {}
    found = []
    for segment in segments:
        counted[segment.name] = counted.get(segment.name, 0) + 1
        found.append(((segment.name, counted[segment.name]), segment))
    return found


def _compared_fields(
    segment: ShownSegment, clear: ShownSegment, was: ShownSegment, *, is_open: bool
) -> tuple[list[ShownField], int]:
    """By number; a field that is gone stands there empty. `clear` is the segment unmasked."""
    old = {one.number: one.text for one in was.fields}
    plain = {one.number: one.text for one in clear.fields}
    shown = {one.number: one for one in segment.fields}
    found: list[ShownField] = []
    changed = 0
    for number in sorted({*old, *shown}):
        one = shown.get(number) or ShownField(number, field_name(segment.name, number), "")
        before = old.get(number, "")
        if before != plain.get(number, ""):
            changed += 1
            told_before = before if is_open else masked(segment.name, number, before)
            one = ShownField(one.number, one.name, one.text, one.is_cut, told_before)
        found.append(one)
    return found, changed


def _masked_segment(segment: ShownSegment) -> ShownSegment:
    fields = [
        ShownField(one.number, one.name, masked(segment.name, one.number, one.text), one.is_cut)
        for one in segment.fields
    ]
    return ShownSegment(segment.name, segment.title, fields, segment.state)


def _unknown(number: int) -> NotFoundError:
    return NotFoundError(told("There is no message {number} in the inbox.", number=number))


_COLUMNS: Final = """SELECT id, feed, sender, address, control_id, kind, state, answered, reason, effects, patient_ids,
    accession_numbers, order_numbers, first, mended_by, received_at, received_by, milliseconds, length(raw) AS bytes
    FROM hl7_message"""

_OF_ORDER: Final = b"""WITH found AS MATERIALIZED (SELECT id, kind, state FROM hl7_message WHERE order_numbers && %s)
    SELECT id, kind, state FROM found WHERE id < %s ORDER BY id DESC LIMIT %s"""
"""Materialized: by the index of numbers, never backwards through the whole inbox."""
_OF_PATIENT: Final = b"""WITH found AS MATERIALIZED (SELECT id, kind, state FROM hl7_message WHERE patient_ids && %s)
    SELECT id, kind, state FROM found WHERE id < %s ORDER BY id DESC LIMIT %s"""
