"""In front of everything: how long each HTTP request took, by the pattern of its address and the status of its answer.

The address itself names a patient's study and belongs in no label. Streams of events last as long as somebody looks, so
they are not timed.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.core.meters import Meters
from fileroom.web.endpoint import ROUTE

UNKNOWN_ROUTE: Final = "none"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_EVENTS: Final = b"text/event-stream"


class Measured:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, then count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, sent_bytes, is_stream = 0, 0, False

        async def send_counted(message: Message) -> None:
            nonlocal status, sent_bytes, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(
                    name == b"content-type" and value.startswith(_EVENTS) for name, value in message["headers"]
                )
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            route = scope.get(ROUTE) or _route_of(scope)
            self._meters.sent_by_http.add((route,), sent_bytes)
            if not is_stream:
                method = scope["method"] if scope["method"] in _METHODS else "other"
                # No status: the client left before the answer began.
                code = str(status) if status else "left"
                self._meters.requests.observe((method, route, code), time.perf_counter() - began)


def _route_of(scope: Scope) -> str:
    """Of an application that is mounted below ours: its own pattern."""
    route = getattr(scope.get("route"), "path_format", None)
    return f"{scope.get('root_path', '')}{route}" if isinstance(route, str) else UNKNOWN_ROUTE
