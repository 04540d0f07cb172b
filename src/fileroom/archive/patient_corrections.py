"""What images say of their patient, corrected for many studies at once: one row a study and attribute, no header read.

In the transaction of a service that has asked (`worklist.merges`), after `lock_studies`. Who laid which row over what and why
is that service's to remember; it gets with each row what the study showed as received, where that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.archive.correct import refresh_study_rows
from fileroom.archive.services import Archive
from fileroom.index.attributes import BY_TAG
from fileroom.index.patient_columns import (
    COLUMNS_OF,
    ISSUER,
    Columns,
    PatientStudy,
    columns_for,
    studies_by_uid,
    write_patient_columns,
)

ISSUER_QUALIFIERS: Final = 0x00100024
"""Issuer of Patient ID Qualifiers Sequence: what it says of the old issuer is wrong of the new one."""

Wanted = Mapping[int, str]
"""What a study shall show, by tag; an empty text takes the attribute out."""


@dataclass(frozen=True, slots=True)
class LaidOver:
    """A correction that was made. `received`: the study's columns before, where they are as received; else None."""

    id: int
    study_instance_uid: str
    tag: int
    received: Columns | None


async def lay_over(
    archive: Archive,
    connection: AsyncConnection[Any],
    plans: Sequence[tuple[PatientStudy, Wanted]],
    *,
    reason: str,
    actor: str,
) -> list[LaidOver]:
    """Correct what differs from what is wanted, and bring index and documents in line. Raises StorageError."""
    rows: list[dict[str, object]] = []
    received: dict[tuple[str, int], Columns | None] = {}
    changed: list[PatientStudy] = []
    for study, wanted in plans:
        different = {tag: value for tag, value in wanted.items() if study.text(tag) != value}
        columns = dict(study.columns)
        for tag, value in different.items():
            known = study.is_plain and tag not in study.corrected
            received[study.study_instance_uid, tag] = study.columns_of(tag) if known else None
            columns |= columns_for(tag, value)
            rows.append(_row(study, tag, BY_TAG[tag].vr, [value] if value else None))
        if ISSUER in different and study.text(ISSUER):
            rows.append(_row(study, ISSUER_QUALIFIERS, "SQ", None))
        if different:
            changed.append(replace(study, columns=columns))
    cursor = await connection.execute(_INSERT.encode(), (reason, actor, Jsonb(rows)))
    made = [(int(row[0]), str(row[1]), int(row[2])) for row in await cursor.fetchall()]
    await _bring_in_line(archive, connection, changed)
    return [LaidOver(number, uid, tag, received.get((uid, tag))) for number, uid, tag in made]


async def take_off(
    archive: Archive, connection: AsyncConnection[Any], laid: Sequence[LaidOver], *, actor: str
) -> list[str]:
    """Revoke corrections of `lay_over`: studies show again what other corrections say, or what was received; their UIDs.

    Raises StorageError.
    """
    uids = sorted({each.study_instance_uid for each in laid})
    await connection.execute(
        b"UPDATE correction SET revoked_at = now(), revoked_by = %s WHERE id = ANY(%s) AND revoked_at IS NULL",
        (actor, [each.id for each in laid]),
    )
    still = await _still_said(connection, uids)
    received: dict[tuple[str, int], Columns | None] = {}
    for each in sorted(laid, key=lambda one: one.id):
        received.setdefault((each.study_instance_uid, each.tag), each.received)
    changed = []
    for study in await studies_by_uid(connection, uids):
        columns, is_plain = dict(study.columns), study.is_plain
        for (uid, tag), before in received.items():
            if uid != study.study_instance_uid or tag not in COLUMNS_OF:
                continue
            said = still.get((uid, tag))
            if said is not None:
                columns |= columns_for(tag, said)
            elif before is not None:
                columns |= before
            else:
                is_plain = False  # what was received is known by its header alone
        changed.append(replace(study, columns=columns, is_plain=is_plain))
    await _bring_in_line(archive, connection, changed)
    return uids


def _row(study: PatientStudy, tag: int, vr: str, value: list[str] | None) -> dict[str, object]:
    return {"uid": study.study_instance_uid, "tag": tag, "vr": vr, "value": value}


_INSERT: Final = """
INSERT INTO correction (study_instance_uid, path, vr, value, reason, actor)
SELECT g.uid, ARRAY[g.tag], g.vr, nullif(g.value, 'null'::jsonb), %s, %s
FROM jsonb_to_recordset(%s) AS g(uid text, tag integer, vr text, value jsonb)
RETURNING id, study_instance_uid, path[1]"""


async def _still_said(connection: AsyncConnection[Any], uids: Sequence[str]) -> dict[tuple[str, int], str]:
    """What corrections of whole studies say now, by study and tag; the last one wins."""
    cursor = await connection.execute(
        b"""SELECT study_instance_uid, path[1], coalesce(value->>0, '') FROM correction
            WHERE study_instance_uid = ANY(%s) AND revoked_at IS NULL AND series_instance_uid IS NULL
            AND path[1] = ANY(%s) AND cardinality(path) = 1 ORDER BY id""",
        (list(uids), list(COLUMNS_OF)),
    )
    return {(row[0], row[1]): row[2] for row in await cursor.fetchall()}


async def _bring_in_line(archive: Archive, connection: AsyncConnection[Any], changed: Sequence[PatientStudy]) -> None:
    await write_patient_columns(connection, [study for study in changed if study.is_plain])
    for study in changed:
        if not study.is_plain:
            await refresh_study_rows(archive, connection, study.row_id, study.study_instance_uid)
