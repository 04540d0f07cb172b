"""Modality performed procedure steps (PS3.4 F.7): kept as they are told, linked to their order, and moving its state.

A step of an order that is not known is kept all the same, and linked when the order comes (`link_late`). The order follows
its scheduled steps: begun with the first, over with the last. A step that was begun for the wrong entry of the worklist
(code 110514) gives its order back to the worklist. What is told is forwarded to the nodes that want it (`node_notices`).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.admin.audit import record
from fileroom.admin.audit_events import order_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.dicom.charset import clean
from fileroom.dicom.json_model import JsonObject
from fileroom.worklist.changes import Cause
from fileroom.worklist.facts import OrderState
from fileroom.worklist.node_notices import queue_notice
from fileroom.worklist.order_rows import Order, read_order, update_order
from fileroom.worklist.order_states import state_of_steps
from fileroom.worklist.orders import change_order_state, change_step_state
from fileroom.worklist.performed_rules import (
    ACCESSION,
    FINAL_TEXT,
    PATIENT_ID,
    SCHEDULED_ATTRIBUTES,
    STATES,
    STATUS,
    STEP_ID,
    STUDY_UID,
    FinalStateError,
    check_create,
    count_images,
    is_wrong_entry,
    items_of,
    merged,
    text_of,
)

LATE_MAX: Final = 200
REFERENCES_MAX: Final = 50
"""Scheduled steps that one performed step is for; a group case has a few."""


class DuplicateStepError(ConflictError):
    """There is a performed step with this SOP Instance UID already."""


@dataclass(frozen=True, slots=True)
class PerformedStep:
    """A performed step as it stands. `attributes` is the data set as DICOM JSON."""

    id: int
    sop_instance_uid: str
    state: str
    calling_aet: str
    imaging_order: int | None
    steps: Sequence[int]
    study_instance_uid: str
    accession_number: str
    patient_id: str
    attributes: JsonObject
    images: int


@dataclass(frozen=True, slots=True)
class Performed:
    """What has become of a performed step. `expected`: how many objects the study has by all of its performed steps; None
    while one of them is not over."""

    sop_instance_uid: str
    state: str
    study_uids: tuple[str, ...] = ()
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class _Reference:
    study: str
    step: str
    accession: str


async def create_performed_step(archive: Archive, uid: str, calling_aet: str, attributes: JsonObject) -> Performed:
    """A modality has begun (N-CREATE). `uid` empty: one is made.

    Raises DuplicateStepError, InvalidRequestError with the attributes that are wrong, NotAllowedError, DatabaseError.
    """
    require(Permission.STUDY_STORE)
    model = _plain(attributes)
    check_create(model)
    uid = uid or f"2.25.{uuid.uuid4().int}"
    references = _references(model)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                b"""INSERT INTO performed_step (sop_instance_uid, state, calling_aet, study_instance_uid, accession_number,
                        patient_id, attributes, images) VALUES (%s, 'in_progress', %s, %s, %s, %s, %s, %s)
                    ON CONFLICT (sop_instance_uid) DO NOTHING RETURNING id""",
                (
                    uid,
                    clean(calling_aet),
                    references[0].study,
                    next((one.accession for one in references if one.accession), ""),
                    text_of(model, PATIENT_ID),
                    Jsonb(model),
                    count_images(model),
                ),
            )
            row = await cursor.fetchone()
            if row is None:
                raise DuplicateStepError(told("There is a performed step {uid} already.", uid=uid))
            now = await _read(connection, uid, lock=False)
            await _link(connection, now, references)
            linked = await _read(connection, uid, lock=False)
            await _move(connection, linked)
            await _audit_if_unknown(connection, linked)
            await queue_notice(
                connection, "mpps_create", uid, model, study_uid=now.study_instance_uid, not_to=calling_aet
            )
    except psycopg.DataError as error:
        raise InvalidRequestError(told("A value cannot be kept: {why}", why=type(error).__name__)) from error
    except psycopg.Error as error:
        raise DatabaseError(f"The performed step cannot be written: {type(error).__name__}. Try again.") from error
    return Performed(uid, "in_progress", tuple(dict.fromkeys(one.study for one in references)))


async def update_performed_step(archive: Archive, uid: str, change: JsonObject) -> Performed:
    """A modality says more of a step (N-SET): series, and in the end how it came out.

    Raises NotFoundError, FinalStateError, InvalidRequestError with the attributes that are wrong, NotAllowedError,
    DatabaseError.
    """
    require(Permission.STUDY_STORE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            now = await _read(connection, uid, lock=True)
            if now.state != "in_progress":
                raise FinalStateError(FINAL_TEXT)
            change = _plain(change)
            model = merged(now.attributes, change)
            state = STATES[text_of(model, STATUS)]
            await connection.execute(
                b"""UPDATE performed_step SET attributes = %s, state = %s, images = %s,
                    ended_at = CASE WHEN %s <> 'in_progress' THEN now() END WHERE id = %s""",
                (Jsonb(model), state, count_images(model), state, now.id),
            )
            if now.imaging_order is None:
                await _link(connection, now, _references(model))
            linked = await _read(connection, uid, lock=False)
            await _move(connection, linked)
            await _audit_if_unknown(connection, linked)
            study = now.study_instance_uid
            await queue_notice(connection, "mpps_set", uid, change, study_uid=study, not_to=now.calling_aet)
            studies = tuple(dict.fromkeys(one.study for one in _references(model)))
            expected = await _expected(connection, studies)
    except psycopg.DataError as error:
        raise InvalidRequestError(told("A value cannot be kept: {why}", why=type(error).__name__)) from error
    except psycopg.Error as error:
        raise DatabaseError(f"The performed step cannot be written: {type(error).__name__}. Try again.") from error
    return Performed(uid, state, studies, expected)


async def get_performed_step(archive: Archive, uid: str) -> PerformedStep:
    """A performed step as it stands (N-GET). Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    async with archive.pool.connection() as connection:
        return await _read(connection, uid, lock=False)


async def link_late(connection: AsyncConnection[Any], orders: Sequence[int]) -> int:
    """Performed steps that came before their order are linked to it, and it goes on as they did; how many those were.

    In the caller's transaction; for services that have asked. Raises psycopg.Error.
    """
    cursor = await connection.execute(
        b"""SELECT p.sop_instance_uid FROM performed_step p WHERE p.imaging_order IS NULL AND EXISTS (
                SELECT 1 FROM imaging_order o WHERE o.id = ANY(%s) AND (o.study_instance_uid = p.study_instance_uid
                    OR (o.accession_number = p.accession_number AND p.accession_number <> '')))
            ORDER BY p.id LIMIT %s""",
        (list(orders), LATE_MAX),
    )
    found = [row[0] for row in await cursor.fetchall()]
    for uid in found:
        now = await _read(connection, uid, lock=True)
        await _link(connection, now, _references(now.attributes))
        await _move(connection, await _read(connection, uid, lock=False))
    return len(found)


# --- the order ---


async def _link(connection: AsyncConnection[Any], now: PerformedStep, references: Sequence[_Reference]) -> None:
    """Find the scheduled steps, or at least the order, that a performed step is for."""
    steps: list[int] = []
    order: int | None = None
    for one in references:
        found_order, found_step = await _scheduled(connection, one)
        order = order if order is not None else found_order
        steps += [found_step] if found_step is not None and found_step not in steps else []
    await connection.execute(
        b"UPDATE performed_step SET imaging_order = %s, scheduled_step = %s, steps = %s WHERE id = %s",
        (order, steps[0] if steps else None, steps, now.id),
    )


async def _scheduled(connection: AsyncConnection[Any], one: _Reference) -> tuple[int | None, int | None]:
    """The order and the step that a reference names: by study and step ID, by accession and step ID, or the only one that is
    left of the study's or the accession's order."""
    cursor = await connection.execute(
        b"""SELECT o.id, st.id FROM imaging_order o JOIN scheduled_step st ON st.imaging_order = o.id
            WHERE st.step_id = %(step)s AND %(step)s <> ''
                AND (o.study_instance_uid = %(study)s OR (o.accession_number = %(accession)s AND %(accession)s <> ''))
            ORDER BY o.study_instance_uid = %(study)s DESC, o.id DESC LIMIT 1""",
        {"step": one.step, "study": one.study, "accession": one.accession},
    )
    row = await cursor.fetchone()
    if row is not None:
        return row[0], row[1]
    cursor = await connection.execute(
        b"""SELECT o.id, array_agg(st.id) FILTER (WHERE st.state IN ('scheduled', 'arrived', 'in_progress'))
            FROM imaging_order o LEFT JOIN scheduled_step st ON st.imaging_order = o.id
            WHERE o.study_instance_uid = %(study)s OR (o.accession_number = %(accession)s AND %(accession)s <> '')
            GROUP BY o.id ORDER BY o.study_instance_uid = %(study)s DESC, o.id DESC LIMIT 2""",
        {"study": one.study, "accession": one.accession},
    )
    rows = await cursor.fetchall()
    if not rows:
        return None, None
    order, open_steps = rows[0]
    return order, open_steps[0] if len(rows) == 1 and open_steps is not None and len(open_steps) == 1 else None


async def _move(connection: AsyncConnection[Any], now: PerformedStep) -> None:
    """Let the order go on as its performed step did."""
    if now.imaging_order is None:
        return
    cause = Cause(f"MPPS of {now.calling_aet}")
    state = OrderState(now.state)
    if not now.steps:
        if not is_wrong_entry(now.attributes):
            await change_order_state(connection, now.imaging_order, state, cause)
        return
    cursor = await connection.execute(
        b"SELECT imaging_order, id FROM scheduled_step WHERE id = ANY(%s) ORDER BY imaging_order, id",
        (list(now.steps),),
    )
    for order, step in await cursor.fetchall():
        if is_wrong_entry(now.attributes):
            await _give_back(connection, order, step, now, cause)
        elif state is OrderState.IN_PROGRESS:
            await change_step_state(connection, order, step, state, cause)
        elif not await _others(connection, now, step, "in_progress"):
            something_done = await _others(connection, now, step, "completed")
            await change_step_state(connection, order, step, OrderState.COMPLETED if something_done else state, cause)


async def _give_back(
    connection: AsyncConnection[Any], number: int, step: int, now: PerformedStep, cause: Cause
) -> None:
    """The step was begun by mistake: it is on the worklist again, unless another performed step is for it."""
    if await _others(connection, now, step, "in_progress") or await _others(connection, now, step, "completed"):
        return
    order: Order | None = await read_order(connection, number, lock=True)
    if order is None or order.state is OrderState.CANCELLED:
        return
    steps = tuple(replace(one, state=OrderState.SCHEDULED) if one.id == step else one for one in order.steps)
    state = state_of_steps(tuple(one.state for one in steps)) or OrderState.SCHEDULED
    sentence = told("order {name}: begun by mistake, on the worklist again", name=order.name)
    changed = [one for one in steps if one.id == step]
    await update_order(connection, replace(order, steps=steps, state=state), changed, cause, [sentence])


async def _others(connection: AsyncConnection[Any], now: PerformedStep, step: int, state: str) -> bool:
    cursor = await connection.execute(
        b"SELECT 1 FROM performed_step WHERE imaging_order = %s AND %s = ANY(steps) AND state = %s AND id <> %s LIMIT 1",
        (now.imaging_order, step, state, now.id),
    )
    return await cursor.fetchone() is not None


async def _expected(connection: AsyncConnection[Any], studies: Sequence[str]) -> int | None:
    """The objects of a study by all of its performed steps. Of several studies nobody says which object is whose."""
    if len(studies) != 1:
        return None
    cursor = await connection.execute(
        b"""SELECT coalesce(sum(images), 0)::bigint, bool_or(state = 'in_progress') FROM performed_step
            WHERE study_instance_uid = %s""",
        (studies[0],),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None and not row[1] else None


async def _audit_if_unknown(connection: AsyncConnection[Any], now: PerformedStep) -> None:
    """What belongs to an order is in the audit trail with that order; what belongs to none would not be."""
    if now.imaging_order is None:
        what = f"Performed step {now.sop_instance_uid} of {now.calling_aet}, for no order that is known: {now.state}."
        patient = (now.patient_id, "")
        await record(connection, order_changed(now.study_instance_uid, now.accession_number, patient, what))


# --- rows ---


async def _read(connection: AsyncConnection[Any], uid: str, *, lock: bool) -> PerformedStep:
    cursor = await connection.execute(
        b"""SELECT id, sop_instance_uid, state, calling_aet, imaging_order, steps, study_instance_uid, accession_number,
            patient_id, attributes, images FROM performed_step WHERE sop_instance_uid = %s"""
        + (b" FOR UPDATE" if lock else b""),
        (uid,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no performed step {uid}.", uid=uid))
    return PerformedStep(*row)


def _references(model: JsonObject) -> list[_Reference]:
    items = items_of(model, SCHEDULED_ATTRIBUTES)
    if len(items) > REFERENCES_MAX:
        raise InvalidRequestError(told("At most {most} scheduled steps.", most=REFERENCES_MAX))
    return [_Reference(text_of(one, STUDY_UID), text_of(one, STEP_ID), text_of(one, ACCESSION)) for one in items]


def _plain(value: Any) -> Any:
    """DICOM JSON that the database can keep: no NUL in texts."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
