"""`/reports` once more, for writing: begun, saved, signed, added to, corrected, cancelled; and `/report-templates`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.reports import editing, templates
from fileroom.reports.editing import ADDENDUM_CHARS_MAX, CHARS_MAX, SECTIONS_MAX, Edit
from fileroom.reports.facts import ReportSection, ReportState
from fileroom.reports.report_rows import ReportVersion
from fileroom.reports.writing import REASON_CHARS_MAX
from fileroom.web.api.models import INTEGRAL, Asked, Flag, Moment, NameInPath, NumberInPath, ShortText, Shown
from fileroom.web.api.operations import Api, Resource
from fileroom.web.api.reports import ReportSectionText, State

_Number = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1), INTEGRAL]
_Edits = Annotated[
    _Number, Field(description="The `edits` of the draft as it was read; it has changed meanwhile: 409.")
]
_Heading = Annotated[str, Field(strict=True, max_length=templates.HEADING_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Texts = Annotated[list[ShortText], Field(max_length=templates.FITS_MAX)]


class AskedReport(Asked):
    """A report to begin."""

    study: Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]
    template: Annotated[
        ShortText | None, Field(description="Its name; empty: headings alone; null: the one that fits best.")
    ] = None
    language: Annotated[Literal["en", "de"], Field(description="Of headings without a template.")] = "en"


class AskedReportSection(Asked):
    """A heading and its text."""

    heading: _Heading = ""
    text: Annotated[str, Field(strict=True, max_length=CHARS_MAX, pattern=r"^[^\x00]*$")] = ""


class AskedReportDraft(Asked):
    """What is written so far."""

    edits: _Edits
    title: Annotated[str, Field(strict=True, max_length=templates.TITLE_CHARS_MAX, pattern=r"^[^\x00]*$")] | None = None
    sections: Annotated[list[AskedReportSection], Field(max_length=SECTIONS_MAX)]


class AskedSignature(Asked):
    """As what; what is signed is the draft as it was read."""

    edits: _Edits
    state: Literal["preliminary", "final"] = "final"


class AskedCorrection(Asked):
    """Why the draft takes the place of what was signed."""

    edits: _Edits
    reason: Annotated[str, Field(strict=True, min_length=1, max_length=REASON_CHARS_MAX, pattern=r"^[^\x00]*$")]


class AskedAddendum(Asked):
    """What is added to a version that was read."""

    version: _Number
    text: Annotated[str, Field(strict=True, min_length=1, max_length=ADDENDUM_CHARS_MAX, pattern=r"^[^\x00]*$")]


class AskedCancellation(Asked):
    """Why; needed unless the report is a draft."""

    reason: Annotated[str, Field(strict=True, max_length=REASON_CHARS_MAX, pattern=r"^[^\x00]*$")] = ""


class ReportDraft(Shown):
    """A report as its editor has it: what is typed, else what the newest version says."""

    id: int
    state: State
    version: int
    edits: Annotated[int, Field(description="Counts the saves; whoever saves says which one they have read.")]
    is_open: Annotated[bool, Field(description="Something is typed that the newest version does not say.")]
    title: str
    sections: list[ReportSectionText]
    saved_at: Moment | None
    saved_by: str


class BegunReport(Shown):
    """The number of the report."""

    id: int


class SignedReport(Shown):
    """The version that was made."""

    version: int
    state: State


class AskedReportTemplate(Asked):
    """What reports begin with. What it names, a study must be; an empty list fits every study."""

    title: ShortText = ""
    language: Literal["en", "de"] = "en"
    modalities: _Texts = Field(default_factory=list)
    body_parts: _Texts = Field(default_factory=list)
    procedure_codes: _Texts = Field(default_factory=list)
    sections: Annotated[list[AskedReportSection], Field(min_length=1, max_length=templates.SECTIONS_MAX)]
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them."""
        return self.model_dump(exclude={"enabled"})


class ReportTemplate(Shown):
    """A template as it is kept."""

    name: str
    title: str = ""
    language: str = "en"
    modalities: list[str] = Field(default_factory=list)
    body_parts: list[str] = Field(default_factory=list)
    procedure_codes: list[str] = Field(default_factory=list)
    sections: list[ReportSectionText]
    enabled: bool
    version: int
    changed_by: str


class ReportTemplates(Shown):
    """All templates, by name."""

    items: list[ReportTemplate]


def add_report_writing(api: Api) -> None:
    """The operations."""
    _add_editing(api)
    _add_templates(api)


def _add_editing(api: Api) -> None:
    archive = api.archive
    resource = Resource(api, "reports")

    @resource.add("/reports", "begin", Permission.REPORT_WRITE)
    async def begin_report(asked: AskedReport) -> BegunReport:
        """Begin a report about a study, as a draft."""
        number = await editing.begin_report(archive, asked.study, asked.template, language=asked.language)
        return BegunReport(id=number)

    @resource.get("/reports/{number}/draft", "draft", Permission.REPORT_WRITE)
    async def get_draft(number: NumberInPath) -> ReportDraft:
        """What is written so far, to go on with."""
        return _draft(await editing.read_edit(archive, number))

    @resource.put("/reports/{number}/draft", "save", Permission.REPORT_WRITE)
    async def save_draft(number: NumberInPath, asked: AskedReportDraft) -> ReportDraft:
        """Keep what is written; no version is made of it."""
        sections = [ReportSection(one.heading, one.text) for one in asked.sections]
        return _draft(await editing.save_report(archive, number, asked.edits, sections, asked.title))

    @resource.delete("/reports/{number}/draft", "discard", Permission.REPORT_WRITE)
    async def discard_draft(number: NumberInPath, edits: Annotated[int, Query(ge=0, le=2**31 - 1)]) -> None:
        """Take back what was written since the newest version."""
        await editing.discard_edit(archive, number, edits)

    @resource.post("/reports/{number}/signature", "sign", Permission.REPORT_WRITE)
    async def sign_report(number: NumberInPath, asked: AskedSignature) -> SignedReport:
        """Sign what is written as preliminary, or as final, which needs report.sign."""
        return _signed(await editing.sign_report(archive, number, asked.edits, ReportState(asked.state)))

    @resource.post("/reports/{number}/correction", "correct", Permission.REPORT_SIGN)
    async def correct_report(number: NumberInPath, asked: AskedCorrection) -> SignedReport:
        """Let what is written take the place of what was signed."""
        return _signed(await editing.correct_report(archive, number, asked.edits, asked.reason))

    @resource.post("/reports/{number}/addenda", "add_addendum", Permission.REPORT_SIGN)
    async def add_addendum(number: NumberInPath, asked: AskedAddendum) -> SignedReport:
        """Add to what was signed."""
        return _signed(await editing.add_addendum(archive, number, asked.version, asked.text))

    @resource.post("/reports/{number}/cancellation", "cancel", Permission.REPORT_WRITE)
    async def cancel_report(number: NumberInPath, asked: AskedCancellation) -> SignedReport:
        """Say that a report no longer stands; of a signed one this needs report.sign."""
        return _signed(await editing.cancel_report(archive, number, asked.reason))


def _add_templates(api: Api) -> None:
    archive = api.archive
    resource = api.resource("report_templates", "What reports begin with: headings, text and what they fit.")

    @resource.get("/report-templates", "all", Permission.REPORT_WRITE)
    async def all_templates() -> ReportTemplates:
        """All templates, by name."""
        return ReportTemplates(items=[_template(one) for one in await templates.list_templates(archive)])

    @resource.get("/report-templates/{name}", "get", Permission.REPORT_WRITE)
    async def get_template(name: NameInPath) -> ReportTemplate:
        """One template."""
        return _template(await templates.get_template(archive, name))

    @resource.put("/report-templates/{name}", "save", Permission.REPORT_SIGN)
    async def save_template(name: NameInPath, asked: AskedReportTemplate) -> ReportTemplate:
        """Add a template, or replace it."""
        return _template(await templates.put_template(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/report-templates/{name}", "remove", Permission.REPORT_SIGN)
    async def remove_template(name: NameInPath) -> None:
        """Remove a template; reports that were begun with it stay."""
        await templates.remove_template(archive, name)


def _draft(edit: Edit) -> ReportDraft:
    return ReportDraft(
        id=edit.report.id,
        state=edit.report.state.value,
        version=edit.report.version,
        edits=edit.edits,
        is_open=edit.is_open,
        title=edit.title,
        sections=[ReportSectionText.model_validate(one) for one in edit.sections],
        saved_at=edit.saved_at,
        saved_by=edit.saved_by,
    )


def _signed(version: ReportVersion) -> SignedReport:
    return SignedReport(version=version.version, state=version.state.value)


def _template(one: Entry) -> ReportTemplate:
    return ReportTemplate(
        **one.fields, name=one.name, enabled=one.enabled, version=one.version, changed_by=one.changed_by
    )
