"""`/routing/projects`: how objects are de-identified, what became of them, and who a pseudonym is.

Every project has a page of its own, `/routing/projects/project?name=`, every report one, `/routing/projects/report?number=`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.admin.entries import EditedMeanwhileError
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing import deid_projects, deid_reports, pseudonyms
from fileroom.routing.project_fields import MAP_CHARS_MAX
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.console.project_form import (
    ACTION_WORDS,
    CLEANED,
    KEPT,
    OPTION_WORDS,
    default_fields,
    fields_of_form,
    texts_of,
)
from fileroom.web.endpoint import Handler

PROJECTS_PATH: Final = "/routing/projects"
_ONE: Final = f"{PROJECTS_PATH}/project"
_REPORT: Final = f"{PROJECTS_PATH}/report"
_REPORTS_SHOWN: Final = 25
_ROWS_SHOWN: Final = 500
"""Of a report; the CSV has all of them."""
_FORM_BYTES_MAX: Final = 3 * MAP_CHARS_MAX + 300_000


def projects_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""
    pages = ProjectPages(archive)
    return {
        PROJECTS_PATH: {"GET": pages.show},
        _ONE: {"GET": pages.show_one},
        _REPORT: {"GET": pages.show_report},
        f"{_REPORT}.csv": {"GET": pages.download_report},
        f"{PROJECTS_PATH}/save": {"POST": pages.save},
        f"{PROJECTS_PATH}/remove": {"POST": pages.remove},
        f"{PROJECTS_PATH}/reveal": {"POST": pages.reveal},
    }


class ProjectPages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def show(self, request: Request) -> Answer:
        """The list of projects and of reports."""
        require(Permission.ROUTING_READ)
        return await self._list(request)

    async def show_one(self, request: Request) -> Answer:
        """One project; without a name, a new one."""
        require(Permission.ROUTING_READ)
        name = request.query_params.get("name", "")
        if not name:
            return await self._one(request, "", default_fields(), is_new=True)
        entry = await deid_projects.get_project(self._archive, name)
        return await self._one(request, name, entry.fields, version=entry.version, enabled=entry.enabled)

    async def show_report(self, request: Request) -> Answer:
        """One report with its objects."""
        require(Permission.ROUTING_READ)
        head, rows = await deid_reports.get_report(self._archive, _number(request))
        values: dict[str, Any] = {
            "report": head,
            "rows": rows[:_ROWS_SHOWN],
            "left_out": max(len(rows) - _ROWS_SHOWN, 0),
        }
        return await page(self._archive, request, "deid_report.html", place="routing", **values)

    async def download_report(self, request: Request) -> Answer:
        """The report as CSV."""
        require(Permission.ROUTING_READ)
        number = _number(request)
        text = await deid_reports.export_report(self._archive, number)
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": f'attachment; filename="deid-report-{number}.csv"',
            "cache-control": NO_STORE,
        }
        return Answer(HTTPStatus.OK, headers, text.encode())

    async def save(self, request: Request) -> Answer:
        """Add or change one."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        name, is_new, enabled = form.get("name"), bool(form.get("is_new")), bool(form.get("enabled"))
        version = None if is_new else whole_number(form, "version")
        fields: dict[str, Any] = default_fields()
        try:
            fields = fields_of_form(form)
            saved = await deid_projects.put_project(
                self._archive, name, fields, enabled=enabled, version=version, new=is_new
            )
        except EditedMeanwhileError as error:
            version = error.now.version
            return await self._one(request, name, fields, version=version, enabled=enabled, error=error, form=form)
        except RequestError as error:
            shown: dict[str, Any] = {"is_new": is_new, "version": version or 0, "enabled": enabled, "form": form}
            return await self._one(request, name, fields, error=error, **shown)
        return _to(f"{_ONE}?{urlencode({'name': saved.name, 'done': 'saved'})}")

    async def remove(self, request: Request) -> Answer:
        """Remove it."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        name = form.get("name")
        try:
            await deid_projects.remove_project(self._archive, name)
        except RequestError as error:
            entry = await deid_projects.get_project(self._archive, name)
            return await self._one(request, name, entry.fields, version=entry.version, error=error)
        return _to(PROJECTS_PATH)

    async def reveal(self, request: Request) -> Answer:
        """Who a pseudonym is; in the answer to the form itself, so that no address and no history holds it."""
        require(Permission.IDENTITY_REVEAL)
        form = await _form(request)
        asked = {key: form.get(key) for key in ("project", "pseudonym", "reason")}
        try:
            found = await pseudonyms.reveal(self._archive, asked["project"], asked["pseudonym"], asked["reason"])
        except RequestError as error:
            return await self._list(request, asked=asked, error=error)
        return await self._list(request, asked=asked, revealed=found)

    async def _list(
        self,
        request: Request,
        *,
        asked: dict[str, str] | None = None,
        revealed: pseudonyms.Revealed | None = None,
        error: RequestError | None = None,
    ) -> Answer:
        access = current_access()
        may_read = access.allows(Permission.ROUTING_READ)
        before = request.query_params.get("before", "")
        found = await deid_projects.list_projects(self._archive) if may_read else []
        page_before = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
        reports = (
            await deid_reports.list_reports(self._archive, before=page_before, limit=_REPORTS_SHOWN) if may_read else []
        )
        values: dict[str, Any] = {
            "projects": found,
            "reports": reports,
            "older": reports[-1].id if len(reports) == _REPORTS_SHOWN else 0,
            "words": {str(option): word for option, (word, _) in OPTION_WORDS.items()},
            "may_manage": access.allows(Permission.ROUTING_MANAGE),
            "may_reveal": access.allows(Permission.IDENTITY_REVEAL),
            "asked": asked or {},
            "revealed": revealed,
            "error": view_of(request).reader.say(error) if error is not None else "",
        }
        return await page(self._archive, request, "projects.html", place="routing", status=number_of(error), **values)

    async def _one(
        self,
        request: Request,
        name: str,
        fields: dict[str, Any],
        *,
        is_new: bool = False,
        version: int = 0,
        enabled: bool = True,
        error: RequestError | None = None,
        form: Form | None = None,
    ) -> Answer:
        values: dict[str, Any] = {
            "name": name,
            "fields": fields,
            "texts": texts_of(fields, form),
            "is_new": is_new,
            "version": version,
            "enabled": enabled,
            "kept": [(str(one), *OPTION_WORDS[one]) for one in KEPT],
            "cleaned": [(str(one), *OPTION_WORDS[one]) for one in CLEANED],
            "actions": ACTION_WORDS,
            "versions": await deid_projects.project_versions(self._archive, name) if version else [],
            "may_manage": current_access().allows(Permission.ROUTING_MANAGE),
            "error": view_of(request).reader.say(error) if error is not None else "",
            "done": request.query_params.get("done", ""),
        }
        return await page(self._archive, request, "project.html", place="routing", status=number_of(error), **values)


def _number(request: Request) -> int:
    text = request.query_params.get("number", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidRequestError(told("{name} is a whole number.", name="number"))
    return int(text)


async def _form(request: Request) -> Form:
    form = await read_form(request, _FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _to(address: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})
