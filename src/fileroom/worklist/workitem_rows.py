"""Workitems and their events as rows, and which of them somebody may see.

A change and the events that it causes are one transaction: an event waits for every subscriber as a row (`workitem_notice`)
until it was told, whatever is killed in between.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.core.access import Access
from fileroom.core.errors import told
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.normal_forms import normalize_datetime
from fileroom.index.conditions import Condition
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.order_visibility import order_is_visible
from fileroom.worklist.performed_rules import text_of
from fileroom.worklist.workitem_rules import Event, UnknownWorkitemError

COLUMNS: Final = (
    "w.id, w.sop_instance_uid, w.state, w.attributes, w.label, w.worklist_label, w.priority, w.readiness, w.patient_id, "
    "w.patient_name, w.start_moment, w.study_uids, w.created_by, w.performer, w.created_at, w.changed_at, w.ended_at"
)
_NEW_AND_OLD: Final = 0x55505301
"""Advisory lock: a workitem is made while nobody begins to watch, and the other way round, so that none is missed."""


@dataclass(frozen=True, slots=True)
class Workitem:
    """A workitem as it stands. `attributes` is its data set as DICOM JSON, without the Transaction UID."""

    id: int
    sop_instance_uid: str
    state: str
    attributes: JsonObject
    label: str
    worklist_label: str
    priority: str
    readiness: str
    patient_id: str
    patient_name: str
    start: str
    study_uids: Sequence[str]
    created_by: str
    performer: str
    created_at: dt.datetime
    changed_at: dt.datetime
    ended_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class PastEvent:
    """Something that happened to a workitem."""

    number: int
    event_type: int
    information: JsonObject
    caused_by: str
    happened_at: dt.datetime
    waiting_for: Sequence[str]
    """AE titles that have not been told yet."""


def workitem_of(row: Sequence[Any]) -> Workitem:
    """A row of COLUMNS."""
    return Workitem(*row)


def workitem_is_visible(access: Access) -> Condition:
    """The condition on `workitem w`; empty: no restriction.

    A workitem is seen with a study, or an order, that it is about. Where the row scope names only patients and own uploads,
    it is seen by its own patient and by who made it.
    """
    rows = access.rows
    if rows.is_everything:
        return Condition()
    study = study_is_visible(visibility_of(access))
    order = order_is_visible(access)
    found = [
        Condition(
            f"EXISTS (SELECT 1 FROM study s WHERE s.study_instance_uid = ANY(w.study_uids) AND {study.text or 'true'})",
            study.parameters,
        ),
        Condition(
            "EXISTS (SELECT 1 FROM imaging_order o WHERE o.study_instance_uid = ANY(w.study_uids) "
            f"AND {order.text or 'true'})",
            order.parameters,
        ),
    ]
    if not (rows.institutions or rows.modalities or rows.referring_physicians):
        own: list[Condition] = []
        if rows.patient_ids:
            own.append(Condition("w.patient_id = ANY(%s)", (list(rows.patient_ids),)))
        if rows.own_uploads:
            own.append(Condition("w.creator = %s AND w.creator <> ''", (access.uploader,)))
        found.append(Condition.all_of(own))
    return Condition.any_of(found)


async def read_workitem(
    connection: AsyncConnection[Any], uid: str, access: Access, *, lock: bool = False
) -> tuple[Workitem, str]:
    """A workitem and its Transaction UID. Raises UnknownWorkitemError, psycopg.Error."""
    visible = workitem_is_visible(access)
    where = f" AND ({visible.text})" if visible.text else ""
    text = f"SELECT {COLUMNS}, w.transaction_uid FROM workitem w WHERE w.sop_instance_uid = %s{where}"
    cursor = await connection.execute(
        (text + (" FOR UPDATE OF w" if lock else "")).encode(), (uid, *visible.parameters)
    )
    row = await cursor.fetchone()
    if row is None:
        cursor = await connection.execute(b"SELECT 1 FROM workitem_gone WHERE sop_instance_uid = %s", (uid,))
        is_gone = await cursor.fetchone() is not None
        message = told("The workitem {uid} was removed.", uid=uid) if is_gone else told("No workitem {uid}.", uid=uid)
        raise UnknownWorkitemError(message, is_gone=is_gone)
    return Workitem(*row[:-1]), str(row[-1])


async def insert_workitem(
    connection: AsyncConnection[Any], uid: str, attributes: JsonObject, access: Access, actor: str
) -> int | None:
    """A new workitem's row; None where there is, or was, one of that UID. Raises psycopg.Error."""
    await connection.execute(b"SELECT pg_advisory_xact_lock_shared(%s)", (_NEW_AND_OLD,))
    cursor = await connection.execute(
        b"""INSERT INTO workitem (sop_instance_uid, state, attributes, label, worklist_label, priority, readiness,
                patient_id, patient_name, start_moment, start_day, study_uids, creator, created_by)
            SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s
            WHERE NOT EXISTS (SELECT 1 FROM workitem_gone WHERE sop_instance_uid = %s)
            ON CONFLICT (sop_instance_uid) DO NOTHING RETURNING id""",
        (uid, *_values(attributes), access.uploader, actor, uid),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


async def update_workitem_row(
    connection: AsyncConnection[Any],
    number: int,
    attributes: JsonObject,
    *,
    key: str | None = None,
    performer: str = "",
) -> None:
    """The row after a change; `key`: the Transaction UID from now on, with who performs it. Raises psycopg.Error."""
    await connection.execute(
        b"""UPDATE workitem SET state = %s, attributes = %s, label = %s, worklist_label = %s, priority = %s,
                readiness = %s, patient_id = %s, patient_name = %s, start_moment = %s, start_day = %s, study_uids = %s,
                changed_at = now(), transaction_uid = coalesce(%s, transaction_uid),
                performer = CASE WHEN %s = '' THEN performer ELSE %s END,
                ended_at = CASE WHEN %s THEN coalesce(ended_at, now()) END
            WHERE id = %s""",
        (
            *_values(attributes),
            key,
            performer,
            performer,
            text_of(attributes, rules.STATE) in rules.FINAL_STATES,
            number,
        ),
    )


async def put_event(
    connection: AsyncConnection[Any], number: int | None, uid: str, event: Event, caused_by: str, *, aet: str = ""
) -> None:
    """Keep an event, and that every subscriber of the workitem, or only `aet`, is to be told. Raises psycopg.Error."""
    cursor = await connection.execute(
        b"""INSERT INTO workitem_event (workitem, sop_instance_uid, event_type, information, caused_by)
            VALUES (%s, %s, %s, %s, %s) RETURNING id""",
        (number, uid, event.event_type, Jsonb(event.information), caused_by),
    )
    row = await cursor.fetchone()
    assert row is not None
    if aet:
        await connection.execute(b"INSERT INTO workitem_notice (event, aet) VALUES (%s, %s)", (row[0], aet))
        return
    await connection.execute(
        b"""INSERT INTO workitem_notice (event, aet)
            SELECT %s, aet FROM workitem_subscription WHERE workitem = %s""",
        (row[0], number),
    )


async def begin_to_watch(connection: AsyncConnection[Any]) -> None:
    """No workitem is made until the end of this transaction. Raises psycopg.Error."""
    await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", (_NEW_AND_OLD,))


async def is_subscribed_by_somebody(connection: AsyncConnection[Any], number: int) -> bool:
    """Whether anybody would be told of an event. Raises psycopg.Error."""
    cursor = await connection.execute(b"SELECT 1 FROM workitem_subscription WHERE workitem = %s LIMIT 1", (number,))
    return await cursor.fetchone() is not None


def _values(model: JsonObject) -> tuple[Any, ...]:
    """The columns that are taken out of a data set."""
    start = text_of(model, rules.START)
    return (
        text_of(model, rules.STATE),
        Jsonb(model),
        text_of(model, rules.LABEL),
        text_of(model, rules.WORKLIST_LABEL),
        text_of(model, rules.PRIORITY),
        text_of(model, rules.READINESS),
        text_of(model, rules.PATIENT_ID),
        text_of(model, rules.PATIENT_NAME),
        start,
        (normalize_datetime(start) or "")[:8],
        rules.study_uids_of(model),
    )
