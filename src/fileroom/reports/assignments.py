"""A person says which study or order a report is of; that holds, whatever its numbers say, until somebody takes it back."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import studies_corrected
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.reports.linking import note_report
from fileroom.reports.report_visibility import report_is_visible
from fileroom.worklist.order_visibility import order_is_visible

REASON_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Assignment:
    """A report that was put to another study or order. `undone_at` None: it holds, or a later one took its place."""

    id: int
    report: int
    study_before: str
    order_before: int | None
    study_after: str
    order_after: int | None
    reason: str
    assigned_by: str
    assigned_at: dt.datetime
    undone_by: str
    undone_at: dt.datetime | None


async def list_assignments(archive: Archive, *, limit: int = 50) -> list[Assignment]:
    """The latest first, of reports that may be seen. Raises NotAllowedError, DatabaseError."""
    visible = report_is_visible(require(Permission.STUDY_VIEW))
    statement = f"""SELECT a.id, a.report, a.study_before, a.order_before, a.study_after, a.order_after, a.reason,
            a.assigned_by, a.assigned_at, a.undone_by, a.undone_at FROM report_assignment a JOIN report r ON r.id = a.report
        WHERE {visible.text or "true"} ORDER BY a.id DESC LIMIT %s"""
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(Assignment)) as cursor:
        await cursor.execute(statement.encode(), (*visible.parameters, min(limit, 500)))
        return await cursor.fetchall()


async def assign_report(
    archive: Archive,
    report: int,
    *,
    study_uid: str = "",
    order: int | None = None,
    reason: str = "",
    other_patient: bool = False,
) -> None:
    """This report is of that study, or of that order and its study. `other_patient`: also where the patient differs.

    Raises InvalidRequestError, NotFoundError, ConflictError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)
    reason = " ".join(reason.replace("\0", "").split())[:REASON_CHARS_MAX]
    if not study_uid and order is None:
        raise InvalidRequestError(told("Say which study or which order the report is of."))
    async with archive.pool.connection() as connection, connection.transaction():
        now = await _locked(connection, access, report)
        study, order, patient, patient_ids = await _target(connection, access, study_uid.strip(), order)
        if now["study_instance_uid"] == study and now["imaging_order"] == order:
            raise ConflictError(told("The report is of that study already."))
        said = now["patient_id"]
        if said and patient_ids and said not in patient_ids and not other_patient:
            raise ConflictError(
                told(
                    "The report is of the patient {patient}, the study of {other}. Say that you mean it if it is so.",
                    patient=said,
                    other=", ".join(sorted(patient_ids))[:200],
                )
            )
        await connection.execute(
            b"""INSERT INTO report_assignment (report, study_before, order_before, patient_before, accession_before,
                    study_after, order_after, reason, assigned_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            (
                report,
                now["study_instance_uid"],
                now["imaging_order"],
                now["patient"],
                now["accession_number"],
                study,
                order,
                reason,
                access.name,
            ),
        )
        await connection.execute(
            b"""UPDATE report SET study_instance_uid = %s, imaging_order = %s, patient = coalesce(%s, patient),
                    changed_at = now(), changed_by = %s WHERE id = %s""",
            (study, order, patient, access.name, report),
        )
        await _audit(connection, [now["study_instance_uid"], study], f"Report {report} put to this study: {reason}")


async def undo_assignment(archive: Archive, report: int) -> None:
    """Take back what was said last of which study a report is of. Raises NotFoundError, ConflictError, NotAllowedError."""
    access = require(Permission.ORDER_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        now = await _locked(connection, access, report)
        cursor = await connection.execute(
            b"""UPDATE report_assignment SET undone_by = %s, undone_at = now() WHERE id = (
                    SELECT id FROM report_assignment WHERE report = %s AND undone_at IS NULL ORDER BY id DESC LIMIT 1)
                RETURNING study_before, order_before, patient_before, accession_before""",
            (access.name, report),
        )
        before = await cursor.fetchone()
        if before is None:
            raise ConflictError(told("Nobody has put the report to another study: there is nothing to undo."))
        await connection.execute(
            b"""UPDATE report SET study_instance_uid = %s, imaging_order = %s, patient = %s, changed_at = now(),
                changed_by = %s WHERE id = %s""",
            (before[0], before[1], before[2], access.name, report),
        )
        await note_report(connection, report)
        what = f"Report {report} put back; it is not of this study"
        await _audit(connection, [now["study_instance_uid"], before[0]], what)


# --- helpers ---


async def _locked(connection: AsyncConnection[Any], access: Access, report: int) -> dict[str, Any]:
    visible = report_is_visible(access)
    cursor = await connection.execute(
        f"""SELECT r.study_instance_uid, r.imaging_order, r.patient, r.accession_number, r.patient_id FROM report r
            WHERE r.id = %s AND {visible.text or "true"} FOR UPDATE OF r""".encode(),
        (report, *visible.parameters),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no report {number}.", number=report))
    return dict(
        zip(("study_instance_uid", "imaging_order", "patient", "accession_number", "patient_id"), row, strict=True)
    )


async def _target(
    connection: AsyncConnection[Any], access: Access, study_uid: str, order: int | None
) -> tuple[str, int | None, int | None, set[str]]:
    """The study, the order, the patient's row, and the numbers that the patient goes by."""
    patient_ids: set[str] = set()
    if study_uid:
        visible = study_is_visible(visibility_of(access))
        cursor = await connection.execute(
            f"""SELECT s.patient_id, (SELECT m.imaging_order FROM study_match m
                    WHERE m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL)
                FROM study s WHERE s.study_instance_uid = %s AND {visible.text or "true"}""".encode(),
            (study_uid, *visible.parameters),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(
                told("There is no study {study}; it was deleted or never received.", study=study_uid[:64])
            )
        patient_ids |= {row[0]} if row[0] else set()
        order = order if order is not None else row[1]
    patient = None
    if order is not None:
        visible = order_is_visible(access)
        cursor = await connection.execute(
            f"""SELECT o.patient, coalesce(
                    (SELECT m.study_instance_uid FROM study_match m WHERE m.imaging_order = o.id AND m.undone_at IS NULL
                        ORDER BY m.id LIMIT 1), o.study_instance_uid),
                    array(SELECT i.value FROM patient_identifier i WHERE i.patient = o.patient)
                FROM imaging_order o WHERE o.id = %s AND {visible.text or "true"}""".encode(),
            (order, *visible.parameters),
        )
        row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(told("There is no order number {order}.", order=order))
        patient, patient_ids = row[0], patient_ids | set(row[2])
        study_uid = study_uid or row[1]
    return study_uid, order, patient, patient_ids


async def _audit(connection: AsyncConnection[Any], studies: list[str], what: str) -> None:
    if named := list(dict.fromkeys(one for one in studies if one)):
        await record(connection, studies_corrected(named, what))
