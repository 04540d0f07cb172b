"""What studies show of their patients, read and written for many studies at once, without a look at any header.

For services that know the new values (a merge of patients) and have written the corrections that say the same. Corrections of
a series or an instance are not understood here: `PatientStudy.is_plain` is False, and `index.refresh` must do it from headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from fileroom.core.limits import SEARCHED_TEXT_CHARS_MAX, TEXT_CHARS_MAX
from fileroom.dicom.query import Level
from fileroom.index.attributes import BY_KEYWORD, columns_at
from fileroom.index.rows import name_keys, patient_identity

NAME: Final = BY_KEYWORD["PatientName"].tag
PATIENT_ID: Final = BY_KEYWORD["PatientID"].tag
ISSUER: Final = BY_KEYWORD["IssuerOfPatientID"].tag
BIRTH_DATE: Final = BY_KEYWORD["PatientBirthDate"].tag
SEX: Final = BY_KEYWORD["PatientSex"].tag
PATIENT_TAGS: Final = (NAME, PATIENT_ID, ISSUER, BIRTH_DATE, SEX)

Columns = dict[str, str | None]

_NAME_COLUMNS: Final = ("patient_name", "patient_name_key", "patient_name_other_keys")
COLUMNS_OF: Final[Mapping[int, tuple[str, ...]]] = {
    NAME: _NAME_COLUMNS,
    PATIENT_ID: ("patient_id",),
    ISSUER: ("issuer_of_patient_id",),
    BIRTH_DATE: ("patient_birth_date",),
    SEX: ("patient_sex",),
}
_WRITTEN: Final = tuple(name for names in COLUMNS_OF.values() for name in names)


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """A study and what it shows of its patient; `corrected` are tags that a correction of the study is in force for."""

    row_id: int
    study_instance_uid: str
    columns: Columns
    corrected: list[int]
    is_plain: bool

    def text(self, tag: int) -> str:
        """What it shows, empty for nothing."""
        return self.columns[COLUMNS_OF[tag][0]] or ""

    def columns_of(self, tag: int) -> Columns:
        """The columns of one attribute."""
        return {name: self.columns[name] for name in COLUMNS_OF[tag]}


_STUDIES: Final = f"""
SELECT s.id AS row_id, s.study_instance_uid,
    jsonb_build_object({", ".join(f"'{name}', s.{name}" for name in _WRITTEN)}) AS columns,
    coalesce(c.tags, '{{{{}}}}') AS corrected, coalesce(c.is_plain, true) AS is_plain
FROM study s LEFT JOIN LATERAL (
    SELECT array_agg(DISTINCT k.path[1]) AS tags, bool_and(k.series_instance_uid IS NULL) AS is_plain FROM correction k
    WHERE k.study_instance_uid = s.study_instance_uid AND k.revoked_at IS NULL AND k.path[1] = ANY(%(tags)s)
) c ON true WHERE {{condition}} ORDER BY s.study_instance_uid"""


async def studies_of_patient_ids(
    connection: AsyncConnection[Any], patient_ids: Sequence[str], limit: int
) -> list[PatientStudy]:
    """The studies that show one of the Patient IDs, of whatever issuer, by their UIDs; at most `limit`."""
    text = _STUDIES.format(condition="s.patient_id = ANY(%(values)s)")
    return await _read(connection, f"{text} LIMIT %(limit)s", {"values": list(patient_ids), "limit": limit})


async def studies_by_uid(connection: AsyncConnection[Any], uids: Sequence[str]) -> list[PatientStudy]:
    """The studies of these UIDs that are here, by their UIDs."""
    text = _STUDIES.format(condition="s.study_instance_uid = ANY(%(values)s)")
    return await _read(connection, text, {"values": list(uids)})


async def lock_studies(connection: AsyncConnection[Any], uids: Iterable[str]) -> None:
    """Lock studies and their series in the order of UIDs, series first, until the transaction ends."""
    await connection.execute(b"SELECT lock_studies(%s::text[])", (sorted(set(uids)),))


def columns_for(tag: int, value: str) -> Columns:
    """The columns of one attribute as they are when an object with that value arrives (`index.rows`)."""
    if tag != NAME:
        chars_max = TEXT_CHARS_MAX if tag in (ISSUER, SEX) else SEARCHED_TEXT_CHARS_MAX
        return {COLUMNS_OF[tag][0]: value[:chars_max] or None}
    key, others = name_keys(value) if value else (None, None)
    return dict(zip(_NAME_COLUMNS, (value or None, key and key[:SEARCHED_TEXT_CHARS_MAX], others), strict=True))


async def write_patient_columns(connection: AsyncConnection[Any], changed: Sequence[PatientStudy]) -> None:
    """Let locked studies show these columns and belong to the patients that they name; their documents are outdated.

    A patient without studies goes; others follow the first of their studies.
    """
    if not changed:
        return
    ids = [study.row_id for study in changed]
    given = Jsonb([_given(study) for study in changed])
    cursor = await connection.execute(b"SELECT DISTINCT patient FROM study WHERE id = ANY(%s)", (ids,))
    patients = {row[0] for row in await cursor.fetchall()}
    await connection.execute(
        b"""INSERT INTO patient (identity) SELECT DISTINCT g.identity FROM jsonb_to_recordset(%s) AS g(identity text)
            ORDER BY g.identity ON CONFLICT (identity) DO NOTHING""",
        (given,),
    )
    cursor = await connection.execute(_UPDATE.encode(), (given,))
    patients |= {row[0] for row in await cursor.fetchall()}
    await connection.execute(
        b"""DELETE FROM patient WHERE id IN (SELECT p.id FROM patient p WHERE p.id = ANY(%s)
            AND NOT EXISTS (SELECT 1 FROM study s WHERE s.patient = p.id) ORDER BY p.id FOR UPDATE SKIP LOCKED)""",
        (sorted(patients),),
    )
    await connection.execute(_FOLLOW.encode(), (sorted(patients),))
    await connection.execute(b"UPDATE series SET documented = false, changed_at = now() WHERE study = ANY(%s)", (ids,))


def _given(study: PatientStudy) -> dict[str, object]:
    identity = patient_identity(study.text(PATIENT_ID), study.text(ISSUER), study.study_instance_uid)
    return {"study": study.row_id, "identity": identity, **study.columns}


_UPDATE: Final = f"""
UPDATE study SET patient = p.id, {", ".join(f"{name} = g.{name}" for name in _WRITTEN)}
FROM jsonb_to_recordset(%s) AS g(study bigint, identity text, {", ".join(f"{name} text" for name in _WRITTEN)})
JOIN patient p ON p.identity = g.identity WHERE study.id = g.study RETURNING p.id"""
_FOLLOW: Final = f"""
UPDATE patient p SET {", ".join(f"{name} = s.{name}" for name, _ in columns_at(Level.PATIENT))} FROM study s
WHERE p.id = ANY(%s) AND s.id = (SELECT min(x.id) FROM study x WHERE x.patient = p.id)"""


async def _read(connection: AsyncConnection[Any], statement: str, parameters: dict[str, object]) -> list[PatientStudy]:
    async with connection.cursor(row_factory=class_row(PatientStudy)) as cursor:
        await cursor.execute(statement.encode(), parameters | {"tags": list(PATIENT_TAGS)})
        return await cursor.fetchall()
