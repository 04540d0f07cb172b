"""`/admin/nodes`: the systems that Fileroom talks to, an echo to each, and callers that wait for approval."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import callers, nodes
from fileroom.admin.nodes import Node
from fileroom.archive.peer import Peer, echo
from fileroom.archive.recorded_calls import recorded
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError, NotFoundError, PeerError, RequestError
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

NODES_PATH: Final = "/admin/nodes"


def nodes_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and what its forms do, by path and method."""

    async def show(request: Request) -> Answer:
        return await _show(archive, request)

    async def add(request: Request) -> Answer:
        form = await _form(request)
        try:
            await nodes.add_node(archive.pool, _node(form))
        except RequestError as error:
            return await _show(archive, request, error=error, typed=form)
        return _back()

    async def remove(request: Request) -> Answer:
        await nodes.remove_node(archive.pool, (await _form(request)).get("name"))
        return _back()

    async def call(request: Request) -> Answer:
        form = await _form(request)
        node = await nodes.find_node(archive.pool, name=form.get("name"))
        if node is None:
            raise NotFoundError("There is no such node any more.")
        return await _show(archive, request, echoed=(node.name, *(await _echo(archive, node))))

    return {
        NODES_PATH: {"GET": show},
        f"{NODES_PATH}/add": {"POST": add},
        f"{NODES_PATH}/remove": {"POST": remove},
        f"{NODES_PATH}/echo": {"POST": call},
    }


async def _show(
    archive: Archive,
    request: Request,
    *,
    error: RequestError | None = None,
    typed: Form | None = None,
    echoed: tuple[str, float | None, str] | None = None,
) -> Answer:
    values: dict[str, Any] = {
        "nodes": await nodes.list_nodes(archive.pool),
        "held": await callers.list_held_callers(archive.pool),
        "may_manage": current_access().allows(Permission.NODE_MANAGE),
        "error": str(error or ""),
        "typed": typed or Form([]),
        "echoed": echoed,
    }
    status = error_answer(error, NODES_PATH).status if error else int(HTTPStatus.OK)
    return await page(archive, request, "nodes.html", place="admin", status=status, **values)


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


async def _echo(archive: Archive, node: Node) -> tuple[float | None, str]:
    """Milliseconds of a C-ECHO, or None and why there was no answer."""
    try:
        return await echo(Peer(node.host, node.port, node.aet, archive.settings.aet), recorded(archive.ledger)), ""
    except PeerError as error:
        return None, str(error)


def _node(form: Form) -> Node:
    port = form.get("port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise InvalidRequestError(f"{port[:20]!r} is no port, for example 104 or 11112.")
    return Node(form.get("name") or form.get("aet"), form.get("aet"), form.get("host"), int(port))


def _back() -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": NODES_PATH, "cache-control": NO_STORE})
