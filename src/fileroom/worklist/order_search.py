"""Reading orders: one with all that belongs to it, lists of orders, the scheduled steps of a day, facts for rules.

Everything that reads for somebody keeps to their row scope (`order_visibility`): what they may not see is not there.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.dicom.normal_forms import normalize_date, normalize_name
from fileroom.index.conditions import Condition
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_rows import COLUMNS, Order, order_of, sentence_of_json
from fileroom.worklist.order_visibility import order_is_visible

LIST_MAX: Final = 500
"""Rows of one page of a list."""
HISTORY_MAX: Final = 200
"""Changes of one order that are shown, the latest."""
TEXT_CHARS_MAX: Final = 200
STUDIES_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders. `text`: begins an order's number, a Patient ID or a name; `states` none: all."""

    text: str = ""
    states: tuple[OrderState, ...] = ()
    patient: int | None = None
    patient_id: str = ""
    study_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class StepFilter:
    """Which scheduled steps. Days are DA, both included, empty: open; `undated`: also those without a day."""

    from_day: str = ""
    to_day: str = ""
    modality: str = ""
    station: str = ""
    """An AE title, a station name or a room."""
    text: str = ""
    states: tuple[OrderState, ...] = ()
    undated: bool = False


@dataclass(frozen=True, slots=True)
class ListedStep:
    """A scheduled step in a list, with its order and patient."""

    id: int
    order: int
    step_id: str
    accession_number: str
    placer_number: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    start_date: str
    start_time: str
    minutes: int
    modality: str
    station_aets: list[str]
    station_name: str
    location: str
    what: str
    priority: str
    state: str
    order_state: str
    visit_location: str


@dataclass(frozen=True, slots=True)
class OrderChange:
    """What became of an order once. `message`: the row in the inbox that caused it; None: a person or a modality."""

    id: int
    message: int | None
    changed_by: str
    changed_at: dt.datetime
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderStudy:
    """A study that met an order, or has its Study Instance UID. `how` empty: nobody has matched it (yet)."""

    study_instance_uid: str
    how: str
    score: int
    matched_by: str
    study_date: str
    study_description: str
    modalities: list[str]


@dataclass(frozen=True, slots=True)
class OrderPatient:
    """Whose order it is."""

    id: int
    patient_name: str
    birth_date: str
    sex: str
    patient_id: str
    authority: str
    allergies: str


@dataclass(frozen=True, slots=True)
class OrderVisit:
    """Where the patient is."""

    number: str
    state: str
    patient_class: str
    location: str
    institution: str
    attending: str


@dataclass(frozen=True, slots=True)
class OrderDetail:
    """An order with all that belongs to it."""

    order: Order
    patient: OrderPatient | None
    visit: OrderVisit | None
    studies: tuple[OrderStudy, ...]
    history: tuple[OrderChange, ...]


async def get_order(archive: Archive, number: int) -> Order:
    """The order with this row's number. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    found = await _orders(archive, Condition("o.id = %s", (number,)), 1, None)
    if not found:
        raise NotFoundError(told("There is no such order."))
    return found[0]


async def search_orders(
    archive: Archive, wanted: OrderFilter, *, limit: int = 100, before: int | None = None
) -> list[Order]:
    """Orders, the newest first; `before`: only rows below this number. Raises NotAllowedError, DatabaseError."""
    require(Permission.ORDER_READ)
    conditions = []
    if wanted.text.strip():
        conditions.append(_order_text(wanted.text))
    if wanted.states:
        conditions.append(Condition("o.state = ANY(%s)", ([state.value for state in wanted.states],)))
    if wanted.patient is not None:
        conditions.append(Condition("o.patient = %s", (wanted.patient,)))
    if wanted.patient_id:
        conditions.append(
            Condition("o.patient IN (SELECT patient FROM patient_identifier WHERE value = %s)", (wanted.patient_id,))
        )
    if wanted.study_instance_uid:
        conditions.append(Condition("o.study_instance_uid = %s", (wanted.study_instance_uid,)))
    return await _orders(archive, Condition.all_of(conditions), limit, before)


async def search_steps(
    archive: Archive, wanted: StepFilter, *, limit: int = 200, after: int | None = None
) -> list[ListedStep]:
    """Scheduled steps in the order of their start; `after`: behind the step of this row.

    Raises InvalidRequestError (a day that is none), NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    conditions = [_days(wanted), order_is_visible(access)]
    if wanted.modality:
        conditions.append(Condition("st.modality = %s", (wanted.modality.strip().upper(),)))
    if wanted.station:
        station = wanted.station.strip()
        conditions.append(
            Condition(
                "(%s = ANY(st.station_aets) OR st.station_name = %s OR st.location = %s)", (station, station, station)
            )
        )
    if wanted.states:
        conditions.append(Condition("st.state = ANY(%s)", ([state.value for state in wanted.states],)))
    if wanted.text.strip():
        conditions.append(_step_text(wanted.text))
    if after is not None:
        conditions.append(
            Condition(
                "(st.start_date, st.start_time, st.id) > (SELECT a.start_date, a.start_time, a.id FROM scheduled_step a "
                "WHERE a.id = %s)",
                (after,),
            )
        )
    condition = Condition.all_of(one for one in conditions if one.text)
    where = f"WHERE {condition.text}" if condition.text else ""
    try:
        async with (
            archive.pool.connection() as connection,
            connection.cursor(row_factory=class_row(ListedStep)) as cursor,
        ):
            await cursor.execute(
                f"{_STEPS} {where} ORDER BY st.start_date, st.start_time, st.id LIMIT %s".encode(),
                (*condition.parameters, min(limit, LIST_MAX)),
            )
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise _unreadable(error) from error


async def worklist_choices(archive: Archive) -> tuple[list[str], list[str]]:
    """Modalities and stations of open steps, for the filter of a list. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.ORDER_READ)
    condition = order_is_visible(access)
    where = f"AND {condition.text}" if condition.text else ""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                f"""SELECT DISTINCT st.modality, coalesce(s.station, '') FROM scheduled_step st
                    JOIN imaging_order o ON o.id = st.imaging_order
                    LEFT JOIN LATERAL unnest(st.station_aets) AS s(station) ON true
                    WHERE st.state IN ('scheduled', 'arrived', 'in_progress') {where} LIMIT {LIST_MAX}""".encode(),
                condition.parameters,
            )
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise _unreadable(error) from error
    return sorted({one for one, _ in rows if one}), sorted({one for _, one in rows if one})


async def show_order(archive: Archive, number: int) -> OrderDetail:
    """An order with patient, visit, studies and history. Raises NotFoundError, NotAllowedError, DatabaseError."""
    order = await get_order(archive, number)
    try:
        async with archive.pool.connection() as connection:
            patient = await _one(connection, OrderPatient, _PATIENT, (order.patient,)) if order.patient else None
            visit = await _one(connection, OrderVisit, _VISIT, (order.visit,)) if order.visit else None
            studies = await _studies(connection, order)
    except psycopg.Error as error:
        raise _unreadable(error) from error
    return OrderDetail(order, patient, visit, tuple(studies), tuple(await read_history(archive, number)))


async def read_history(archive: Archive, number: int) -> list[OrderChange]:
    """What became of an order, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await get_order(archive, number)
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"""SELECT id, message, changed_by, changed_at, sentences FROM order_change WHERE imaging_order = %s
                    ORDER BY id DESC LIMIT %s""",
                (number, HISTORY_MAX),
            )
            return [
                OrderChange(row[0], row[1], row[2], row[3], tuple(sentence_of_json(one) for one in row[4]))
                for row in await cursor.fetchall()
            ]
    except psycopg.Error as error:
        raise _unreadable(error) from error


async def facts_of_study(connection: AsyncConnection[Any], study_uid: str) -> dict[str, str]:
    """What a rule may ask about the order of a study, by the names of `order.` fields; empty: no order is known.

    The order that the study has met; else one with its Study Instance UID; else the only one with its accession number, if
    their Patient IDs do not differ. For services that have asked. Raises psycopg.Error.
    """
    async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        await cursor.execute(_FACTS, {"study": study_uid})
        row = await cursor.fetchone()
    return {} if row is None else {name: str(value or "") for name, value in row.items()}


# --- statements ---

_STEPS: Final = """SELECT st.id, o.id AS "order", st.step_id, o.accession_number, o.placer_number,
    coalesce(i.value, '') AS patient_id, coalesce(p.patient_name, '') AS patient_name,
    coalesce(p.birth_date, '') AS birth_date, coalesce(p.sex, '') AS sex, st.start_date, st.start_time, st.minutes,
    st.modality, st.station_aets, st.station_name, st.location,
    coalesce(nullif(st.description, ''), nullif(o.procedure_meaning, ''), o.procedure_code) AS what,
    o.priority, st.state, o.state AS order_state, coalesce(v.location, '') AS visit_location
    FROM scheduled_step st JOIN imaging_order o ON o.id = st.imaging_order
    LEFT JOIN registered_patient p ON p.id = o.patient
    LEFT JOIN patient_identifier i ON i.patient = o.patient AND i.is_first
    LEFT JOIN visit v ON v.id = o.visit"""
_PATIENT: Final = """SELECT p.id, p.patient_name, p.birth_date, p.sex, coalesce(i.value, '') AS patient_id,
    coalesce(i.authority, '') AS authority, coalesce(p.details->>'Allergies', '') AS allergies
    FROM registered_patient p LEFT JOIN patient_identifier i ON i.patient = p.id AND i.is_first WHERE p.id = %s"""
_VISIT: Final = "SELECT number, state, patient_class, location, institution, attending FROM visit WHERE id = %s"
_FACTS: Final = b"""
WITH known AS (
    SELECT m.imaging_order AS id, 1 AS rank FROM study_match m
        WHERE m.study_instance_uid = %(study)s AND m.undone_at IS NULL
    UNION ALL SELECT o.id, 2 FROM imaging_order o WHERE o.study_instance_uid = %(study)s
    UNION ALL (SELECT min(o.id), 3 FROM study s JOIN imaging_order o ON o.accession_number = s.accession_number
        WHERE s.study_instance_uid = %(study)s AND s.accession_number <> '' AND o.accession_number <> ''
        AND (o.patient IS NULL OR coalesce(s.patient_id, '') = '' OR EXISTS (
            SELECT 1 FROM patient_identifier i WHERE i.patient = o.patient AND i.value = s.patient_id))
        HAVING count(*) = 1)
)
SELECT o.accession_number AS accession, coalesce(nullif(o.placer_number, ''), o.filler_number) AS number,
    o.state AS status, o.priority, st.modality, o.procedure_meaning AS procedure, o.procedure_code,
    coalesce(st.station_aets[1], nullif(st.station_name, '')) AS station, o.department,
    o.ordering_physician AS requester, o.reason, v.patient_class
FROM known k JOIN imaging_order o ON o.id = k.id
LEFT JOIN visit v ON v.id = o.visit
LEFT JOIN LATERAL (SELECT * FROM scheduled_step t WHERE t.imaging_order = o.id
    ORDER BY t.state = 'cancelled', t.start_date, t.id LIMIT 1) st ON true
ORDER BY k.rank, o.state = 'cancelled', o.id LIMIT 1"""


# --- helpers ---


async def _orders(archive: Archive, condition: Condition, limit: int, before: int | None) -> list[Order]:
    parts = [condition, order_is_visible(current_access())]
    if before is not None:
        parts.append(Condition("o.id < %s", (before,)))
    every = Condition.all_of(one for one in parts if one.text)
    where = f"WHERE {every.text}" if every.text else ""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                f"SELECT {COLUMNS} FROM imaging_order o {where} ORDER BY o.id DESC LIMIT %s".encode(),
                (*every.parameters, min(limit, LIST_MAX)),
            )
            return [order_of(row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _unreadable(error) from error


async def _one(connection: AsyncConnection[Any], kind: type[Any], statement: str, values: tuple[object, ...]) -> Any:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement.encode(), values)
        return await cursor.fetchone()


async def _studies(connection: AsyncConnection[Any], order: Order) -> list[OrderStudy]:
    """Those that the reader may see; none for who may not search studies."""
    access = current_access()
    if not access.allows(Permission.STUDY_SEARCH):
        return []
    seen = study_is_visible(visibility_of(access))
    where = f"AND {seen.text}" if seen.text else ""
    async with connection.cursor(row_factory=class_row(OrderStudy)) as cursor:
        await cursor.execute(
            f"""SELECT s.study_instance_uid, coalesce(m.how, '') AS how, coalesce(m.score, 0) AS score,
                coalesce(m.matched_by, '') AS matched_by, coalesce(s.study_date, '') AS study_date,
                coalesce(s.study_description, '') AS study_description, s.modalities
                FROM study s LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
                WHERE (m.imaging_order = %s OR (s.study_instance_uid = %s AND m.id IS NULL)) {where}
                ORDER BY s.id LIMIT {STUDIES_MAX}""".encode(),
            (order.id, order.study_instance_uid, *seen.parameters),
        )
        return await cursor.fetchall()


def _days(wanted: StepFilter) -> Condition:
    days = []
    for text, sign in ((wanted.from_day, ">="), (wanted.to_day, "<=")):
        if text:
            day = normalize_date(text.replace("-", ""))
            if day is None:
                raise InvalidRequestError(told("{day} is no day; write it as 2026-11-22.", day=repr(text[:20])))
            days.append(Condition(f"st.start_date {sign} %s", (day,)))
    if not days:
        return Condition()
    dated = Condition.all_of([*days, Condition("st.start_date <> ''")])
    if not wanted.undated:
        return dated
    return Condition.any_of(
        [dated, Condition("(st.start_date = '' AND st.state IN ('scheduled', 'arrived', 'in_progress'))")]
    )


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}%"


def _order_text(text: str) -> Condition:
    """What begins with it, each by an index of its own."""
    text = text.strip()[:TEXT_CHARS_MAX].replace("\0", "")
    number, name = _pattern(text), _pattern(normalize_name(text))
    return Condition(
        """o.id IN (
            SELECT id FROM imaging_order WHERE accession_number LIKE %s OR placer_number LIKE %s OR filler_number LIKE %s
            UNION ALL SELECT f.id FROM imaging_order f JOIN patient_identifier i ON i.patient = f.patient WHERE i.value LIKE %s
            UNION ALL SELECT f.id FROM imaging_order f JOIN registered_patient p ON p.id = f.patient
                WHERE p.patient_name_key LIKE %s)""",
        (number, number, number, number, name),
    )


def _step_text(text: str) -> Condition:
    text = text.strip()[:TEXT_CHARS_MAX].replace("\0", "")
    number, name = _pattern(text), _pattern(normalize_name(text))
    return Condition(
        "(o.accession_number LIKE %s OR o.placer_number LIKE %s OR o.filler_number LIKE %s OR st.step_id LIKE %s "
        "OR p.patient_name_key LIKE %s OR EXISTS (SELECT 1 FROM patient_identifier x WHERE x.patient = o.patient "
        "AND x.value LIKE %s))",
        (number, number, number, number, name, number),
    )


def _unreadable(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The orders cannot be read: {type(error).__name__}. Try again later.")
