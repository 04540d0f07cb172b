"""Patients of the RIS for people: found by name, number or birth date; one with all that belongs to it.

Whoever may see only some studies (`core.access.RowScope`) sees the patients of those and of the orders that they may see.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import DatabaseError, NotFoundError, told
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.conditions import Condition
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.order_visibility import order_is_visible

PATIENTS_MAX: Final = 200
"""On one page."""
PARTS_MAX: Final = 500
"""Visits, orders or merges that are shown of one patient, the latest first."""
WORDS_MAX: Final = 8
QUERY_CHARS_MAX: Final = 200
_DATE: Final = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
_GERMAN_DATE: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """A patient in a list. `patient_id` is the first identifier; `others` are all further ones, retired ones too."""

    id: int
    patient_id: str
    authority: str
    patient_name: str
    birth_date: str
    sex: str
    others: list[str]
    orders: int
    studies: int
    merged: int


@dataclass(frozen=True, slots=True)
class PatientIdentifier:
    """An identifier of a patient. `home`: the record it was given to, where a merge brought it."""

    authority: str
    value: str
    kind: str
    home: int
    is_first: bool
    retired: bool


@dataclass(frozen=True, slots=True)
class PatientVisit:
    """A visit. Times are DT of the hospital's clock."""

    id: int
    number: str
    authority: str
    state: str
    patient_class: str
    location: str
    institution: str
    attending: str
    referring: str
    admitted_at: str
    discharged_at: str


@dataclass(frozen=True, slots=True)
class PatientOrder:
    """An order in short."""

    id: int
    accession_number: str
    placer_number: str
    what: str
    state: str
    study_instance_uid: str
    ordered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class PatientMerge:
    """A merge that the patient was in. `revoked_at` None: in force, and `merges.unmerge` takes it back."""

    id: int
    survivor: int
    retired: int
    retired_name: str
    retired_id: str
    visits: int
    orders: int
    studies: int
    message: int | None
    merged_at: dt.datetime
    merged_by: str
    revoked_at: dt.datetime | None
    revoked_by: str | None
    reason: str = ""
    revoke_reason: str = ""


@dataclass(frozen=True, slots=True)
class PatientLink:
    """Another record of the same person (A24)."""

    other: int
    patient_name: str
    linked_at: dt.datetime
    linked_by: str


@dataclass(frozen=True, slots=True)
class PatientDetail:
    """A patient with all that belongs to it. `merged_into` None: it stands for itself."""

    id: int
    patient_name: str
    birth_date: str
    sex: str
    other_names: Sequence[str]
    details: Mapping[str, str]
    merged_into: int | None
    version: int
    created_at: dt.datetime
    changed_at: dt.datetime
    changed_by: str
    identifiers: tuple[PatientIdentifier, ...] = ()
    visits: tuple[PatientVisit, ...] = ()
    orders: tuple[PatientOrder, ...] = ()
    merges: tuple[PatientMerge, ...] = ()
    links: tuple[PatientLink, ...] = ()
    study_uids: tuple[str, ...] = field(default=())
    """Studies that show the first identifier with its authority, or without an issuer; the newest first."""


async def search_patients(
    archive: Archive, text: str = "", *, limit: int = 50, after: int | None = None
) -> list[FoundPatient]:
    """Patients that stand for themselves, by name; every word of `text` is part of a name, begins a number or is a birth date.

    A retired number finds the survivor. `after`: the last patient of the page before. Raises NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    conditions = [Condition("p.merged_into IS NULL"), patient_is_visible(access)]
    conditions += [_word(word) for word in text[:QUERY_CHARS_MAX].split()[:WORDS_MAX]]
    if after is not None:
        place = "(coalesce(p.patient_name_key, ''), p.id)"
        last = "(SELECT coalesce(patient_name_key, ''), id FROM registered_patient WHERE id = %s)"
        conditions.append(Condition(f"{place} > {last}", (after,)))
    where = Condition.all_of([each for each in conditions if each.text])
    statement = f"""{_FOUND} WHERE {where.text} ORDER BY coalesce(p.patient_name_key, ''), p.id LIMIT %s"""
    limit = max(1, min(limit, PATIENTS_MAX))
    try:
        async with archive.pool.connection() as connection:
            return await _rows(connection, FoundPatient, statement, (*where.parameters, limit))
    except psycopg.Error as error:
        raise _failure(error) from error


async def get_patient(archive: Archive, number: int) -> PatientDetail:
    """A patient with identifiers, visits, orders, merges, links and studies. A merged one can be looked at too.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await require_visible(connection, access, number)
            return await _detail(connection, access, number)
    except psycopg.Error as error:
        raise _failure(error) from error


def patient_is_visible(access: Access, patient: str = "p") -> Condition:
    """The condition on the row of registered_patient that is called `patient`; empty: no restriction."""
    if access.rows.is_everything:
        return Condition()
    study, order = study_is_visible(visibility_of(access)), order_is_visible(access)
    return Condition(
        f"""(EXISTS (SELECT 1 FROM patient_identifier v JOIN study s ON s.patient_id = v.value
                AND coalesce(s.issuer_of_patient_id, '') IN ('', v.authority)
                WHERE v.patient = {patient}.id AND {study.text})
            OR EXISTS (SELECT 1 FROM imaging_order o WHERE o.patient = {patient}.id AND {order.text}))""",
        (*study.parameters, *order.parameters),
    )


async def require_visible(connection: AsyncConnection[Any], access: Access, *numbers: int) -> None:
    """Raises NotFoundError for a patient that is not there or may not be seen."""
    visible = patient_is_visible(access)
    for number in numbers:
        cursor = await connection.execute(
            f"SELECT 1 FROM registered_patient p WHERE p.id = %s AND {visible.text or 'true'}".encode(),
            (number, *visible.parameters),
        )
        if await cursor.fetchone() is None:
            raise NotFoundError(told("There is no patient number {number}.", number=number))


# --- statements ---

_FOUND: Final = """
SELECT p.id, coalesce(i.value, '') AS patient_id, coalesce(i.authority, '') AS authority, p.patient_name, p.birth_date, p.sex,
    ARRAY(SELECT x.value FROM patient_identifier x WHERE x.patient = p.id AND NOT x.is_first ORDER BY x.id LIMIT 20) AS others,
    (SELECT count(*) FROM imaging_order o WHERE o.patient = p.id) AS orders,
    (SELECT count(*) FROM study s WHERE s.patient_id = i.value AND coalesce(s.issuer_of_patient_id, '') IN ('', i.authority))
        AS studies,
    (SELECT count(*) FROM patient_merge m WHERE m.survivor = p.id AND m.revoked_at IS NULL) AS merged
FROM registered_patient p LEFT JOIN patient_identifier i ON i.patient = p.id AND i.is_first"""
_PATIENT: Final = """
SELECT id, patient_name, birth_date, sex, other_names, details, merged_into, version, created_at, changed_at, changed_by
FROM registered_patient WHERE id = %s"""
_IDENTIFIERS: Final = """
SELECT authority, value, kind, home, is_first, retired FROM patient_identifier WHERE patient = %s ORDER BY is_first DESC, id
LIMIT %s"""
_VISITS: Final = """
SELECT id, number, authority, state, patient_class, location, institution, attending, referring, admitted_at, discharged_at
FROM visit WHERE patient = %s ORDER BY id DESC LIMIT %s"""
_ORDERS: Final = """
SELECT o.id, o.accession_number, o.placer_number, coalesce(nullif(o.procedure_meaning, ''), o.procedure_code) AS what, o.state,
    o.study_instance_uid, o.ordered_at FROM imaging_order o WHERE o.patient = %s{visible} ORDER BY o.id DESC LIMIT %s"""
_MERGES: Final = """
SELECT m.id, m.survivor, m.retired, p.patient_name AS retired_name,
    coalesce((SELECT value FROM patient_identifier WHERE id = m.first_identifier), '') AS retired_id,
    cardinality(m.visits) AS visits, cardinality(m.orders) AS orders,
    (SELECT count(DISTINCT c.study_instance_uid) FROM patient_correction c WHERE c.merge = m.id) AS studies,
    m.message, m.merged_at, m.merged_by, m.revoked_at, m.revoked_by, m.reason, m.revoke_reason
FROM patient_merge m JOIN registered_patient p ON p.id = m.retired
WHERE %s IN (m.survivor, m.retired) ORDER BY m.id DESC LIMIT %s"""
_LINKS: Final = """
SELECT p.id AS other, p.patient_name, l.linked_at, l.linked_by FROM patient_link l
JOIN registered_patient p ON p.id = CASE WHEN l.one = %s THEN l.other ELSE l.one END
WHERE %s IN (l.one, l.other) ORDER BY l.linked_at LIMIT %s"""
_STUDIES: Final = """
SELECT DISTINCT s.study_instance_uid, s.study_date FROM study s JOIN patient_identifier v ON s.patient_id = v.value
    AND coalesce(s.issuer_of_patient_id, '') IN ('', v.authority) AND v.kind = ANY(%s)
WHERE v.patient = %s{visible} ORDER BY s.study_date DESC NULLS LAST, s.study_instance_uid LIMIT %s"""


async def _detail(connection: AsyncConnection[Any], access: Access, number: int) -> PatientDetail:
    [patient] = await _rows(connection, PatientDetail, _PATIENT, (number,))
    order, study = order_is_visible(access), study_is_visible(visibility_of(access))
    orders = _ORDERS.format(visible=f" AND {order.text}" if order.text else "")
    studies = _STUDIES.format(visible=f" AND {study.text}" if study.text else "")
    cursor = await connection.execute(studies.encode(), (list(RECORD_KINDS), number, *study.parameters, PARTS_MAX))
    uids = tuple(row[0] for row in await cursor.fetchall())
    known = {name: getattr(patient, name) for name in PatientDetail.__dataclass_fields__}
    return PatientDetail(
        **known
        | {
            "identifiers": tuple(await _rows(connection, PatientIdentifier, _IDENTIFIERS, (number, PARTS_MAX))),
            "visits": tuple(await _rows(connection, PatientVisit, _VISITS, (number, PARTS_MAX))),
            "orders": tuple(await _rows(connection, PatientOrder, orders, (number, *order.parameters, PARTS_MAX))),
            "merges": tuple(await _rows(connection, PatientMerge, _MERGES, (number, PARTS_MAX))),
            "links": tuple(await _rows(connection, PatientLink, _LINKS, (number, number, PARTS_MAX))),
            "study_uids": uids,
        }
    )


def _word(word: str) -> Condition:
    """A word of the question: a part of a name, the beginning of a number, or a birth date."""
    number = "EXISTS (SELECT 1 FROM patient_identifier n WHERE n.patient = p.id AND n.value LIKE %s)"
    date = _date(word)
    if date:
        return Condition(f"(p.birth_date = %s OR {number})", (date, f"{_escaped(word)}%"))
    name = normalize_name(word).split("=")[0]
    if not name:
        return Condition(number, (f"{_escaped(word)}%",))
    return Condition(f"(p.patient_name_key LIKE %s OR {number})", (f"%{_escaped(name)}%", f"{_escaped(word)}%"))


def _date(word: str) -> str:
    german = _GERMAN_DATE.fullmatch(word)
    if german:
        return f"{german[3]}{int(german[2]):02d}{int(german[1]):02d}"
    written = _DATE.fullmatch(word)
    if written and 1850 <= int(written[1]) <= 2200 and 1 <= int(written[2]) <= 12:
        return "".join(written.groups()) if "-" in word or len(word) == 8 else ""
    return ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def _rows(
    connection: AsyncConnection[Any], kind: type[Row], statement: str, parameters: Sequence[object]
) -> list[Row]:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement.encode(), tuple(parameters))
        return await cursor.fetchall()


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database could not tell about the patient: {type(error).__name__}. Try again later.")
