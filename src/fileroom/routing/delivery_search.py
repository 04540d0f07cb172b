"""Looking into the delivery ledger a page at a time, however many rows it has: nothing is counted or sorted as a whole.

A page is found by walking back from the newest delivery (or from where the page before ended) by an index: by the states of
destinations where states are asked for, by the objects, studies or patient that are named, else by number. A walk ends when the
page is full, or after SCAN_MAX rows: what is rare among a million is then looked for further by the next page.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError
from fileroom.routing.deliveries import DeliveryRow, ParcelRow
from fileroom.routing.delivery_filter import DeliveryFilter, conditions_of

SCAN_MAX: Final = 15_000
"""Rows that one page looks through: some 20 ms."""
SCAN_ROWS: Final = 5000
PAIRS_ROWS: Final = 10_000
"""Rows read at once from all (destination, state) together."""
COUNT_MAX: Final = 100_000
"""Counted before an action; beyond it the page says 'more than'."""
_BISECTIONS: Final = 40
_SLACK: Final = dt.timedelta(minutes=10)
"""Numbers are given out in the order of time but for what transactions overlap."""


@dataclass(frozen=True, slots=True)
class Found:
    """Numbers of a page (the newest first), and where the next one begins; None: there is no more."""

    ids: tuple[int, ...]
    before_id: int | None


@dataclass(frozen=True, slots=True)
class ParcelPage:
    """Parcels, by their newest delivery that fits."""

    rows: list[ParcelRow]
    before_id: int | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """Deliveries, the newest first."""

    rows: list[DeliveryRow]
    before_id: int | None


async def search_parcels(
    archive: Archive, wanted: DeliveryFilter, *, before_id: int | None = None, limit: int = 50
) -> ParcelPage:
    """What destinations get of studies. Names of patients are left out for who may not see every study.

    Raises NotAllowedError, DatabaseError.
    """
    access = _checked(wanted)
    try:
        async with archive.pool.connection() as connection:
            if wanted == DeliveryFilter(destination=wanted.destination):
                found = await _newest_parcels(connection, wanted.destination, before_id, limit)
            else:
                found = await _walk(connection, wanted, before_id, limit, parcels=True)
            rows = await _parcels(connection, found.ids)
    except psycopg.Error as error:
        raise _unreadable(error) from error
    if not access:
        rows = [replace(one, patient_id="", patient_name="", accession_number="") for one in rows]
    return ParcelPage(rows, found.before_id)


async def search_deliveries(
    archive: Archive, wanted: DeliveryFilter, *, before_id: int | None = None, limit: int = 100
) -> DeliveryPage:
    """Deliveries object by object. Raises NotAllowedError, DatabaseError."""
    _checked(wanted)
    try:
        async with archive.pool.connection() as connection:
            found = await _walk(connection, wanted, before_id, limit, parcels=False)
            async with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
                await cursor.execute(_DELIVERIES, (list(found.ids),))
                return DeliveryPage(await cursor.fetchall(), found.before_id)
    except psycopg.Error as error:
        raise _unreadable(error) from error


async def count_deliveries(archive: Archive, wanted: DeliveryFilter) -> int:
    """How many fit; COUNT_MAX + 1 where there are more than COUNT_MAX. Raises NotAllowedError, DatabaseError."""
    _checked(wanted)
    conditions, values = conditions_of(wanted)
    statement = f"""SELECT count(*) FROM (SELECT 1 FROM delivery d WHERE {" AND ".join(conditions) or "true"}
        LIMIT %s) AS fitting"""  # noqa: S608 - the conditions are ours, the values parameters
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), (*values, COUNT_MAX + 1))
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise _unreadable(error) from error
    return int(row[0]) if row else 0


def _checked(wanted: DeliveryFilter) -> bool:
    """Whether names of patients may be shown. Raises NotAllowedError: also for who asks by patient and may not."""
    access = require(Permission.ROUTING_READ)
    if wanted.patient_id or wanted.accession_number:
        access.require(Permission.STUDY_SEARCH)
    return current_access().allows(Permission.STUDY_SEARCH) and access.rows.is_everything


def _unreadable(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The deliveries cannot be read: {type(error).__name__}. Try again later.")


# --- walking ---


async def _newest_parcels(
    connection: AsyncConnection[Any], destination: str, before_id: int | None, limit: int
) -> Found:
    """Without a filter parcels stand in the order in which they began."""
    cursor = await connection.execute(
        b"""SELECT p.id FROM parcel p WHERE (%(name)s = '' OR p.destination_id = ANY(ARRAY(
                SELECT id FROM named_entry WHERE section = 'destinations' AND name = %(name)s)))
            AND (%(before)s::bigint IS NULL OR p.id < %(before)s) ORDER BY p.id DESC LIMIT %(limit)s""",
        {"name": destination, "before": before_id, "limit": limit + 1},
    )
    ids = [row[0] for row in await cursor.fetchall()]
    return Found(tuple(ids[:limit]), ids[limit - 1] if len(ids) > limit else None)


async def _walk(
    connection: AsyncConnection[Any], wanted: DeliveryFilter, before_id: int | None, limit: int, *, parcels: bool
) -> Found:
    """Numbers of parcels, or of deliveries."""
    conditions, values = await _resolved(connection, wanted)
    low, high = await _bounds(connection, wanted)
    place = min(high, before_id) if before_id is not None else high
    source, pairs, rows_max = await _source(connection, wanted, conditions)
    found: dict[int, None] = {}
    scanned = 0
    while scanned < SCAN_MAX:
        statement = f"""
            WITH looked AS MATERIALIZED ({source})
            SELECT d.id, d.parcel_id, {" AND ".join(conditions) or "true"} AS fits
            FROM looked JOIN delivery d ON d.id = looked.id ORDER BY d.id DESC"""  # noqa: S608 - our words
        parameters = [*pairs, low, place, rows_max]
        if wanted.is_narrow:
            parameters = [*values, low, place, rows_max]
        cursor = await connection.execute(statement.encode(), (*parameters, *values))
        rows = await cursor.fetchall()
        fresh = [(row[0], row[1] if parcels else row[0]) for row in rows if row[2]]
        seen = await _seen_before(connection, wanted, {key for _, key in fresh}, before_id) if parcels else set()
        for number, key in fresh:
            if key in seen or key in found:
                continue
            if len(found) == limit:
                return Found(tuple(found), place)
            found[key] = None
            place = number
        if len(rows) < rows_max:
            return Found(tuple(found), None)
        place = rows[-1][0]
        scanned += len(rows)
    return Found(tuple(found), place)


async def _source(
    connection: AsyncConnection[Any], wanted: DeliveryFilter, conditions: Sequence[str]
) -> tuple[str, list[Any], int]:
    """A statement that gives numbers of deliveries between two, the newest first, with its first parameters."""
    if wanted.is_narrow:
        inner = f"""SELECT d.id FROM delivery d WHERE {" AND ".join(conditions)} AND d.id >= %s AND d.id < %s"""  # noqa: S608
        return f"WITH fit AS MATERIALIZED ({inner}) SELECT id FROM fit ORDER BY id DESC LIMIT %s", [], SCAN_ROWS  # noqa: S608
    if wanted.states or wanted.destination:
        pairs = await _pairs(connection, wanted)
        rows_max = max(200, PAIRS_ROWS // max(len(pairs), 1))
        rows_max = min(rows_max, SCAN_ROWS)
        source = f"""SELECT n.id FROM unnest(%s::integer[], %s::text[]) AS pair(destination, state)
            CROSS JOIN LATERAL (SELECT o.id FROM delivery o
                WHERE o.destination_id = pair.destination AND o.state = pair.state AND o.id >= %s AND o.id < %s
                ORDER BY o.id DESC LIMIT {rows_max}) n
            ORDER BY n.id DESC LIMIT %s"""  # noqa: S608 - a number of ours
        return source, [[pair[0] for pair in pairs], [pair[1] for pair in pairs]], rows_max
    return "SELECT id FROM delivery WHERE id >= %s AND id < %s ORDER BY id DESC LIMIT %s", [], SCAN_ROWS


async def _resolved(connection: AsyncConnection[Any], wanted: DeliveryFilter) -> tuple[list[str], list[Any]]:
    """Conditions with the studies of a patient looked up: the planner then knows how few they are."""
    conditions, values = conditions_of(replace(wanted, patient_id="", accession_number=""))
    for column, value in (("patient_id", wanted.patient_id), ("accession_number", wanted.accession_number)):
        if value:
            cursor = await connection.execute(
                f"SELECT study_instance_uid FROM study WHERE {column} = %s LIMIT 1000".encode(),  # noqa: S608 - our word
                (value,),
            )
            conditions.append("d.study_instance_uid = ANY(%s)")
            values.append([row[0] for row in await cursor.fetchall()])
    return conditions, values


async def _pairs(connection: AsyncConnection[Any], wanted: DeliveryFilter) -> list[tuple[int, str]]:
    """Destinations and states that there is something of."""
    cursor = await connection.execute(
        b"""SELECT t.destination_id, t.state FROM delivery_tally t JOIN named_entry e ON e.id = t.destination_id
            WHERE (%(name)s = '' OR e.name = %(name)s) AND (%(states)s::text[] = '{}' OR t.state = ANY(%(states)s))
            GROUP BY t.destination_id, t.state HAVING sum(t.number) > 0""",
        {"name": wanted.destination, "states": list(wanted.states)},
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def _seen_before(
    connection: AsyncConnection[Any], wanted: DeliveryFilter, parcels: set[int], before_id: int | None
) -> set[int]:
    """Those that stood on an earlier page: a newer delivery of them fits as well."""
    if before_id is None or not parcels:
        return set()
    conditions, values = conditions_of(wanted)
    cursor = await connection.execute(
        f"""SELECT DISTINCT d.parcel_id FROM delivery d WHERE d.parcel_id = ANY(%s) AND d.id >= %s
            AND {" AND ".join(conditions) or "true"}""".encode(),  # noqa: S608 - our words
        (sorted(parcels), before_id, *values),
    )
    return {row[0] for row in await cursor.fetchall()}


async def _bounds(connection: AsyncConnection[Any], wanted: DeliveryFilter) -> tuple[int, int]:
    """Between which numbers deliveries of a time are: found by halving, as numbers grow with time."""
    cursor = await connection.execute(b"SELECT coalesce(min(id), 0), coalesce(max(id), 0) + 1 FROM delivery")
    row = await cursor.fetchone()
    first, last = (int(row[0]), int(row[1])) if row else (0, 1)
    low = await _first_since(connection, wanted.since - _SLACK, first, last) if wanted.since else first
    high = await _first_since(connection, wanted.until + _SLACK, first, last) if wanted.until else last
    return low, high


async def _first_since(connection: AsyncConnection[Any], moment: dt.datetime, low: int, high: int) -> int:
    for _ in range(_BISECTIONS):
        if low >= high:
            break
        middle = (low + high) // 2
        cursor = await connection.execute(
            b"SELECT created_at FROM delivery WHERE id >= %s ORDER BY id LIMIT 1", (middle,)
        )
        row = await cursor.fetchone()
        if row is not None and row[0] < moment:
            low = middle + 1
        else:
            high = middle
    return low


# --- rows ---


async def _parcels(connection: AsyncConnection[Any], ids: Sequence[int]) -> list[ParcelRow]:
    async with connection.cursor(row_factory=class_row(ParcelRow)) as cursor:
        await cursor.execute(_PARCELS, (list(ids),))
        return await cursor.fetchall()


_PARCELS: Final = b"""
    SELECT p.id, e.name AS destination, p.study_instance_uid, coalesce(s.patient_id, '') AS patient_id,
        coalesce(s.patient_name, '') AS patient_name, coalesce(s.accession_number, '') AS accession_number,
        coalesce(s.modalities, '{}') AS modalities, p.state, p.due_at, c.*,
        coalesce(
            (SELECT nullif(cause, '') FROM delivery WHERE parcel_id = p.id AND state = 'failed' ORDER BY id LIMIT 1),
            (SELECT nullif(cause, '') FROM delivery WHERE parcel_id = p.id AND state = 'quarantined' ORDER BY id LIMIT 1),
            (SELECT nullif(cause, '') FROM delivery WHERE parcel_id = p.id AND state = 'held' ORDER BY id LIMIT 1),
            (SELECT nullif(cause, '') FROM delivery WHERE parcel_id = p.id AND state = 'waiting' ORDER BY id LIMIT 1),
            (SELECT nullif(cause, '') FROM delivery WHERE parcel_id = p.id AND state = 'sent' ORDER BY id LIMIT 1),
            '') AS cause
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS asked(id, place) JOIN parcel p ON p.id = asked.id
    JOIN named_entry e ON e.id = p.destination_id
    LEFT JOIN study s ON s.study_instance_uid = p.study_instance_uid
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(n), 0)::bigint AS total,
            coalesce(sum(n) FILTER (WHERE state = 'delivered'), 0)::bigint AS delivered,
            coalesce(sum(n) FILTER (WHERE state IN ('waiting', 'gathering', 'sent')), 0)::bigint AS waiting,
            coalesce(sum(n) FILTER (WHERE state IN ('failed', 'quarantined')), 0)::bigint AS failed,
            coalesce(sum(n) FILTER (WHERE state = 'held'), 0)::bigint AS held
        FROM (SELECT state, count(*) AS n FROM delivery WHERE parcel_id = p.id GROUP BY state) AS states) c
    ORDER BY asked.place"""

_DELIVERIES: Final = b"""
    SELECT d.id, e.name AS destination, coalesce(r.name, '') AS rule, d.state, d.cause, d.status, d.attempts,
        d.study_instance_uid, d.series_instance_uid, d.sop_instance_uid, d.sop_class_uid, d.bytes, d.created_at, d.due_at,
        d.taken_at, d.settled_at, coalesce(d.delivered_as, '') AS delivered_as, d.parcel_id
    FROM delivery d JOIN named_entry e ON e.id = d.destination_id LEFT JOIN named_entry r ON r.id = d.rule_id
    WHERE d.id = ANY(%s) ORDER BY d.id DESC"""
