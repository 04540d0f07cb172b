"""A report as a file for somebody who asks: PDF to read or print, structured report to take away."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fileroom.admin.audit_events import exported, viewed
from fileroom.admin.audit_message import StudyReference
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, told
from fileroom.reports.encapsulated import PDF
from fileroom.reports.encode import file_bytes
from fileroom.reports.facts import ReportSource
from fileroom.reports.outputs import document_of, object_of
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.reports import get_report, get_versions
from fileroom.reports.subject import read_subject

DICOM: Final = "application/dicom"
_ENDINGS: Final = {PDF: "pdf", DICOM: "dcm", "text/xml": "xml"}


@dataclass(frozen=True, slots=True)
class ReportFile:
    """Bytes with what they are; `name` has no words of the report in it."""

    name: str
    media_type: str
    data: bytes


async def report_document(archive: Archive, number: int, version: int | None = None) -> ReportFile:
    """A version (None: the newest) as PDF: as it was received, or printed. A CDA document without text is given as it is.

    Raises NotFoundError, NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.STUDY_VIEW)
    report, said = await _find(archive, number, version)
    subject = await read_subject(archive, report)
    document, media_type = await asyncio.to_thread(
        document_of, report, said, subject, language=archive.settings.report_language
    )
    archive.audit.note(viewed([StudyReference(report.study_instance_uid)], f"Report {number}, version {said.version}"))
    return ReportFile(_name(said, media_type), media_type, document)


async def report_sr(archive: Archive, number: int, version: int | None = None) -> ReportFile:
    """A version as structured report, a DICOM file: the object that is or would be stored with the study.

    Raises ConflictError where there can be none, NotFoundError, NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.STUDY_EXPORT)
    report, said = await _find(archive, number, version)
    if report.source is ReportSource.DICOM:
        uid = said.sop_instance_uid or report.source_number
        raise ConflictError(told("Report {number} came as DICOM object {uid}: fetch that.", number=number, uid=uid))
    if not report.study_instance_uid:
        raise ConflictError(told("Report {number} has no study yet.", number=number))
    subject = await read_subject(archive, report)
    dataset = await asyncio.to_thread(
        object_of, report, said, subject, "sr", language=archive.settings.report_language, before=None
    )
    data = await asyncio.to_thread(file_bytes, dataset, archive.settings.aet)
    archive.audit.note(exported([StudyReference(report.study_instance_uid)], f"Report {number} as structured report"))
    return ReportFile(_name(said, DICOM), DICOM, data)


async def _find(archive: Archive, number: int, version: int | None) -> tuple[ReportRow, ReportVersion]:
    report = await get_report(archive, number)
    wanted = report.version if version is None else version
    return report, (await get_versions(archive, number, wanted, with_documents=True))[0]


def _name(version: ReportVersion, media_type: str) -> str:
    return f"report-{version.report}-{version.version}.{_ENDINGS.get(media_type, 'bin')}"
