"""`/reports/{number}`: one report to be read and printed, its versions and what differs between two, addenda, cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.audit_events import viewed
from fileroom.archive.services import Archive
from fileroom.archive.study_contents import studies_of_patient
from fileroom.archive.study_list import ListedStudy, studies_by_uid
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import NotFoundError, RequestError, told
from fileroom.core.limits import REPORT_FORM_BYTES_MAX
from fileroom.reports.editing import add_addendum, cancel_report, may_write, read_edit
from fileroom.reports.facts import ReportSource, ReportState
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.reports import get_report, get_versions
from fileroom.reports.summaries import ReportSummary, summaries_of_studies
from fileroom.reports.writing import STATE_WORDS
from fileroom.web.answers import NO_STORE, PRIVATE, Answer
from fileroom.web.audited import note_view, requestor
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.word_differences import compare_contents
from fileroom.web.endpoint import Handler

REPORTS_PATH: Final = "/reports"
_DIGITS_MAX: Final = 15
_DOCUMENT_NAMES: Final = {"application/pdf": "pdf", "text/xml": "xml", "text/rtf": "rtf"}
_DOCUMENT_POLICY: Final = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""As for documents among the images: a browser's reader of PDF is a plug-in to it."""


def report_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page of a report and its forms, by path and method. They stand behind all other pages of /reports."""

    async def show(request: Request) -> Answer:
        return await _show(archive, request, report_number(request))

    async def document(request: Request) -> Answer:
        return await _document(archive, request)

    async def addendum(request: Request) -> Answer:
        require(Permission.REPORT_SIGN)
        number, form = report_number(request), await report_form(request)
        try:
            await add_addendum(archive, number, whole_number(form, "version"), form.exactly("text"))
        except NotFoundError:
            raise
        except RequestError as error:
            return await _show(archive, request, number, error, form)
        return back_to_report(number, "addendum")

    async def cancel(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        number, form = report_number(request), await report_form(request)
        try:
            await cancel_report(archive, number, form.get("reason"))
        except NotFoundError:
            raise
        except RequestError as error:
            return await _show(archive, request, number, error, form)
        return back_to_report(number, "cancelled")

    return {
        f"{REPORTS_PATH}/{{number}}": {"GET": show},
        f"{REPORTS_PATH}/{{number}}/document": {"GET": document},
        f"{REPORTS_PATH}/{{number}}/addendum": {"POST": addendum},
        f"{REPORTS_PATH}/{{number}}/cancel": {"POST": cancel},
    }


# --- what the pages of a report share ---


def report_number(request: Request) -> int:
    """The number in the address. Raises NotFoundError."""
    text = str(request.path_params.get("number", ""))
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise NotFoundError(told("There is no such report."))


async def report_form(request: Request) -> Form:
    """The form in the request; it may hold a long report. Raises InvalidRequestError, TooLargeError, NotAllowedError."""
    form = await read_form(request, REPORT_FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def back_to_report(number: int, done: str) -> Answer:
    """To the page of the report, which says what was done."""
    address = f"{REPORTS_PATH}/{number}?done={done}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})


async def study_of_report(archive: Archive, report: ReportRow) -> ListedStudy | None:
    """Its study as the study list has it; None where it is not here, or not to be searched for."""
    if not report.study_instance_uid or not current_access().allows(Permission.STUDY_SEARCH):
        return None
    return next(iter(await studies_by_uid(archive, [report.study_instance_uid])), None)


async def earlier_reports(archive: Archive, report: ReportRow, study: ListedStudy | None) -> list[ReportSummary]:
    """Other reports of the same patient, the newest first, without drafts."""
    uids = [one.study_uid for one in await studies_of_patient(archive, study)] if study else []
    found = await summaries_of_studies(archive, uids or [report.study_instance_uid], patient=report.patient)
    hidden = (ReportState.DRAFT, ReportState.CANCELLED)
    return [one for one in found if one.report.id != report.id and one.report.state not in hidden]


def note_reading(archive: Archive, request: Request, report: ReportRow) -> None:
    """Put down that somebody read a report, once in a while for each person."""
    what = f"report {report.id}"
    if report.study_instance_uid:
        note_view(archive, request, report.study_instance_uid, what)
        return
    actor, now = requestor(request), asyncio.get_running_loop().time()
    if archive.audit.is_new_view(actor.kind, actor.name, actor.address, "", what, now=now):
        archive.audit.note(viewed([], what, actor=actor))


# --- helpers ---


async def _show(
    archive: Archive,
    request: Request,
    number: int,
    error: RequestError | None = None,
    typed: Form | None = None,
) -> Answer:
    report = await get_report(archive, number)
    versions = await get_versions(archive, number)
    shown = _chosen(versions, request.query_params.get("version", ""))
    access = current_access()
    reader = view_of(request).reader
    study = await study_of_report(archive, report)
    writes = may_write(access, report)
    edit = await read_edit(archive, number) if writes else None
    first, second = _compared(versions, request)
    values: dict[str, Any] = {
        "report": report,
        "versions": versions,
        "shown": shown,
        "sections": edit.sections if edit and report.state is ReportState.DRAFT else shown.content.sections,
        "title": edit.title if edit and report.state is ReportState.DRAFT else report.title,
        "is_latest": shown.version == report.version,
        "study": study,
        "edit": edit,
        "earlier": await earlier_reports(archive, report, study),
        "differences": await asyncio.to_thread(
            compare_contents, first.content, second.content, reader.gettext("Addendum")
        )
        if first and second
        else None,
        "first": first,
        "second": second,
        "may_write": writes,
        "may_sign": access.allows(Permission.REPORT_SIGN) and report.source is ReportSource.CONSOLE,
        "typed": typed or Form([]),
        "done": request.query_params.get("done", ""),
        "error": reader.say(error) if error else "",
        "state_words": STATE_WORDS,
        "document_name": _DOCUMENT_NAMES.get(shown.content.document_type, ""),
    }
    note_reading(archive, request, report)
    return await page(archive, request, "report_read.html", place="reports", status=number_of(error), **values)


def _chosen(versions: Sequence[ReportVersion], text: str) -> ReportVersion:
    """The version that the address names, else the newest. Raises NotFoundError."""
    found = next((one for one in versions if str(one.version) == text), None) if text else versions[0]
    if found is None:
        raise NotFoundError(told("This report has no such version."))
    return found


def _compared(versions: Sequence[ReportVersion], request: Request) -> tuple[ReportVersion | None, ReportVersion | None]:
    """Two versions to be compared, the older first; None where the address does not ask for it."""
    names = [request.query_params.get(name, "") for name in ("from", "to")]
    if not any(names):
        return None, None
    first, second = (_chosen(versions, name) for name in names)
    return (first, second) if first.version <= second.version else (second, first)


async def _document(archive: Archive, request: Request) -> Answer:
    """What a report came as. A PDF may be shown in our page; anything else is only taken away."""
    report = await get_report(archive, report_number(request))
    text = request.query_params.get("version", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS_MAX else report.version
    version = (await get_versions(archive, report.id, number, with_documents=True))[0]
    if not version.content.document:
        raise NotFoundError(told("This report did not come as a document."))
    kind = _DOCUMENT_NAMES.get(version.content.document_type, "bin")
    note_reading(archive, request, report)
    is_pdf = kind == "pdf"
    headers = {
        "content-type": "application/pdf" if is_pdf else "application/octet-stream",
        "content-disposition": f'{"inline" if is_pdf else "attachment"}; filename="report-{report.id}.{kind}"',
        "x-content-type-options": "nosniff",
        "cache-control": PRIVATE,
        "content-security-policy": _DOCUMENT_POLICY,
    }
    return Answer(200, headers, version.content.document)
