"""What a merge would move and what taking one back would give back, for people who have to decide; and what merged into what.

Nothing is written here. `merges` does what this tells, and does it again from the rows as they are then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.worklist.merges import require_own, retired_by_merge
from fileroom.worklist.patient_images import find_images
from fileroom.worklist.patient_rows import IdentifierRow, PatientRow, identifiers_of, lock_patients
from fileroom.worklist.patient_search import require_visible
from fileroom.worklist.patient_values import main_name

RECORDS_MAX: Final = 200
"""Records that have become one, in the picture."""


@dataclass(frozen=True, slots=True)
class MovedIdentifier:
    """An identifier that goes along. `retires`: images that show it show the survivor's first one from then on."""

    value: str
    authority: str
    kind: str
    retires: bool


@dataclass(frozen=True, slots=True)
class MergePreview:
    """What moves from the one that is retired to the survivor."""

    survivor: int
    retired: int
    survivor_version: int
    retired_version: int
    identifiers: tuple[MovedIdentifier, ...]
    visits: int
    orders: int
    studies: int
    instances: int
    left: int
    """Studies with the retired one's Patient ID, but another birth date or name: they stay as they are."""
    differences: tuple[str, ...]
    """In which of name, birth_date and sex the two differ, where both have one."""


@dataclass(frozen=True, slots=True)
class UnmergePreview:
    """What goes back from whoever has it now (`owner`) to the record that was retired."""

    merge: int
    owner: int
    owner_name: str
    retired: int
    retired_name: str
    identifiers: tuple[MovedIdentifier, ...]
    visits: int
    orders: int
    studies: int
    instances: int
    merged_at: dt.datetime
    merged_by: str


@dataclass(frozen=True, slots=True)
class MergedRecord:
    """A record in the picture of what has become one; `merge` None: the one that stands for itself."""

    id: int
    merged_into: int | None
    patient_name: str
    birth_date: str
    numbers: list[str]
    """Identifiers that were given to this record."""
    merge: int | None
    merged_at: dt.datetime | None
    merged_by: str
    message: int | None
    reason: str
    visits: int
    orders: int
    studies: int
    parts: list[MergedRecord] = field(default_factory=list)
    """Those that became part of this one."""


async def preview_merge(archive: Archive, survivor: int, retired: int) -> MergePreview:
    """What `merges.merge_patients` would move.

    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)
    if survivor == retired:
        raise InvalidRequestError(told("The patient cannot be merged with itself."))
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            await require_visible(connection, access, survivor, retired)
            rows = await lock_patients(connection, [survivor, retired])
            one, other = rows[survivor], rows[retired]
            require_own(one)
            require_own(other)
            moved = await identifiers_of(connection, retired)
            has_first = any(row.is_first for row in await identifiers_of(connection, survivor))
            gone = set(retired_by_merge(moved) if has_first else ())
            known = [one, other] if other.patient_name or other.birth_date else []
            matched, left = await find_images(connection, archive, moved, known)
            uids = [study.study_instance_uid for study, _ in matched]
            return MergePreview(
                survivor,
                retired,
                one.version,
                other.version,
                tuple(_moved(row, row.retired or row.id in gone) for row in moved),
                await _count(connection, "SELECT count(*) FROM visit WHERE patient = %s", retired),
                await _count(connection, "SELECT count(*) FROM imaging_order WHERE patient = %s", retired),
                len(set(uids)),
                await _instances(connection, uids),
                left,
                _differences(one, other),
            )
    except psycopg.Error as error:
        raise _failure(error) from error


async def preview_unmerge(archive: Archive, merge: int) -> UnmergePreview:
    """What `merges.unmerge` would give back. Raises NotFoundError, ConflictError, NotAllowedError, DatabaseError."""
    access = require(Permission.ORDER_MANAGE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            async with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
                await cursor.execute(_MERGE.encode(), (merge, merge))
                row = await cursor.fetchone()
            if row is None:
                raise NotFoundError(told("There is no merge number {number} in force.", number=merge))
            await require_visible(connection, access, row["owner"])
            identifiers = [
                each for each in await identifiers_of(connection, row["owner"]) if each.id in row["identifiers"]
            ]
            uids = await _studies_back(connection, archive, merge, row["owner"], identifiers)
            return UnmergePreview(
                merge,
                row["owner"],
                row["owner_name"],
                row["retired"],
                row["retired_name"],
                tuple(_moved(each, False) for each in identifiers),
                row["visits"],
                row["orders"],
                len(uids),
                await _instances(connection, uids),
                row["merged_at"],
                row["merged_by"],
            )
    except psycopg.Error as error:
        raise _failure(error) from error


async def merged_records(archive: Archive, number: int) -> MergedRecord:
    """All that has become one with a patient, from the record that stands for itself down.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    try:
        async with (
            archive.pool.connection() as connection,
            connection.transaction(),
            connection.cursor(row_factory=class_row(MergedRecord)) as cursor,
        ):
            await require_visible(connection, access, number)
            await cursor.execute(_RECORDS.encode(), (number, RECORDS_MAX))
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise _failure(error) from error
    by_id = {row.id: row for row in rows}
    for row in rows[1:]:
        if row.merged_into in by_id:
            by_id[row.merged_into].parts.append(row)
    return rows[0]


# --- helpers ---

_TOP: Final = """WITH RECURSIVE up(id, into_one, step) AS (
    SELECT p.id, p.merged_into, 1 FROM registered_patient p WHERE p.id = {start}
    UNION ALL SELECT p.id, p.merged_into, up.step + 1 FROM up JOIN registered_patient p ON p.id = up.into_one
    WHERE up.step < 10000)"""
_MERGE: Final = (
    _TOP.format(start="(SELECT survivor FROM patient_merge WHERE id = %s AND revoked_at IS NULL)")
    + """, owner AS (SELECT id FROM up WHERE into_one IS NULL)
SELECT m.retired, m.identifiers, m.merged_at, m.merged_by, o.id AS owner, a.patient_name AS owner_name,
    r.patient_name AS retired_name,
    (SELECT count(*) FROM visit v WHERE v.id = ANY(m.visits) AND v.patient = o.id) AS visits,
    (SELECT count(*) FROM imaging_order i WHERE i.id = ANY(m.orders) AND i.patient = o.id) AS orders
FROM owner o JOIN registered_patient a ON a.id = o.id
JOIN patient_merge m ON m.survivor = (SELECT id FROM up WHERE step = 1) AND m.revoked_at IS NULL
JOIN registered_patient r ON r.id = m.retired WHERE m.id = %s"""
)
_RECORDS: Final = (
    _TOP.format(start="%s")
    + """, down(id, into_one, depth) AS (
    SELECT id, NULL::bigint, 0 FROM up WHERE into_one IS NULL
    UNION ALL SELECT p.id, p.merged_into, down.depth + 1 FROM down JOIN registered_patient p ON p.merged_into = down.id
    WHERE down.depth < 1000)
SELECT p.id, p.merged_into, p.patient_name, p.birth_date,
    ARRAY(SELECT i.value FROM patient_identifier i WHERE i.home = p.id ORDER BY i.id LIMIT 20) AS numbers,
    m.id AS merge, m.merged_at, coalesce(m.merged_by, '') AS merged_by, m.message, coalesce(m.reason, '') AS reason,
    coalesce(cardinality(m.visits), 0) AS visits, coalesce(cardinality(m.orders), 0) AS orders,
    (SELECT count(DISTINCT c.study_instance_uid) FROM patient_correction c WHERE c.merge = m.id) AS studies
FROM down JOIN registered_patient p ON p.id = down.id
LEFT JOIN LATERAL (SELECT * FROM patient_merge x WHERE x.retired = p.id AND x.revoked_at IS NULL
    ORDER BY x.id DESC LIMIT 1) m ON p.merged_into IS NOT NULL
ORDER BY down.depth, m.id NULLS FIRST LIMIT %s"""
)


def _moved(row: IdentifierRow, retires: bool) -> MovedIdentifier:
    return MovedIdentifier(row.value, row.authority, row.kind, retires)


def _differences(one: PatientRow, other: PatientRow) -> tuple[str, ...]:
    pairs = {
        "name": (main_name(one.patient_name), main_name(other.patient_name)),
        "birth_date": (one.birth_date, other.birth_date),
        "sex": (one.sex, other.sex),
    }
    return tuple(name for name, (first, second) in pairs.items() if first and second and first != second)


async def _studies_back(
    connection: AsyncConnection[Any],
    archive: Archive,
    merge: int,
    owner: int,
    identifiers: Sequence[IdentifierRow],
) -> list[str]:
    """Studies that the merge has moved, and those that show one of its identifiers still."""
    cursor = await connection.execute(
        b"""SELECT DISTINCT pc.study_instance_uid FROM patient_correction pc JOIN correction c ON c.id = pc.correction
            WHERE pc.merge = %s AND c.revoked_at IS NULL""",
        (merge,),
    )
    moved = {row[0] for row in await cursor.fetchall()}
    matched, _ = await find_images(connection, archive, [each for each in identifiers if each.patient == owner], ())
    return sorted(moved | {study.study_instance_uid for study, _ in matched})


async def _instances(connection: AsyncConnection[Any], uids: Sequence[str]) -> int:
    return await _count(
        connection,
        """SELECT coalesce(sum(r.instance_count), 0)::bigint FROM series r JOIN study s ON s.id = r.study
            WHERE s.study_instance_uid = ANY(%s)""",
        list(uids),
    )


async def _count(connection: AsyncConnection[Any], statement: str, value: object) -> int:
    cursor = await connection.execute(statement.encode(), (value,))
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database could not tell about the merge: {type(error).__name__}. Try again later.")
