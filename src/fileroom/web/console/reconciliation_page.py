"""`/reports/reconciliation`: images without reports, reports without images, what else does not fit, and what may be done."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, RequestError
from fileroom.reports import assignments, reconciliation
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.board_page import asked_number
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

RECONCILIATION_PATH: Final = "/reports/reconciliation"
PAGE_FINDINGS: Final = 100
KIND_WORDS: Final = {
    "images_without_report": N_("images without a report"),
    "reports_without_images": N_("reports without images"),
    "orders_without_images": N_("completed orders without images"),
    "reports_on_cancelled": N_("reports on cancelled orders"),
}
DONE: Final = {
    "dismissed": N_("They left the list."),
    "back": N_("It is on the list again."),
    "assigned": N_("The report is of that study now."),
    "undone": N_("It is undone."),
}


def reconciliation_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""

    async def show(request: Request) -> Answer:
        return await _show(archive, request)

    async def dismiss(request: Request) -> Answer:
        form = await _form(request)
        try:
            await reconciliation.dismiss_findings(archive, form.get("kind"), form.all("subject"), form.get("reason"))
        except RequestError as error:
            return await _show(archive, request, error, form.get("kind"))
        return _back(form, "dismissed")

    async def put_back(request: Request) -> Answer:
        form = await _form(request)
        try:
            await reconciliation.undismiss_finding(archive, form.get("kind"), form.get("put_back"))
        except RequestError as error:
            return await _show(archive, request, error, form.get("kind"))
        return _back(form, "back")

    async def assign(request: Request) -> Answer:
        form = await _form(request)
        # A button of the list, or the form below it.
        number, _, study = (form.get("assign") or f"{form.get('report')} {form.get('study')}").partition(" ")
        try:
            order = whole_number(form, "order") if form.get("order") and not study.strip() else None
            await assignments.assign_report(
                archive,
                whole_number(Form([("report", number)]), "report"),
                study_uid=study.strip(),
                order=order,
                reason=form.get("reason"),
                other_patient=form.has("other_patient"),
            )
        except RequestError as error:
            return await _show(archive, request, error, form.get("kind"))
        return _back(form, "assigned")

    async def undo(request: Request) -> Answer:
        form = await _form(request)
        try:
            await assignments.undo_assignment(archive, whole_number(form, "report"))
        except RequestError as error:
            return await _show(archive, request, error, form.get("kind"))
        return _back(form, "undone")

    return {
        RECONCILIATION_PATH: {"GET": show},
        f"{RECONCILIATION_PATH}/dismiss": {"POST": dismiss},
        f"{RECONCILIATION_PATH}/put-back": {"POST": put_back},
        f"{RECONCILIATION_PATH}/assign": {"POST": assign},
        f"{RECONCILIATION_PATH}/undo": {"POST": undo},
    }


async def _show(archive: Archive, request: Request, error: RequestError | None = None, kind: str = "") -> Answer:
    require(Permission.STUDY_VIEW)
    view, query = view_of(request), request.query_params
    kind = kind or query.get("kind", "")
    kind = kind if kind in reconciliation.KINDS else reconciliation.IMAGES_WITHOUT_REPORT
    hours = asked_number(query.get("hours", "")) if query.get("hours") else reconciliation.HOURS_DEFAULT
    dismissed = query.get("show") == "dismissed"
    try:
        found = await reconciliation.list_findings(
            archive, kind, hours=-1 if hours is None else hours, dismissed=dismissed, limit=PAGE_FINDINGS
        )
    except InvalidRequestError as problem:
        error, hours = problem, reconciliation.HOURS_DEFAULT
        found = await reconciliation.list_findings(archive, kind, dismissed=dismissed, limit=PAGE_FINDINGS)
    shown = hours if hours is not None else reconciliation.HOURS_DEFAULT
    lost = [one.report for one in found if kind == reconciliation.REPORTS_WITHOUT_IMAGES and one.report is not None]
    values: dict[str, Any] = {
        "kind": kind,
        "kinds": KIND_WORDS,
        "counts": await reconciliation.count_findings(archive, hours=shown),
        "found": found,
        "is_full": len(found) == PAGE_FINDINGS,
        "hours": shown,
        "days_back": reconciliation.DAYS_BACK,
        "dismissed": dismissed,
        "suggestions": await reconciliation.suggest_studies(archive, lost) if lost else {},
        "reasons": reconciliation.REASONS,
        "moved": await assignments.list_assignments(archive, limit=20),
        "may_manage": view.access.allows(Permission.ORDER_MANAGE),
        "may_write": view.access.allows(Permission.REPORT_WRITE),
        "may_orders": view.access.allows(Permission.ORDER_READ),
        "done": DONE.get(query.get("done", ""), ""),
        "error": view.reader.say(error) if error else "",
    }
    return await page(archive, request, "reconciliation.html", place="reports", status=number_of(error), **values)


async def _form(request: Request) -> Form:
    require(Permission.ORDER_MANAGE)
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(form: Form, done: str) -> Answer:
    kind = form.get("kind")
    words = {"kind": kind, "done": done} if kind in reconciliation.KINDS else {"done": done}
    location = f"{RECONCILIATION_PATH}?{urlencode(words)}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})
