"""Storage commitment: what has been asked for, whether it can be promised, and which results are still to be delivered.

A request is a row until its result has reached the requester (PS3.4 Annex J). An instance is committed when it is in
the index and its file is in the store with the size that was stored. How a result travels is `scp.commitment`'s part.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, NotFoundError
from fileroom.index.stored import select_places
from fileroom.index.visibility import Visibility, visibility_of
from fileroom.tasks.loop import retry_delay

NO_SUCH_OBJECT_INSTANCE: Final = 0x0112
CLASS_INSTANCE_CONFLICT: Final = 0x0119
"""Failure reasons (PS3.3 C.14.1.1)."""
GIVE_UP_AFTER: Final = dt.timedelta(hours=24)
"""A requester that has not taken the result for a day asks again, or never will."""
SAME_ASSOCIATION_S: Final = 10.0
"""How long the association that asked has the first right to deliver the result. It gives the right up when it ends."""
FIRST_RETRY_S: Final = 5.0
"""A requester that releases its association and only then begins to listen is met by the second attempt."""
_ITEMS_PER_STATEMENT: Final = 2000
_STATS_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class CommitmentItem:
    """A SOP instance that shall be kept safe."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One that is not, and why (0112H: not here, 0119H: here with another SOP class)."""

    sop_class_uid: str
    sop_instance_uid: str
    reason: int


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A request. `requester` is its AE title, `host` where it came from; `attempts` counts tries to deliver."""

    transaction_uid: str
    requester: str
    host: str
    items: tuple[CommitmentItem, ...]
    id: int = 0
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """The answer to a request."""

    transaction_uid: str
    committed: tuple[CommitmentItem, ...]
    failed: tuple[FailedItem, ...]


async def record_request(archive: Archive, request: CommitmentRequest) -> int:
    """Write the request down; returns its row. Its result is due after SAME_ASSOCIATION_S.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_STORE)
    items = [[item.sop_class_uid, item.sop_instance_uid] for item in request.items]
    row = await _fetch_one(
        archive,
        """INSERT INTO commitment (transaction_uid, requester, host, items, next_attempt_at)
           VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s)) RETURNING id""",
        request.transaction_uid,
        request.requester,
        request.host,
        Jsonb(items),
        SAME_ASSOCIATION_S,
    )
    return int(row[0]) if row else 0


async def check_items(archive: Archive, request: CommitmentRequest) -> CommitmentResult:
    """Look at every item, as the requester sees the archive.

    Raises NotAllowedError; DatabaseError, StorageError: then nothing is known, and the check is to be repeated.
    """
    visibility = visibility_of(require(Permission.STUDY_STORE))
    committed: list[CommitmentItem] = []
    failed: list[FailedItem] = []
    for start in range(0, len(request.items), _ITEMS_PER_STATEMENT):
        items = request.items[start : start + _ITEMS_PER_STATEMENT]
        known = await _known_instances(archive, [item.sop_instance_uid for item in items], visibility)
        places = [(key, size) for _, key, size in known.values()]
        intact = await _intact_keys(archive, places)
        for item in items:
            row = known.get(item.sop_instance_uid)
            if row is not None and row[0] != item.sop_class_uid:
                failed.append(FailedItem(item.sop_class_uid, item.sop_instance_uid, CLASS_INSTANCE_CONFLICT))
            elif row is None or row[1] not in intact:
                failed.append(FailedItem(item.sop_class_uid, item.sop_instance_uid, NO_SUCH_OBJECT_INSTANCE))
            else:
                committed.append(item)
    return CommitmentResult(request.transaction_uid, tuple(committed), tuple(failed))


async def claim_due(archive: Archive) -> CommitmentRequest | None:
    """The next request whose result is due, None if there is none.

    Its next attempt is set before this one begins, so that a worker that dies in the middle only delays it.
    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    row = await _fetch_one(
        archive,
        """UPDATE commitment SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => %s)
           WHERE id = (SELECT id FROM commitment WHERE state = 'pending' AND next_attempt_at <= now()
                       ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED)
           RETURNING transaction_uid, requester, host, items, id, attempts""",
        retry_delay(1),
    )
    if row is None:
        return None
    items = tuple(CommitmentItem(sop_class, sop_instance) for sop_class, sop_instance in row[3])
    return CommitmentRequest(row[0], row[1], row[2], items, row[4], row[5])


async def delivered(archive: Archive, row_id: int) -> None:
    """The requester has the result. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_STORE)
    await _fetch_one(
        archive, "UPDATE commitment SET state = 'delivered', finished_at = now() WHERE id = %s RETURNING id", row_id
    )


async def not_delivered(archive: Archive, request: CommitmentRequest, reason: str) -> None:
    """The requester was not reached: try again later, or give up after GIVE_UP_AFTER.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_STORE)
    await _fetch_one(
        archive,
        """UPDATE commitment SET last_error = %s, next_attempt_at = now() + make_interval(secs => %s),
               state = CASE WHEN requested_at < now() - %s THEN 'failed' ELSE state END,
               finished_at = CASE WHEN requested_at < now() - %s THEN now() END
           WHERE id = %s AND state = 'pending' RETURNING id""",
        reason[:1000],
        _pause(request.attempts),
        GIVE_UP_AFTER,
        GIVE_UP_AFTER,
        request.id,
    )


def _pause(attempts: int) -> float:
    """Seconds to the next attempt: none after the association that asked, then a few, then minutes."""
    if attempts == 0:
        return 0.0
    return FIRST_RETRY_S if attempts == 1 else retry_delay(attempts - 1)


# --- the index and the store ---


async def _known_instances(
    archive: Archive, sop_uids: Sequence[str], visibility: Visibility
) -> dict[str, tuple[str, str, int]]:
    """(SOP class, key, bytes) of those that the index has and that may be seen."""
    try:
        async with archive.pool.connection() as connection:
            return await select_places(connection, sop_uids, visibility)
    except psycopg.Error as error:
        raise _failure(error) from error


async def _intact_keys(archive: Archive, places: Sequence[tuple[str, int]]) -> set[str]:
    """The keys whose objects are in the store with the right size."""
    turns = asyncio.Semaphore(_STATS_AT_ONCE)

    async def is_intact(key: str, size: int) -> bool:
        async with turns:
            try:
                return (await archive.store.stat(key)).size == size
            except NotFoundError:
                return False

    answers = await asyncio.gather(*(is_intact(key, size) for key, size in places))
    return {key for (key, _), answer in zip(places, answers, strict=True) if answer}


async def _fetch_one(archive: Archive, statement: str, *parameters: object) -> tuple[Any, ...] | None:
    try:
        async with archive.pool.connection() as connection:
            return await _execute(connection, statement, parameters)
    except psycopg.Error as error:
        raise _failure(error) from error


async def _execute(
    connection: AsyncConnection[Any], statement: str, parameters: Sequence[object]
) -> tuple[Any, ...] | None:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(statement.encode(), parameters)
        return await cursor.fetchone()


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The commitment could not be looked up or noted: {type(error).__name__}. Try again later.")
