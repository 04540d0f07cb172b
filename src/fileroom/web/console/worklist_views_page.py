"""`/worklist/views`: what of the worklist each modality gets to see."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist import worklist_views
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_states import STATE_WORDS

VIEWS_PATH: Final = "/worklist/views"
_LISTS: Final = ("aets", "modalities", "stations", "station_names", "locations")
_FLAGS: Final = ("own_aet", "unassigned")
_TEXTS: Final = ("begins", "ends", "charset")


def views_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and its forms, by path and method."""

    async def show(request: Request) -> Answer:
        return await _page(archive, request)

    async def save(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        try:
            is_new = not form.get("version")
            version = None if is_new else whole_number(form, "version")
            enabled = is_new or bool(form.get("enabled"))
            await worklist_views.put_view(
                archive, form.get("name"), _fields(form), enabled=enabled, version=version, new=True if is_new else None
            )
        except RequestError as error:
            return await _page(archive, request, error=error, typed=form)
        return _back()

    async def remove(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        try:
            await worklist_views.remove_view(archive, form.get("name"))
        except RequestError as error:
            return await _page(archive, request, error=error)
        return _back()

    return {
        VIEWS_PATH: {"GET": show},
        f"{VIEWS_PATH}/save": {"POST": save},
        f"{VIEWS_PATH}/remove": {"POST": remove},
    }


async def _page(
    archive: Archive, request: Request, *, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    require(Permission.ORDER_READ)
    entries = await worklist_views.list_views(archive)
    values: dict[str, Any] = {
        "views": [(one, worklist_views.view_of(one)) for one in entries],
        "usual": worklist_views.EVERYTHING,
        "most": worklist_views.RESULTS_MAX,
        "states": {state.value: word for state, word in STATE_WORDS.items() if state is not OrderState.CANCELLED},
        "typed": typed or Form([]),
        "typed_view": _typed_view(typed) if typed else None,
        "may_manage": current_access().allows(Permission.ORDER_MANAGE),
        "error": view_of(request).reader.say(error) if error is not None else "",
    }
    return await page(archive, request, "worklist_views.html", place="worklist", status=number_of(error), **values)


def _fields(form: Form) -> dict[str, Any]:
    """The fields of a view as its form has them. Raises InvalidRequestError."""
    fields: dict[str, Any] = {key: _list(form.get(key)) for key in _LISTS}
    fields |= {key: bool(form.get(key)) for key in _FLAGS}
    fields |= {key: form.get(key) for key in _TEXTS}
    if form.get("results_max"):
        fields["results_max"] = whole_number(form, "results_max")
    return fields | {"states": form.all("states")}


def _typed_view(form: Form) -> dict[str, Any]:
    """What somebody has typed that was refused, as the template shows a view."""
    lists = {key: _list(form.get(key)) for key in _LISTS}
    texts = {key: form.get(key) for key in (*_TEXTS, "results_max")}
    return {**lists, **texts, **{key: bool(form.get(key)) for key in _FLAGS}, "states": form.all("states")}


def _list(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back() -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": VIEWS_PATH, "cache-control": NO_STORE})
