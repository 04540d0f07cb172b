"""Orders to send studies to a node: what people ask for, row by row, so that nothing of it is lost when a process ends.

    job = await request_sending(archive, "WS1", [study_uid])     by whoever may export; which objects is settled here
    claim_job, next_objects, put_outcomes, end_job               by the task worker (`scp.sending`), which sends

Whoever ordered sees it, and whoever may see deliveries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import exported
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.node_fields import NodeRole
from fileroom.admin.nodes import read_node
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, TooLargeError, told
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.dicom.charset import clean

SEND_OBJECTS_MAX: Final = 200_000
"""Objects of one order: what can be marked on a page, 500 studies of 400."""
JOBS_SHOWN_MAX: Final = 100
FAILURES_SHOWN_MAX: Final = 500
"""Of one order; who has more looks at the node first."""
BATCH_OBJECTS: Final = 1000
"""Looked up and planned together: a megabyte of rows."""
CLAIM_S: Final = 30
"""How long an order belongs to a worker that does not renew it: when that was killed, another goes on so late."""
JOBS_KEPT_DAYS: Final = 90
_REASON_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class SendJob:
    """One order. `state` is waiting, running, done or cancelled; the counts are of its objects."""

    id: int
    node_name: str
    node_aet: str
    actor: str
    state: str
    cause: str
    objects: int
    requested_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    sent: int
    warned: int
    failed: int
    studies: int

    @property
    def is_over(self) -> bool:
        """Nothing more happens by itself."""
        return self.state in ("done", "cancelled")

    @property
    def waiting(self) -> int:
        """Objects of which nothing is known yet."""
        return self.objects - self.sent - self.warned - self.failed


@dataclass(frozen=True, slots=True)
class SendFailure:
    """An object that was not taken, or taken with a warning, and why."""

    study_instance_uid: str
    sop_instance_uid: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class SendDetails:
    """An order with the objects that did not go through, and its studies."""

    job: SendJob
    failures: list[SendFailure] = field(default_factory=list)
    study_uids: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """An order in the hands of a worker, in whose name it is carried out."""

    id: int
    node_name: str
    access: Access


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object: sent, warned or failed."""

    sop_instance_uid: str
    state: str
    reason: str = ""


# --- for people ---


async def request_sending(archive: Archive, node_name: str, study_uids: Sequence[str]) -> int:
    """Order that studies be sent to a node; returns the order's number. They are sent as they are now.

    Raises InvalidRequestError, NotFoundError, ConflictError for a node that may not be sent to, TooLargeError,
    NotAllowedError, DatabaseError.
    """
    actor = require(Permission.STUDY_EXPORT)
    uids = list(dict.fromkeys(study_uids))
    if not uids or len(uids) > STUDY_PAGE_MAX:
        raise InvalidRequestError(told("Mark the studies that shall be sent: 1 to {most}.", most=STUDY_PAGE_MAX))
    node = await read_node(archive.pool, name=node_name)
    if node is None:
        raise NotFoundError(told("There is no node named {name}.", name=node_name))
    if not node.enabled or not node.may(NodeRole.DESTINATION):
        raise ConflictError(told("Nothing may be sent to {name}; its node is disabled or says so.", name=node.name))
    instances = await list_instances(archive, Selection(study_uids=tuple(uids)), permission=Permission.STUDY_EXPORT)
    if not instances:
        raise NotFoundError(told("None of these studies is in the archive any more."))
    if len(instances) > SEND_OBJECTS_MAX:
        raise TooLargeError(
            told("These studies have more than {most} objects; send fewer at a time.", most=SEND_OBJECTS_MAX)
        )
    studies = [StudyReference(uid) for uid in dict.fromkeys(one.study_instance_uid for one in instances)]
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""INSERT INTO send_job (node_name, node_aet, actor_kind, actor, address, account_id, objects)
                VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            (node.name, node.aet, actor.kind.value, actor.name, actor.address, actor.account_id, len(instances)),
        )
        row = await cursor.fetchone()
        number = int(row[0]) if row else 0
        async with connection.cursor().copy(
            b"COPY send_object (job_id, n, study_instance_uid, sop_instance_uid) FROM STDIN"
        ) as copy:
            for n, one in enumerate(instances):
                await copy.write_row((number, n, one.study_instance_uid, one.sop_instance_uid))
        await record(connection, exported(studies, f"node {node.name} ({node.aet})"))
    return number


async def list_jobs(archive: Archive) -> list[SendJob]:
    """The latest orders, one's own or everybody's. Raises NotAllowedError, DatabaseError."""
    actor = require(Permission.STUDY_EXPORT)
    return await _select_jobs(archive, b"WHERE " + _SEEN + b" ORDER BY j.id DESC LIMIT %(most)s", _seen_by(actor))


async def get_job(archive: Archive, number: int) -> SendDetails:
    """One order. Raises NotFoundError, NotAllowedError, DatabaseError."""
    actor = require(Permission.STUDY_EXPORT)
    jobs = await _select_jobs(archive, b"WHERE j.id = %(id)s AND " + _SEEN, {**_seen_by(actor), "id": number})
    if not jobs:
        raise _unknown(number)
    async with archive.pool.connection() as connection:
        async with connection.cursor(row_factory=class_row(SendFailure)) as cursor:
            await cursor.execute(
                b"""SELECT study_instance_uid, sop_instance_uid, state, reason FROM send_object
                    WHERE job_id = %s AND state IN ('failed', 'warned') ORDER BY state, n LIMIT %s""",
                (number, FAILURES_SHOWN_MAX),
            )
            failures = await cursor.fetchall()
        rows = await connection.execute(
            b"SELECT study_instance_uid FROM send_object WHERE job_id = %s GROUP BY 1 ORDER BY min(n)", (number,)
        )
        return SendDetails(jobs[0], failures, [row[0] for row in await rows.fetchall()])


async def cancel_job(archive: Archive, number: int) -> None:
    """End an order early; what was sent stays there. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.STUDY_EXPORT)
    await get_job(archive, number)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE send_job SET state = 'cancelled', finished_at = now()
                WHERE id = %s AND state IN ('waiting', 'running')""",
            (number,),
        )


async def retry_job(archive: Archive, number: int) -> None:
    """Send again what failed or was not sent any more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    actor = require(Permission.STUDY_EXPORT)
    await get_job(archive, number)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE send_job SET state = 'waiting', finished_at = NULL, cause = '', claimed_until = now()
                WHERE id = %s AND state IN ('done', 'cancelled') RETURNING node_name, node_aet""",
            (number,),
        )
        row = await cursor.fetchone()
        if row is None:
            return
        uids = await connection.execute(
            b"""UPDATE send_object SET state = 'waiting', reason = '' WHERE job_id = %s AND state IN ('failed', 'waiting')
                RETURNING study_instance_uid""",
            (number,),
        )
        studies = [StudyReference(uid) for uid in dict.fromkeys(one[0] for one in await uids.fetchall())]
        await record(connection, exported(studies, f"node {row[0]} ({row[1]}), again", actor=actor))


# --- for the task worker ---


async def claim_job(archive: Archive) -> ClaimedJob | None:
    """The oldest order that nobody works on, None when there is none. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE send_job SET state = 'running', started_at = coalesce(started_at, now()),
                claimed_until = now() + make_interval(secs => %s)
                WHERE id = (SELECT id FROM send_job WHERE state IN ('waiting', 'running') AND claimed_until <= now()
                    ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING id, node_name, actor_kind, actor, address, account_id""",
            (CLAIM_S,),
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    # What may be sent was settled when it was ordered: these objects, and nothing else.
    access = Access(ActorKind(row[2]), row[3], frozenset({Permission.STUDY_EXPORT}), address=row[4], account_id=row[5])
    return ClaimedJob(row[0], row[1], access)


async def next_objects(archive: Archive, job: ClaimedJob) -> list[str]:
    """SOP Instance UIDs that wait, at most BATCH_OBJECTS. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT sop_instance_uid FROM send_object WHERE job_id = %s AND state = 'waiting' ORDER BY n LIMIT %s",
            (job.id, BATCH_OBJECTS),
        )
        return [row[0] for row in await cursor.fetchall()]


async def put_outcomes(archive: Archive, job: ClaimedJob, outcomes: Sequence[Outcome]) -> bool:
    """Write down what became of objects, and keep the order; False when it was cancelled. Raises as above."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        if outcomes:
            await connection.execute(
                b"""UPDATE send_object o SET state = g.state, reason = g.reason
                    FROM unnest(%s::text[], %s::text[], %s::text[]) AS g(uid, state, reason)
                    WHERE o.job_id = %s AND o.sop_instance_uid = g.uid""",
                (
                    [one.sop_instance_uid for one in outcomes],
                    [one.state for one in outcomes],
                    [clean(one.reason)[:_REASON_CHARS_MAX] for one in outcomes],
                    job.id,
                ),
            )
        cursor = await connection.execute(
            b"UPDATE send_job SET claimed_until = now() + make_interval(secs => %s) WHERE id = %s RETURNING state",
            (CLAIM_S, job.id),
        )
        row = await cursor.fetchone()
        return row is not None and row[0] == "running"


async def end_job(archive: Archive, job: ClaimedJob, *, is_done: bool, cause: str = "") -> None:
    """It is done; or it is put down, for the next worker to take up. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE send_job SET claimed_until = now(), cause = %s, state = CASE WHEN %s THEN 'done' ELSE state END,
                finished_at = CASE WHEN %s THEN now() END WHERE id = %s AND state = 'running'""",
            (clean(cause)[:_REASON_CHARS_MAX], is_done, is_done, job.id),
        )


async def forget_old_jobs(archive: Archive) -> int:
    """Remove what ended more than JOBS_KEPT_DAYS ago. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM send_job WHERE finished_at < now() - make_interval(days => %s)", (JOBS_KEPT_DAYS,)
        )
    return 0


# --- helpers ---

_SEEN: Final = b"(%(all)s OR (j.actor_kind = %(kind)s AND j.actor = %(actor)s))"


def _seen_by(actor: Access) -> dict[str, object]:
    is_all = actor.allows(Permission.LEDGER_READ)
    return {"all": is_all, "kind": actor.kind.value, "actor": actor.name, "most": JOBS_SHOWN_MAX}


async def _select_jobs(archive: Archive, condition: bytes, parameters: dict[str, Any]) -> list[SendJob]:
    statement = (
        b"""SELECT j.id, j.node_name, j.node_aet, j.actor, j.state, j.cause, j.objects, j.requested_at, j.started_at,
            j.finished_at, o.sent, o.warned, o.failed, o.studies FROM send_job j, LATERAL (
                SELECT count(*) FILTER (WHERE state = 'sent') AS sent, count(*) FILTER (WHERE state = 'warned') AS warned,
                count(*) FILTER (WHERE state = 'failed') AS failed, count(DISTINCT study_instance_uid) AS studies
                FROM send_object WHERE job_id = j.id) o """
        + condition
    )
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(SendJob)) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The orders to send cannot be read: {type(error).__name__}. Try again later.") from error


def _unknown(number: int) -> NotFoundError:
    return NotFoundError(told("There is no order {number} to send, or it is somebody else's.", number=number))
