"""Runs one request: calls the handler, sends its answer, ends the work when the client goes away.

Handlers are plain functions from a request to an `Answer`; everything about ASGI is here. An error before the first
byte becomes an error answer; one after it can only cut the connection, so that nobody takes half an answer for a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from fileroom.web.answers import Answer, Piece
from fileroom.web.errors import error_answer, problem

Handler = Callable[[Request], Awaitable[Answer]]

WATCH_AFTER_S: Final = 0.05
"""Most answers are out by then; only longer work is worth a second task that listens for the client's departure."""

ROUTE: Final = "fileroom.route"
"""Where a request's scope tells its pattern, for `web.measured`."""

_log = structlog.get_logger(__name__)


class Endpoint:
    """The methods of one resource as an ASGI application. `route` is the pattern of its path, for the log.

    The path itself names a patient's study, which belongs in no log.
    """

    def __init__(self, route: str, handlers: Mapping[str, Handler]) -> None:
        self._route = route
        self._handlers = dict(handlers)
        if "GET" in self._handlers:
            self._handlers["HEAD"] = self._handlers["GET"]
        self._allowed = ", ".join((*self._handlers, "OPTIONS"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope[ROUTE] = self._route
        method = scope["method"]
        handler = self._handlers.get(method)
        if handler is None:
            await send_answer(self._other_method(method), scope, send)
            return
        # A request with a body learns of the client's departure while it reads it.
        departure = _Departure(receive) if method in ("GET", "HEAD") else None
        try:
            await self._serve(handler, Request(scope, receive), send)
        except ClientDisconnect:
            _log.debug("client_left", route=self._route)
        except asyncio.CancelledError:
            if departure is None or not departure.seen:
                raise
            departure.forgive()
            _log.debug("client_left", route=self._route)
        finally:
            if departure is not None:
                departure.stop_watching()

    async def _serve(self, handler: Handler, request: Request, send: Send) -> None:
        scope = request.scope
        try:
            answer = await handler(request)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            answer = error_answer(error, self._route)
        try:
            await send_answer(answer, scope, send)
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            # The server closes the connection when an answer stays incomplete.
            _log.error("answer_cut", route=self._route, error_type=type(error).__name__, reason=str(error))

    def _other_method(self, method: str) -> Answer:
        """OPTIONS, or a method that the resource does not have (RFC 9110 9.3.7, 15.5.6)."""
        if method == "OPTIONS":
            return Answer(HTTPStatus.NO_CONTENT, {"allow": self._allowed})
        refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, f"This address does not take {method[:20]}.")
        return refusal.with_headers({"allow": self._allowed})


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Send head and body. The body's iterator is closed whatever happens."""
    body = answer.body
    if isinstance(body, (bytes, bytearray, memoryview)):
        body = (body,)
    length = sum(map(len, body)) if isinstance(body, tuple) else answer.length
    headers = [(name.encode("ascii"), value.encode("latin_1", "replace")) for name, value in answer.headers.items()]
    if length is not None and answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    try:
        if scope["method"] == "HEAD":
            pass
        elif isinstance(body, tuple):
            for piece in body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        else:
            async for piece in body:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        if not isinstance(body, tuple):
            await _close(body)


class _Departure:
    """Cancels the current task when the client closes the connection."""

    __slots__ = ("_receive", "_task", "_timer", "_watch", "seen")

    def __init__(self, receive: Receive) -> None:
        self.seen = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._watch: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def stop_watching(self) -> None:
        """The answer is complete."""
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def forgive(self) -> None:
        """The cancellation was ours and has done its work."""
        if self._task is not None:
            self._task.uncancel()

    def _begin(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.seen = True
        if self._task is not None and not self._task.done():
            self._task.cancel()


async def _close(body: AsyncIterator[Piece]) -> None:
    close = getattr(body, "aclose", None)
    if close is not None:
        with contextlib.suppress(Exception):
            await close()
