"""`/reports`: what was found in studies, in versions; as PDF and structured report, and told to feeds once more."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.feeds.report_outbox import send_report
from fileroom.reports import files, reports
from fileroom.reports.facts import ReportSource, ReportState
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.reports import TEXT_CHARS_MAX, ReportFilter
from fileroom.web.api.models import NUMBER_MAX, Asked, AskedMoment, Moment, NumberInPath, ShortText, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor

State = Literal["draft", "preliminary", "final", "corrected", "cancelled"]
Source = Literal["console", "hl7", "dicom"]
_Version = Annotated[
    Annotated[int, Field(ge=1, le=NUMBER_MAX)] | None, Query(description="Which version; none: the newest.")
]


class StudyReport(Shown):
    """A report without its words."""

    id: int
    study_instance_uid: Annotated[str, Field(description="Empty: no study is known yet.")]
    order: int | None
    patient: int | None
    accession_number: str
    source: Source
    source_name: Annotated[str, Field(description="The feed or node.")]
    source_number: Annotated[str, Field(description="How that one calls the report.")]
    title: str
    state: State
    version: int
    is_critical: bool
    created_at: Moment
    created_by: str
    changed_at: Moment
    changed_by: str
    finished_at: Moment | None
    patient_id: str
    patient_name: str


class ReportPage(Page[StudyReport]):
    """Reports, the newest first."""


class ReportSectionText(Shown):
    """A heading and its text."""

    heading: str
    text: str


class ReportAddendum(Shown):
    """What was added after signing."""

    text: str
    by: str
    at: Moment


class ReportVersionText(Shown):
    """A version with its words."""

    version: int
    state: State
    sections: list[ReportSectionText]
    addenda: list[ReportAddendum]
    document_type: Annotated[str, Field(description="Of a document that it came as; empty: the sections are all.")]
    author: str
    signer: str
    reason: str
    made_at: Moment | None
    made_by: str
    signed_at: Moment | None


class ReportContentShown(Shown):
    """A report with its versions, the newest first."""

    report: StudyReport
    versions: list[ReportVersionText]


class ReportFileShown(Shown):
    """A file."""

    name: str
    media_type: str
    content: Annotated[str, Field(description="Base64.")]


class SendReport(Asked):
    """To whom."""

    feed: Annotated[ShortText, Field(min_length=1, description="A feed out.")]


class SentReport(Shown):
    """Its number in the outbox."""

    id: int


def add_reports(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("reports", "Reports of studies, in versions.")

    @resource.get("/reports", "list", Permission.STUDY_VIEW)
    async def list_reports(
        request: Request,
        q: Annotated[
            str, Query(max_length=TEXT_CHARS_MAX, description="Words of it, its title, a number or a name.")
        ] = "",
        state: Annotated[State | None, Query()] = None,
        source: Annotated[Source | None, Query()] = None,
        study: Annotated[str, Query(max_length=64, description="Study Instance UID.")] = "",
        accession: Annotated[str, Query(max_length=64)] = "",
        since: AskedMoment | None = None,
        until: AskedMoment | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> ReportPage:
        """Reports that may be seen, the newest first."""
        place = read_cursor(cursor, int)
        wanted = ReportFilter(
            q,
            (ReportState(state),) if state else (),
            ReportSource(source) if source else None,
            study,
            accession=accession,
            since=since,
            until=until,
        )
        before = int(str(place[0])) if place else None
        found = await reports.search_reports(archive, wanted, before=before, limit=limit)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return ReportPage(items=[_report(one) for one in found], next=next_address(request, behind))

    @resource.get("/reports/{number}", "get", Permission.STUDY_VIEW)
    async def get_report(number: NumberInPath) -> ReportContentShown:
        """A report with all versions."""
        found = await reports.get_report(archive, number)
        versions = await reports.get_versions(archive, number)
        return ReportContentShown(report=_report(found), versions=[_version(one) for one in versions])

    @resource.get("/reports/{number}/pdf", "pdf", Permission.STUDY_VIEW)
    async def get_pdf(number: NumberInPath, version: _Version = None) -> ReportFileShown:
        """A version as PDF: as it was received, or printed. A CDA document without text is given as it is."""
        return _file(await files.report_document(archive, number, version))

    @resource.get("/reports/{number}/sr", "sr", Permission.STUDY_EXPORT)
    async def get_sr(number: NumberInPath, version: _Version = None) -> ReportFileShown:
        """A version as structured report (DICOM)."""
        return _file(await files.report_sr(archive, number, version))

    @resource.post("/reports/{number}/send", "send", Permission.MESSAGE_MANAGE)
    async def send(number: NumberInPath, asked: SendReport) -> SentReport:
        """Tell a feed the newest version once more, behind what waits."""
        return SentReport(id=await send_report(archive, number, asked.feed))


# --- helpers ---


def _report(one: ReportRow) -> StudyReport:
    return StudyReport.model_validate(one)


def _version(one: ReportVersion) -> ReportVersionText:
    content = one.content
    return ReportVersionText(
        version=one.version,
        state=one.state.value,
        sections=[ReportSectionText.model_validate(section) for section in content.sections],
        addenda=[ReportAddendum.model_validate(addendum) for addendum in content.addenda],
        document_type=content.document_type,
        author=content.author,
        signer=content.signer,
        reason=one.reason,
        made_at=one.made_at,
        made_by=one.made_by,
        signed_at=one.signed_at,
    )


def _file(found: files.ReportFile) -> ReportFileShown:
    return ReportFileShown(
        name=found.name, media_type=found.media_type, content=base64.b64encode(found.data).decode("ascii")
    )
