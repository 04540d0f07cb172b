"""Objects of the archive that are made of reports: once of each version that is signed, in a series of its study.

A trigger notes every version in `report_task`; the task worker's round makes what the settings `report_objects...` ask for, and
stores it as everything is stored, so that rules see it and send it on. UIDs follow from study, report and version, and stand in
`report_output` before the object is there: a worker that is killed and the next one make the same object, and nobody takes what
was made here for a report from elsewhere.

A report that is given another study leaves an object there that says that it is not valid.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from pydicom.dataset import Dataset

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected
from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, StoreKind, begin
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, FileroomError, InvalidObjectError
from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.reports.document_header import Made, Predecessor
from fileroom.reports.encapsulated import CDA, PDF, document_dataset, is_pdf
from fileroom.reports.encode import data_set_bytes
from fileroom.reports.facts import ReportSource, ReportState
from fileroom.reports.printed import report_pdf
from fileroom.reports.report_rows import REPORT_COLUMNS, ReportRow, ReportVersion, read_versions, report_of
from fileroom.reports.structured import report_dataset, sections_said
from fileroom.reports.subject import Subject, read_subject
from fileroom.transform.derived_uids import derived_uid

OUTPUTS_INTERVAL_S: Final = 1.0
RETRY_FIRST_S: Final = 30.0
RETRY_MAX_S: Final = 600.0
"""Ten minutes: a report that waits for its images is told of soon after they have come."""
WAIT_DAYS: Final = 60
"""What waits so long for a study, or fails so long, is given up; the report itself stays as it is."""
RECEIVED_BY: Final = "report"
"""Of the objects: the door that they came in by."""
_REASON_CHARS_MAX: Final = 500
_MOVED: Final = "It belongs to another examination."

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Task:
    id: int
    report: int
    version: int
    attempts: int
    made_at: dt.datetime


async def outputs_due(archive: Archive) -> int:
    """Make the objects of one version that is due; 1 if there was one. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            task = await _claim(connection)
            if task is None:
                return 0
            try:
                async with connection.transaction():
                    waits_for = await _carry_out(archive, connection, task)
            except (DatabaseError, psycopg.OperationalError):
                raise
            except Exception as error:  # noqa: BLE001 - one that nobody has foreseen must not stand in the way of the others
                waits_for = str(error) if isinstance(error, FileroomError) else type(error).__name__
                _log.warning("report_not_made", report=task.report, version=task.version, reason=waits_for)
            await _settle(archive, connection, task, waits_for)
    except psycopg.Error as error:
        raise DatabaseError(f"Reports cannot be made into objects: {type(error).__name__}.") from error
    return 1


def object_of(
    report: ReportRow, version: ReportVersion, subject: Subject, kind: str, *, language: str, before: Predecessor | None
) -> Dataset:
    """The object `kind` (sr, pdf) of a version; the same for the same version and study. Takes a moment for a long PDF."""
    made = Made(
        kind,
        object_uid(report, version.version, kind),
        derived_uid(
            report.study_instance_uid,
            "report series",
            str(report.id),
            kind,
            report.created_at.astimezone(dt.UTC).isoformat(),
        ),
        (version.made_at or report.changed_at).astimezone(),
        language,
        before,
    )
    if kind == "sr":
        return report_dataset(version, subject, made)
    document, media_type = document_of(report, version, subject, language=language)
    return document_dataset(report, version, subject, made, document, media_type)


def document_of(report: ReportRow, version: ReportVersion, subject: Subject, *, language: str) -> tuple[bytes, str]:
    """(document, media type): as it was received where that is a PDF or CDA document, else the text in print."""
    content = version.content
    if version.state is not ReportState.CANCELLED and content.document:
        if content.document_type == PDF and is_pdf(content.document):
            return content.document, PDF
        if content.document_type == CDA and not sections_said(version):
            return content.document, CDA
    return report_pdf(report, version, subject, language=language), PDF


def object_uid(report: ReportRow, version: int, kind: str, again: str = "") -> str:
    """The SOP Instance UID of what is made of a version. `again`: after what, where it was made and withdrawn before."""
    made_at = report.created_at.astimezone(dt.UTC).isoformat()
    return derived_uid(report.study_instance_uid, "report", str(report.id), made_at, str(version), kind, again)


# --- one version ---


async def _carry_out(archive: Archive, connection: AsyncConnection[Any], task: _Task) -> str:
    """Make what is wanted of a version; empty: done, else what it waits for."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT " + REPORT_COLUMNS + b" FROM report r WHERE r.id = %s", (task.report,))
        row = await cursor.fetchone()
    versions = await read_versions(connection, task.report, task.version, with_documents=True)
    if row is None or not versions:
        return ""
    report, version = report_of(row), versions[0]
    for study, kind in await _elsewhere(connection, report):
        old = replace(report, study_instance_uid=study)
        withdrawn = replace(version, state=ReportState.CANCELLED, reason=_MOVED)
        if await _has_study(connection, study):
            await _make(archive, connection, old, withdrawn, kind, f"{kind}-withdrawn")
    wanted = kinds_wanted(archive.settings, report.source, version.state)
    kinds = [kind for kind in wanted if kind != "sr" or _has_words(version)]
    if version.state is ReportState.CANCELLED:
        # Nobody has to be told that something is not valid that they never got.
        kinds = [kind for kind in kinds if await _last_made(connection, report, kind) is not None]
    if not kinds:
        return ""
    if not report.study_instance_uid or not await _has_study(connection, report.study_instance_uid):
        return "No images of its study are here yet."
    for kind in kinds:
        await _make(archive, connection, report, version, kind, kind)
    return ""


def kinds_wanted(settings: Settings, source: ReportSource, state: ReportState) -> list[str]:
    """What is made of a version in this state: sr, pdf."""
    if source is ReportSource.DICOM or state is ReportState.DRAFT:
        return []
    if source is not ReportSource.CONSOLE and settings.report_objects_of != "all":
        return []
    if state is ReportState.PRELIMINARY and not settings.report_objects_preliminary:
        return []
    return [] if settings.report_objects == "none" else settings.report_objects.split(",")


def _has_words(version: ReportVersion) -> bool:
    return bool(sections_said(version) or version.content.addenda)


async def _make(
    archive: Archive, connection: AsyncConnection[Any], report: ReportRow, version: ReportVersion, kind: str, name: str
) -> None:
    """Store one object, unless that was done. `name`: how `report_output` calls it."""
    if name != kind:
        # Of the same version there is an object in that study already.
        version = replace(version, version=version.version + 1)
    async with archive.pool.connection() as own:
        # In a transaction of its own: it is there before the object is.
        uid = await _uid_of(own, report, version.version, kind, name)
    cursor = await connection.execute(b"SELECT EXISTS (SELECT FROM instance WHERE sop_instance_uid = %s)", (uid,))
    found = await cursor.fetchone()
    if found is not None and found[0]:
        return
    before = await _last_made(connection, report, kind)
    subject = await read_subject(archive, report)
    dataset = await asyncio.to_thread(
        object_of, report, version, subject, kind, language=archive.settings.report_language, before=before
    )
    dataset.SOPInstanceUID = uid
    await _store(archive, dataset, report)
    await record(connection, corrected(report.study_instance_uid, f"Report {report.id} stored as {name}: {uid}"))
    _log.info("report_stored", report=report.id, version=version.version, kind=name)


async def _store(archive: Archive, dataset: Dataset, report: ReportRow) -> None:
    syntax = uids.EXPLICIT_VR_LITTLE_ENDIAN
    claim = Claim(
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        syntax,
        RECEIVED_BY,
        f"report {report.id}",
        receiving_aet=archive.settings.aet,
    )
    incoming = begin(archive, claim)
    try:
        incoming.write(await asyncio.to_thread(data_set_bytes, dataset))
        await incoming.drain()
    except BaseException:
        await incoming.abort()
        raise
    outcome = await incoming.finish()
    if outcome.kind is StoreKind.KEPT_ASIDE:
        raise InvalidObjectError(f"Another object has the UID {outcome.sop_instance_uid} already.")


# --- rows ---


async def _claim(connection: AsyncConnection[Any]) -> _Task | None:
    """The first version that is due and has none of the same report before it; nobody else takes it meanwhile."""
    cursor = await connection.execute(
        b"""SELECT t.id, v.report, v.version, t.attempts, t.made_at
            FROM report_task t JOIN report_version v ON v.id = t.report_version
            WHERE t.what = 'objects' AND t.due_at <= now()
              AND NOT EXISTS (SELECT FROM report_version w JOIN report_task e ON e.report_version = w.id
                  WHERE w.report = v.report AND w.version < v.version AND e.what = 'objects')
            ORDER BY t.due_at, t.id LIMIT 1 FOR UPDATE OF t SKIP LOCKED"""
    )
    row = await cursor.fetchone()
    return _Task(*row) if row is not None else None


async def _settle(archive: Archive, connection: AsyncConnection[Any], task: _Task, waits_for: str) -> None:
    if not waits_for or archive.now() - task.made_at > dt.timedelta(days=WAIT_DAYS):
        await connection.execute(b"DELETE FROM report_task WHERE id = %s", (task.id,))
        return
    delay_s = min(RETRY_FIRST_S * 2.0 ** min(task.attempts, 20), RETRY_MAX_S)
    await connection.execute(
        b"""UPDATE report_task SET attempts = attempts + 1, reason = %s, due_at = now() + make_interval(secs => %s)
            WHERE id = %s""",
        (waits_for[:_REASON_CHARS_MAX], delay_s, task.id),
    )


async def _has_study(connection: AsyncConnection[Any], study: str) -> bool:
    cursor = await connection.execute(b"SELECT EXISTS (SELECT FROM study WHERE study_instance_uid = %s)", (study,))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def _elsewhere(connection: AsyncConnection[Any], report: ReportRow) -> list[tuple[str, str]]:
    """(study, kind) of valid objects in studies that the report does not belong to any more."""
    cursor = await connection.execute(
        b"""SELECT DISTINCT o.feed, o.kind FROM report_output o
            WHERE o.report = %s AND o.kind IN ('sr', 'pdf') AND o.feed <> %s AND NOT EXISTS (
                SELECT FROM report_output w WHERE w.report = o.report AND w.feed = o.feed
                AND w.kind = o.kind || '-withdrawn' AND w.made_at > o.made_at)""",
        (report.id, report.study_instance_uid),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def _uid_of(connection: AsyncConnection[Any], report: ReportRow, version: int, kind: str, name: str) -> str:
    """The UID of an object, written down before it is made. What was withdrawn and is valid again is another object."""
    other = kind if name != kind else f"{kind}-withdrawn"
    cursor = await connection.execute(
        b"""SELECT (SELECT max(made_at) FROM report_output WHERE report = %(report)s AND kind = %(other)s AND feed = %(study)s),
                o.result, o.made_at
            FROM (SELECT 1) one LEFT JOIN report_output o ON o.report = %(report)s AND o.version = %(version)s
                AND o.kind = %(name)s AND o.feed = %(study)s""",
        {"report": report.id, "version": version, "name": name, "other": other, "study": report.study_instance_uid},
    )
    row = await cursor.fetchone()
    overtaken_at, result, made_at = row if row is not None else (None, None, None)
    if result and (overtaken_at is None or made_at >= overtaken_at):
        return str(result)
    again = overtaken_at.astimezone(dt.UTC).isoformat() if result and overtaken_at is not None else ""
    uid = object_uid(report, version, name, again)
    await connection.execute(
        b"""INSERT INTO report_output (report, version, kind, feed, result) VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (report, version, kind, feed) DO UPDATE SET result = excluded.result, made_at = now()""",
        (report.id, version, name, report.study_instance_uid, uid),
    )
    return uid


async def _last_made(connection: AsyncConnection[Any], report: ReportRow, kind: str) -> Predecessor | None:
    """The object before, as far as it is still in the archive."""
    cursor = await connection.execute(
        b"""SELECT e.series_instance_uid, i.sop_class_uid, i.sop_instance_uid FROM report_output o
            JOIN instance i ON i.sop_instance_uid = o.result JOIN series e ON e.id = i.series
            WHERE o.report = %s AND o.kind = ANY(%s) AND o.feed = %s ORDER BY o.made_at DESC LIMIT 1""",
        (report.id, [kind, f"{kind}-withdrawn"], report.study_instance_uid),
    )
    row = await cursor.fetchone()
    return Predecessor(row[0], row[1], row[2]) if row is not None else None
