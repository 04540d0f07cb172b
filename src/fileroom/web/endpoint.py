"""Runs one request: calls the handler, sends its answer, ends the work when the client goes away.

Handlers are plain functions from a request to an `Answer`; everything about ASGI is here. An error before the first
byte becomes an error answer; one after it can only cut the connection, so that nobody takes half an answer for a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from fileroom.web.answers import Answer, Piece
from fileroom.web.errors import error_answer

Handler = Callable[[Request], Awaitable[Answer]]

WATCH_AFTER_S: Final = 0.05
"""Most answers are out by then; only longer work is worth a second task that listens for the client's departure."""

_log = structlog.get_logger(__name__)


class Endpoint:
    """A handler as an ASGI application."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        has_body = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        # A request with a body learns of the departure while it reads it.
        departure = None if has_body else _Departure(receive)
        try:
            await self._serve(request, send)
        except ClientDisconnect:
            _log.debug("client_left", route=_route(scope))
        except asyncio.CancelledError:
            if departure is None or not departure.seen:
                raise
            departure.forgive()
            _log.debug("client_left", route=_route(scope))
        finally:
            if departure is not None:
                departure.stop_watching()

    async def _serve(self, request: Request, send: Send) -> None:
        scope = request.scope
        try:
            answer = await self._handler(request)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            answer = error_answer(error, _route(scope))
        try:
            await send_answer(answer, scope, send)
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            # The server closes the connection when an answer stays incomplete.
            _log.error("answer_cut", route=_route(scope), error_type=type(error).__name__, reason=str(error))


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Send head and body. The body's iterator is closed whatever happens."""
    body = answer.body
    length = len(body) if isinstance(body, bytes) else answer.length
    headers = [(name.encode("ascii"), value.encode("latin_1", "replace")) for name, value in answer.headers.items()]
    if length is not None and answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if isinstance(body, bytes) or scope["method"] == "HEAD":
        await send({"type": "http.response.body", "body": body if isinstance(body, bytes) else b""})
        if not isinstance(body, bytes):
            await _close(body)
        return
    try:
        async for piece in body:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
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


def _route(scope: Scope) -> str:
    """The path's pattern: the path itself may name a patient's study, which belongs in no log."""
    return f"{scope['method']} {getattr(scope.get('route'), 'path', '')}"
