"""The delivery ledger for people: what waits, what failed and why, and what they may do about it.

Every action is for deliveries that a filter names (ids, a study, a destination, a state ...), asks for a reason, and is put
down in the audit trail with their number. What a lane has in hand goes on to its end; what it then reports is the truth.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import exported, node_changed
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.entries import read_entry
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, TooLargeError, told
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.dicom.charset import clean
from fileroom.routing.delivery_filter import DeliveryFilter as DeliveryFilter
from fileroom.routing.delivery_filter import conditions_of
from fileroom.routing.delivery_rows import CHANNEL, IS_BACK, DeliveryState
from fileroom.routing.destinations import DESTINATIONS

PAGE_MAX: Final = 500
CHUNK_DELIVERIES: Final = 5000
"""Changed in one transaction: short enough for lanes not to notice."""
ORDER_OBJECTS_MAX: Final = 200_000
REASON_CHARS_MAX: Final = 300
_EXPORT_CHUNK: Final = 2000

RETRIED: Final = (DeliveryState.FAILED, DeliveryState.CANCELLED, DeliveryState.QUARANTINED, DeliveryState.WAITING)
HELD_FROM: Final = (DeliveryState.WAITING, DeliveryState.GATHERING)
CANCELLED_FROM: Final = (
    DeliveryState.WAITING,
    DeliveryState.GATHERING,
    DeliveryState.HELD,
    DeliveryState.FAILED,
    DeliveryState.QUARANTINED,
)


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One object and one destination."""

    id: int
    destination: str
    rule: str
    state: str
    cause: str
    status: int | None
    attempts: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    bytes: int
    created_at: dt.datetime
    due_at: dt.datetime
    taken_at: dt.datetime | None
    settled_at: dt.datetime | None
    delivered_as: str
    parcel_id: int


@dataclass(frozen=True, slots=True)
class ParcelRow:
    """What a destination gets of a study, with how many of its objects stand where. `cause` is the latest one."""

    id: int
    destination: str
    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    modalities: list[str]
    state: str
    due_at: dt.datetime
    total: int
    delivered: int
    waiting: int
    failed: int
    held: int
    cause: str


@dataclass(frozen=True, slots=True)
class DeliveryCount:
    """How many deliveries of a destination are in a state, and how many bytes they have."""

    destination: str
    state: str
    number: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """How much of an action is done at once: `chunks_max` chunks behind `after_id`; None: all of it."""

    after_id: int = 0
    chunks_max: int | None = None

    def chunks(self) -> Iterator[int]:
        """One turn for each chunk."""
        return itertools.count() if self.chunks_max is None else iter(range(self.chunks_max))


WHOLE: Final = Part()


@dataclass(frozen=True, slots=True)
class Changed:
    """What an action has done: to how many deliveries, and of how many studies."""

    deliveries: int = 0
    studies: int = 0
    study_uids: tuple[str, ...] = field(default=(), repr=False)
    after_id: int = 0
    """Where to go on; 0: all is done."""


# --- to see ---


async def list_deliveries(
    archive: Archive, wanted: DeliveryFilter, *, before_id: int | None = None, limit: int = 100
) -> list[DeliveryRow]:
    """Deliveries, the newest first; `before_id` is the last one of the page before. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    return await _rows(archive, wanted, before_id, min(limit, PAGE_MAX))


async def delivery_counts(archive: Archive) -> list[DeliveryCount]:
    """By destination and state, of everything in the ledger: sums that are kept, not counted. Raises NotAllowedError."""
    require(Permission.ROUTING_READ)
    async with (
        archive.pool.connection() as connection,
        connection.cursor(row_factory=class_row(DeliveryCount)) as cursor,
    ):
        await cursor.execute(
            b"""SELECT e.name AS destination, t.state, sum(t.number)::bigint AS number, sum(t.bytes)::bigint AS bytes
                FROM delivery_tally t JOIN named_entry e ON e.id = t.destination_id
                GROUP BY e.name, t.state HAVING sum(t.number) > 0 ORDER BY e.name, t.state"""
        )
        return await cursor.fetchall()


async def export_deliveries(archive: Archive, wanted: DeliveryFilter) -> AsyncIterator[DeliveryRow]:
    """Every delivery that fits, the newest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    before_id: int | None = None
    while True:
        rows = await _rows(archive, wanted, before_id, _EXPORT_CHUNK)
        for row in rows:
            yield row
        if len(rows) < _EXPORT_CHUNK:
            return
        before_id = rows[-1].id


# --- to act ---


async def retry_deliveries(archive: Archive, wanted: DeliveryFilter, reason: str, part: Part = WHOLE) -> Changed:
    """Send again, now: what failed, was cancelled or quarantined, or waits for its next try.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    return await _change(archive, wanted, RETRIED, DeliveryState.WAITING, reason, "retried", part)


async def hold_deliveries(archive: Archive, wanted: DeliveryFilter, reason: str, part: Part = WHOLE) -> Changed:
    """Keep back what waits. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    return await _change(archive, wanted, HELD_FROM, DeliveryState.HELD, reason, "held", part)


async def release_deliveries(archive: Archive, wanted: DeliveryFilter, reason: str, part: Part = WHOLE) -> Changed:
    """Let go what is held. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    return await _change(archive, wanted, (DeliveryState.HELD,), DeliveryState.WAITING, reason, "released", part)


async def cancel_deliveries(archive: Archive, wanted: DeliveryFilter, reason: str, part: Part = WHOLE) -> Changed:
    """Never send. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    return await _change(archive, wanted, CANCELLED_FROM, DeliveryState.CANCELLED, reason, "cancelled", part)


async def redirect_deliveries(
    archive: Archive, wanted: DeliveryFilter, destination: str, reason: str, part: Part = WHOLE
) -> Changed:
    """Send to another destination what has not been delivered; where it was to go, it is cancelled.

    Raises InvalidRequestError, NotFoundError, NotAllowedError, DatabaseError.
    """
    target = await _target(archive, destination)
    reason = _checked(wanted, reason)
    open_ones = (*CANCELLED_FROM, DeliveryState.CANCELLED) if "cancelled" in wanted.states else CANCELLED_FROM
    total, studies, after_id = 0, set[str](), part.after_id
    for _ in part.chunks():
        async with archive.pool.connection() as connection, connection.transaction():
            rows = await _locked(connection, wanted, open_ones, after_id=after_id, other_than=target)
            if not rows:
                break
            after_id = rows[-1][0]
            await connection.execute(
                b"""UPDATE delivery SET state = 'cancelled', settled_at = now(), cause = %s WHERE id = ANY(%s)""",
                (f"Sent to {destination} instead: {reason}", [row[0] for row in rows]),
            )
            await _order(connection, target, [tuple(row[2:]) for row in rows])
            total += len(rows)
            chunk = {row[3] for row in rows}
            studies |= chunk
            await _record(connection, destination, f"{len(rows)} deliveries redirected here: {reason}", chunk)
        if len(rows) < CHUNK_DELIVERIES:
            break
    else:
        return Changed(total, len(studies), tuple(studies), after_id)
    return Changed(total, len(studies), tuple(studies))


async def order_delivery(archive: Archive, study_uids: Sequence[str], destination: str, reason: str = "") -> Changed:
    """Deliver studies, as they are now, to a destination: by a person, by prefetching. What it has already, it is not sent.

    Raises InvalidRequestError, NotFoundError, TooLargeError, NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_EXPORT)
    uids = list(dict.fromkeys(study_uids))
    if not uids or len(uids) > STUDY_PAGE_MAX:
        raise InvalidRequestError(told("Mark the studies that shall be sent: 1 to {most}.", most=STUDY_PAGE_MAX))
    target = (await read_entry(archive.pool, DESTINATIONS, destination)).id
    found = await list_instances(archive, Selection(study_uids=tuple(uids)), permission=Permission.STUDY_EXPORT)
    if not found:
        raise NotFoundError(told("None of these studies is in the archive any more."))
    if len(found) > ORDER_OBJECTS_MAX:
        raise TooLargeError(
            told("These studies have more than {most} objects; send fewer at a time.", most=ORDER_OBJECTS_MAX)
        )
    number = 0
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT id, sop_instance_uid FROM instance WHERE sop_instance_uid = ANY(%s)",
            ([one.sop_instance_uid for one in found],),
        )
        ids = {row[1]: row[0] for row in await cursor.fetchall()}
        rows: list[tuple[Any, ...]] = [
            (
                ids[one.sop_instance_uid],
                one.study_instance_uid,
                one.series_instance_uid,
                one.sop_instance_uid,
                one.sop_class_uid,
                one.file_bytes,
            )
            for one in found
            if one.sop_instance_uid in ids
        ]
        number = await _order(connection, target, rows)
        studies = [StudyReference(uid) for uid in dict.fromkeys(one.study_instance_uid for one in found)]
        why = f", {reason}" if reason else ""
        await record(connection, exported(studies, f"destination {destination}{why}"[:REASON_CHARS_MAX]))
    return Changed(number, len(uids), tuple(uids))


async def forget_old_deliveries(archive: Archive) -> int:
    """Remove what was over long ago; returns how many. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""DELETE FROM delivery WHERE id IN (SELECT id FROM delivery
                WHERE settled_at < now() - make_interval(days => %s) AND state IN ('delivered', 'cancelled')
                ORDER BY settled_at LIMIT %s)""",
            (archive.settings.delivery_days, CHUNK_DELIVERIES),
        )
        return cursor.rowcount


# --- helpers ---

_FROM: Final = """FROM delivery d JOIN named_entry e ON e.id = d.destination_id
    LEFT JOIN named_entry r ON r.id = d.rule_id"""


async def _rows(archive: Archive, wanted: DeliveryFilter, before_id: int | None, limit: int) -> list[DeliveryRow]:
    conditions, values = conditions_of(wanted)
    if before_id is not None:
        conditions.append("d.id < %s")
        values.append(before_id)
    statement = f"""
        SELECT d.id, e.name AS destination, coalesce(r.name, '') AS rule, d.state, d.cause, d.status, d.attempts,
            d.study_instance_uid, d.series_instance_uid, d.sop_instance_uid, d.sop_class_uid, d.bytes, d.created_at, d.due_at,
            d.taken_at, d.settled_at, coalesce(d.delivered_as, '') AS delivered_as, d.parcel_id
        {_FROM} WHERE {" AND ".join(conditions) or "true"} ORDER BY d.id DESC LIMIT %s"""
    return await _select(archive, DeliveryRow, statement, (*values, limit))


async def _select(archive: Archive, kind: type[Any], statement: str, parameters: Sequence[object]) -> list[Any]:
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The deliveries cannot be read: {type(error).__name__}. Try again later.") from error


async def _change(
    archive: Archive,
    wanted: DeliveryFilter,
    from_states: Sequence[DeliveryState],
    to_state: DeliveryState,
    reason: str,
    word: str,
    part: Part,
) -> Changed:
    """In transactions of CHUNK_DELIVERIES: each is on its own, and what was changed stays changed."""
    require(Permission.ROUTING_MANAGE)
    reason = _checked(wanted, reason)
    who = current_access().name
    cause = "" if to_state is DeliveryState.WAITING else f"{word.capitalize()} by {who}: {reason}"
    is_over = to_state is DeliveryState.CANCELLED
    total, studies, after_id = 0, set[str](), part.after_id
    for _ in part.chunks():
        async with archive.pool.connection() as connection, connection.transaction():
            rows = await _locked(connection, wanted, from_states, after_id=after_id)
            if not rows:
                break
            after_id = rows[-1][0]
            await connection.execute(
                b"""UPDATE delivery SET state = %s, cause = CASE WHEN %s = '' THEN cause ELSE %s END, due_at = now(),
                    until = '', actor = %s, settled_at = CASE WHEN %s THEN now() END WHERE id = ANY(%s)""",
                (to_state.value, cause, cause, who, is_over, [row[0] for row in rows]),
            )
            if to_state is DeliveryState.WAITING:
                await connection.execute(b"SELECT wake_parcels(%s)", (sorted({row[1] for row in rows}),))
                # "Now" is now: a destination that rests after failures is tried again, too.
                await connection.execute(
                    b"""SELECT pg_notify(%s, %s || d) FROM (SELECT DISTINCT destination_id::text AS d FROM parcel
                        WHERE id = ANY(%s)) AS of""",
                    (CHANNEL, IS_BACK, sorted({row[1] for row in rows})),
                )
            total += len(rows)
            chunk = {row[3] for row in rows}
            studies |= chunk
            await _record(
                connection, wanted.destination or "deliveries", f"{len(rows)} deliveries {word}: {reason}", chunk
            )
        if len(rows) < CHUNK_DELIVERIES:
            break
    else:
        return Changed(total, len(studies), tuple(studies), after_id)
    return Changed(total, len(studies), tuple(studies))


def _checked(wanted: DeliveryFilter, reason: str) -> str:
    require(Permission.ROUTING_MANAGE)
    if wanted.is_everything:
        raise InvalidRequestError(told("Say which deliveries are meant: a destination, a study, a state."))
    reason = clean(reason).strip()[:REASON_CHARS_MAX]
    if not reason:
        raise InvalidRequestError(told("Give a reason; it stands in the audit trail."))
    return reason


async def _locked(
    connection: AsyncConnection[Any],
    wanted: DeliveryFilter,
    states: Sequence[DeliveryState],
    *,
    after_id: int = 0,
    other_than: int = 0,
) -> list[tuple[Any, ...]]:
    """(id, parcel, instance, study, series, object, class, bytes) of a chunk, locked."""
    conditions, values = conditions_of(wanted)
    conditions += ["d.state = ANY(%s)", "d.id > %s", "d.destination_id <> %s"]
    parameters: list[Any] = [*values, [one.value for one in states], after_id, other_than]
    cursor = await connection.execute(
        f"""SELECT d.id, d.parcel_id, d.instance_id, d.study_instance_uid, d.series_instance_uid, d.sop_instance_uid,
                d.sop_class_uid, d.bytes
            {_FROM} WHERE {" AND ".join(conditions)} ORDER BY d.id LIMIT {CHUNK_DELIVERIES} FOR UPDATE OF d""".encode(),
        parameters,
    )
    return await cursor.fetchall()


async def _order(connection: AsyncConnection[Any], destination_id: int, rows: Sequence[tuple[Any, ...]]) -> int:
    """Make deliveries of (instance, study, series, object, class, bytes); returns how many there were not yet."""
    who = current_access().name
    studies = sorted({row[1] for row in rows})
    await connection.execute(
        b"""INSERT INTO parcel (destination_id, study_instance_uid) SELECT %s, unnest(%s::text[])
            ON CONFLICT (destination_id, study_instance_uid) DO NOTHING""",
        (destination_id, studies),
    )
    columns = list(zip(*rows, strict=True))
    cursor = await connection.execute(
        b"""INSERT INTO delivery (destination_id, parcel_id, instance_id, study_instance_uid, series_instance_uid,
                sop_instance_uid, sop_class_uid, bytes, state, actor)
            SELECT %s, p.id, g.instance, g.study, g.series, g.sop, g.class, g.size, 'waiting', %s
            FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
                AS g(instance, study, series, sop, class, size)
            JOIN parcel p ON p.destination_id = %s AND p.study_instance_uid = g.study
            ON CONFLICT (destination_id, instance_id) DO NOTHING RETURNING parcel_id""",
        (destination_id, who, *map(list, columns), destination_id),
    )
    parcels = [row[0] for row in await cursor.fetchall()]
    await connection.execute(b"SELECT wake_parcels(%s)", (sorted(set(parcels)),))
    return len(parcels)


async def _target(archive: Archive, destination: str) -> int:
    require(Permission.ROUTING_MANAGE)
    return (await read_entry(archive.pool, DESTINATIONS, destination)).id


async def _record(connection: AsyncConnection[Any], what: str, text: str, studies: set[str]) -> None:
    await record(connection, node_changed(what, f"{text} ({len(studies)} studies)"))
