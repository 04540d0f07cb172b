"""In front of every route: which names the server answers to, who may change things, and headers for the browser.

There are no accounts yet and the server listens on this machine only. A web page from elsewhere could still reach it
through the user's browser: by a name of its own that points here (DNS rebinding), or by a form. Both are refused: the
first by the Host header, the second by the Origin header. No other site is ever allowed to read answers (no CORS).
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.web.endpoint import send_answer
from fileroom.web.errors import problem

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    # Whatever is sent as it was stored, an HTML report for instance, must run nothing and load nothing.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
)


class Guard:
    """ASGI middleware; `names` are hosts besides the local ones that the server answers to."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = _LOCAL_NAMES | {name.lower().strip("[]") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        host = origin = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if _hostname(host) not in self._names:
            detail = (
                f"This server does not answer to the name {host[:100].decode('ascii', 'replace')!r}. "
                "Use localhost, 127.0.0.1 or the name in FILEROOM_HTTP_HOST."
            )
            await send_answer(problem(HTTPStatus.MISDIRECTED_REQUEST, detail), scope, send_guarded)
        elif origin and scope["method"] not in _SAFE_METHODS and not self._is_own(origin):
            detail = "Another web site tried to change something here through your browser; that is refused."
            await send_answer(problem(HTTPStatus.FORBIDDEN, detail), scope, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _is_own(self, origin: bytes) -> bool:
        _, separator, host = origin.partition(b"://")
        return bool(separator) and _hostname(host) in self._names


def _hostname(host: bytes) -> str:
    """The name in `name:port` or `[address]:port`, lower case; empty where there is none."""
    try:
        return (urlsplit("//" + host.decode("ascii")).hostname or "").rstrip(".")
    except ValueError:
        return ""
