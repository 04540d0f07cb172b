"""Events of workitems on their way to subscribers: claimed, told in their order, and only then gone.

A subscriber that cannot be reached is tried again later and later; its events wait for KEEP_DAYS. What a subscriber may not
see is not told.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, told
from fileroom.core.identifiers import AETitle
from fileroom.dicom.json_model import JsonObject
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.workitem_rows import workitem_is_visible
from fileroom.worklist.workitem_subscriptions import DIMSE, owner_of, take_title

BATCH: Final = 200
"""Events told on one association, or read at once for a WebSocket."""
RETRY_FIRST_S: Final = 5
RETRY_MAX_S: Final = 900
KEEP_DAYS: Final = 7
"""An event that could not be told for so long is of no use; the workitem itself says how it stands."""
EVENTS_KEPT_DAYS: Final = 400
WORKITEMS_KEPT_DAYS: Final = 365
"""After their end, without a deletion lock."""
_REMOVED_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """An event that is to be told to one AE title."""

    number: int
    sop_instance_uid: str
    event_type: int
    information: JsonObject


@dataclass(frozen=True, slots=True)
class DueSubscriber:
    """A node that has events waiting."""

    aet: str
    attempts: int


class ChannelTakenError(ConflictError):
    """Another connection speaks for the AE title now."""


async def claim_due_subscriber(archive: Archive) -> DueSubscriber | None:
    """A node to which something is to be told, None if there is none. Its next attempt is set before this one begins, so
    that a worker that dies in the middle only delays it. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    row = await _one(
        archive,
        b"""UPDATE workitem_subscriber SET attempts = attempts + 1,
                next_attempt_at = now() + make_interval(secs => least(%s * power(2, least(attempts, 16)), %s))
            WHERE aet = (SELECT aet FROM workitem_subscriber s WHERE via = %s AND next_attempt_at <= now()
                    AND EXISTS (SELECT 1 FROM workitem_notice n WHERE n.aet = s.aet)
                ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING aet, attempts""",
        (RETRY_FIRST_S, RETRY_MAX_S, DIMSE),
    )
    return None if row is None else DueSubscriber(*row)


async def waiting_notices(archive: Archive, aet: str) -> list[Notice]:
    """What is to be told to an AE title, the oldest first, as far as whoever acts may see it. Others are dropped.

    Raises NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            return await _read(connection, aet, access)
    except psycopg.Error as error:
        raise _failure(error) from error


async def notices_told(archive: Archive, aet: str, numbers: Sequence[int]) -> None:
    """These events were taken. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    await _one(
        archive,
        b"""WITH gone AS (DELETE FROM workitem_notice WHERE aet = %s AND event = ANY(%s))
            UPDATE workitem_subscriber SET attempts = 0, next_attempt_at = now(), told_at = now(), last_error = ''
            WHERE aet = %s RETURNING 1""",
        (aet, list(numbers), aet),
    )


async def notices_not_told(archive: Archive, aet: str, reason: str) -> None:
    """An AE title was not reached. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    await _one(
        archive, b"UPDATE workitem_subscriber SET last_error = %s WHERE aet = %s RETURNING 1", (reason[:1000], aet)
    )


# --- WebSockets ---


async def open_channel(archive: Archive, aet: str) -> str:
    """A connection speaks for an AE title from now on; returns its mark. One that did before is told so at its next look.

    Raises NotAllowedError where the title is somebody else's, InvalidRequestError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    title, mark = str(AETitle(aet)), secrets.token_hex(8)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await take_title(connection, title, access)
            await connection.execute(b"UPDATE workitem_subscriber SET channel = %s WHERE aet = %s", (mark, title))
    except psycopg.Error as error:
        raise _failure(error) from error
    return mark


async def channel_notices(archive: Archive, aet: str, mark: str) -> list[Notice]:
    """What is to be told over a channel. Raises ChannelTakenError, NotAllowedError, DatabaseError."""
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                b"""SELECT s.channel, s.owner, EXISTS (SELECT 1 FROM workitem_notice n WHERE n.aet = s.aet)
                    FROM workitem_subscriber s WHERE s.aet = %s""",
                (aet,),
            )
            row = await cursor.fetchone()
            if row is None or row[0] != mark or row[1] != owner_of(access):
                raise ChannelTakenError(told("Another connection speaks for {aet} now.", aet=aet))
            return await _read(connection, aet, access) if row[2] else []
    except psycopg.Error as error:
        raise _failure(error) from error


# --- upkeep ---


async def note_restart(archive: Archive) -> None:
    """Tell every subscriber that Fileroom was started (SCP Status Change, CC.2.4.3). Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    event = rules.restarted()
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"""DELETE FROM workitem_event WHERE workitem IS NULL AND event_type = %s""", (event.event_type,)
            )
            await connection.execute(
                b"""WITH told AS (
                        INSERT INTO workitem_event (sop_instance_uid, event_type, information)
                        SELECT %s, %s, %s WHERE EXISTS (SELECT 1 FROM workitem_subscriber) RETURNING id)
                    INSERT INTO workitem_notice (event, aet)
                    SELECT told.id, s.aet FROM told, workitem_subscriber s
                    WHERE EXISTS (SELECT 1 FROM workitem_subscription b WHERE b.aet = s.aet)
                        OR EXISTS (SELECT 1 FROM workitem_watch w WHERE w.aet = s.aet)""",
                (rules.GLOBAL_SUBSCRIPTION, event.event_type, psycopg.types.json.Jsonb(event.information)),
            )
    except psycopg.Error as error:
        raise _failure(error) from error


async def forget_old_workitems(archive: Archive) -> int:
    """Remove what ended long ago and nobody keeps, and events that were not told in time; returns how many workitems.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"""DELETE FROM workitem_notice n USING workitem_event e
                    WHERE e.id = n.event AND e.happened_at < now() - make_interval(days => %s)""",
                (KEEP_DAYS,),
            )
            await connection.execute(
                b"DELETE FROM workitem_event WHERE happened_at < now() - make_interval(days => %s)", (EVENTS_KEPT_DAYS,)
            )
            await connection.execute(
                b"""DELETE FROM workitem_subscriber s
                    WHERE first_at < now() - interval '1 day' AND channel = ''
                        AND NOT EXISTS (SELECT 1 FROM workitem_subscription b WHERE b.aet = s.aet)
                        AND NOT EXISTS (SELECT 1 FROM workitem_watch w WHERE w.aet = s.aet)
                        AND NOT EXISTS (SELECT 1 FROM workitem_notice n WHERE n.aet = s.aet)"""
            )
            removed = await connection.execute(
                b"""WITH old AS (
                        DELETE FROM workitem WHERE id IN (
                            SELECT w.id FROM workitem w WHERE w.ended_at < now() - make_interval(days => %s)
                                AND NOT EXISTS (SELECT 1 FROM workitem_subscription b
                                                WHERE b.workitem = w.id AND b.deletion_lock)
                            ORDER BY w.ended_at LIMIT %s FOR UPDATE SKIP LOCKED)
                        RETURNING sop_instance_uid)
                    INSERT INTO workitem_gone (sop_instance_uid) SELECT sop_instance_uid FROM old ON CONFLICT DO NOTHING""",
                (WORKITEMS_KEPT_DAYS, _REMOVED_AT_ONCE),
            )
            return removed.rowcount
    except psycopg.Error as error:
        raise _failure(error) from error


# --- helpers ---


async def _read(connection: AsyncConnection[Any], aet: str, access: Access) -> list[Notice]:
    visible = workitem_is_visible(access)
    seen = f"(w.id IS NULL OR ({visible.text}))" if visible.text else "true"
    cursor = await connection.execute(
        f"""SELECT e.id, e.sop_instance_uid, e.event_type, e.information, {seen}
            FROM workitem_notice n JOIN workitem_event e ON e.id = n.event LEFT JOIN workitem w ON w.id = e.workitem
            WHERE n.aet = %s ORDER BY e.id LIMIT {BATCH}""".encode(),
        (*visible.parameters, aet),
    )
    rows = await cursor.fetchall()
    hidden = [row[0] for row in rows if not row[4]]
    if hidden:
        await connection.execute(b"DELETE FROM workitem_notice WHERE aet = %s AND event = ANY(%s)", (aet, hidden))
    return [Notice(*row[:4]) for row in rows if row[4]]


async def _one(archive: Archive, statement: bytes, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    try:
        async with archive.pool.connection() as connection:
            return await (await connection.execute(statement, parameters)).fetchone()
    except psycopg.Error as error:
        raise _failure(error) from error


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"Events of workitems cannot be read or noted: {type(error).__name__}. Try again later.")
