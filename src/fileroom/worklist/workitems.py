"""Workitems: what a worklist manager of Unified Procedure Steps does (PS3.4 CC.2), whatever door the request came through.

Make, show, change, take over, finish, ask for an end. Each is one transaction with the events that it causes and its line in
the audit trail. Nodes do this as they report performed steps; people and tokens need to manage orders.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import order_changed
from fileroom.admin.audit_message import Action
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, TooLargeError, told
from fileroom.core.identifiers import UID, AETitle
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.performed_rules import text_of
from fileroom.worklist.workitem_rows import (
    PastEvent,
    Workitem,
    insert_workitem,
    is_subscribed_by_somebody,
    put_event,
    read_workitem,
    update_workitem_row,
)
from fileroom.worklist.workitem_rules import DuplicateWorkitemError, WorkitemError
from fileroom.worklist.workitem_search import fits, keys_from_json

HISTORY_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class CreatedWorkitem:
    """A new workitem; `is_modified`: not quite as it was asked for (PS3.4 B300)."""

    sop_instance_uid: str
    is_modified: bool


async def create_workitem(archive: Archive, uid: str, attributes: JsonObject) -> CreatedWorkitem:
    """Put a workitem on the worklist (N-CREATE). `uid` empty: one is made.

    Raises DuplicateWorkitemError, WorkitemError (C309), InvalidRequestError with the attributes that are wrong,
    NotAllowedError, DatabaseError.
    """
    access = _require_work()
    uid = str(UID(uid)) if uid else f"2.25.{uuid.uuid4().int}"
    if uid in (rules.GLOBAL_SUBSCRIPTION, rules.FILTERED_SUBSCRIPTION):
        raise InvalidRequestError(told("{uid} is no UID of a workitem.", uid=uid))
    made = rules.check_create(rules.plain(_sized(attributes)), uid, uids.UPS_PUSH, archive.now())
    async with _changing(archive) as connection:
        number = await insert_workitem(connection, uid, made.attributes, access, access.name)
        if number is None:
            raise DuplicateWorkitemError(told("There is, or was, a workitem {uid} already.", uid=uid))
        await _subscribe_watchers(connection, number, made.attributes)
        for event in rules.events_of_creation(made.attributes):
            await put_event(connection, number, uid, event, access.name)
        await _audit(connection, made.attributes, f"workitem {uid} made", Action.CREATE)
    return CreatedWorkitem(uid, made.is_modified)


async def get_workitem(archive: Archive, uid: str) -> Workitem:
    """A workitem as it stands, without its Transaction UID (N-GET).

    Raises UnknownWorkitemError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection:
            found, _ = await read_workitem(connection, uid, access)
            return found
    except psycopg.Error as error:
        raise DatabaseError(f"The workitem cannot be read: {type(error).__name__}. Try again.") from error


async def update_workitem(archive: Archive, uid: str, change: JsonObject, transaction_uid: str = "") -> None:
    """Change attributes of a workitem (N-SET): of a scheduled one anybody may, then only who has the Transaction UID.

    Raises UnknownWorkitemError, WorkitemError, InvalidRequestError with the attributes that are wrong, NotAllowedError,
    DatabaseError.
    """
    access = _require_work()
    said = rules.plain(_sized(change))
    sent = transaction_uid or text_of(said, rules.TRANSACTION)
    async with _changing(archive) as connection:
        now, key = await read_workitem(connection, uid, access, lock=True)
        if now.state in rules.FINAL_STATES:
            raise rules.no_longer()
        if (now.state == rules.IN_PROGRESS and sent != key) or (now.state == rules.SCHEDULED and sent):
            raise rules.wrong_transaction(sent)
        after = rules.merged(now.attributes, said, archive.now())
        _sized(after)
        await _put(connection, now, after, access)


async def change_workitem_state(archive: Archive, uid: str, state: str, transaction_uid: str) -> int:
    """Take a workitem over, finish it or give it up (N-ACTION 1). Returns 0, or the warning B304 or B306.

    Raises UnknownWorkitemError, WorkitemError, InvalidRequestError, NotAllowedError, DatabaseError.
    """
    access = _require_work()
    sent = str(UID(transaction_uid)) if transaction_uid else ""
    async with _changing(archive) as connection:
        now, key = await read_workitem(connection, uid, access, lock=True)
        warning = rules.check_transition(now.state, state, key, sent)
        if warning:
            return warning
        if state == rules.IN_PROGRESS:
            after = dict(now.attributes)
            rules.put(after, rules.STATE, state)
            await _put(connection, now, after, access, key=sent)
        else:
            await _put(connection, now, rules.ended(now.attributes, state, archive.now()), access)
    return 0


async def request_cancel(archive: Archive, uid: str, request: JsonObject, requester: str = "") -> int:
    """Ask for the end of a workitem (N-ACTION 2): one that nobody has begun is cancelled, of another its performer is told.

    `requester` is the AE title that is told; empty: ours. Returns 0, or the warning B304. Raises UnknownWorkitemError,
    WorkitemError (C311; C312 where nobody would hear of it), InvalidRequestError, NotAllowedError, DatabaseError.
    """
    access = _require_work()
    said = rules.plain(_sized(request))
    asking = str(AETitle(requester)) if requester else archive.settings.aet
    if access.kind is ActorKind.PERSON and not text_of(said, rules.CONTACT_NAME):
        rules.put(said, rules.CONTACT_NAME, access.name)
    async with _changing(archive) as connection:
        now, _ = await read_workitem(connection, uid, access, lock=True)
        rules.check_cancel_request(now.state)
        if now.state == rules.CANCELED:
            return 0xB304
        if now.state == rules.IN_PROGRESS and not await is_subscribed_by_somebody(connection, now.id):
            text = told("The performer cannot be contacted: nobody is subscribed to this workitem")
            raise WorkitemError(0xC312, text, rules.INCONSISTENT)
        event = rules.cancel_requested(said, asking)
        await put_event(connection, now.id, uid, event, access.name)
        if now.state == rules.SCHEDULED:
            begun = dict(now.attributes)
            rules.put(begun, rules.STATE, rules.IN_PROGRESS)
            await put_event(connection, now.id, uid, rules.state_report(begun), access.name)
            after = rules.ended(rules.with_cancel_reason(begun, said), rules.CANCELED, archive.now())
            await update_workitem_row(connection, now.id, after)
            await put_event(connection, now.id, uid, rules.state_report(after), access.name)
        await _audit(connection, now.attributes, f"workitem {uid}: cancellation asked for")
    return 0


async def workitem_history(archive: Archive, uid: str) -> list[PastEvent]:
    """What happened to a workitem, the newest first, HISTORY_MAX at most; what only greeted a subscriber is left out.

    Raises UnknownWorkitemError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection:
            found, _ = await read_workitem(connection, uid, access)
            cursor = await connection.execute(
                b"""SELECT e.id, e.event_type, e.information, e.caused_by, e.happened_at,
                        array(SELECT n.aet FROM workitem_notice n WHERE n.event = e.id ORDER BY n.aet)
                    FROM workitem_event e WHERE e.workitem = %s AND e.caused_by <> '' ORDER BY e.id DESC LIMIT %s""",
                (found.id, HISTORY_MAX),
            )
            return [PastEvent(*row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The history cannot be read: {type(error).__name__}. Try again.") from error


# --- helpers ---


def _require_work() -> Access:
    """Whoever acts, if they may make and change workitems. Raises NotAllowedError."""
    is_node = current_access().kind is ActorKind.NODE
    return require(Permission.STUDY_STORE if is_node else Permission.ORDER_MANAGE)


@contextlib.asynccontextmanager
async def _changing(archive: Archive) -> AsyncIterator[AsyncConnection[Any]]:
    """One transaction, with the database's refusals as ours."""
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            yield connection
    except psycopg.DataError as error:
        raise InvalidRequestError(told("A value cannot be kept: {why}", why=type(error).__name__)) from error
    except psycopg.Error as error:
        raise DatabaseError(f"The workitem cannot be written: {type(error).__name__}. Try again.") from error


async def _put(
    connection: AsyncConnection[Any], now: Workitem, after: JsonObject, access: Access, *, key: str | None = None
) -> None:
    """Write a change, its events and its line in the audit trail."""
    await update_workitem_row(connection, now.id, after, key=key, performer=access.name if key else "")
    for event in rules.events_of_change(now.attributes, after):
        await put_event(connection, now.id, now.sop_instance_uid, event, access.name)
    state = text_of(after, rules.STATE)
    what = (
        f"workitem {now.sop_instance_uid} changed"
        if state == now.state
        else f"workitem {now.sop_instance_uid}: {state}"
    )
    await _audit(connection, after, what)


async def _subscribe_watchers(connection: AsyncConnection[Any], number: int, model: JsonObject) -> None:
    """Whoever hears of new workitems hears of this one (table CC.2.3-2)."""
    cursor = await connection.execute(b"SELECT aet, is_filtered, keys, deletion_lock FROM workitem_watch")
    locks: dict[str, bool] = {}
    for aet, is_filtered, keys, lock in await cursor.fetchall():
        if not is_filtered or fits(model, keys_from_json(keys)):
            locks[aet] = locks.get(aet, False) or lock
    if locks:
        await connection.execute(
            b"""INSERT INTO workitem_subscription (workitem, aet, deletion_lock)
                SELECT %s, one->>0, (one->>1)::boolean FROM jsonb_array_elements(%s) one""",
            (number, Jsonb([list(one) for one in locks.items()])),
        )


async def _audit(
    connection: AsyncConnection[Any], model: JsonObject, what: str, action: Action = Action.UPDATE
) -> None:
    patient = (text_of(model, rules.PATIENT_ID), text_of(model, rules.PATIENT_NAME))
    study = next(iter(rules.study_uids_of(model)), "")
    await record(connection, order_changed(study, "", patient, what, action))


def _sized(model: JsonObject) -> JsonObject:
    if len(orjson.dumps(model)) > rules.DATASET_CHARS_MAX:
        raise TooLargeError(f"A workitem has at most {rules.DATASET_CHARS_MAX} characters as DICOM JSON")
    return model
