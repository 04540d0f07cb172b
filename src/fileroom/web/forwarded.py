"""Proxies in front: from which of them it is believed who asked, by which scheme and under which name.

Anybody can write `X-Forwarded-For` or `Forwarded` (RFC 7239) into a request. So they count only in requests that come from an
address of `FILEROOM_TRUSTED_PROXIES`, and there only as far back as trusted proxies reach: each proxy writes what it saw at
the end, so the rightmost address that is no trusted proxy is the client's, and what stands left of it is the client's own
invention. With no trusted proxy, which is how it begins, nothing is believed, and whoever comes with such a header is not
taken for somebody at this machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from fileroom.core.networks import Networks, address_of
from fileroom.web.endpoint import send_answer
from fileroom.web.errors import problem

HOPS_MAX: Final = 10
"""Proxies behind each other; what stands further left is not looked at."""
_SCHEMES: Final = frozenset({"http", "https"})
_HOST: Final = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PAIR: Final = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:([^\s",;=]*)|"((?:[^"\\]|\\.)*)")\s*(;|,|$)')
"""token = token / quoted-string, and what follows (RFC 7239 4)."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What proxies say of a request; None: they say nothing. Ports are left out of `address`."""

    address: str | None = None
    scheme: str | None = None
    host: str | None = None


class ContradictionError(ValueError):
    """`Forwarded` and `X-Forwarded-For` name different clients: one of them was not written by the proxy."""


class Forwarding:
    """ASGI middleware in front of everything: client, scheme and host of a request as trusted proxies tell them."""

    def __init__(self, app: ASGIApp, trusted: Networks) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request as the client sent it to the outermost trusted proxy."""
        peer = scope.get("client")
        if scope["type"] == "http" and self._trusted and peer is not None and self._trusted.hold(peer[0]):
            try:
                told = read_forwarded(scope["headers"], self._trusted)
            except ContradictionError as error:
                await send_answer(problem(HTTPStatus.BAD_REQUEST, str(error)), scope, send)
                return
            scope = _told_scope(scope, told)
        await self._app(scope, receive, send)


def read_forwarded(headers: Sequence[tuple[bytes, bytes]], trusted: Networks) -> Forwarded:
    """What the headers of a trusted proxy say. Raises ContradictionError."""
    fields = _fields(headers)
    elements = _elements(",".join(fields.get("forwarded", ())))
    chain = _listed(fields, "x-forwarded-for")
    if not elements and "forwarded" in fields and not chain:
        return Forwarded()  # nobody can read it
    if not elements:
        address, hops = _client(chain, trusted)
        scheme = _nth(_listed(fields, "x-forwarded-proto"), hops).lower()
        host = _nth(_listed(fields, "x-forwarded-host"), hops).lower()
        port = _nth(_listed(fields, "x-forwarded-port"), hops)
        if (
            host
            and _has_no_port(host)
            and port.isdecimal()
            and (scheme, port) not in (("http", "80"), ("https", "443"))
        ):
            host = f"{host}:{port}"
        return _checked(address, scheme, host)
    address, hops = _client([one.get("for", "") for one in elements], trusted)
    if chain and _client(chain, trusted)[0] != address:
        raise ContradictionError(
            "Forwarded and X-Forwarded-For name different clients. The proxy must remove the one that it does not write."
        )
    scheme = _nth([one.get("proto", "") for one in elements], hops).lower()
    return _checked(address, scheme, _nth([one.get("host", "") for one in elements], hops).lower())


def _client(chain: Sequence[str], trusted: Networks) -> tuple[str | None, int]:
    """The rightmost address that is no trusted proxy, else the leftmost; and how many entries from the right it stands."""
    found, hops = None, 0
    for entry in list(reversed(chain))[:HOPS_MAX]:
        address = _plain(entry)
        if address is None:
            break
        found, hops = address, hops + 1
        if not trusted.hold(address):
            break
    return found, max(hops, 1)


def _plain(entry: str) -> str | None:
    """The address of `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`; None for anything else."""
    text = entry.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    found = address_of(text)
    return None if found is None else str(found)


def _nth(values: Sequence[str], hops: int) -> str:
    """What the proxy wrote that stands `hops` from the right; fewer values: each proxy wrote its own over it."""
    return values[-min(hops, len(values))].strip() if values else ""


def _fields(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if name == b"forwarded" or name.startswith(b"x-forwarded-"):
            found.setdefault(name.decode("latin_1"), []).append(value.decode("latin_1"))
    return found


def _listed(fields: dict[str, list[str]], name: str) -> list[str]:
    return [one for value in fields.get(name, ()) for one in value.split(",") if one.strip()]


def _elements(text: str) -> list[dict[str, str]]:
    """The elements of a `Forwarded` header; none of one that breaks the grammar."""
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            return []
        name, token, quoted, end = found.groups()
        elements[-1][name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
        if end == ",":
            elements.append({})
    return [one for one in elements if one]


def _has_no_port(host: str) -> bool:
    return ":" not in host.rpartition("]")[2] if host.startswith("[") else ":" not in host


def _checked(address: str | None, scheme: str, host: str) -> Forwarded:
    return Forwarded(address, scheme if scheme in _SCHEMES else None, host if _HOST.fullmatch(host) else None)


def _told_scope(scope: Scope, told: Forwarded) -> Scope:
    changed = dict(scope)
    if told.address is not None:
        changed["client"] = (told.address, 0)
    if told.scheme is not None:
        changed["scheme"] = told.scheme
    if told.host is not None:
        others = [pair for pair in scope["headers"] if pair[0] != b"host"]
        changed["headers"] = [(b"host", told.host.encode("ascii")), *others]
    return changed
