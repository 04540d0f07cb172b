"""Where the API hangs in the web application: made when the first request for it comes, in a thread, so that nobody waits.

Loading FastAPI and building the models takes half a second; a worker that serves images must not stand still for that.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.web.api.documentation import Document, documentation_handlers
from fileroom.web.authentication import IdentityCache
from fileroom.web.endpoint import Endpoint

if TYPE_CHECKING:
    from fileroom.web.api.operations import Api

API_PATH: Final = "/api/{path:path}"


def api_routes(archive: Archive, people: People, cache: IdentityCache) -> list[BaseRoute]:
    """The addresses below `/api`: the pages of documentation, then the API itself."""
    mount = ApiMount(archive, people, cache)
    pages = documentation_handlers(archive, mount.document)
    return [*(Route(path, Endpoint(path, handlers)) for path, handlers in pages.items()), Route(API_PATH, mount)]


class ApiMount:
    """The API as an ASGI application."""

    def __init__(self, archive: Archive, people: People, cache: IdentityCache) -> None:
        self._services = (archive, people, cache)
        self._making = asyncio.Lock()
        self._made: Api | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. HEAD is GET without its body (RFC 9110 9.3.2)."""
        app: ASGIApp = (await self._soon()).app
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, functools.partial(_send_head, send)
        await app(scope, receive, send)

    async def document(self) -> Document:
        """The OpenAPI document."""
        return (await self._soon()).document

    async def _soon(self) -> Api:
        made = self._made
        if made is None:
            async with self._making:
                made = await asyncio.to_thread(self.api)
        return made

    def api(self) -> Api:
        """The API, made if it is not there yet."""
        if self._made is None:
            from fileroom.web.api.application import create_api  # loads FastAPI

            self._made = create_api(*self._services)
        return self._made


async def _send_head(send: Send, message: Message) -> None:
    if message["type"] == "http.response.body":
        message = {**message, "body": b""}
    await send(message)
