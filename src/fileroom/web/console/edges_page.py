"""`/routing/edges`: Filerooms that dial in to this one, and the centres that this one dials (decision 35)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.routing import edge_centres, edges
from fileroom.routing.target_fields import from_text
from fileroom.web.answers import Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import back_to, number_of
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

EDGES_PATH: Final = "/routing/edges"
CLOCK_WARN_S: Final = 30.0
"""Beyond it, times of the two archives cannot be compared any more."""

_Work = Callable[[Archive, Form], Awaitable[edges.AddedEdge | None]]


def edges_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and what its forms do, by path and method."""

    def form_handler(work: _Work) -> Handler:
        async def handle(request: Request) -> Answer:
            require(Permission.ROUTING_MANAGE)
            form = await read_form(request)
            require_form_token(request, form.get(FORM_TOKEN_FIELD))
            try:
                added = await work(archive, form)
            except RequestError as error:
                return await _show(archive, request, error=error)
            if added is not None:
                return await _show(archive, request, added=added)  # a token is shown once, in the answer itself
            return back_to(EDGES_PATH, "saved")

        return handle

    async def show(request: Request) -> Answer:
        return await _show(archive, request)

    works: dict[str, _Work] = {
        "/add": _add,
        "/token": _renew,
        "/save": _save,
        "/enable": _enable,
        "/disable": _disable,
        "/remove": _remove,
        "/connect": _connect,
        "/disconnect": _disconnect,
    }
    pages: dict[str, dict[str, Handler]] = {EDGES_PATH: {"GET": show}}
    return pages | {f"{EDGES_PATH}{path}": {"POST": form_handler(work)} for path, work in works.items()}


async def _show(
    archive: Archive, request: Request, *, error: RequestError | None = None, added: edges.AddedEdge | None = None
) -> Answer:
    access = current_access()
    values: dict[str, Any] = {
        "edges": await edges.list_edges(archive),
        "centres": await edge_centres.list_centres(archive),
        "added": added,
        "own_url": f"{request.url.scheme}://{request.url.netloc}",
        "may_manage": access.allows(Permission.ROUTING_MANAGE),
        "may_add": access.allows(Permission.ROUTING_MANAGE) and access.allows(Permission.USER_MANAGE),
        "clock_warn_s": CLOCK_WARN_S,
        "error": view_of(request).reader.say(error) if error else "",
        "done": request.query_params.get("done", ""),
    }
    return await page(archive, request, "edges.html", place="routing", status=number_of(error), **values)


async def _add(archive: Archive, form: Form) -> edges.AddedEdge:
    return await edges.add_edge(archive, form.get("name"), {"description": form.get("description")})


async def _renew(archive: Archive, form: Form) -> edges.AddedEdge:
    return await edges.renew_edge_token(archive, form.get("name"))


async def _save(archive: Archive, form: Form) -> None:
    fields = {one.name: from_text(one, form.get(one.name)) for one in edges.FIELDS}
    await edges.change_edge(archive, form.get("name"), fields)


async def _enable(archive: Archive, form: Form) -> None:
    await edges.set_edge_enabled(archive, form.get("name"), enabled=True)


async def _disable(archive: Archive, form: Form) -> None:
    await edges.set_edge_enabled(archive, form.get("name"), enabled=False)


async def _remove(archive: Archive, form: Form) -> None:
    await edges.remove_edge(archive, form.get("name"))


async def _connect(archive: Archive, form: Form) -> None:
    fields = {one.name: from_text(one, form.get(one.name)) for one in edge_centres.FIELDS}
    await edge_centres.connect_centre(archive, form.get("name"), fields)


async def _disconnect(archive: Archive, form: Form) -> None:
    await edge_centres.disconnect_centre(archive, form.get("name"))
