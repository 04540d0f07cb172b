"""What a request shows to say who it comes from: the session's cookie, a bearer token, or login and password."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

PLAIN_COOKIE: Final = "fileroom_session"
SECURE_COOKIE: Final = "__Host-fileroom_session"
"""Browsers take a cookie of this name from https only, and from no other host (RFC 6265bis 4.1.3.2)."""
_CREDENTIALS_CHARS_MAX: Final = 1024
"""An Authorization header of ours; the longest is a login and a password in base64."""
_FORWARDED: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"via",
    }
)


@dataclass(slots=True)
class RequestHead:
    """What of a request's head decides who acts. `authorization` None: the header is not there."""

    address: str = ""
    host: str = ""
    origin: str | None = None
    fetch_site: str | None = None
    authorization: str | None = None
    cookie: str | None = None
    accept: str = ""
    is_forwarded: bool = False
    """A proxy passed it on: the client is not at this machine, whatever the address says."""
    is_https: bool = False


def read_head(scope: Scope) -> RequestHead:
    """One pass over the headers."""
    client = scope.get("client")
    head = RequestHead(address=client[0] if client else "", is_https=scope.get("scheme") == "https")
    for name, value in scope["headers"]:
        if name == b"cookie":
            text = value.decode("latin_1")
            head.cookie = text if head.cookie is None else f"{head.cookie}; {text}"
        elif name == b"authorization":
            # A second one must not be looked at by somebody else: two together are wrong.
            head.authorization = "" if head.authorization is not None else value.decode("latin_1")
        elif name == b"host":
            head.host = value.decode("latin_1")
        elif name == b"origin":
            head.origin = value.decode("latin_1")
        elif name == b"sec-fetch-site":
            head.fetch_site = value.decode("latin_1")
        elif name == b"accept":
            head.accept += value.decode("latin_1")
        elif name in _FORWARDED:
            head.is_forwarded = True
    return head


def session_secret(head: RequestHead) -> str | None:
    """The session's secret in the cookie; None where there is no such cookie. Over https only the secure one counts."""
    if head.cookie is None:
        return None
    wanted = SECURE_COOKIE if head.is_https else PLAIN_COOKIE
    for pair in head.cookie.split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator and name == wanted:
            return value
    return None


def session_cookie(head: RequestHead, secret: str) -> str:
    """The Set-Cookie header that keeps a session; it ends with the browser at the latest."""
    if head.is_https:
        return f"{SECURE_COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Secure"
    return f"{PLAIN_COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax"


def no_session_cookie(head: RequestHead) -> str:
    """The Set-Cookie header that removes the cookie."""
    return session_cookie(head, "") + "; Max-Age=0"


def form_token(secret: str) -> str:
    """What forms of a session carry: only pages of this server can know it, as only they are read with the cookie."""
    return hashlib.sha256(b"form token " + secret.encode("utf-8", "surrogatepass")).hexdigest()


def bearer_token(authorization: str) -> str | None:
    """The token of `Bearer TOKEN` (RFC 6750 2.1); None for another scheme."""
    scheme, _, rest = authorization.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and len(rest) <= _CREDENTIALS_CHARS_MAX else None


def login_and_password(authorization: str) -> tuple[str, str] | None:
    """The pair of `Basic BASE64` (RFC 7617); None for another scheme or what is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "basic" or len(rest) > _CREDENTIALS_CHARS_MAX:
        return None
    try:
        login, separator, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (login, password) if separator else None
