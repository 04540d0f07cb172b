"""Which order, study and patient a report has: found when it comes, and again whenever one of them comes or changes.

What the message or the object says stays in the row (numbers, Study Instance UID, Patient ID); the links are worked out of
that, so a match that is undone, a merge and its undoing are followed without knowing what they did. Orders of another patient
are never a report's, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.worklist.identifiers import RECORD_KINDS

LINKS_INTERVAL_S: Final = 1.0
NOTES_PER_ROUND: Final = 500


async def link_reports_due(archive: Archive) -> int:
    """Work off a part of the notes of what has come or changed; how many those were. Raises NotAllowedError, psycopg.Error."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(_TAKE_NOTES, (NOTES_PER_ROUND,))
        notes = await cursor.fetchall()
        if not notes:
            return 0
        reports, orders, studies, identifiers = ([*{row[column] for row in notes} - {None}] for column in range(4))
        cursor = await connection.execute(
            _TOUCHED, {"reports": reports, "orders": orders, "studies": studies, "identifiers": identifiers}
        )
        await link_reports(connection, [row[0] for row in await cursor.fetchall()])
        return len(notes)


async def link_reports(connection: AsyncConnection[Any], reports: Sequence[int]) -> list[int]:
    """Give these reports (by their rows) the order, the study and the patient that are theirs now; those that changed.

    In the caller's transaction, for services that have asked. Raises psycopg.Error.
    """
    if not reports:
        return []
    cursor = await connection.execute(_LINK, {"reports": sorted(reports), "kinds": list(RECORD_KINDS)})
    return [row[0] for row in await cursor.fetchall()]


async def note_report(connection: AsyncConnection[Any], report: int) -> None:
    """Let it be linked once more when this transaction has ended: its order may be on its way in another one."""
    await connection.execute(b"INSERT INTO report_note (report) VALUES (%s)", (report,))


# --- statements ---

_TAKE_NOTES: Final = b"""DELETE FROM report_note WHERE id IN (
        SELECT id FROM report_note ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING report, imaging_order, study_instance_uid, patient_identifier"""

_TOUCHED: Final = b"""
SELECT id FROM report WHERE id = ANY(%(reports)s)
UNION SELECT id FROM report WHERE imaging_order = ANY(%(orders)s)
UNION SELECT r.id FROM imaging_order o JOIN report r ON r.placer_number = o.placer_number AND r.placer_number <> ''
    WHERE o.id = ANY(%(orders)s)
UNION SELECT r.id FROM imaging_order o JOIN report r ON r.filler_number = o.filler_number AND r.filler_number <> ''
    WHERE o.id = ANY(%(orders)s)
UNION SELECT r.id FROM imaging_order o JOIN report r ON r.accession_number = o.accession_number AND r.accession_number <> ''
    WHERE o.id = ANY(%(orders)s)
UNION SELECT r.id FROM imaging_order o JOIN report r ON r.study_instance_uid = o.study_instance_uid
    AND r.study_instance_uid <> '' WHERE o.id = ANY(%(orders)s)
UNION SELECT id FROM report WHERE study_instance_uid = ANY(%(studies)s) AND study_instance_uid <> ''
UNION SELECT id FROM report WHERE said_study_uid = ANY(%(studies)s) AND said_study_uid <> ''
UNION SELECT r.id FROM study s JOIN report r ON r.accession_number = s.accession_number AND r.accession_number <> ''
    WHERE s.study_instance_uid = ANY(%(studies)s)
UNION SELECT r.id FROM imaging_order o JOIN report r ON r.imaging_order = o.id
    WHERE o.study_instance_uid = ANY(%(studies)s)
UNION SELECT id FROM report WHERE patient_identifier = ANY(%(identifiers)s)
UNION SELECT r.id FROM patient_identifier i JOIN report r ON r.patient_id = i.value AND r.patient_id <> ''
    AND r.patient IS NULL WHERE i.id = ANY(%(identifiers)s)"""

_LINK: Final = b"""
WITH said AS (
    SELECT r.id, r.source, r.placer_number, r.placer_authority, r.filler_number, r.filler_authority, r.accession_number,
        r.accession_authority, r.source = 'hl7' AS from_ris,
        coalesce(nullif(r.said_study_uid, ''), CASE WHEN r.source <> 'hl7' THEN r.study_instance_uid ELSE '' END) AS study,
        coalesce(nullif(r.patient_id, ''), s.patient_id, '') AS patient_id,
        CASE WHEN r.patient_id <> '' THEN r.patient_authority ELSE coalesce(s.issuer_of_patient_id, '') END AS authority
    FROM report r LEFT JOIN study s ON r.source <> 'hl7' AND s.study_instance_uid = r.study_instance_uid
    -- What a person has said of a report holds.
    WHERE r.id = ANY(%(reports)s)
        AND NOT EXISTS (SELECT FROM report_assignment a WHERE a.report = r.id AND a.undone_at IS NULL)
), found AS (
    SELECT r.id, ord.id AS imaging_order, ord.accession_number, coalesce(ord.patient, who.patient) AS patient, who.identifier,
        CASE WHEN r.from_ris THEN coalesce(
            (SELECT s.study_instance_uid FROM study s WHERE r.study <> '' AND s.study_instance_uid = r.study),
            (SELECT m.study_instance_uid FROM study_match m WHERE m.imaging_order = ord.id AND m.undone_at IS NULL
                ORDER BY m.id LIMIT 1),
            (SELECT s.study_instance_uid FROM study s WHERE s.study_instance_uid = ord.study_instance_uid),
            (SELECT s.study_instance_uid FROM study s WHERE ord.id IS NULL AND r.accession_number <> ''
                AND s.accession_number = r.accession_number AND (r.patient_id = '' OR s.patient_id = r.patient_id
                    OR s.patient_id IN (SELECT i.value FROM patient_identifier i WHERE i.patient = who.patient))
                ORDER BY s.id LIMIT 1),
            r.study) ELSE r.study END AS study
    FROM said r
    LEFT JOIN LATERAL (
        SELECT min(i.id) AS identifier, min(i.patient) AS patient FROM patient_identifier i
        WHERE r.patient_id <> '' AND i.value = r.patient_id AND i.kind = ANY(%(kinds)s)
            AND (i.authority = r.authority OR i.authority = '' OR r.authority = '')
        HAVING count(DISTINCT i.patient) = 1) who ON true
    LEFT JOIN LATERAL (
        SELECT o.id, o.patient, o.study_instance_uid, o.accession_number
        FROM (
            SELECT id, 40 AS points FROM imaging_order WHERE r.placer_number <> '' AND placer_number = r.placer_number
                AND placer_number <> '' AND (placer_authority IN (r.placer_authority, '') OR r.placer_authority = '')
            UNION ALL SELECT id, 40 FROM imaging_order WHERE filler_number = r.filler_number AND filler_number <> ''
                AND (filler_authority IN (r.filler_authority, '') OR r.filler_authority = '')
            UNION ALL SELECT id, 50 FROM imaging_order WHERE accession_number = r.accession_number
                AND accession_number <> ''
                AND (accession_authority IN (r.accession_authority, '') OR r.accession_authority = '')
            UNION ALL SELECT imaging_order, CASE WHEN r.from_ris THEN 30 ELSE 1000 END FROM study_match
                WHERE r.study <> '' AND study_instance_uid = r.study AND undone_at IS NULL
            UNION ALL SELECT id, CASE WHEN r.from_ris THEN 30 ELSE 500 END FROM imaging_order
                WHERE r.study <> '' AND study_instance_uid = r.study
        ) c JOIN imaging_order o ON o.id = c.id
        WHERE r.patient_id = '' OR o.patient IS NULL OR o.patient = who.patient OR EXISTS (
            SELECT FROM patient_identifier i WHERE i.patient = o.patient AND i.value = r.patient_id
                AND (i.authority = r.authority OR i.authority = '' OR r.authority = ''))
        GROUP BY o.id ORDER BY sum(c.points) DESC, o.id LIMIT 1) ord ON true
)
UPDATE report r SET imaging_order = f.imaging_order, study_instance_uid = f.study, patient = f.patient,
    patient_identifier = f.identifier, accession_number = coalesce(nullif(r.accession_number, ''), f.accession_number, '')
FROM found f WHERE r.id = f.id
    AND (r.imaging_order, r.study_instance_uid, r.patient, r.patient_identifier, r.accession_number) IS DISTINCT FROM
        (f.imaging_order, f.study, f.patient, f.identifier, coalesce(nullif(r.accession_number, ''), f.accession_number, ''))
RETURNING r.id"""
