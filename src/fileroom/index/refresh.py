"""Index columns made anew from headers, as if the objects had arrived with what their corrections say.

The rules are those of receiving (`index.write`): a study is described by its first series, later series fill in what it
lacks; a series is described by its first instance. A patient's row follows the first of its studies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.dicom.query import Level
from fileroom.index.attributes import columns_at
from fileroom.index.rows import Entry

_IDENTIFYING = frozenset({"study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid"})
"""Columns that no correction can change."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the corrected header of one instance says: its patient's identity, and columns by level."""

    identity: str
    columns: Entry


async def lock_study(connection: AsyncConnection[Any], study_uid: str) -> int | None:
    """Lock a study and its series against other changes until the transaction ends; its row, None if there is none.

    Series come before their study, as in receiving, so that neither waits for the other in a circle.
    """
    await connection.execute(
        b"""SELECT 1 FROM series e JOIN study s ON s.id = e.study WHERE s.study_instance_uid = %s
            ORDER BY e.series_instance_uid FOR NO KEY UPDATE OF e""",
        (study_uid,),
    )
    cursor = await connection.execute(
        b"SELECT id FROM study WHERE study_instance_uid = %s FOR NO KEY UPDATE", (study_uid,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else None


async def refresh_study(connection: AsyncConnection[Any], study: int, series: Sequence[tuple[int, Described]]) -> None:
    """Study, patient and series columns from the first instance of each series, in the order in which they came."""
    for row, described in series:
        await _update(connection, "series", columns_at(Level.SERIES), described.columns["series"], row)
    first = series[0][1]
    columns: dict[str, object] = {}
    for _, described in series:
        columns = {**described.columns["study"], **columns}
    await _update(
        connection,
        "study",
        (*columns_at(Level.PATIENT), *columns_at(Level.STUDY)),
        first.columns["patient"] | columns,
        study,
    )
    await connection.execute(
        b"""UPDATE study SET modalities = coalesce((SELECT array_agg(modality ORDER BY first) FROM (
                SELECT e.modality, min(e.id) AS first FROM series e
                WHERE e.study = %s AND e.modality IS NOT NULL GROUP BY e.modality) m), '{}'),
                institutions = array(SELECT DISTINCT e.institution_name_key FROM series e
                WHERE e.study = %s AND e.institution_name_key IS NOT NULL) WHERE id = %s""",
        (study, study, study),
    )
    await _move_to_patient(connection, study, first)


async def refresh_instances(connection: AsyncConnection[Any], described: Iterable[tuple[str, Described]]) -> None:
    """Columns of instances by SOP Instance UID."""
    names, definition = _lists(columns_at(Level.INSTANCE))
    for uid, each in described:
        text = (
            f"UPDATE instance SET ({names}) = (SELECT r.* FROM jsonb_to_record(%s) AS r({definition})) "
            "WHERE sop_instance_uid = %s"
        )
        await connection.execute(text.encode(), (Jsonb(each.columns["instance"]), uid))


async def outdate_documents(connection: AsyncConnection[Any], study: int, series_uid: str | None) -> None:
    """The metadata documents of one or all series of a study are no longer true."""
    await connection.execute(
        b"""UPDATE series SET documented = false, changed_at = now()
            WHERE study = %s AND (%s::text IS NULL OR series_instance_uid = %s)""",
        (study, series_uid, series_uid),
    )


async def _move_to_patient(connection: AsyncConnection[Any], study: int, described: Described) -> None:
    """Let the study belong to the patient that its columns name now; a patient without studies goes."""
    names, definition = _lists(columns_at(Level.PATIENT), keep_all=True)
    text = f"""INSERT INTO patient (identity, {names})
               SELECT %s, r.* FROM jsonb_to_record(%s) AS r({definition}) ON CONFLICT (identity) DO NOTHING"""
    await connection.execute(text.encode(), (described.identity, Jsonb(described.columns["patient"])))
    cursor = await connection.execute(b"SELECT patient FROM study WHERE id = %s", (study,))
    before = await cursor.fetchone()
    cursor = await connection.execute(
        b"UPDATE study SET patient = p.id FROM patient p WHERE study.id = %s AND p.identity = %s RETURNING p.id",
        (study, described.identity),
    )
    after = await cursor.fetchone()
    patients = sorted({row[0] for row in (before, after) if row})
    await connection.execute(
        b"DELETE FROM patient p WHERE p.id = ANY(%s) AND NOT EXISTS (SELECT 1 FROM study s WHERE s.patient = p.id)",
        (patients,),
    )
    assignments = ", ".join(f"{name} = s.{name}" for name, _ in columns_at(Level.PATIENT))
    text = f"""UPDATE patient p SET {assignments} FROM study s
               WHERE p.id = ANY(%s) AND s.id = (SELECT min(x.id) FROM study x WHERE x.patient = p.id)"""
    await connection.execute(text.encode(), (patients,))


async def _update(
    connection: AsyncConnection[Any],
    table: str,
    columns: tuple[tuple[str, str], ...],
    values: dict[str, object],
    row: int,
) -> None:
    names, definition = _lists(columns)
    text = f"UPDATE {table} SET ({names}) = (SELECT r.* FROM jsonb_to_record(%s) AS r({definition})) WHERE id = %s"
    await connection.execute(text.encode(), (Jsonb(values), row))


def _lists(columns: Iterable[tuple[str, str]], *, keep_all: bool = False) -> tuple[str, str]:
    """(names, names with types) for SQL; without those that identify."""
    chosen = [(name, kind) for name, kind in columns if keep_all or name not in _IDENTIFYING]
    return ", ".join(name for name, _ in chosen), ", ".join(f"{name} {kind}" for name, kind in chosen)
