"""In front of every route: which names the server answers to, who may change things, and headers for the browser.

Where this machine's own users need not log in, its browsers are a way in. A web page from elsewhere could still reach it
through the user's browser: by a name of its own that points here (DNS rebinding), or by a form. Both are refused: the
first by the Host header, the second by the Origin header. No other site is ever allowed to read answers (no CORS).

Where everybody logs in, a browser sends no cookie of ours to another name: there the server answers to every name that can
be one, also to that of a proxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fileroom.web.endpoint import send_answer
from fileroom.web.errors import problem

_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME: Final = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    # Nothing here needs the devices of whoever looks.
    (
        b"permissions-policy",
        b"camera=(), microphone=(), geolocation=(), usb=(), serial=(), hid=(), midi=(), payment=(), display-capture=()",
    ),
    # Whatever is sent as it was stored, an HTML report for instance, must run nothing and load nothing.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
)


class Guard:
    """ASGI middleware; `names` are hosts besides the local ones that the server answers to, None: it answers to all."""

    def __init__(self, app: ASGIApp, names: Iterable[str] | None) -> None:
        self._app = app
        self._names = None if names is None else _LOCAL_NAMES | {name.lower().strip("[]") for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                # An answer that needs another policy, a page with scripts, says so itself.
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in SECURITY_HEADERS if one[0] not in own)]
            await send(message)

        host = origin = b""
        for name, value in scope["headers"]:
            if name == b"host":
                host = value
            elif name == b"origin":
                origin = value
        if not self._answers_to(_hostname(host)):
            detail = (
                f"This server does not answer to the name {host[:100].decode('ascii', 'replace')!r}. "
                "Use localhost, 127.0.0.1 or the name in FILEROOM_HTTP_HOST."
            )
            await send_answer(problem(HTTPStatus.MISDIRECTED_REQUEST, detail), scope, send_guarded)
        elif origin and scope["method"] not in _SAFE_METHODS and not self._is_own(origin, host):
            detail = "Another web site tried to change something here through your browser; that is refused."
            await send_answer(problem(HTTPStatus.FORBIDDEN, detail), scope, send_guarded)
        else:
            await self._app(scope, receive, send_guarded)

    def _answers_to(self, name: str) -> bool:
        return bool(_NAME.fullmatch(name)) if self._names is None else name in self._names

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        _, separator, place = origin.partition(b"://")
        name = _hostname(place)
        return bool(separator) and (name == _hostname(host) if self._names is None else name in self._names)


def _hostname(host: bytes) -> str:
    """The name in `name:port` or `[address]:port`, lower case; empty where there is none."""
    try:
        return (urlsplit("//" + host.decode("ascii")).hostname or "").rstrip(".")
    except ValueError:
        return ""
