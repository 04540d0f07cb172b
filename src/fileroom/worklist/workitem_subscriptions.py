"""Who hears of workitems (PS3.4 CC.2.3): of one, of all, of all that fit a filter, with or without a lock on their removal.

An AE title belongs to whoever subscribed it first: a node of that title, or the account or token behind a web request. Events
go to a node by N-EVENT-REPORT and to a web subscriber by its WebSocket; what cannot be told yet waits (`workitem_outbox`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotAllowedError, NotFoundError, TooLargeError, told
from fileroom.core.identifiers import AETitle
from fileroom.dicom.query import Key
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.workitem_rows import COLUMNS, begin_to_watch, put_event, read_workitem, workitem_is_visible
from fileroom.worklist.workitem_rules import WorkitemError
from fileroom.worklist.workitem_search import fits, keys_from_json, keys_to_json

DIMSE: Final = "dimse"
WEB: Final = "web"
SUBSCRIBERS_MAX: Final = 1000
"""AE titles; a hospital has some dozen that perform or watch workitems."""
_WELL_KNOWN: Final = {rules.GLOBAL_SUBSCRIPTION: False, rules.FILTERED_SUBSCRIPTION: True}


async def subscribe(
    archive: Archive, uid: str, aet: str, *, deletion_lock: bool = False, keys: Sequence[Key] = (), via: str = WEB
) -> None:
    """Subscribe an AE title to a workitem, or by a well-known UID to all, or to all that fit `keys` (N-ACTION 3).

    Raises UnknownWorkitemError, WorkitemError (C308), InvalidRequestError, NotAllowedError where the title is somebody
    else's, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    title = str(AETitle(aet))
    async with _changing(archive) as connection:
        if uid not in _WELL_KNOWN:
            found, _ = await read_workitem(connection, uid, access, lock=True)
            await _put_subscriber(connection, title, via, access)
            await connection.execute(
                b"""INSERT INTO workitem_subscription (workitem, aet, deletion_lock) VALUES (%s, %s, %s)
                    ON CONFLICT (workitem, aet) DO UPDATE SET deletion_lock = EXCLUDED.deletion_lock""",
                (found.id, title, deletion_lock),
            )
            await put_event(connection, found.id, uid, rules.state_report(found.attributes), "", aet=title)
            return
        is_filtered = _WELL_KNOWN[uid]
        if is_filtered and not keys:
            raise InvalidRequestError(told("A filtered subscription needs at least one matching key."))
        await begin_to_watch(connection)
        await _put_subscriber(connection, title, via, access)
        await connection.execute(
            b"""INSERT INTO workitem_watch (aet, is_filtered, keys, deletion_lock) VALUES (%s, %s, %s, %s)
                ON CONFLICT (aet, is_filtered) DO UPDATE SET keys = EXCLUDED.keys, deletion_lock = EXCLUDED.deletion_lock""",
            (title, is_filtered, Jsonb(keys_to_json(keys if is_filtered else ())), deletion_lock),
        )
        await _subscribe_existing(connection, title, deletion_lock, keys if is_filtered else (), access)


async def unsubscribe(archive: Archive, uid: str, aet: str, *, via: str = WEB) -> None:
    """Subscribe an AE title no longer to a workitem, or by a well-known UID to anything (N-ACTION 4).

    Raises UnknownWorkitemError, NotFoundError for a title that was not subscribed (over the web), NotAllowedError,
    InvalidRequestError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    title = str(AETitle(aet))
    async with _changing(archive) as connection:
        await _check_owner(connection, title, via, access)
        if uid in _WELL_KNOWN:
            watched = await connection.execute(b"DELETE FROM workitem_watch WHERE aet = %s", (title,))
            ended = await connection.execute(b"DELETE FROM workitem_subscription WHERE aet = %s", (title,))
            count = watched.rowcount + ended.rowcount
        else:
            found, _ = await read_workitem(connection, uid, access)
            ended = await connection.execute(
                b"DELETE FROM workitem_subscription WHERE workitem = %s AND aet = %s", (found.id, title)
            )
            count = ended.rowcount
        if not count and via == WEB:
            raise NotFoundError(told("{aet} is not subscribed to {uid}.", aet=title, uid=uid))


async def suspend(archive: Archive, uid: str, aet: str, *, via: str = WEB) -> None:
    """An AE title hears of no new workitems any more, of those that it has still (N-ACTION 5).

    Raises WorkitemError (C314) for the UID of a workitem, NotFoundError, NotAllowedError, InvalidRequestError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    title = str(AETitle(aet))
    if uid not in _WELL_KNOWN:
        raise WorkitemError(0xC314, told("Only a subscription to all workitems can be suspended"), rules.INCONSISTENT)
    async with _changing(archive) as connection:
        await _check_owner(connection, title, via, access)
        ended = await connection.execute(b"DELETE FROM workitem_watch WHERE aet = %s", (title,))
        if not ended.rowcount and via == WEB:
            raise NotFoundError(told("{aet} has no subscription to all workitems.", aet=title))


def owner_of(access: Access) -> str:
    """Whose a web subscription is: an account's, a token's, this machine's."""
    return access.uploader or f"{access.kind.value}:{access.name}"


async def take_title(connection: AsyncConnection[Any], title: str, access: Access) -> None:
    """An AE title becomes that of a web subscriber, if it is nobody else's. Raises NotAllowedError, TooLargeError."""
    await _put_subscriber(connection, title, WEB, access)


# --- helpers ---


async def _put_subscriber(connection: AsyncConnection[Any], title: str, via: str, access: Access) -> None:
    cursor = await connection.execute(b"SELECT count(*) FROM workitem_subscriber")
    row = await cursor.fetchone()
    await _check_owner(connection, title, via, access)
    if row is not None and row[0] >= SUBSCRIBERS_MAX:
        raise TooLargeError(told("At most {most} AE titles can be subscribed.", most=SUBSCRIBERS_MAX))
    owner = f"node:{title}" if via == DIMSE else owner_of(access)
    await connection.execute(
        b"""INSERT INTO workitem_subscriber (aet, via, owner) VALUES (%s, %s, %s)
            ON CONFLICT (aet) DO UPDATE SET via = EXCLUDED.via, owner = EXCLUDED.owner, attempts = 0,
                next_attempt_at = now()""",
        (title, via, owner),
    )


async def _check_owner(connection: AsyncConnection[Any], title: str, via: str, access: Access) -> None:
    """A node is its title; on the web a title is whose it was first. Raises WorkitemError (C308), NotAllowedError."""
    if via == DIMSE:
        cursor = await connection.execute(b"SELECT 1 FROM node WHERE aet = %s AND enabled", (title,))
        if await cursor.fetchone() is None:
            raise WorkitemError(0xC308, told("There is no node with AE title {aet}", aet=title))
        return
    cursor = await connection.execute(b"SELECT owner FROM workitem_subscriber WHERE aet = %s FOR UPDATE", (title,))
    row = await cursor.fetchone()
    if row is not None and row[0] != owner_of(access):
        raise NotAllowedError(told("The AE title {aet} is subscribed by somebody else. Choose another.", aet=title))


async def _subscribe_existing(
    connection: AsyncConnection[Any], title: str, deletion_lock: bool, keys: Sequence[Key], access: Access
) -> None:
    """Those that are not subscribed yet become so; with a lock their state is told, without one it is not (CC.2.3-2)."""
    visible = workitem_is_visible(access)
    where = f"({visible.text})" if visible.text else "true"
    parameters: tuple[Any, ...] = tuple(visible.parameters)
    if keys:
        cursor = await connection.execute(f"SELECT {COLUMNS} FROM workitem w WHERE {where}".encode(), parameters)
        numbers = [row[0] async for row in cursor if fits(row[3], keys)]
        where, parameters = "w.id = ANY(%s)", (numbers,)
    fresh = await connection.execute(
        f"""INSERT INTO workitem_subscription (workitem, aet, deletion_lock)
            SELECT w.id, %s, %s FROM workitem w WHERE {where} ON CONFLICT DO NOTHING RETURNING workitem""".encode(),
        (title, deletion_lock, *parameters),
    )
    numbers = [row[0] for row in await fresh.fetchall()]
    if not deletion_lock or not numbers:
        return
    await connection.execute(
        b"""WITH told AS (
                INSERT INTO workitem_event (workitem, sop_instance_uid, event_type, information)
                SELECT w.id, w.sop_instance_uid, 1,
                    jsonb_build_object('00404041', w.attributes->'00404041', '00741000', w.attributes->'00741000')
                FROM workitem w WHERE w.id = ANY(%s) ORDER BY w.id RETURNING id)
            INSERT INTO workitem_notice (event, aet) SELECT id, %s FROM told""",
        (numbers, title),
    )


@contextlib.asynccontextmanager
async def _changing(archive: Archive) -> AsyncIterator[AsyncConnection[Any]]:
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            yield connection
    except psycopg.Error as error:
        raise DatabaseError(f"The subscription cannot be written: {type(error).__name__}. Try again.") from error


__all__ = [
    "DIMSE",
    "WEB",
    "keys_from_json",
    "owner_of",
    "subscribe",
    "suspend",
    "take_title",
    "unsubscribe",
]
