"""Studies that are not here but at another archive: fetched when somebody asks for one, or ahead of time.

    await ensure_study(archive, uid)        returns once the study is here (or nobody has it); whoever comes meanwhile waits too
    await order_fetch(archive, uid)         the same without waiting: a person's button
    list_fetches, cancel_fetch, retry_fetch

An order is a row (`fetch_job`), one open one for a study, which the task worker carries out (`fetch_work`). Who asks must be
allowed to see the study by what the other archive says of it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import imported
from fileroom.admin.audit_message import StudyReference
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, NotFoundError, ServiceError, told
from fileroom.dicom.query import Key, Level, Page, Query, SingleValue
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.known_studies import instances_here
from fileroom.routing.federated_query import SourceAnswer, asked_elsewhere
from fileroom.routing.source_calls import STUDY_UID, text_of

RECEIVED_BY: Final = "fetch"
"""The door that fetched objects come in by; rules can tell them by it."""
WAIT_S: Final = 600.0
"""How long somebody who asked for a study waits for it: a CT of 2,000 images over a slow line. It goes on coming after that."""
POLL_S: Final = 0.2
FETCHES_SHOWN_MAX: Final = 200
FETCHES_KEPT_DAYS: Final = 90
_INSTANCES: Final = BY_KEYWORD["NumberOfStudyRelatedInstances"].tag


@dataclass(frozen=True, slots=True)
class FetchJob:
    """An order to fetch a study. `state` is waiting, running, done, failed or cancelled; `reason` is asked or prefetch."""

    id: int
    study_instance_uid: str
    source: str
    reason: str
    asked_by: str
    rule: str
    state: str
    cause: str
    expected: int
    objects: int
    bytes: int
    attempts: int
    requested_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    push_to: list[str]

    @property
    def is_open(self) -> bool:
        """It is still to be done, or under way."""
        return self.state in ("waiting", "running")


@dataclass(frozen=True, slots=True)
class Known:
    """A study that a source has: how many objects it says, 0 where it does not say."""

    source: str
    instances: int


# --- for whoever asks for a study ---


async def ensure_study(
    archive: Archive,
    study_uid: str,
    *,
    caller: str = "",
    via: str = "",
    wait_s: float = WAIT_S,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> bool:
    """Have the study here, if anybody has it; returns once it is whole, whether something was fetched.

    A study that is here, even one that is hidden from whoever asks, is not fetched again. Raises ServiceError when its source
    did not give it or takes too long; NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_VIEW)
    job = await latest_fetch(archive, study_uid)
    if job is None or not job.is_open:
        is_part = job is not None and job.state != "done"
        if not is_part and await instances_here(archive.pool, study_uid):
            return False
        job = await _order(archive, study_uid, caller=caller, via=via)
        if job is None:
            return False
    elif job.reason != "asked":
        await _hurry(archive, job.id)
    return await _wait(archive, study_uid, wait_s, is_cancelled)


async def order_fetch(archive: Archive, study_uid: str) -> FetchJob:
    """Order a study that another archive has; returns the order, which may be an earlier one that is open.

    Raises NotFoundError when no source has it, NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_VIEW)
    job = await _order(archive, study_uid)
    if job is None:
        raise NotFoundError(told("None of the other archives that could be asked has this study."))
    return job


# --- for people ---


async def list_fetches(archive: Archive) -> list[FetchJob]:
    """The latest orders. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    return await _select(archive, b"ORDER BY id DESC LIMIT %s", (FETCHES_SHOWN_MAX,))


async def fetches_of(archive: Archive, study_uids: Sequence[str]) -> dict[str, FetchJob]:
    """The open orders for some studies, by UID: to say that they are being fetched. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_SEARCH)
    found = await _select(
        archive, b"WHERE study_instance_uid = ANY(%s) AND state IN ('waiting', 'running')", (list(study_uids),)
    )
    return {job.study_instance_uid: job for job in found}


async def cancel_fetch(archive: Archive, number: int) -> None:
    """End an order; what has come stays. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    await _change(
        archive,
        number,
        b"""UPDATE fetch_job SET state = 'cancelled', finished_at = now(), cause = ''
            WHERE id = %s AND state IN ('waiting', 'running')""",
    )


async def retry_fetch(archive: Archive, number: int) -> None:
    """Carry out an order again that failed or was cancelled. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    await _change(
        archive,
        number,
        b"""UPDATE fetch_job SET state = 'waiting', finished_at = NULL, cause = '', attempts = 0, due_at = now()
            WHERE id = %s AND state IN ('failed', 'cancelled') AND NOT EXISTS (SELECT FROM fetch_job o
              WHERE o.study_instance_uid = fetch_job.study_instance_uid AND o.state IN ('waiting', 'running'))""",
    )


# --- rows, for services that have asked ---


async def latest_fetch(archive: Archive, study_uid: str) -> FetchJob | None:
    """The last order for a study. Raises DatabaseError."""
    found = await _select(archive, b"WHERE study_instance_uid = %s ORDER BY id DESC LIMIT 1", (study_uid,))
    return found[0] if found else None


async def insert_fetch(
    archive: Archive,
    study_uid: str,
    known: Known,
    *,
    reason: str,
    asked_by: str,
    rule: str = "",
    push_to: Sequence[str] = (),
    is_here: bool = False,
) -> bool:
    """Order a study; False where an open order stands already (it then pushes to these destinations too).

    `is_here`: there is nothing to fetch, only to push. Raises DatabaseError.
    """
    state = "done" if is_here else "waiting"
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""INSERT INTO fetch_job
                (study_instance_uid, source, reason, asked_by, rule, push_to, expected, state, finished_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN now() END)
                ON CONFLICT (study_instance_uid) WHERE state IN ('waiting', 'running') DO NOTHING RETURNING id""",
            (study_uid, known.source, reason, asked_by, rule, list(push_to), known.instances, state, is_here),
        )
        if await cursor.fetchone() is None:
            await connection.execute(
                b"""UPDATE fetch_job SET push_to = ARRAY(SELECT DISTINCT unnest(push_to || %s::text[]))
                    WHERE study_instance_uid = %s AND state IN ('waiting', 'running')""",
                (list(push_to), study_uid),
            )
            return False
        if not is_here and reason == "asked":
            await record(connection, imported([StudyReference(study_uid)], f"ordered from the archive {known.source}"))
        return True


async def forget_old_fetches(archive: Archive) -> int:
    """Remove orders that ended long ago. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM fetch_job WHERE finished_at < now() - make_interval(days => %s)", (FETCHES_KEPT_DAYS,)
        )
    return 0


# --- helpers ---

_COLUMNS: Final = b"""SELECT id, study_instance_uid, source, reason, asked_by, rule, state, cause, expected, objects, bytes,
    attempts, requested_at, started_at, finished_at, push_to FROM fetch_job """


async def _select(archive: Archive, rest: bytes, parameters: Sequence[object]) -> list[FetchJob]:
    try:
        async with (
            archive.pool.connection() as connection,
            connection.cursor(row_factory=class_row(FetchJob)) as cursor,
        ):
            await cursor.execute(_COLUMNS + rest, parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"Orders to fetch cannot be read: {type(error).__name__}. Try again later.") from error


async def _change(archive: Archive, number: int, statement: bytes) -> None:
    if not await _select(archive, b"WHERE id = %s", (number,)):
        raise NotFoundError(told("There is no order {number}.", number=number))
    async with archive.pool.connection() as connection:
        await connection.execute(statement, (number,))


async def _order(archive: Archive, study_uid: str, *, caller: str = "", via: str = "") -> FetchJob | None:
    """An order for a study at the source that has most of it, None where no source has it for whoever asks."""
    known = await who_has(archive, study_uid, caller=caller, via=via)
    if not known:
        return None
    await insert_fetch(archive, study_uid, known[0], reason="asked", asked_by=current_access().name)
    return await latest_fetch(archive, study_uid)


async def who_has(archive: Archive, study_uid: str, *, caller: str = "", via: str = "") -> list[Known]:
    """The sources that have a study, for whoever asks: the one with most of it first. Raises NotAllowedError, DatabaseError."""
    query = Query(
        Level.STUDY,
        keys=(Key(STUDY_UID, "UI", SingleValue(study_uid)),),
        return_tags=((STUDY_UID,), (_INSTANCES,)),
        page=Page(1),
    )
    found: list[Known] = []
    async with asked_elsewhere(archive, query, caller=caller, via=via) as elsewhere:
        async for answer in elsewhere.answers(_Everything()):
            found += [known_of(answer, match) for match in answer.matches]
    return sorted(found, key=lambda one: (-one.instances, one.source))


def known_of(answer: SourceAnswer, match: dict[str, Any]) -> Known:
    """What a source says of a study that it has."""
    text = text_of(match, _INSTANCES)
    return Known(answer.source.name, int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0)


class _Everything(set[str]):
    """Nothing counts as seen: all sources that have the study are heard."""

    def __contains__(self, _: object) -> bool:
        return False


async def _hurry(archive: Archive, number: int) -> None:
    """Somebody waits for what was ordered ahead of time."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE fetch_job SET reason = 'asked', due_at = now() WHERE id = %s AND state IN ('waiting', 'running')",
            (number,),
        )


async def _wait(archive: Archive, study_uid: str, wait_s: float, is_cancelled: Callable[[], bool]) -> bool:
    """Until the order for a study has ended; True when it was carried out."""
    try:
        async with asyncio.timeout(wait_s):
            while not is_cancelled():
                job = await latest_fetch(archive, study_uid)
                if job is None or job.state == "done":
                    return True
                if not job.is_open:
                    why = job.cause or "the order was cancelled"
                    raise ServiceError(
                        f"The study could not be fetched from {job.source}: {why}. Ask for it again later."
                    )
                await asyncio.sleep(POLL_S)
    except TimeoutError as error:
        raise ServiceError(
            "The study is still being fetched from another archive. Ask for it again in a while."
        ) from error
    return False
