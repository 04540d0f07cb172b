"""Images without reports, reports without images, orders that are done without images, reports on orders that were cancelled.

Each is looked up when it is asked for; a row leaves its list when what it says is no longer so, when somebody puts the report
to another study or order (`assign_report`, `undo_assignment`), or when somebody dismisses it with a reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected, order_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, told
from fileroom.index.conditions import Condition
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.reports.report_visibility import report_is_visible
from fileroom.reports.turnaround import NOT_REPORTED
from fileroom.worklist.order_visibility import order_is_visible

IMAGES_WITHOUT_REPORT: Final = "images_without_report"
REPORTS_WITHOUT_IMAGES: Final = "reports_without_images"
ORDERS_WITHOUT_IMAGES: Final = "orders_without_images"
REPORTS_ON_CANCELLED: Final = "reports_on_cancelled"
KINDS: Final = (IMAGES_WITHOUT_REPORT, REPORTS_WITHOUT_IMAGES, ORDERS_WITHOUT_IMAGES, REPORTS_ON_CANCELLED)
DAYS_BACK: Final = 90
"""What is older is history that nobody mends in a list."""
HOURS_DEFAULT: Final = 24
HOURS_MAX: Final = 24 * 60
LIST_MAX: Final = 500
BULK_MAX: Final = 200
REASON_CHARS_MAX: Final = 500


def N_(message: str) -> str:
    """Marks a text for the catalogues."""
    return message


REASONS: Final[Mapping[str, str]] = {
    "no_report": N_("Nobody has written a report, and none has come."),
    "only_draft": N_("A report is begun, but nobody has signed it."),
    "no_study": N_("The report names no study, and fits none by its order and accession number."),
    "study_not_here": N_("The study that the report names is not here."),
    "study_empty": N_("The study has no images."),
    "not_matched": N_("The order is completed, but no images have met it."),
    "order_cancelled": N_("The order was cancelled."),
    "order_discontinued": N_("The order was discontinued."),
}
"""Why something stands in a list; message ids."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit. `subject`: a Study Instance UID, or the number of a report or an order."""

    kind: str
    subject: str
    reason: str
    at: dt.datetime
    """Since when: the last image, the report's last change, the order's."""
    study_instance_uid: str
    report: int | None
    order: int | None
    accession_number: str
    patient_id: str
    patient_name: str
    what: str
    modality: str
    dismissed_by: str = ""
    dismissed_because: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A study that a report without images may be of: the same accession number, or the same patient."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    description: str
    modalities: list[str]
    has_report: bool
    same_accession: bool


# --- to see ---


async def list_findings(
    archive: Archive,
    kind: str,
    *,
    hours: int = HOURS_DEFAULT,
    dismissed: bool = False,
    limit: int = 100,
) -> list[Finding]:
    """What does not fit, what is longest so first; or what was dismissed of it. `hours`: how old it must be.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.STUDY_VIEW)
    if kind not in KINDS:
        raise InvalidRequestError(told("There is no such list. There are: {known}.", known=", ".join(KINDS)))
    if not 0 <= hours <= HOURS_MAX:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field="hours", least=0, most=HOURS_MAX)
        )
    inner = _inner(kind, access, archive.now(), hours)
    statement = f"""
        SELECT f.*, coalesce(n.dismissed_by, '') AS dismissed_by, coalesce(n.reason, '') AS dismissed_because
        FROM ({inner.text}) f LEFT JOIN reconciliation_note n
            ON n.kind = f.kind AND n.subject = f.subject AND n.undone_at IS NULL
        WHERE (n.id IS NOT NULL) = %s ORDER BY f.at, f.subject LIMIT %s"""
    return await _select(archive, Finding, statement, (*inner.parameters, dismissed, min(limit, LIST_MAX)))


async def count_findings(archive: Archive, *, hours: int = HOURS_DEFAULT) -> dict[str, int]:
    """How many of each kind nobody has dismissed. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.STUDY_VIEW)
    found = {}
    for kind in KINDS:
        inner = _inner(kind, access, archive.now(), hours)
        statement = f"""SELECT count(*) AS number FROM ({inner.text}) f WHERE NOT EXISTS (
            SELECT FROM reconciliation_note n WHERE n.kind = f.kind AND n.subject = f.subject AND n.undone_at IS NULL)"""
        rows = await _select(archive, _Number, statement, inner.parameters)
        found[kind] = rows[0].number
    return found


async def suggest_studies(archive: Archive, reports: Sequence[int]) -> dict[int, list[Suggestion]]:
    """Studies with images that these reports may be of, the best three of each. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.STUDY_VIEW)
    visible, seen = study_is_visible(visibility_of(access)), report_is_visible(access)
    statement = f"""
        SELECT r.id AS report, s.study_instance_uid, coalesce(s.patient_id, '') AS patient_id,
            coalesce(s.patient_name, '') AS patient_name, coalesce(s.accession_number, '') AS accession_number,
            coalesce(s.study_date, '') AS study_date, coalesce(s.study_description, '') AS description, s.modalities,
            s.has_report, s.same_accession
        FROM report r CROSS JOIN LATERAL (
            SELECT s.*, s.accession_number = r.accession_number AND r.accession_number <> '' AS same_accession,
                EXISTS (SELECT FROM report x WHERE x.study_instance_uid = s.study_instance_uid AND x.state <> 'cancelled')
                    AS has_report
            FROM study s WHERE s.id IN (
                SELECT id FROM study WHERE r.accession_number <> '' AND accession_number = r.accession_number
                UNION SELECT id FROM study WHERE r.patient_id <> '' AND patient_id = r.patient_id
                UNION SELECT t.id FROM patient_identifier i JOIN study t ON t.patient_id = i.value
                    WHERE i.patient = r.patient)
                AND s.study_instance_uid <> r.study_instance_uid
                AND EXISTS (SELECT FROM series e WHERE e.study = s.id AND e.instance_count > 0)
                AND {visible.text or "true"}
            ORDER BY s.accession_number = r.accession_number DESC NULLS LAST, s.study_date DESC NULLS LAST, s.id DESC
            LIMIT 3) s
        WHERE r.id = ANY(%s) AND {seen.text or "true"}"""
    rows = await _select(archive, _Suggested, statement, (*visible.parameters, list(reports), *seen.parameters))
    found: dict[int, list[Suggestion]] = {}
    for row in rows:
        fields = {name: getattr(row, name) for name in Suggestion.__dataclass_fields__}
        found.setdefault(row.report, []).append(Suggestion(**fields))
    return found


# --- to act ---


async def dismiss_findings(archive: Archive, kind: str, subjects: Sequence[str], reason: str) -> int:
    """Take them off their list; returns how many were on it. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    who = require(Permission.ORDER_MANAGE).name
    reason = " ".join(reason.replace("\0", "").split())[:REASON_CHARS_MAX]
    if not reason:
        raise InvalidRequestError(told("Say in a few words why nothing is to be done about it; others will read it."))
    wanted = _checked(kind, subjects)
    there = {one.subject: one for one in await _of_subjects(archive, kind, wanted)}
    async with archive.pool.connection() as connection, connection.transaction():
        done = 0
        for subject, one in there.items():
            cursor = await connection.execute(
                b"""INSERT INTO reconciliation_note (kind, subject, reason, dismissed_by) VALUES (%s, %s, %s, %s)
                    ON CONFLICT (kind, subject) WHERE undone_at IS NULL DO NOTHING RETURNING id""",
                (kind, subject, reason, who),
            )
            if await cursor.fetchone() is not None:
                done += 1
                await record(connection, _event(one, f"Reconciliation: {kind} {subject} dismissed: {reason}"))
    return done


async def undismiss_finding(archive: Archive, kind: str, subject: str) -> bool:
    """Put it back on its list; whether it had been dismissed. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    who = require(Permission.ORDER_MANAGE).name
    _checked(kind, [subject])
    if not await _of_subjects(archive, kind, [subject]):
        return False
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE reconciliation_note SET undone_by = %s, undone_at = now()
                WHERE kind = %s AND subject = %s AND undone_at IS NULL RETURNING reason""",
            (who, kind, subject),
        )
        row = await cursor.fetchone()
        if row is not None:
            what = f"Reconciliation: {kind} {subject} put back; it was dismissed: {row[0]}"
            study = subject if kind == IMAGES_WITHOUT_REPORT else ""
            await record(connection, corrected(study, what) if study else order_changed("", "", ("", ""), what))
    return row is not None


def reason_text(code: str) -> str:
    """Why something stands in a list; a message id."""
    return REASONS.get(code, code)


# --- helpers ---


@dataclass(frozen=True, slots=True)
class _Number:
    number: int


@dataclass(frozen=True, slots=True)
class _Suggested:
    report: int
    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    description: str
    modalities: list[str]
    has_report: bool
    same_accession: bool


async def _of_subjects(archive: Archive, kind: str, subjects: Sequence[str]) -> list[Finding]:
    """Those of these that are so now, dismissed or not, and may be seen."""
    inner = _inner(kind, current_access(), archive.now(), 0)
    return await _select(
        archive,
        Finding,
        f"SELECT * FROM ({inner.text}) f WHERE f.subject = ANY(%s)",
        (*inner.parameters, list(subjects)),
    )


def _inner(kind: str, access: Access, now: dt.datetime, hours: int) -> Condition:
    """The statement of a list, without what was dismissed taken out."""
    since, until = now - dt.timedelta(days=DAYS_BACK), now - dt.timedelta(hours=hours)
    if kind == IMAGES_WITHOUT_REPORT:
        return _images(access, since, until)
    if kind == ORDERS_WITHOUT_IMAGES:
        return _orders(access, since, until)
    visible = report_is_visible(access)
    of_report = """r.study_instance_uid, r.id AS report, r.imaging_order AS order, r.accession_number, r.patient_id,
        r.patient_name, r.title AS what, '' AS modality FROM report r"""
    signed = "r.state IN ('preliminary', 'final', 'corrected')"
    if kind == REPORTS_WITHOUT_IMAGES:
        return Condition(
            f"""SELECT '{kind}' AS kind, r.id::text AS subject, CASE WHEN r.study_instance_uid = '' THEN 'no_study'
                    WHEN s.id IS NULL THEN 'study_not_here' ELSE 'study_empty' END AS reason, r.changed_at AS at, {of_report}
                LEFT JOIN study s ON s.study_instance_uid = r.study_instance_uid AND r.study_instance_uid <> ''
                WHERE {signed} AND r.changed_at BETWEEN %s AND %s
                AND NOT EXISTS (SELECT FROM series e WHERE e.study = s.id AND e.instance_count > 0)
                AND {visible.text or "true"}""",
            (since, until, *visible.parameters),
        )
    return Condition(
        f"""SELECT '{kind}' AS kind, r.id::text AS subject, 'order_' || o.state AS reason, r.changed_at AS at, {of_report}
            JOIN imaging_order o ON o.id = r.imaging_order
            WHERE {signed} AND r.changed_at >= %s AND o.state IN ('cancelled', 'discontinued')
            AND {visible.text or "true"}""",
        (since, *visible.parameters),
    )


def _images(access: Access, since: dt.datetime, until: dt.datetime) -> Condition:
    visible = study_is_visible(visibility_of(access))
    none = list(NOT_REPORTED)
    return Condition(
        f"""SELECT '{IMAGES_WITHOUT_REPORT}' AS kind, s.study_instance_uid AS subject,
                CASE WHEN d.id IS NULL THEN 'no_report' ELSE 'only_draft' END AS reason, i.at, s.study_instance_uid,
                d.id AS report, m.imaging_order AS order, coalesce(s.accession_number, '') AS accession_number,
                coalesce(s.patient_id, '') AS patient_id, coalesce(s.patient_name, '') AS patient_name,
                coalesce(s.study_description, '') AS what, array_to_string(s.modalities, ' ') AS modality
            FROM study s
            JOIN LATERAL (SELECT max(e.changed_at) AS at FROM series e WHERE e.study = s.id AND e.instance_count > 0
                AND e.modality <> ALL(%s)) i ON i.at <= %s
            LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
            LEFT JOIN LATERAL (SELECT r.id FROM report r WHERE r.study_instance_uid = s.study_instance_uid
                AND r.study_instance_uid <> '' AND r.state = 'draft' ORDER BY r.id DESC LIMIT 1) d ON true
            WHERE s.received_at >= %s AND NOT s.modalities <@ %s::text[]
            AND NOT EXISTS (SELECT FROM report r WHERE r.study_instance_uid = s.study_instance_uid
                AND r.study_instance_uid <> '' AND r.state IN ('preliminary', 'final', 'corrected'))
            AND {visible.text or "true"}""",
        (none, until, since, none, *visible.parameters),
    )


def _orders(access: Access, since: dt.datetime, until: dt.datetime) -> Condition:
    visible = order_is_visible(access)
    return Condition(
        f"""SELECT '{ORDERS_WITHOUT_IMAGES}' AS kind, o.id::text AS subject, 'not_matched' AS reason, o.changed_at AS at,
                o.study_instance_uid, NULL::bigint AS report, o.id AS order, o.accession_number,
                coalesce((SELECT i.value FROM patient_identifier i WHERE i.patient = o.patient
                    ORDER BY i.is_first DESC, i.id LIMIT 1), '') AS patient_id,
                coalesce((SELECT p.patient_name FROM registered_patient p WHERE p.id = o.patient), '') AS patient_name,
                o.procedure_meaning AS what,
                coalesce((SELECT t.modality FROM scheduled_step t WHERE t.imaging_order = o.id ORDER BY t.id LIMIT 1), '')
                    AS modality
            FROM imaging_order o WHERE o.state = 'completed' AND o.changed_at BETWEEN %s AND %s
            AND NOT EXISTS (SELECT FROM study_match m JOIN study s ON s.study_instance_uid = m.study_instance_uid
                JOIN series e ON e.study = s.id AND e.instance_count > 0
                WHERE m.imaging_order = o.id AND m.undone_at IS NULL)
            AND NOT EXISTS (SELECT FROM study s JOIN series e ON e.study = s.id AND e.instance_count > 0
                WHERE s.study_instance_uid = o.study_instance_uid)
            AND {visible.text or "true"}""",
        (since, until, *visible.parameters),
    )


def _checked(kind: str, subjects: Sequence[str]) -> list[str]:
    if kind not in KINDS:
        raise InvalidRequestError(told("There is no such list. There are: {known}.", known=", ".join(KINDS)))
    wanted = [one.strip()[:64] for one in subjects if one.strip() and "\0" not in one]
    if not 1 <= len(wanted) <= BULK_MAX:
        raise InvalidRequestError(told("Mark what is meant: 1 to {most}.", most=BULK_MAX))
    return wanted


def _event(one: Finding, what: str) -> Any:
    if one.study_instance_uid:
        return corrected(one.study_instance_uid, what)
    return order_changed("", one.accession_number, (one.patient_id, one.patient_name), what)


async def _select(archive: Archive, kind: type[Any], statement: str, parameters: Sequence[object]) -> list[Any]:
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"What does not fit cannot be read: {type(error).__name__}. Try again later.") from error
