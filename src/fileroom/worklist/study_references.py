"""To which order and to which patient of the RIS studies belong, for answers that refer to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.worklist.identifiers import RECORD_KINDS
from fileroom.worklist.order_visibility import order_is_visible


@dataclass(frozen=True, slots=True)
class StudyReferences:
    """Rows of the RIS side; None: not known, or not to be seen."""

    order: int | None = None
    patient: int | None = None


async def references_of_studies(archive: Archive, study_uids: Sequence[str]) -> dict[str, StudyReferences]:
    """By Study Instance UID. The order is the one that the study has met; the patient the one whose identifier the study
    carries, with its issuer. Raises NotAllowedError, DatabaseError."""
    visible = order_is_visible(require(Permission.ORDER_READ))
    statement = f"""
        SELECT s.study_instance_uid, o.id, coalesce(o.patient, i.patient) FROM study s
        LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
        LEFT JOIN imaging_order o ON o.id = m.imaging_order {f"AND {visible.text}" if visible.text else ""}
        LEFT JOIN LATERAL (SELECT min(x.patient) AS patient FROM patient_identifier x WHERE x.value = s.patient_id
            AND x.authority = s.issuer_of_patient_id AND x.kind = ANY(%s) HAVING count(DISTINCT x.patient) = 1) i ON true
        WHERE s.study_instance_uid = ANY(%s)"""
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(
                statement.encode(), (*visible.parameters, list(RECORD_KINDS), list(study_uids))
            )
            return {uid: StudyReferences(order, patient) for uid, order, patient in await cursor.fetchall()}
    except psycopg.Error as error:
        raise DatabaseError(f"Orders cannot be read: {type(error).__name__}. Try again later.") from error
