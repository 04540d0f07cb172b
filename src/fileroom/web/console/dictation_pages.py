"""`/open`: a study by what a link says of it; `/reports/dictate`: an exam for a dictation program; which programs there are."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError, NotFoundError, RequestError, told
from fileroom.feeds.feeds import read_feeds
from fileroom.feeds.order_messages import send_exam
from fileroom.reports import handover, reporting_systems
from fileroom.reports.handover import HandOver
from fileroom.routing.dictation import put_context
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

OPEN_PATH: Final = "/open"
DICTATE_PATH: Final = "/reports/dictate"
SYSTEMS_PATH: Final = "/reports/systems"
CONTEXT_ROUTE: Final = "/dictation/context/{sealed}"
_TEXTS: Final = ("url", "context", "template", "extension", "media_type", "folder", "feed")
DONE: Final = {
    "written": N_("The file is in the folder of the program."),
    "sent": N_("The order waits in the outbox and leaves in a moment."),
    "saved": N_("Saved."),
}


def dictation_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages and what their forms do, by path and method."""

    async def open_study(request: Request) -> Answer:
        return await _open(archive, request)

    async def dictate(request: Request) -> Answer:
        return await _dictate(archive, request)

    async def file(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        query = request.query_params
        return _file_answer(await handover.hand_over(archive, query.get("study", ""), query.get("system", "")))

    async def write(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        form = await _form(request)
        try:
            await put_context(archive, form.get("study"), form.get("system"))
        except FileroomError as error:
            return await _dictate(archive, request, error, form.get("study"))
        return _back_to_study(form, "written")

    async def send(request: Request) -> Answer:
        require(Permission.REPORT_WRITE)
        form = await _form(request)
        try:
            system = await reporting_systems.get_system(archive, form.get("system"))
            await send_exam(archive, form.get("study"), system.feed)
        except FileroomError as error:
            return await _dictate(archive, request, error, form.get("study"))
        return _back_to_study(form, "sent")

    async def systems(request: Request) -> Answer:
        return await _systems(archive, request)

    async def save(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            version = whole_number(form, "version") if form.get("version") else None
            enabled = not version or form.has("enabled")
            fields = {name: form.get(name) for name in _TEXTS}
            await reporting_systems.put_system(archive, form.get("name"), fields, enabled=enabled, version=version)
        except RequestError as error:
            return await _systems(archive, request, error, form)
        return _see(f"{SYSTEMS_PATH}?done=saved")

    async def remove(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            await reporting_systems.remove_system(archive, form.get("name"))
        except RequestError as error:
            return await _systems(archive, request, error)
        return _see(f"{SYSTEMS_PATH}?done=saved")

    return {
        OPEN_PATH: {"GET": open_study},
        DICTATE_PATH: {"GET": dictate},
        f"{DICTATE_PATH}/file": {"GET": file},
        f"{DICTATE_PATH}/write": {"POST": write},
        f"{DICTATE_PATH}/send": {"POST": send},
        SYSTEMS_PATH: {"GET": systems},
        f"{SYSTEMS_PATH}/save": {"POST": save},
        f"{SYSTEMS_PATH}/remove": {"POST": remove},
    }


def context_handler(archive: Archive) -> Handler:
    """The handler of the file that a dictation program fetches by its link, without a login."""

    async def handle(request: Request) -> Answer:
        return _file_answer(await handover.open_context(archive, request.path_params["sealed"]))

    return handle


async def _open(archive: Archive, request: Request) -> Answer:
    """To the study if it is one, else which ones there are, or why there is none."""
    require(Permission.STUDY_VIEW)
    query = request.query_params
    names = ("accession", "issuer", "patient", "study")
    asked = {name: query.get(name, "").strip()[:64].replace("\0", "") for name in names}
    in_viewer = query.get("view") == "viewer"
    found: list[handover.FoundStudy] = []
    error: RequestError | None = None
    try:
        found = await handover.find_studies(
            archive,
            accession=asked["accession"],
            issuer=asked["issuer"],
            patient=asked["patient"],
            study_uid=asked["study"],
        )
        if not found:
            raise NotFoundError(told("No study that you may see has these numbers."))
    except RequestError as problem:
        error = problem
    if len(found) == 1:
        uid = quote(found[0].study_instance_uid, safe="")
        return _see(f"/viewer?StudyInstanceUIDs={uid}" if in_viewer else f"/studies/{uid}")
    values: dict[str, Any] = {
        "found": found,
        "asked": asked,
        "in_viewer": in_viewer,
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "open.html", place="studies", status=number_of(error), **values)


async def _dictate(archive: Archive, request: Request, error: FileroomError | None = None, study: str = "") -> Answer:
    require(Permission.REPORT_WRITE)
    view = view_of(request)
    study = study or request.query_params.get("study", "").strip()[:64].replace("\0", "")
    found = await handover.find_studies(archive, study_uid=study)
    if not found:
        raise NotFoundError(told("There is no study {study}; it was deleted or never received.", study=study))
    systems = [one for one in await reporting_systems.list_systems(archive) if one.enabled]
    values: dict[str, Any] = {
        "study": found[0],
        # Whoever opens the program by its URL hands the exam over: it is put down when the page is made.
        "systems": [
            (one, (await handover.hand_over(archive, study, one.name)).url if one.url else "") for one in systems
        ],
        "may_set": view.access.allows(Permission.ROUTING_MANAGE),
        "done": DONE.get(request.query_params.get("done", ""), ""),
        "error": view.reader.say(error) if error else "",
    }
    status = number_of(error) if isinstance(error, RequestError) else HTTPStatus.SERVICE_UNAVAILABLE if error else 200
    return await page(archive, request, "dictate.html", place="reports", status=status, **values)


async def _systems(
    archive: Archive, request: Request, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    require(Permission.STUDY_VIEW)
    view = view_of(request)
    may_set = view.access.allows(Permission.ROUTING_MANAGE)
    typed = typed or Form([])
    values: dict[str, Any] = {
        "systems": await reporting_systems.list_systems(archive),
        "contexts": {"none": N_("none"), "json": "JSON", "xml": "XML", "text": N_("text, by the template")},
        "fields": reporting_systems.FIELDS,
        "feeds": [one.name for one in (await read_feeds(archive.pool)).outgoing] if may_set else [],
        "typed": {name: typed.get(name) for name in ("name", "version", *_TEXTS)},
        "may_set": may_set,
        "done": DONE.get(request.query_params.get("done", ""), ""),
        "error": view.reader.say(error) if error else "",
    }
    return await page(archive, request, "reporting_systems.html", place="reports", status=number_of(error), **values)


def _file_answer(made: HandOver) -> Answer:
    if not made.content:
        raise NotFoundError(told("The reporting system {name} reads no file.", name=made.system.name))
    headers = {
        "content-type": made.media_type,
        "content-disposition": f'attachment; filename="{made.file_name}"',
        "cache-control": NO_STORE,
        "x-content-type-options": "nosniff",
    }
    return Answer(HTTPStatus.OK, headers, made.content)


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back_to_study(form: Form, done: str) -> Answer:
    return _see(f"{DICTATE_PATH}?{urlencode({'study': form.get('study'), 'done': done})}")


def _see(location: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})
