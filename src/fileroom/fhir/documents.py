"""Binary: a document of a report, as it was received or printed as PDF.

Report 12 in its version 3 has `document-12-3` (where one came) and `pdf-12-3`.
"""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, told
from fileroom.fhir.diagnostic_reports import DIAGNOSTIC_REPORT
from fileroom.fhir.elements import Resource, Words
from fileroom.fhir.scopes import may_read_documents
from fileroom.fhir.search import read_resource
from fileroom.reports.facts import ReportState
from fileroom.reports.printed import report_pdf
from fileroom.reports.reports import get_report, get_versions
from fileroom.reports.subject import read_subject

_ID: Final = re.compile(r"(document|pdf)-(\d{1,18})-(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Document:
    """A document with what it is about."""

    id: str
    content_type: str
    content: bytes
    study_uid: str

    @property
    def resource(self) -> Resource:
        """As a Binary."""
        return {
            "resourceType": "Binary",
            "id": self.id,
            "contentType": self.content_type,
            "data": base64.b64encode(self.content).decode("ascii"),
        }


async def read_document(archive: Archive, name: str) -> Document:
    """The document of this name. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.STUDY_VIEW)
    may_read_documents()
    missing = NotFoundError(told("There is no {kind} {id}.", kind="Binary", id=name[:64]))
    found = _ID.fullmatch(name)
    if found is None:
        raise missing
    way, number, version = found[1], int(found[2]), int(found[3])
    await read_resource(archive, DIAGNOSTIC_REPORT, str(number), Words(""))
    report = await get_report(archive, number)
    versions = (
        await get_versions(archive, number, version, with_documents=way == "document") if version < 1 << 31 else []
    )
    if not versions or versions[0].state is ReportState.DRAFT:
        raise missing
    content = versions[0].content
    if way == "document":
        if not content.document:
            raise missing
        return Document(name, content.document_type, content.document, report.study_instance_uid)
    subject = await read_subject(archive, report)
    pdf = await asyncio.to_thread(report_pdf, report, versions[0], subject)
    return Document(name, "application/pdf", pdf, report.study_instance_uid)
