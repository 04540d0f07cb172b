"""Rows of patients: found by identifiers and locked, made, changed. Rules of what to do with them are in `patients`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from fileroom.core.limits import SEARCHED_TEXT_CHARS_MAX
from fileroom.index.rows import name_keys
from fileroom.worklist.facts import Identifier
from fileroom.worklist.identifiers import RECORD_KINDS

_LOCK_CLASS: Final = 0x5041
"""The letters PA: the first half of the advisory locks of identifiers."""


@dataclass(frozen=True, slots=True)
class PatientRow:
    """A patient as it stands. `merged_into` None: it stands for itself."""

    id: int
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    other_names: list[str] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    merged_into: int | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class IdentifierRow:
    """An identifier: whose it is now, and which record it was given to."""

    id: int
    patient: int
    home: int
    authority: str
    value: str
    kind: str
    is_first: bool
    retired: bool = False

    @property
    def identifier(self) -> Identifier:
        """As facts have it."""
        return Identifier(self.value, self.authority, self.kind)


_COLUMNS: Final = "id, patient_name, birth_date, sex, other_names, details, merged_into, version"
_IDENTIFIER_COLUMNS: Final = "i.id, i.patient, i.home, i.authority, i.value, i.kind, i.is_first, i.retired"


async def lock_identifiers(connection: AsyncConnection[Any], identifiers: Sequence[Identifier]) -> None:
    """Let nobody else make these identifiers until the transaction ends."""
    names = sorted({f"{identifier.authority}|{identifier.value}" for identifier in identifiers})
    await connection.execute(
        b"""SELECT pg_advisory_xact_lock(%s, h) FROM (
                SELECT DISTINCT hashtext(n) AS h FROM unnest(%s::text[]) AS n ORDER BY 1) AS hashes""",
        (_LOCK_CLASS, names),
    )


async def read_identifiers(
    connection: AsyncConnection[Any], identifiers: Sequence[Identifier]
) -> dict[Identifier, IdentifierRow]:
    """Those that are known. One of a medical record is known by any kind of medical records."""
    async with connection.cursor(row_factory=class_row(IdentifierRow)) as cursor:
        await cursor.execute(
            f"""SELECT {_IDENTIFIER_COLUMNS} FROM patient_identifier i
                JOIN unnest(%s::text[], %s::text[]) AS g(authority, value)
                ON g.authority = i.authority AND g.value = i.value ORDER BY i.id""".encode(),
            ([each.authority for each in identifiers], [each.value for each in identifiers]),
        )
        rows = await cursor.fetchall()
    found: dict[Identifier, IdentifierRow] = {}
    for identifier in identifiers:
        for row in rows:
            if (row.authority, row.value) == (identifier.authority, identifier.value) and _is_same_kind(
                row.kind, identifier.kind
            ):
                found.setdefault(identifier, row)
    return found


def _is_same_kind(one: str, other: str) -> bool:
    return one == other or (one in RECORD_KINDS and other in RECORD_KINDS)


async def identifiers_of(connection: AsyncConnection[Any], patient: int) -> list[IdentifierRow]:
    """All identifiers of a patient, the first one first, then in the order in which they came."""
    async with connection.cursor(row_factory=class_row(IdentifierRow)) as cursor:
        await cursor.execute(
            f"""SELECT {_IDENTIFIER_COLUMNS} FROM patient_identifier i WHERE patient = %s
                ORDER BY is_first DESC, id""".encode(),
            (patient,),
        )
        return await cursor.fetchall()


async def lock_patients(connection: AsyncConnection[Any], patients: Sequence[int]) -> dict[int, PatientRow]:
    """The rows by id, locked against other changes until the transaction ends, in the order of their ids."""
    async with connection.cursor(row_factory=class_row(PatientRow)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM registered_patient WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE".encode(),
            (sorted(set(patients)),),
        )
        return {row.id: row for row in await cursor.fetchall()}


async def read_patients(connection: AsyncConnection[Any], patients: Sequence[int]) -> dict[int, PatientRow]:
    """The rows by id, unlocked."""
    async with connection.cursor(row_factory=class_row(PatientRow)) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} FROM registered_patient WHERE id = ANY(%s)".encode(), (list(patients),)
        )
        return {row.id: row for row in await cursor.fetchall()}


async def insert_patient(connection: AsyncConnection[Any], row: PatientRow, who: str) -> int:
    """Make a patient of everything in `row` but its id; the id."""
    cursor = await connection.execute(
        b"""INSERT INTO registered_patient (patient_name, patient_name_key, patient_name_other_keys, birth_date, sex,
                other_names, details, changed_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (*_values(row), who),
    )
    made = await cursor.fetchone()
    return int(made[0]) if made else 0


async def update_patient(connection: AsyncConnection[Any], row: PatientRow, who: str) -> None:
    """Let the patient be as `row` says."""
    await connection.execute(
        b"""UPDATE registered_patient SET (patient_name, patient_name_key, patient_name_other_keys, birth_date, sex,
                other_names, details, changed_by, changed_at, version) = (%s, %s, %s, %s, %s, %s, %s, %s, now(), version + 1)
            WHERE id = %s""",
        (*_values(row), who, row.id),
    )


async def insert_identifiers(
    connection: AsyncConnection[Any],
    patient: int,
    identifiers: Sequence[Identifier],
    *,
    first: Identifier | None = None,
) -> None:
    """Give a patient identifiers that nobody has (`lock_identifiers`); `first` is the one for images."""
    await connection.execute(
        b"""INSERT INTO patient_identifier (patient, home, authority, value, kind, is_first)
            SELECT %s, %s, g.authority, g.value, g.kind, g.is_first
            FROM unnest(%s::text[], %s::text[], %s::text[], %s::boolean[]) AS g(authority, value, kind, is_first)""",
        (
            patient,
            patient,
            [each.authority for each in identifiers],
            [each.value for each in identifiers],
            [each.kind for each in identifiers],
            [each == first for each in identifiers],
        ),
    )


def _values(row: PatientRow) -> tuple[object, ...]:
    key, others = name_keys(row.patient_name) if row.patient_name else (None, None)
    return (
        row.patient_name,
        key[:SEARCHED_TEXT_CHARS_MAX] if key else None,
        others,
        row.birth_date,
        row.sex,
        row.other_names,
        Jsonb(row.details),
    )
