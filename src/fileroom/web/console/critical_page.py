"""`/reports/critical`: critical findings, those that wait first, who acknowledged, and how soon each level must be."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import RequestError
from fileroom.reports import critical, critical_levels
from fileroom.web.answers import Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.board_page import asked_number, minutes_text
from fileroom.web.console.form_pages import back_to, number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

CRITICAL_PATH: Final = "/reports/critical"
PAGE_FINDINGS: Final = 100
WAYS: Final = {
    "fileroom": N_("in Fileroom"),
    "phone": N_("by phone"),
    "person": N_("in person"),
    "other": N_("in another way"),
}
EVENTS: Final = {
    "noted": N_("noted"),
    "told": N_("told"),
    "not told": N_("could not be told"),
    "overdue": N_("overdue: nobody acknowledged in time"),
    "acknowledged": N_("acknowledged"),
    "reopened": N_("open again"),
}
DONE: Final = {
    "noted": N_("It is noted. Whom the level names is told."),
    "acknowledged": N_("It is acknowledged."),
    "reopened": N_("It is open again."),
    "saved": N_("Saved."),
}


def critical_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""

    async def show(request: Request) -> Answer:
        return await _show(archive, request)

    async def note(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        form = await _form(request)
        try:
            number = whole_number(form, "report")
            await critical.note_critical(
                archive, number, form.get("finding"), level=form.get("level"), told_to=form.get("told_to")
            )
        except RequestError as error:
            return await _show(archive, request, error, form)
        return back_to(CRITICAL_PATH, "noted")

    async def acknowledge(request: Request) -> Answer:
        require(Permission.STUDY_VIEW)
        form = await _form(request)
        try:
            await critical.acknowledge_critical(
                archive,
                whole_number(form, "id"),
                how=form.get("how") or critical.IN_FILEROOM,
                by=form.get("by"),
                comment=form.get("comment"),
            )
        except RequestError as error:
            return await _show(archive, request, error)
        return back_to(CRITICAL_PATH, "acknowledged")

    async def reopen(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        form = await _form(request)
        try:
            await critical.reopen_critical(archive, whole_number(form, "id"), form.get("reason"))
        except RequestError as error:
            return await _show(archive, request, error)
        return back_to(CRITICAL_PATH, "reopened")

    async def save_level(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            fields = {
                "minutes": whole_number(form, "minutes"),
                "tell": form.all("tell"),
                "escalate": form.all("escalate"),
            }
            version = whole_number(form, "version") if form.get("version") else None
            await critical_levels.put_level(archive, form.get("name"), fields, version=version)
        except RequestError as error:
            return await _show(archive, request, error)
        return back_to(CRITICAL_PATH, "saved")

    async def remove_level(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            await critical_levels.remove_level(archive, form.get("name"))
        except RequestError as error:
            return await _show(archive, request, error)
        return back_to(CRITICAL_PATH, "saved")

    return {
        CRITICAL_PATH: {"GET": show},
        f"{CRITICAL_PATH}/note": {"POST": note},
        f"{CRITICAL_PATH}/acknowledge": {"POST": acknowledge},
        f"{CRITICAL_PATH}/reopen": {"POST": reopen},
        f"{CRITICAL_PATH}/levels": {"POST": save_level},
        f"{CRITICAL_PATH}/levels/remove": {"POST": remove_level},
    }


async def _show(
    archive: Archive, request: Request, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    require(Permission.STUDY_VIEW)
    view = view_of(request)
    before = asked_number(request.query_params.get("before", ""))
    waiting = await critical.list_critical(archive, limit=PAGE_FINDINGS)
    done = await critical.list_critical(archive, acknowledged=True, before=before, limit=PAGE_FINDINGS)
    typed = typed or Form([])
    may_set = view.access.allows(Permission.ROUTING_MANAGE)
    values: dict[str, Any] = {
        "waiting": waiting,
        "past": done,
        "events": await critical.critical_events(archive, [one.id for one in (*waiting, *done)]),
        "older": f"{CRITICAL_PATH}?before={done[-1].id}" if len(done) == PAGE_FINDINGS else "",
        "levels": await critical_levels.list_levels(archive),
        "notices": await critical_levels.notice_names(archive) if may_set else [],
        "now": archive.now(),
        "minutes_text": minutes_text,
        "ways": WAYS,
        "event_words": EVENTS,
        "report": typed.get("report") or str(asked_number(request.query_params.get("report", "")) or ""),
        "typed": typed,
        "me": view.access.name,
        "may_write": view.access.allows(Permission.REPORT_WRITE),
        "may_set": may_set,
        "done": DONE.get(request.query_params.get("done", ""), ""),
        "error": view.reader.say(error) if error else "",
    }
    return await page(archive, request, "report_critical.html", place="reports", status=number_of(error), **values)


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form
