"""`/admin/nodes`: the systems that Fileroom talks to, how they answered, callers that wait for approval, import and export.

Every node has a page of its own, `/admin/nodes/node?name=`, with all of its fields (`console.node_form`).
"""

from __future__ import annotations

import datetime as dt
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request

from fileroom.admin import callers, node_files, node_import, nodes
from fileroom.admin.nodes import EditedMeanwhileError, Node
from fileroom.archive import node_echo
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError, told
from fileroom.routing.destination_states import destinations_of_node
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.node_form import field_texts, form_choices, node_of_form
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist.query_log import AskedQuery, list_queries

NODES_PATH: Final = "/admin/nodes"
IMPORT_FORM_BYTES_MAX: Final = 3 * node_files.FILE_BYTES_MAX
"""A file in a form is URL-encoded: up to three bytes for one."""
NODES_SHOWN_MAX: Final = 100
"""Nodes of one page, each with its strip: 30 KiB compressed. Of more, one searches."""
QUERIES_SHOWN: Final = 5
"""The last questions of a modality for the worklist."""
_QUERY_CHARS_MAX: Final = 100
_EXPORTS: Final = {
    "json": ("application/json", node_files.nodes_to_json),
    "csv": ("text/csv; charset=utf-8", node_files.nodes_to_csv),
}


def nodes_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""
    pages = NodePages(archive)
    posts: dict[str, Handler] = {
        "/add": pages.add,
        "/change": pages.change,
        "/enable": pages.enable,
        "/disable": pages.disable,
        "/remove": pages.remove,
        "/echo": pages.echo,
        "/approve": pages.approve,
        "/ignore": pages.ignore,
        "/import": pages.bring_in,
    }
    return {
        NODES_PATH: {"GET": pages.show},
        f"{NODES_PATH}/node": {"GET": pages.show_node},
        f"{NODES_PATH}/export": {"GET": pages.export},
        **{NODES_PATH + path: {"POST": handler} for path, handler in posts.items()},
    }


class NodePages:
    """The handlers, over one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    # --- what is shown ---

    async def show(self, request: Request) -> Answer:
        """The list."""
        return await self._list(request)

    async def show_node(self, request: Request) -> Answer:
        """One node; without a name, the fields of a new one."""
        require(Permission.NODE_READ)
        name = request.query_params.get("name", "")
        if not name:
            return await self._node(request, Node("", "", "", 104), is_new=True)
        return await self._node(request, await nodes.get_node(self._archive.pool, name))

    async def export(self, request: Request) -> Answer:
        """All nodes as a file."""
        kind = request.query_params.get("form", "json")
        if kind not in _EXPORTS:
            raise InvalidRequestError(told("Nodes are exported as json or csv."))
        media_type, write = _EXPORTS[kind]
        text = write(await nodes.list_nodes(self._archive.pool))
        headers = {
            "content-type": media_type,
            "content-disposition": f'attachment; filename="nodes.{kind}"',
            "cache-control": NO_STORE,
        }
        return Answer(HTTPStatus.OK, headers, text.encode())

    # --- what forms do ---

    async def add(self, request: Request) -> Answer:
        """Add a node."""
        form = await _form(request)
        try:
            added = await nodes.add_node(self._archive.pool, node_of_form(form, Node("", "", "", 104)))
        except RequestError as error:
            if form.get("all_fields"):
                return await self._node(request, Node("", "", "", 104), is_new=True, error=error, typed=form)
            return await self._list(request, error=error, typed=form)
        return _back(added.name)

    async def change(self, request: Request) -> Answer:
        """Change a node; what somebody else has changed meanwhile is shown first."""
        require(Permission.NODE_MANAGE)
        form = await _form(request)
        was = form.get("was")
        now = await nodes.get_node(self._archive.pool, was)
        try:
            wanted = node_of_form(form, now, version=whole_number(form, "version"))
            changed = await nodes.change_node(self._archive.pool, was, wanted)
        except EditedMeanwhileError as error:
            return await self._node(request, error.merged, was=was, error=error, conflict=error)
        except RequestError as error:
            return await self._node(request, now, error=error, typed=form)
        return _to_node(changed.name)

    async def enable(self, request: Request) -> Answer:
        """Let it take part."""
        node = await nodes.set_enabled(self._archive.pool, (await _form(request)).get("name"), enabled=True)
        return _to_node(node.name)

    async def disable(self, request: Request) -> Answer:
        """Let it take part no more."""
        node = await nodes.set_enabled(self._archive.pool, (await _form(request)).get("name"), enabled=False)
        return _to_node(node.name)

    async def remove(self, request: Request) -> Answer:
        """Remove it."""
        await nodes.remove_node(self._archive.pool, (await _form(request)).get("name"))
        return _back()

    async def echo(self, request: Request) -> Answer:
        """Ask it now; the script puts the answer in the place of its row."""
        form = await _form(request)
        name = form.get("name")
        result = await node_echo.echo_node(self._archive, name)
        if form.get("stay"):
            return _to_node(name, done=False)
        if not is_part(request):
            return await self._list(request, echoed=(await nodes.get_node(self._archive.pool, name), result))
        node = await nodes.get_node(self._archive.pool, name)
        histories = await node_echo.echo_histories(self._archive, [node])
        return await page(self._archive, request, "nodes_row.html", **self._common(), node=node, histories=histories)

    async def approve(self, request: Request) -> Answer:
        """Make a node of a held caller."""
        form = await _form(request)
        try:
            port = whole_number(form, "port") if form.get("port") else callers.APPROVED_PORT
            node = await callers.approve_caller(
                self._archive.pool, form.get("aet"), form.get("host"), name=form.get("name"), port=port
            )
        except NotFoundError:
            return _back()  # somebody else was quicker
        except RequestError as error:
            return await self._list(request, error=error)
        return _back(node.name)

    async def ignore(self, request: Request) -> Answer:
        """Show a held caller no more, or again."""
        form = await _form(request)
        ignored = not form.get("undo")
        await callers.ignore_caller(self._archive.pool, form.get("aet"), form.get("host"), ignored=ignored)
        return _back()

    async def bring_in(self, request: Request) -> Answer:
        """Show what a file would change, then change it."""
        require(Permission.NODE_MANAGE)
        form = await _form(request, IMPORT_FORM_BYTES_MAX)
        text = form.exactly("file")
        try:
            if form.get("sure"):
                await node_import.import_nodes(self._archive.pool, text)
                return _back()
            planned = await node_import.plan_import(self._archive.pool, text)
        except RequestError as error:
            problems = error.problems if isinstance(error, node_import.WrongLinesError) else ()
            return await self._list(request, error=error, problems=problems, file=text)
        shown = [one for one in planned if one.kind is not node_import.ImportKind.SAME]
        return await page(
            self._archive,
            request,
            "nodes_import.html",
            place="admin",
            planned=shown,
            same=len(planned) - len(shown),
            file=text,
        )

    # --- pages ---

    async def _list(self, request: Request, *, error: RequestError | None = None, **shown: Any) -> Answer:
        found = await nodes.list_nodes(self._archive.pool)
        asked = request.query_params.get("q", "").strip()[:_QUERY_CHARS_MAX]
        matching = [node for node in found if asked.casefold() in _searched(node)]
        offset = _offset(request.query_params.get("from", ""))
        shown_nodes = matching[offset : offset + NODES_SHOWN_MAX]
        values: dict[str, Any] = {
            **self._common(),
            "nodes": shown_nodes,
            "total": len(matching),
            "asked": asked,
            "shown_max": NODES_SHOWN_MAX,
            "previous": max(offset - NODES_SHOWN_MAX, 0) if offset else None,
            "following": offset + NODES_SHOWN_MAX if len(matching) > offset + NODES_SHOWN_MAX else None,
            "histories": await node_echo.echo_histories(self._archive, shown_nodes),
            "held": await callers.list_held_callers(self._archive.pool),
            "ignored": await callers.list_held_callers(self._archive.pool, ignored=True),
            "known_titles": {node.aet: node.name for node in found},
            "error": view_of(request).reader.say(error) if error is not None else "",
            "typed": Form([]),
            "echoed": None,
            "problems": (),
            "file": "",
        }
        return await page(
            self._archive, request, "nodes.html", place="admin", status=number_of(error), **{**values, **shown}
        )

    async def _node(
        self,
        request: Request,
        node: Node,
        *,
        is_new: bool = False,
        was: str = "",
        error: RequestError | None = None,
        typed: Form | None = None,
        conflict: EditedMeanwhileError | None = None,
    ) -> Answer:
        name = was or node.name
        histories = {} if is_new else await node_echo.echo_histories(self._archive, [node])
        values: dict[str, Any] = {
            **self._common(),
            **form_choices(),
            "node": node,
            "was": name,
            "is_new": is_new,
            "texts": field_texts(node, typed),
            "history": histories.get(node.name),
            "destinations": await self._destinations(node.name),
            "queries": await self._queries(node.aet) if not is_new else [],
            "versions": [] if is_new else await nodes.list_versions(self._archive.pool, name),
            "error": view_of(request).reader.say(error) if error is not None else "",
            "conflict": conflict,
            "done": request.query_params.get("done", ""),
        }
        return await page(self._archive, request, "node.html", place="admin", status=number_of(error), **values)

    async def _queries(self, aet: str) -> list[AskedQuery]:
        """What the node asked the worklist for last, for who may see orders."""
        if not current_access().allows(Permission.ORDER_READ):
            return []
        return await list_queries(self._archive, aet, most=QUERIES_SHOWN)

    async def _destinations(self, name: str) -> list[str]:
        """Destinations of routing that are this node, for who may see them."""
        if not current_access().allows(Permission.ROUTING_READ):
            return []
        return await destinations_of_node(self._archive, name)

    def _common(self) -> dict[str, Any]:
        own = self._archive.settings.aet
        return {
            "may_manage": current_access().allows(Permission.NODE_MANAGE),
            "explanations": node_echo.EXPLANATIONS,
            "values_of": lambda node: node_echo.explanation_values(node, own),
            "own_aet": own,
            "moment_of": dt.datetime.fromisoformat,
        }


async def _form(request: Request, bytes_max: int | None = None) -> Form:
    form = await read_form(request) if bytes_max is None else await read_form(request, bytes_max)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _searched(node: Node) -> str:
    return " ".join((node.name, node.aet, node.host, node.description, node.location)).casefold()


def _offset(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0


def _back(name: str = "") -> Answer:
    mark = f"#node-{quote(name, safe='/')}" if name else ""  # as the template names the row
    return Answer(HTTPStatus.SEE_OTHER, {"location": NODES_PATH + mark, "cache-control": NO_STORE})


def _to_node(name: str, *, done: bool = True) -> Answer:
    address = f"{NODES_PATH}/node?{urlencode({'name': name} | ({'done': 1} if done else {}))}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})
