"""`/reports/templates`: the templates that reports begin with, each with its sections and versions."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.entries import Entry
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import NotFoundError, RequestError
from fileroom.reports import templates
from fileroom.reports.template_words import PLACEHOLDERS
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form
from fileroom.web.console.language import LANGUAGES
from fileroom.web.console.page import page, view_of
from fileroom.web.console.report_page import REPORTS_PATH, report_form
from fileroom.web.endpoint import Handler

TEMPLATES_PATH: Final = f"{REPORTS_PATH}/templates"
NEW_SECTIONS: Final = 1
"""Empty sections below those that there are; save, and there is another."""
_LISTS: Final = ("modalities", "procedure_codes", "body_parts")
_BEGINNING: Final = ({"heading": "", "text": ""},) * 3


def report_templates_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages and their forms, by path and method. They stand in front of `/reports/{number}`."""

    async def show(request: Request) -> Answer:
        return await _list(archive, request)

    async def one(request: Request) -> Answer:
        return await _one(archive, request, request.query_params.get("name", ""))

    async def save(request: Request) -> Answer:
        require(Permission.REPORT_SIGN)
        form = await report_form(request)
        is_new = bool(form.get("is_new"))
        name = form.get("name")
        try:
            version = None if is_new else whole_number(form, "version")
            enabled = bool(form.get("enabled"))
            await templates.put_template(
                archive, name, _fields(form), enabled=enabled, version=version, new=True if is_new else None
            )
        except RequestError as error:
            return await _one(archive, request, "" if is_new else name, error, form)
        return _to(f"{TEMPLATES_PATH}?done=saved")

    async def remove(request: Request) -> Answer:
        require(Permission.REPORT_SIGN)
        form = await report_form(request)
        try:
            await templates.remove_template(archive, form.get("name"))
        except RequestError as error:
            return await _list(archive, request, error)
        return _to(f"{TEMPLATES_PATH}?done=removed")

    async def starters(request: Request) -> Answer:
        require(Permission.REPORT_SIGN)
        form = await report_form(request)
        try:
            await templates.add_starters(archive, form.get("language"))
        except RequestError as error:
            return await _list(archive, request, error)
        return _to(f"{TEMPLATES_PATH}?done=saved")

    return {
        TEMPLATES_PATH: {"GET": show},
        f"{TEMPLATES_PATH}/template": {"GET": one},
        f"{TEMPLATES_PATH}/save": {"POST": save},
        f"{TEMPLATES_PATH}/remove": {"POST": remove},
        f"{TEMPLATES_PATH}/starters": {"POST": starters},
    }


async def _list(archive: Archive, request: Request, error: RequestError | None = None) -> Answer:
    require(Permission.REPORT_WRITE)
    values: dict[str, Any] = {
        "entries": await templates.list_templates(archive),
        "may_manage": current_access().allows(Permission.REPORT_SIGN),
        "own_language": view_of(request).reader.language,
        "done": request.query_params.get("done", ""),
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "report_templates.html", place="reports", status=number_of(error), **values)


async def _one(
    archive: Archive, request: Request, name: str, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    """The form of a template, or of a new one; `typed` is what was refused."""
    require(Permission.REPORT_WRITE)
    entry: Entry | None = None
    if name:
        try:
            entry = await templates.get_template(archive, name)
        except NotFoundError:
            if typed is None:
                raise
    fields: dict[str, Any] = _fields(typed) if typed else dict(entry.fields) if entry else {"sections": _BEGINNING}
    sections = list(fields.get("sections", ()))
    spare = templates.SECTIONS_MAX - len(sections)
    values: dict[str, Any] = {
        "entry": entry,
        "name": typed.get("name") if typed else name,
        "fields": {key: ", ".join(fields.get(key, ())) for key in _LISTS}
        | {"title": fields.get("title", ""), "language": fields.get("language", view_of(request).reader.language)},
        "sections": [*sections, *[{"heading": "", "text": ""}] * min(NEW_SECTIONS, spare)],
        "enabled": bool(typed.get("enabled")) if typed else entry.enabled if entry else True,
        "version": typed.get("version") if typed and not entry else entry.version if entry else "",
        "versions": await templates.list_template_versions(archive, name) if entry else [],
        "languages_of_reports": {code: LANGUAGES[code] for code in templates.LANGUAGES},
        "placeholders": PLACEHOLDERS,
        "may_manage": current_access().allows(Permission.REPORT_SIGN),
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "report_template.html", place="reports", status=number_of(error), **values)


def _fields(form: Form) -> dict[str, Any]:
    """The fields of a template as its form has them; sections without heading and text are left out."""
    pairs = zip(form.all("heading"), form.all("text"), strict=False)
    sections = [{"heading": heading, "text": text} for heading, text in pairs if heading.strip() or text.strip()]
    lists = {key: [one.strip() for one in form.get(key).split(",") if one.strip()] for key in _LISTS}
    return {**lists, "title": form.get("title"), "language": form.get("language"), "sections": sections}


def _to(address: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})
