"""What nodes are told over associations that we open: performed steps that are forwarded to them, instances that are available.

    queue_notice(connection, ...)   in the transaction of what it tells of, for every node that has the role
    send_notices(archive)           the background round: of each node the oldest first, one after another
    list_notices, resend_notice, cancel_notice   for people

The first notice of a node is locked while it is sent, so that several workers keep the order (an N-SET never overtakes its
N-CREATE); one that was sent just before a kill is sent again, and the node knows it by its SOP Instance UID.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydicom.dataset import Dataset

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.node_fields import NodeRole
from fileroom.admin.nodes import find_node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConfigurationError, DatabaseError, FileroomError, NotFoundError, PeerError, told
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject, encode_dataset
from fileroom.dimse.status import Status, StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.tasks.loop import retry_delay

ATTEMPTS_MAX: Final = 5
"""A notice that a node answers with a failure so often is given up; one that cannot be delivered, after GIVE_UP_HOURS."""
GIVE_UP_HOURS: Final = 72
KEEP_DAYS: Final = 30
NODES_PER_ROUND: Final = 20
LIST_MAX: Final = 500
REASON_CHARS_MAX: Final = 1000
ROLE_OF: Final = {
    "mpps_create": NodeRole.PERFORMED,
    "mpps_set": NodeRole.PERFORMED,
    "availability": NodeRole.AVAILABILITY,
}
_CLASS_OF: Final = {
    "mpps_create": uids.MODALITY_PERFORMED_PROCEDURE_STEP,
    "mpps_set": uids.MODALITY_PERFORMED_PROCEDURE_STEP,
    "availability": uids.INSTANCE_AVAILABILITY_NOTIFICATION,
}

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeNotice:
    """A notice. `reason`: why it is not sent yet, or never will be."""

    id: int
    node: str
    kind: str
    sop_instance_uid: str
    study_instance_uid: str
    state: str
    attempts: int
    next_try_at: dt.datetime
    reason: str
    made_at: dt.datetime
    ended_at: dt.datetime | None


async def queue_notice(
    connection: AsyncConnection[Any],
    kind: str,
    sop_instance_uid: str,
    attributes: JsonObject,
    *,
    study_uid: str = "",
    not_to: str = "",
) -> int:
    """Put a notice in for every enabled node that has the role for it, but for the AE title that told it; how many those are.

    Raises psycopg.Error.
    """
    cursor = await connection.execute(
        b"""INSERT INTO node_notice (node, kind, sop_instance_uid, study_instance_uid, attributes)
            SELECT name, %s, %s, %s, %s FROM node WHERE enabled AND %s = ANY(roles) AND aet <> %s ORDER BY name""",
        (kind, sop_instance_uid, study_uid, Jsonb(attributes), ROLE_OF[kind].value, not_to),
    )
    return cursor.rowcount


async def send_notices(archive: Archive) -> int:
    """Send what is due, one notice of each node; returns how many were sent or given up.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT node FROM (SELECT DISTINCT ON (node) node, next_try_at FROM node_notice WHERE state = 'waiting'
                ORDER BY node, id) first WHERE next_try_at <= %s ORDER BY next_try_at LIMIT %s""",
            (archive.now(), NODES_PER_ROUND),
        )
        names = [row[0] for row in await cursor.fetchall()]
    done = 0
    for name in names:
        done += await _send_first(archive, name)
    return done


async def forget_old_notices(archive: Archive) -> int:
    """Remove what ended KEEP_DAYS ago. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM node_notice WHERE ended_at < %s", (archive.now() - dt.timedelta(days=KEEP_DAYS),)
        )
    return 0


# --- for people ---


async def list_notices(
    archive: Archive, node: str = "", states: Sequence[str] = (), limit: int = 100
) -> list[NodeNotice]:
    """The newest first. Raises NotAllowedError, DatabaseError."""
    require(Permission.LEDGER_READ)
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(NodeNotice)) as cursor:
        await cursor.execute(
            b"""SELECT id, node, kind, sop_instance_uid, study_instance_uid, state, attempts, next_try_at, reason, made_at,
                    ended_at FROM node_notice WHERE (%(node)s = '' OR node = %(node)s)
                    AND (%(states)s = '{}'::text[] OR state = ANY(%(states)s)) ORDER BY id DESC LIMIT %(limit)s""",
            {"node": node, "states": list(states), "limit": min(limit, LIST_MAX)},
        )
        return await cursor.fetchall()


async def resend_notice(archive: Archive, number: int) -> None:
    """Send a notice that was given up once more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await _change(archive, number, "waiting", ("dead", "cancelled"), "sent again")


async def cancel_notice(archive: Archive, number: int) -> None:
    """Do not send a notice that waits; those behind it go on. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await _change(archive, number, "cancelled", ("waiting",), "cancelled")


async def _change(archive: Archive, number: int, state: str, of: Sequence[str], words: str) -> None:
    require(Permission.ROUTING_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE node_notice SET state = %(state)s, attempts = 0, next_try_at = now(), made_at = now(),
                    ended_at = CASE WHEN %(state)s = 'cancelled' THEN now() END
                WHERE id = %(id)s AND state = ANY(%(of)s) RETURNING node""",
            {"state": state, "id": number, "of": list(of)},
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("There is no notice {number} for which that can be done.", number=number))
        await record(connection, node_changed(row[0], f"Notice {number} {words}."))


# --- sending ---


async def _send_first(archive: Archive, name: str) -> int:
    """The oldest notice of a node; 0 when another worker has it, or the node cannot be told now."""
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""SELECT id, kind, sop_instance_uid, attributes, attempts, made_at FROM node_notice
                WHERE node = %s AND state = 'waiting' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED""",
            (name,),
        )
        row = await cursor.fetchone()
        if row is None:
            return 0
        number, kind, uid, attributes, attempts, made_at = row
        age = archive.now() - made_at
        state, reason = "sent", ""
        try:
            status = await _tell(archive, name, kind, uid, attributes)
            if category(status) not in (StatusCategory.SUCCESS, StatusCategory.WARNING):
                is_over = attempts + 1 >= ATTEMPTS_MAX
                state, reason = "dead" if is_over else "waiting", f"{name} answered with {describe(status)}."
        except DatabaseError:
            raise
        except ConfigurationError as error:
            state, reason = "dead", str(error)
        except FileroomError as error:
            is_over = age > dt.timedelta(hours=GIVE_UP_HOURS)
            state, reason = "dead" if is_over else "waiting", str(error)
        await connection.execute(
            b"""UPDATE node_notice SET state = %(state)s, attempts = attempts + 1, reason = %(reason)s,
                    next_try_at = now() + make_interval(secs => %(delay)s),
                    ended_at = CASE WHEN %(state)s <> 'waiting' THEN now() END WHERE id = %(id)s""",
            {"state": state, "reason": reason[:REASON_CHARS_MAX], "delay": retry_delay(attempts + 1), "id": number},
        )
    if state != "sent":
        _log.warning("node_not_told", node=name, kind=kind, attempts=attempts + 1, reason=reason)
    return int(state != "waiting")


async def _tell(archive: Archive, name: str, kind: str, uid: str, attributes: Mapping[str, Any]) -> int:
    """The status that a node answers with. Raises PeerError, ConfigurationError for what can never be told."""
    node = await find_node(archive.pool, name=name)
    if node is None:
        raise ConfigurationError(f"There is no node {name} any more.")
    if not node.enabled:
        raise PeerError(f"The node {name} is disabled.")
    context = ProposedContext(_CLASS_OF[kind], (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN))
    async with connect_node(archive, node, purpose="notice", contexts=[context]) as (association, _):
        accepted = association.context_of(_CLASS_OF[kind])
        encoded = _encoded(attributes, implicit=accepted.transfer_syntax == uids.IMPLICIT_VR_LITTLE_ENDIAN)
        if kind == "mpps_set":
            return (await association.n_set(_CLASS_OF[kind], uid, encoded)).status
        status = (await association.n_create(_CLASS_OF[kind], uid, encoded)).status
    # It was told before: the answer was lost on the way, or this process was killed before the commit.
    return Status.SUCCESS if status == Status.DUPLICATE_SOP_INSTANCE else status


def _encoded(attributes: Mapping[str, Any], *, implicit: bool) -> bytes:
    try:
        dataset = Dataset.from_json(dict(attributes))
        dataset.SpecificCharacterSet = "ISO_IR 192"
        return encode_dataset(dataset, implicit=implicit)
    except Exception as error:
        # What a modality has said is passed on as it is; not all of it may be writable.
        raise ConfigurationError(f"Its values cannot be encoded ({type(error).__name__}).") from error
