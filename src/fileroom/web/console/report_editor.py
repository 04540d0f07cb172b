"""`/reports/new` and `/reports/{number}/edit`: a report is begun, written, signed or corrected.

The editor saves by itself (`report_edit.js`); without script the same form is saved by its button. What is refused stays in the
form, whatever the reason was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.archive.study_contents import get_study
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError, told
from fileroom.core.identifiers import UID
from fileroom.reports.editing import (
    SECTIONS_MAX,
    Edit,
    EditedMeanwhileError,
    begin_report,
    correct_report,
    discard_edit,
    read_edit,
    save_report,
    sign_report,
)
from fileroom.reports.facts import ReportSection, ReportState
from fileroom.reports.summaries import summaries_of_studies
from fileroom.reports.templates import HEADING_CHARS_MAX, TITLE_CHARS_MAX, propose_templates
from fileroom.reports.writing import REASON_CHARS_MAX, STATE_WORDS
from fileroom.web.answers import NO_STORE, Answer, json_answer
from fileroom.web.console import formats
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.console.report_page import (
    REPORTS_PATH,
    back_to_report,
    earlier_reports,
    note_reading,
    report_form,
    report_number,
    study_of_report,
)
from fileroom.web.endpoint import Handler

NEW_PATH: Final = f"{REPORTS_PATH}/new"
_EDIT: Final = f"{REPORTS_PATH}/{{number}}/edit"


def editor_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages on which reports are written, by path and method. They stand in front of `/reports/{number}`."""

    async def new(request: Request) -> Answer:
        return await _new(archive, request)

    async def begin(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        form = await report_form(request)
        reader = view_of(request).reader
        number = await begin_report(archive, UID(form.get("study")), form.get("template"), language=reader.language)
        return _to_editor(number)

    async def edit(request: Request) -> Answer:
        return await _edit(archive, request, report_number(request))

    async def save(request: Request) -> Answer:
        return await _save(archive, request)

    async def ask(request: Request) -> Answer:
        return await _ask(archive, request, report_number(request))

    async def sign(request: Request) -> Answer:
        return await _sign(archive, request)

    async def discard(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        number, form = report_number(request), await report_form(request)
        try:
            await discard_edit(archive, number, whole_number(form, "edits"))
        except NotFoundError:
            raise
        except RequestError as error:
            return await _edit(archive, request, number, error)
        return back_to_report(number, "discarded")

    return {
        NEW_PATH: {"GET": new},
        f"{REPORTS_PATH}/begin": {"POST": begin},
        _EDIT: {"GET": edit},
        f"{REPORTS_PATH}/{{number}}/save": {"POST": save},
        f"{REPORTS_PATH}/{{number}}/sign": {"GET": ask, "POST": sign},
        f"{REPORTS_PATH}/{{number}}/discard": {"POST": discard},
    }


# --- beginning ---


async def _new(archive: Archive, request: Request) -> Answer:
    require(Permission.REPORT_WRITE)
    uid = request.query_params.get("study", "")
    values: dict[str, Any] = {"study": None, "fitting": [], "further": [], "others": []}
    if uid:
        study = await get_study(archive, UID(uid))
        fitting, further = await propose_templates(archive, study.study_uid, view_of(request).reader.language)
        values = {
            "study": study,
            "fitting": fitting,
            "further": further,
            "others": await summaries_of_studies(archive, [study.study_uid]),
        }
    values |= {"state_words": STATE_WORDS, "may_manage": current_access().allows(Permission.REPORT_SIGN)}
    return await page(archive, request, "report_new.html", place="reports", **values)


# --- writing ---


async def _edit(
    archive: Archive,
    request: Request,
    number: int,
    error: RequestError | None = None,
    typed: Form | None = None,
) -> Answer:
    edit = await read_edit(archive, number)
    study = await study_of_report(archive, edit.report)
    theirs: Edit | None = None
    if typed is not None:
        theirs = edit if isinstance(error, EditedMeanwhileError) else None
        seen = edit.edits if theirs or not typed.get("edits").isdecimal() else int(typed.get("edits")[:9])
        edit = replace(edit, sections=_sections(typed), title=typed.get("title"), edits=seen)
    values: dict[str, Any] = {
        "edit": edit,
        "report": edit.report,
        "study": study,
        "theirs": theirs,
        "earlier": await earlier_reports(archive, edit.report, study),
        "heading_chars_max": HEADING_CHARS_MAX,
        "title_chars_max": TITLE_CHARS_MAX,
        "may_add": len(edit.sections) < SECTIONS_MAX,
        "done": request.query_params.get("done", ""),
        "state_words": STATE_WORDS,
        "error": view_of(request).reader.say(error) if error else "",
    }
    note_reading(archive, request, edit.report)
    return await page(archive, request, "report_edit.html", place="reports", status=number_of(error), **values)


async def _save(archive: Archive, request: Request) -> Answer:
    require(Permission.REPORT_WRITE)
    number, form = report_number(request), await report_form(request)
    view = view_of(request)
    try:
        edit = await save_report(archive, number, whole_number(form, "edits"), _sections(form), form.get("title"))
        if change := form.get("change"):
            edit = await save_report(archive, number, edit.edits, _changed(edit.sections, change))
    except NotFoundError:
        raise
    except RequestError as error:
        if is_part(request):
            status = number_of(error)
            return json_answer(
                {"told": view.reader.say(error), "conflict": status == HTTPStatus.CONFLICT}, status=status
            )
        return await _edit(archive, request, number, error, form)
    if is_part(request):
        clock = formats.time(f"{edit.saved_at.astimezone(view.zone):%H%M%S}", view.tag) if edit.saved_at else ""
        return json_answer({"edits": edit.edits, "saved": clock}).with_headers({"cache-control": NO_STORE})
    if form.get("then") == "sign":
        return Answer(HTTPStatus.SEE_OTHER, {"location": f"{REPORTS_PATH}/{number}/sign", "cache-control": NO_STORE})
    return _to_editor(number, form.get("change"))


def _sections(form: Form) -> tuple[ReportSection, ...]:
    return tuple(
        ReportSection(heading, text) for heading, text in zip(form.all("heading"), form.all("text"), strict=False)
    )


def _changed(sections: Sequence[ReportSection], change: str) -> tuple[ReportSection, ...]:
    """`add`, or `remove`, `up` and `down` with the place of a section. Raises InvalidRequestError."""
    found = list(sections)
    word, _, text = change.partition(" ")
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1
    if word == "add":
        return (*found, ReportSection("", ""))
    if not 0 <= place < len(found):
        raise InvalidRequestError(told("There is no such section."))
    if word == "remove":
        del found[place]
    elif word in ("up", "down"):
        found.insert(max(place + (1 if word == "down" else -1), 0), found.pop(place))
    else:
        raise InvalidRequestError(told("There is no such section."))
    return tuple(found)


# --- signing ---


async def _ask(
    archive: Archive, request: Request, number: int, error: RequestError | None = None, reason: str = ""
) -> Answer:
    edit = await read_edit(archive, number)
    access = current_access()
    values: dict[str, Any] = {
        "edit": edit,
        "report": edit.report,
        "study": await study_of_report(archive, edit.report),
        "is_correction": edit.report.state.is_signed,
        "is_of_another": edit.report.created_by != access.name,
        "says_something": any(one.text.strip() for one in edit.sections),
        "may_sign": access.allows(Permission.REPORT_SIGN),
        "reason": reason,
        "reason_chars_max": REASON_CHARS_MAX,
        "state_words": STATE_WORDS,
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "report_sign.html", place="reports", status=number_of(error), **values)


async def _sign(archive: Archive, request: Request) -> Answer:
    """`state` is preliminary, final or corrected; what is signed is what was shown (`edits`)."""
    require(Permission.REPORT_WRITE)
    number, form = report_number(request), await report_form(request)
    try:
        edits, state = whole_number(form, "edits"), form.get("state")
        if state == ReportState.CORRECTED.value:
            await correct_report(archive, number, edits, form.get("reason"))
        elif state in (ReportState.PRELIMINARY.value, ReportState.FINAL.value):
            await sign_report(archive, number, edits, ReportState(state))
        else:
            raise InvalidRequestError(told("A report is signed as preliminary or as final."))
    except NotFoundError:
        raise
    except RequestError as error:
        return await _ask(archive, request, number, error, form.get("reason"))
    return back_to_report(number, "signed")


def _to_editor(number: int, change: str = "") -> Answer:
    anchor = "#last" if change == "add" else f"#section-{quote(change.partition(' ')[2])}" if change else ""
    address = f"{REPORTS_PATH}/{number}/edit{anchor}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})
