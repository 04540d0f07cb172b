"""`/routing/sources`: other archives that may be asked, what is being fetched from them, and rules that prefetch."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.requests import Request

from fileroom.admin.nodes import list_nodes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing import fetch, prefetch_rules, sources
from fileroom.routing.source_calls import probe
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

SOURCES_PATH: Final = "/routing/sources"
FETCHES_LISTED_MAX: Final = 30
FETCH_STATES: Final = {
    "waiting": N_("waiting"),
    "running": N_("being fetched"),
    "done": N_("here"),
    "failed": N_("failed"),
    "cancelled": N_("cancelled"),
}
METHODS: Final = {"get": N_("C-GET"), "move": N_("C-MOVE to us")}
_FLAGS: Final = ("federate", "prefetch", "worklist")
_NUMBERS: Final = ("timeout_s", "results_max")
_BUDGET: Final = ("studies_per_hour", "gb_per_day", "associations")
_TEXTS: Final = ("node", "dicomweb", "label", "login", "password", "token", "ca", "method")


def sources_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and what its forms do, by path and method."""
    pages = SourcePages(archive)
    posts: dict[str, Handler] = {
        "/save": pages.save,
        "/remove": pages.remove,
        "/echo": pages.echo,
        "/cancel": pages.cancel,
        "/retry": pages.retry,
        "/prefetch": pages.save_rule,
        "/prefetch/remove": pages.remove_rule,
    }
    return {
        SOURCES_PATH: {"GET": pages.show},
        **{SOURCES_PATH + path: {"POST": handler} for path, handler in posts.items()},
    }


class SourcePages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def show(self, request: Request) -> Answer:
        """Everything."""
        return await self._page(request)

    async def save(self, request: Request) -> Answer:
        """Add a source or change it."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            name, is_new = form.get("name"), not form.get("version")
            version = None if is_new else whole_number(form, "version")
            enabled = is_new or bool(form.get("enabled"))
            await sources.put_source(
                self._archive, name, _fields(form), enabled=enabled, version=version, new=True if is_new else None
            )
        except RequestError as error:
            return await self._page(request, error=error, typed=form)
        return _back()

    async def remove(self, request: Request) -> Answer:
        """Ask a source no more."""
        require(Permission.ROUTING_MANAGE)
        await sources.remove_source(self._archive, (await _form(request)).get("name"))
        return _back()

    async def echo(self, request: Request) -> Answer:
        """Ask a source whether it is there."""
        require(Permission.ROUTING_READ)
        name = (await _form(request)).get("name")
        echoed = await sources.echo_source(self._archive, name, probe)
        return await self._page(request, echoed=(name, echoed))

    async def cancel(self, request: Request) -> Answer:
        """End an order to fetch."""
        require(Permission.ROUTING_MANAGE)
        await fetch.cancel_fetch(self._archive, whole_number(await _form(request), "job"))
        return _back("fetches")

    async def retry(self, request: Request) -> Answer:
        """Fetch again."""
        require(Permission.ROUTING_MANAGE)
        await fetch.retry_fetch(self._archive, whole_number(await _form(request), "job"))
        return _back("fetches")

    async def save_rule(self, request: Request) -> Answer:
        """Add a rule for prefetching or change it."""
        require(Permission.ROUTING_MANAGE)
        form = await _form(request)
        try:
            fields = _json(form.exactly("fields"))
            enabled = bool(form.get("enabled")) or not form.get("version")
            version = whole_number(form, "version") if form.get("version") else None
            await prefetch_rules.put_prefetch_rule(
                self._archive, form.get("name"), fields, enabled=enabled, version=version
            )
        except RequestError as error:
            return await self._page(request, error=error, typed_rule=form)
        return _back("prefetch")

    async def remove_rule(self, request: Request) -> Answer:
        """Remove a rule."""
        require(Permission.ROUTING_MANAGE)
        await prefetch_rules.remove_prefetch_rule(self._archive, (await _form(request)).get("name"))
        return _back("prefetch")

    async def _page(self, request: Request, *, error: RequestError | None = None, **shown: Any) -> Answer:
        require(Permission.ROUTING_READ)
        archive, access = self._archive, current_access()
        entries = await sources.list_sources(archive)
        nodes = await list_nodes(archive.pool) if access.allows(Permission.NODE_READ) else []
        values: dict[str, Any] = {
            "sources": [(one, sources.source_of(one)) for one in entries],
            "fetches": (await fetch.list_fetches(archive))[:FETCHES_LISTED_MAX],
            "rules": [(one, _shown(one.fields)) for one in await prefetch_rules.list_prefetch_rules(archive)],
            "nodes": [node.name for node in nodes],
            "states": FETCH_STATES,
            "methods": METHODS,
            "example": _shown(
                {"on": "arrival", "when": 'Modality == "CT"', "years_max": 5, "count_max": 3, "push_to": []}
            ),
            "may_manage": access.allows(Permission.ROUTING_MANAGE),
            "federated_aet": archive.settings.federated_aet,
            "error": view_of(request).reader.say(error) if error is not None else "",
            "echoed": None,
            "typed": Form([]),
            "typed_rule": Form([]),
        }
        return await page(
            archive, request, "sources.html", place="routing", status=number_of(error), **{**values, **shown}
        )


def _fields(form: Form) -> dict[str, Any]:
    """The fields of a source as a form has them. Raises InvalidRequestError."""
    fields: dict[str, Any] = {name: form.get(name) for name in _TEXTS if form.get(name)}
    fields |= {name: bool(form.get(name)) for name in _FLAGS}
    fields |= {name: whole_number(form, name) for name in _NUMBERS if form.get(name)}
    return fields | {"budget": {name: whole_number(form, name) for name in _BUDGET if form.get(name)}}


def _json(text: str) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(told("The fields are no JSON: {reason}", reason=str(error))) from error
    if not isinstance(value, dict):
        raise InvalidRequestError(told("The fields are a JSON object."))
    return value


def _shown(fields: dict[str, Any]) -> str:
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2).decode()


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(mark: str = "") -> Answer:
    location = f"{SOURCES_PATH}#{mark}" if mark else SOURCES_PATH
    return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})
