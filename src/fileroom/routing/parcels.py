"""Parcels as lanes take hold of them: claim one, see what waits in it, put down what became of it, let go.

A claim lasts CLAIM_S and is renewed while its lane works; when a worker is killed, another goes on after that time. What a
peer confirmed is written in batches a few times a second: so much, at most, is sent twice after a kill.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.dicom.charset import clean
from fileroom.routing.delivery_rows import DeliveryState

CLAIM_S: Final = 20
RENEW_S: Final = 4.0
"""How often a lane renews its claim, at least: a few times while it lasts."""
BATCH_DELIVERIES: Final = 200
"""Looked up together: 100 KB of rows."""
CAUSE_CHARS_MAX: Final = 500
_SWEEP_MAX: Final = 1000
"""Parcels that become due in one statement."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one destination gets of one study, in the hands of a lane."""

    id: int
    destination_id: int
    study_instance_uid: str
    sent_by_id: int | None
    claim: uuid.UUID


@dataclass(frozen=True, slots=True)
class WaitingDelivery:
    """One object that waits to be sent."""

    id: int
    sop_instance_uid: str
    attempts: int
    treatment: str
    ordered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class SentDelivery:
    """One object that was taken, and of which the proof is still to come."""

    id: int
    sop_instance_uid: str
    delivered_as: str | None
    attempts: int
    taken_at: dt.datetime
    treatment: str
    ordered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one delivery in an attempt. `due_at`: when the next one is due."""

    id: int
    state: DeliveryState
    cause: str = ""
    status: int | None = None
    bytes: int = 0
    due_in_s: float = 0.0
    delivered_as: str = ""
    """The SOP Instance UIDs with which it left, where they are others (separated by blanks)."""


async def claim_parcel(archive: Archive, destination_id: int) -> Parcel | None:
    """The parcel of a destination that comes first, None when none is ready. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    claim = uuid.uuid4()
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE parcel SET state = 'claimed', claimed_by = %s, claimed_until = now() + make_interval(secs => %s)
                WHERE id = (SELECT id FROM parcel WHERE destination_id = %s AND state = 'ready'
                    ORDER BY rank_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING id, destination_id, study_instance_uid, sent_by_id""",
            (claim, CLAIM_S, destination_id),
        )
        row = await cursor.fetchone()
    return Parcel(row[0], row[1], row[2], row[3], claim) if row is not None else None


async def next_deliveries(archive: Archive, parcel: Parcel, after_id: int = 0) -> list[WaitingDelivery]:
    """What is due of a parcel, in order, at most BATCH_DELIVERIES behind `after_id`. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    return await _select(
        archive,
        WaitingDelivery,
        b"""SELECT d.id, d.sop_instance_uid, d.attempts, coalesce(r.fields->>'treatment', '') AS treatment,
                d.created_at AS ordered_at
            FROM delivery d LEFT JOIN named_entry r ON r.id = d.rule_id
            WHERE d.parcel_id = %s AND d.state = 'waiting' AND d.due_at <= now() AND d.id > %s ORDER BY d.id LIMIT %s""",
        (parcel.id, after_id, BATCH_DELIVERIES),
    )


async def sent_deliveries(archive: Archive, parcel: Parcel) -> list[SentDelivery]:
    """What was taken and is to be proven now, at most BATCH_DELIVERIES. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    return await _select(
        archive,
        SentDelivery,
        b"""SELECT d.id, d.sop_instance_uid, d.delivered_as, d.attempts, d.taken_at,
                coalesce(r.fields->>'treatment', '') AS treatment,
                d.created_at AS ordered_at
            FROM delivery d LEFT JOIN named_entry r ON r.id = d.rule_id
            WHERE d.parcel_id = %s AND d.state = 'sent' AND d.due_at <= now() ORDER BY d.id LIMIT %s""",
        (parcel.id, BATCH_DELIVERIES),
    )


async def settle(archive: Archive, parcel: Parcel, outcomes: Sequence[Settled]) -> bool:
    """Put down what became of deliveries, and keep the claim; False when it has been lost.

    What was taken was taken, whatever somebody ordered meanwhile; what was not is only noted while it still waits.
    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        if outcomes:
            await connection.execute(
                b"""UPDATE delivery d SET state = g.state, cause = g.cause, status = g.status, attempts = d.attempts + 1,
                    bytes = CASE WHEN g.bytes > 0 THEN g.bytes ELSE d.bytes END,
                    due_at = now() + make_interval(secs => g.due_in_s),
                    taken_at = CASE WHEN g.state IN ('sent', 'delivered') THEN coalesce(d.taken_at, now()) ELSE d.taken_at END,
                    settled_at = CASE WHEN g.state IN ('delivered', 'failed', 'quarantined') THEN now() END,
                    delivered_as = CASE WHEN g.delivered_as = '' THEN d.delivered_as ELSE g.delivered_as END
                    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::integer[], %s::bigint[], %s::float8[], %s::text[])
                        AS g(id, state, cause, status, bytes, due_in_s, delivered_as)
                    WHERE d.id = g.id AND d.parcel_id = %s AND (d.state IN ('waiting', 'sent')
                        OR (g.state IN ('sent', 'delivered') AND d.state IN ('held', 'cancelled')))""",
                (
                    [one.id for one in outcomes],
                    [one.state.value for one in outcomes],
                    [clean(one.cause)[:CAUSE_CHARS_MAX] for one in outcomes],
                    [one.status for one in outcomes],
                    [one.bytes for one in outcomes],
                    [one.due_in_s for one in outcomes],
                    [one.delivered_as for one in outcomes],
                    parcel.id,
                ),
            )
        cursor = await connection.execute(
            b"""UPDATE parcel SET claimed_until = now() + make_interval(secs => %s)
                WHERE id = %s AND claimed_by = %s AND state = 'claimed' RETURNING id""",
            (CLAIM_S, parcel.id, parcel.claim),
        )
        return await cursor.fetchone() is not None


async def remember_sender(archive: Archive, parcel: Parcel, member_id: int) -> None:
    """Which member of a pool takes the parcel. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE parcel SET sent_by_id = %s WHERE id = %s", (member_id, parcel.id))


async def finish_parcel(archive: Archive, parcel: Parcel) -> str:
    """Let go of a parcel: the state it is left in (idle, ready, later), empty when it was lost before.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT finish_parcel(%s, %s)", (parcel.id, parcel.claim))
        row = await cursor.fetchone()
    return str(row[0] or "") if row else ""


async def put_back_parcel(archive: Archive, parcel: Parcel) -> None:
    """Let go of a parcel of which nothing was tried. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE parcel SET state = 'ready', claimed_by = NULL WHERE id = %s AND claimed_by = %s AND state = 'claimed'",
            (parcel.id, parcel.claim),
        )


async def wake_due_parcels(archive: Archive, horizon: dt.datetime | None = None) -> int:
    """Make ready what has become due, and what a dead worker held. Returns how many. Raises NotAllowedError, DatabaseError.

    `horizon`: claims that end after it are good, whatever the clock says (`clock_jumps`).
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""WITH due AS (SELECT id FROM parcel WHERE state = 'later' AND due_at <= now() ORDER BY due_at LIMIT %(most)s
                    FOR UPDATE SKIP LOCKED),
                abandoned AS (SELECT id FROM parcel WHERE state = 'claimed'
                        AND claimed_until <= least(now(), %(horizon)s::timestamptz) ORDER BY claimed_until
                    LIMIT %(most)s FOR UPDATE SKIP LOCKED)
                UPDATE parcel SET state = 'ready', claimed_by = NULL
                WHERE id IN (SELECT id FROM due UNION ALL SELECT id FROM abandoned)""",
            {"most": _SWEEP_MAX, "horizon": horizon},
        )
        return cursor.rowcount


async def ready_destinations(archive: Archive, destination_ids: Sequence[int]) -> set[int]:
    """Those of the destinations for which a parcel is ready. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT d FROM unnest(%s::integer[]) AS d
                WHERE EXISTS (SELECT 1 FROM parcel WHERE destination_id = d AND state = 'ready')""",
            (list(destination_ids),),
        )
        return {int(row[0]) for row in await cursor.fetchall()}


async def _select(archive: Archive, kind: type[Any], statement: bytes, parameters: Sequence[object]) -> list[Any]:
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()
