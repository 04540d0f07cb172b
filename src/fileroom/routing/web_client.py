"""Calling a web service of a destination: its login, its certificates, its limits, and failures as sentences.

Addresses may lie in internal networks, as that is where archives are; only http and https are called, redirects are not
followed, and a login crosses the network in the clear only where the destination says `plain_http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import orjson

from fileroom.admin.tls_in_use import client_tls_for
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, PeerRefusedError, PeerTimeoutError, told
from fileroom.core.limits import KIB, MIB
from fileroom.net.tls import PeerTls, why_refused
from fileroom.routing.target_fields import FieldType, TargetField

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 120.0
"""Until the first byte of an answer: archives index a hundred objects before they answer."""
WRITE_TIMEOUT_S: Final = 60.0
ANSWER_BYTES_MAX: Final = 16 * MIB
"""Of one answer; a thousand instances are named in 500 KB."""
TOKEN_TIMEOUT_S: Final = 20.0
TOKEN_BYTES_MAX: Final = 64 * KIB
TOKEN_EARLY_S: Final = 30.0
"""A token is asked for anew so long before it ends: a request may take as long."""
TOKEN_USUAL_S: Final = 300.0
"""How long a token is used whose answer does not say how long it is good (RFC 6749 5.1)."""
RETRY_AFTER_S_MAX: Final = 10.0
"""A pause that is waited for; a longer one is left to the next try of the delivery."""
SAID_CHARS_MAX: Final = 200
"""What an answer says is quoted so far."""

LOGIN_FIELDS: Final = (
    TargetField(
        "login",
        told("Kind of login"),
        FieldType.CHOICE,
        default="none",
        choices=("none", "basic", "bearer", "oauth2"),
        help=told("How Fileroom shows who it is: user and password, a token, or OAuth 2 (client credentials)."),
    ),
    TargetField("user", told("User"), help=told("With the login basic.")),
    TargetField("password", told("Password"), FieldType.SECRET),
    TargetField("token", told("Token"), FieldType.SECRET, help=told("With the login bearer.")),
    TargetField("token_url", told("Address of the token service"), FieldType.URL, help=told("With the login oauth2.")),
    TargetField("client_id", told("Client ID"), help=told("With the login oauth2.")),
    TargetField("client_secret", told("Client secret"), FieldType.SECRET),
    TargetField(
        "scope", told("Scope"), help=told("What is asked of the token service. Empty: what it gives by itself.")
    ),
    TargetField("audience", told("Audience"), help=told("Only where the token service wants it.")),
)
TLS_FIELDS: Final = (
    TargetField(
        "trust",
        told("Its certificate is checked by"),
        FieldType.CHOICE,
        default="system",
        choices=("system", "own"),
        help=told("The public authorities of this system, or the issuers under Certificates > Trusted alone."),
    ),
    TargetField(
        "show_certificate",
        told("Show our certificate"),
        FieldType.FLAG,
        default=False,
        help=told("Mutual TLS: the certificate that is active for outgoing calls is shown."),
    ),
    TargetField(
        "plain_http",
        told("Allow a login without TLS"),
        FieldType.FLAG,
        default=False,
        help=told("The login crosses the network in the clear. For tests, or where the network itself is encrypted."),
    ),
)
LOGIN_SECRETS: Final = frozenset({"password", "token", "client_secret"})


def check_login(target: Mapping[str, Any]) -> None:
    """That the login of a target is whole and not shown to the network. Raises InvalidRequestError."""
    login = target.get("login", "none")
    needed: Mapping[str, Sequence[str]] = {
        "basic": ("user", "password"),
        "bearer": ("token",),
        "oauth2": ("token_url", "client_id", "client_secret"),
    }
    for field in needed.get(login, ()):
        if not target.get(field):
            raise InvalidRequestError(told("The login {login} needs the field {field}.", login=login, field=field))
    if login != "none":
        require_tls(target, "url", "token_url")


def require_tls(target: Mapping[str, Any], *fields: str) -> None:
    """Raises InvalidRequestError for a plain address beside a secret, unless `plain_http` allows it."""
    for field in fields:
        if str(target.get(field, "")).startswith("http:") and not target.get("plain_http"):
            raise InvalidRequestError(
                told(
                    "The address {url} is not encrypted, and a secret would be sent there. Take https, or allow it with "
                    "plain_http.",
                    url=target[field],
                )
            )


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a service answered. `retry_after_s`: how long it wants to be left alone, None where it does not say."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def content_type(self) -> str:
        """Without parameters, in lower case."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    @property
    def retry_after_s(self) -> float | None:
        """Retry-After in seconds (RFC 9110 10.2.3); a date counts as half a minute, as clocks differ."""
        value = str(self.headers.get("retry-after", "")).strip()
        if not value:
            return None
        return min(float(value), 86_400.0) if value.isdecimal() and len(value) < 8 else 30.0

    @property
    def said(self) -> str:
        """The beginning of what it says, where that is a text for people."""
        if self.content_type not in ("text/plain", "application/json", "application/problem+json"):
            return ""
        try:
            found = orjson.loads(self.body)
            text = next(
                (
                    str(found[key])
                    for key in ("detail", "message", "title", "error_description", "error")
                    if found.get(key)
                ),
                "",
            )
        except (orjson.JSONDecodeError, AttributeError):
            text = (
                self.body[: 4 * SAID_CHARS_MAX].decode("utf-8", "replace") if self.content_type == "text/plain" else ""
            )
        return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:SAID_CHARS_MAX]


Body = Callable[[], AsyncIterator[bytes]]
"""Makes the body when the request is on its way."""


class WebClient:
    """One way to a service: connections are kept, and a token as long as it is good. For one lane at a time."""

    def __init__(self, client: httpx.AsyncClient, target: Mapping[str, Any]) -> None:
        self._client = client
        self._target = target
        self._token = ""
        self._token_until = 0.0

    async def ask(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Body | None = None, timeout_s: float
    ) -> WebAnswer:
        """One request. Raises PeerError. Without a body it is asked once more where the token of OAuth 2 is refused; with
        one that is for the caller, as a body may not be had twice (`drop_token`)."""
        answer = await self._once(method, url, headers, body, timeout_s)
        if answer.status == 401 and body is None and self.drop_token():
            answer = await self._once(method, url, headers, body, timeout_s)
        return answer

    def drop_token(self) -> bool:
        """After a 401: whether there was a token that may have ended early; the next request takes a fresh one."""
        dropped, self._token = self._token, ""
        return bool(dropped)

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, timeout_s: float
    ) -> WebAnswer:
        given = dict(headers) | await self._login()
        async with (
            told_failures(url, timeout_s),
            self._client.stream(method, url, headers=given, content=body() if body is not None else None) as answer,
        ):
            return WebAnswer(answer.status_code, answer.headers, await _read(answer, url, ANSWER_BYTES_MAX))

    async def _login(self) -> dict[str, str]:
        target = self._target
        match target.get("login", "none"):
            case "basic":
                auth = httpx.BasicAuth(target["user"], target["password"])
                request = next(auth.auth_flow(httpx.Request("GET", "http://localhost")))
                return {"authorization": request.headers["authorization"]}
            case "bearer":
                return {"authorization": f"Bearer {target['token']}"}
            case "oauth2":
                if not self._token or monotonic() >= self._token_until:
                    await self._fetch_token()
                return {"authorization": f"Bearer {self._token}"}
            case _:
                return {}

    async def _fetch_token(self) -> None:
        """RFC 6749 4.4, with HTTP Basic as 2.3.1 says it."""
        target = self._target
        url = str(target["token_url"])
        form = {"grant_type": "client_credentials"}
        form |= {name: str(target[name]) for name in ("scope", "audience") if target.get(name)}
        login = httpx.BasicAuth(quote(target["client_id"], safe=""), quote(target["client_secret"], safe=""))
        async with (
            told_failures(url, TOKEN_TIMEOUT_S),
            self._client.stream("POST", url, data=form, auth=login, headers={"accept": "application/json"}) as response,
        ):
            answer = WebAnswer(response.status_code, response.headers, await _read(response, url, TOKEN_BYTES_MAX))
        try:
            found = orjson.loads(answer.body)
            token, seconds = found.get("access_token"), found.get("expires_in", TOKEN_USUAL_S)
        except (orjson.JSONDecodeError, AttributeError):
            token, seconds = None, 0
        if answer.status != 200 or not isinstance(token, str) or not token.isprintable() or not token:
            raise PeerRefusedError(
                told(
                    "The token service {url} gives no token: it answers {status} {said}. Compare client ID, secret and scope.",
                    url=url,
                    status=answer.status,
                    said=answer.said,
                )
            )
        good_s = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else TOKEN_USUAL_S
        self._token, self._token_until = token, monotonic() + max(good_s - TOKEN_EARLY_S, good_s / 2)


@contextlib.asynccontextmanager
async def open_web_client(archive: Archive, target: Mapping[str, Any]) -> AsyncIterator[WebClient]:
    """A client with the certificates that the target asks for. Raises ConfigurationError, DatabaseError."""
    timeout = httpx.Timeout(CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S, write=WRITE_TIMEOUT_S)
    context = await _context(archive, target)
    async with httpx.AsyncClient(
        verify=context, timeout=timeout, follow_redirects=False, headers={"user-agent": "Fileroom"}
    ) as client:
        yield WebClient(client, target)


@contextlib.asynccontextmanager
async def told_failures(url: str, timeout_s: float) -> AsyncIterator[None]:
    """What goes wrong on the way as PeerError, in words, without what stands in the address behind its path."""
    parts = urlsplit(url)
    where = f"{parts.scheme}://{parts.netloc}{parts.path}"
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (TimeoutError, httpx.TimeoutException) as error:
        raise PeerTimeoutError(told("{url} did not answer in time.", url=where)) from error
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
        raise PeerRefusedError(told("{url} cannot be reached: {reason}.", url=where, reason=_reason(error))) from error


async def wait_as_told(answer: WebAnswer, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> bool:
    """Wait where a service asks for a short pause; False where it does not, or for a long one."""
    pause = answer.retry_after_s
    if pause is None or pause > RETRY_AFTER_S_MAX:
        return False
    await sleep(pause)
    return True


async def _context(archive: Archive, target: Mapping[str, Any]) -> ssl.SSLContext:
    own, shows = target.get("trust") == "own", bool(target.get("show_certificate"))
    if not own and not shows:
        return ssl.create_default_context()
    found = (await client_tls_for(archive.pool, archive.settings, PeerTls(shows_ours=shows))).context
    if not own:
        found.load_default_certs()
    return found


async def _read(answer: httpx.Response, url: str, bytes_max: int) -> bytes:
    body = bytearray()
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > bytes_max:
            raise PeerRefusedError(told("{url} answers with more than {most} bytes.", url=url, most=bytes_max))
    return bytes(body)


def _reason(error: BaseException) -> str:
    """The failed handshake inside httpx's error as words; else what it says."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return why_refused(seen)
        seen = seen.__cause__ or seen.__context__
    return (str(error) or type(error).__name__).rstrip(".")[:SAID_CHARS_MAX]
