"""Who is served without TLS, and what browsers are told about TLS (`FILEROOM_WEB_PLAIN_HTTP`, `FILEROOM_WEB_HSTS_DAYS`).

Beyond this machine, what people type and see shall not cross the network in the clear: a request by plain HTTP from elsewhere
is led to the same address by HTTPS, which answers on the same port, or refused where nothing was to be fetched. It has not
reached the application then; a password in it was sent, but is not taken. Whether Fileroom lives may be asked in any way.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.core.settings import Settings
from fileroom.web.address import is_loopback
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.endpoint import send_answer
from fileroom.web.errors import problem

_ALWAYS: Final = frozenset({"/healthz", "/readyz"})
_HOST: Final = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LOCAL: Final = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")
_DAY_S: Final = 86_400


class Transport:
    """ASGI middleware behind `web.forwarded`: the scheme is that by which the client came."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, lead to HTTPS, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope.get("scheme") == "https":
            await self._app(scope, receive, self._with_hsts(scope, send))
        elif self._takes_plain(scope):
            await self._app(scope, receive, send)
        else:
            await send_answer(_to_https(scope), scope, send)

    def _takes_plain(self, scope: Scope) -> bool:
        allowed = self._settings.web_plain_http
        if allowed == "everywhere" or scope["path"] in _ALWAYS:
            return True
        client = scope.get("client")
        return allowed == "loopback" and client is not None and is_loopback(client[0])

    def _with_hsts(self, scope: Scope, send: Send) -> Send:
        """RFC 6797 7.2. Not for this machine's own names: other programs on it may serve them by plain HTTP."""
        days = self._settings.web_hsts_days
        if not days or _LOCAL.fullmatch(_host(scope).partition(":")[0] or "localhost"):
            return send
        field = (b"strict-transport-security", f"max-age={days * _DAY_S}".encode())

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], field]
            await send(message)

        return send_told


def _to_https(scope: Scope) -> Answer:
    host = _host(scope)
    if scope["method"] in ("GET", "HEAD") and host:
        path = scope.get("raw_path", scope["path"].encode()).decode("latin_1")
        query = f"?{scope['query_string'].decode('latin_1')}" if scope.get("query_string") else ""
        return Answer(
            HTTPStatus.TEMPORARY_REDIRECT, {"location": f"https://{host}{path}{query}", "cache-control": NO_STORE}
        )
    return problem(
        HTTPStatus.FORBIDDEN,
        "This server speaks plain HTTP with this machine only. Use https:// on the same port, or see "
        "FILEROOM_WEB_PLAIN_HTTP where a proxy on another machine ends TLS.",
    )


def _host(scope: Scope) -> str:
    host = next((value.decode("latin_1").lower() for name, value in scope["headers"] if name == b"host"), "")
    return host if _HOST.fullmatch(host) else ""
