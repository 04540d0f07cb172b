"""Behind the guard, before every route: who does this request come from? It is served in their name (`core.access`).

In this order: an Authorization header (bearer token; Basic with login and password, or with a token as password), the
session's cookie, and at last the rule for this machine: who comes from loopback without credentials may do everything as
long as FILEROOM_WEB_LOGIN allows it, the port listens on loopback only and no proxy stands between. Credentials that are
wrong are always refused, also there.

A cookie comes along whoever made the browser send the request. So changes are refused when the browser says that another
site, or another port of this host, is behind them (Sec-Fetch-Site, Origin); our own forms carry a token besides.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from fileroom.admin.authentication import Identity, identity_of_account, identity_of_session, identity_of_token
from fileroom.admin.logins import check_basic
from fileroom.admin.people import People
from fileroom.admin.random_secrets import TOKEN_PREFIX
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, acting_as, current_access
from fileroom.core.errors import FileroomError, NotAllowedError, NotAuthenticatedError, TooManyAttemptsError, told
from fileroom.core.limits import ACCESS_CACHE_ENTRIES_MAX, ACCESS_CACHE_S
from fileroom.web.address import is_loopback
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.credentials import (
    RequestHead,
    bearer_token,
    form_token,
    login_and_password,
    no_session_cookie,
    read_head,
    session_secret,
)
from fileroom.web.endpoint import send_answer
from fileroom.web.errors import error_answer
from fileroom.web.rate_limit import PROBES, STRANGERS, WRONG_CREDENTIALS, RateLimit

LOCAL: Final = Access(ActorKind.SYSTEM, "local", frozenset(Permission))
"""Whoever sits at this machine, as long as nobody needs to log in there."""
PROBE: Final = Access(ActorKind.SYSTEM, "probe", frozenset({Permission.SYSTEM_READ}))
"""Whoever asks whether Fileroom lives."""

LOGIN_PATH: Final = "/login"
NEW_PASSWORD_PATH: Final = "/account/new-password"  # noqa: S105 - an address
FORM_TOKEN_FIELD: Final = "form_token"  # noqa: S105 - the name of a field
FHIR_PATH: Final = "/fhir"
_SMART: Final = f"{FHIR_PATH}/.well-known/smart-configuration"
"""Where SMART on FHIR looks before there is a login."""
_HEALTH: Final = frozenset({"/healthz", "/readyz"})
_METRICS: Final = "/metrics"
_OPEN: Final = frozenset({LOGIN_PATH, "/login/code", "/logout", "/favicon.ico", _SMART})
_ASSETS: Final = "/static/"
_CONTEXTS: Final = "/dictation/context/"
"""Files for dictation programs: the address itself, sealed and short-lived, is the permission."""
_OPEN_BELOW: Final = (_ASSETS, "/login/", _CONTEXTS)
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_IDENTITY: Final = "fileroom.identity"
_FORM_TOKEN: Final = "fileroom.form_token"  # noqa: S105 - a key
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class IdentityCache:
    """Who was behind a secret a moment ago, so that a page with fifty images asks the database once."""

    def __init__(self, people: People) -> None:
        self._now = people.now
        self._kept: OrderedDict[bytes, tuple[dt.datetime, Identity]] = OrderedDict()

    async def get(self, secret: str, find: Callable[[], Awaitable[Identity | None]]) -> Identity | None:
        """From memory, else by `find`. That there is nobody is not remembered: guesses must not push out what is right."""
        key, now = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest(), self._now()
        kept = self._kept.get(key)
        if kept is not None and kept[0] > now:
            return kept[1]
        found = await find()
        if found is not None:
            until = now + dt.timedelta(seconds=ACCESS_CACHE_S)
            self._kept[key] = (min(until, found.expires_at or until), found)
            self._kept.move_to_end(key)
            if len(self._kept) > ACCESS_CACHE_ENTRIES_MAX:
                self._kept.popitem(last=False)
        return found

    def forget(self) -> None:
        """Somebody's rights or sessions have changed: ask anew. Other workers do within ACCESS_CACHE_S."""
        self._kept.clear()


class Authentication:
    """ASGI middleware; `app` is served in the name of whoever the request comes from."""

    def __init__(self, app: ASGIApp, people: People, cache: IdentityCache, *, trusts_this_machine: bool) -> None:
        self._app = app
        self._people = people
        self._cache = cache
        self._trusts_this_machine = trusts_this_machine
        self._rates = RateLimit(people.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who acts, then serve or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = read_head(scope)
        try:
            _refuse_other_sites(scope, head)
            identity = await self._identify(scope, head)
        except NotAuthenticatedError as error:
            await send_answer(_refusal(self._counted(error, head), scope, head), scope, send)
            return
        except FileroomError as error:
            await send_answer(_refusal(error, scope, head), scope, send)
            return
        if identity.must_change_password and scope["path"] != NEW_PASSWORD_PATH:
            await send_answer(_password_first(scope, head), scope, send)
            return
        if identity.access.fhir is not None and not _is_of_fhir(scope["path"]):
            refused = NotAllowedError(told("This token is good for FHIR alone, below {path}.", path=FHIR_PATH))
            await send_answer(_refusal(refused, scope, head), scope, send)
            return
        scope[_IDENTITY] = identity
        with acting_as(identity.access):
            await self._app(scope, receive, send)

    async def _identify(self, scope: Scope, head: RequestHead) -> Identity:
        """Raises NotAuthenticatedError, TooManyAttemptsError, ServiceError."""
        path = scope["path"]
        if path in _HEALTH:
            self._rates.count(PROBES, head.address)
            return _with_address(Identity(PROBE), head)
        if path in _OPEN or path.startswith(_OPEN_BELOW):
            if not path.startswith(_ASSETS):
                self._rates.count(STRANGERS, head.address)
            return _with_address(Identity(NOBODY), head)
        if head.authorization is not None:
            identity = await self._by_authorization(head)
        elif (secret := session_secret(head)) is not None:
            identity = await self._by_session(secret, scope)
        else:
            identity = self._by_place(path, head)
        return _with_address(identity, head)

    def _counted(self, error: FileroomError, head: RequestHead) -> FileroomError:
        """The refusal of somebody unknown; of one who asks too often, another."""
        shows_something = head.authorization is not None or session_secret(head) is not None
        try:
            self._rates.count(WRONG_CREDENTIALS if shows_something else STRANGERS, head.address)
        except TooManyAttemptsError as too_many:
            return too_many
        return error

    async def _by_authorization(self, head: RequestHead) -> Identity:
        authorization = head.authorization or ""
        pair = login_and_password(authorization)
        token = bearer_token(authorization) or (pair[1] if pair and pair[1].startswith(TOKEN_PREFIX) else None)
        if token is not None:
            identity = await self._cache.get(token, lambda: identity_of_token(self._people, token))
            if identity is None:
                raise NotAuthenticatedError(
                    told("That token is not good: it was never given, has expired or was revoked.")
                )
            return identity
        if pair is None:
            raise NotAuthenticatedError(told("The Authorization header holds no token; write 'Bearer TOKEN'."))

        async def find() -> Identity | None:
            account_id = await check_basic(self._people, pair[0], pair[1], head.address)
            return await identity_of_account(self._people, account_id)

        # Hashing a password takes as long as a hundred small requests: for a moment it is remembered that it was right.
        identity = await self._cache.get(authorization, find)
        if identity is None:
            raise NotAuthenticatedError(told("Login or password is wrong."))
        return identity

    async def _by_session(self, secret: str, scope: Scope) -> Identity:
        identity = await self._cache.get(secret, lambda: identity_of_session(self._people, secret))
        if identity is None:
            raise NotAuthenticatedError(told("Your session is over. Log in again."))
        scope[_FORM_TOKEN] = form_token(secret)
        return identity

    def _by_place(self, path: str, head: RequestHead) -> Identity:
        if is_loopback(head.address) and not head.is_forwarded:
            if self._trusts_this_machine:
                return Identity(LOCAL)
            if path == _METRICS:
                return Identity(PROBE)
        raise NotAuthenticatedError(told("Log in, or send a token as 'Authorization: Bearer TOKEN'."))


def identity_of(request: Request) -> Identity:
    """Who the request comes from, with what pages show of them."""
    found = request.scope.get(_IDENTITY)
    return found if isinstance(found, Identity) else Identity(current_access())


def form_token_of(request: Request) -> str:
    """What a form of this request's session must carry; empty where no session is behind it."""
    return str(request.scope.get(_FORM_TOKEN, ""))


def require_form_token(request: Request, sent: str) -> None:
    """Raises NotAllowedError for a form that this session's pages did not make."""
    if not hmac.compare_digest(form_token_of(request).encode(), sent.encode("utf-8", "replace")):
        raise NotAllowedError(told("This form is from another session. Load its page again."))


def _refuse_other_sites(scope: Scope, head: RequestHead) -> None:
    """Raises NotAllowedError for a change that another site makes a browser ask for.

    Clients that are no browsers send neither header, and no cookie without meaning it.
    """
    if scope["method"] in _SAFE_METHODS:
        return
    foreign_site = head.fetch_site is not None and head.fetch_site not in _OWN_SITE
    if foreign_site or (head.origin is not None and not _is_same_origin(head)):
        raise NotAllowedError(
            told("Another web site tried to change something here through your browser; that is refused.")
        )


def _is_of_fhir(path: str) -> bool:
    return path == FHIR_PATH or path.startswith(f"{FHIR_PATH}/")


def _is_same_origin(head: RequestHead) -> bool:
    """Host and port are compared; the scheme may differ behind a proxy that ends TLS."""
    _, separator, place = (head.origin or "").partition("://")
    return bool(separator) and place.lower() == head.host.lower()


def _with_address(identity: Identity, head: RequestHead) -> Identity:
    return dataclasses.replace(identity, access=dataclasses.replace(identity.access, address=head.address))


def _password_first(scope: Scope, head: RequestHead) -> Answer:
    """The session is good for nothing but a new password: a page leads there, all else is refused."""
    if scope["method"] in ("GET", "HEAD") and "text/html" in head.accept:
        return Answer(HTTPStatus.SEE_OTHER, {"location": NEW_PASSWORD_PATH, "cache-control": NO_STORE})
    refused = NotAllowedError(
        told("Somebody else has set your password. Change it first, at {path}.", path=NEW_PASSWORD_PATH)
    )
    return error_answer(refused, "authentication")


def _refusal(error: FileroomError, scope: Scope, head: RequestHead) -> Answer:
    """A problem document, or for a page in a browser the way to the login."""
    answer = error_answer(error, "authentication")
    if not isinstance(error, NotAuthenticatedError):
        return answer
    if head.authorization is None and session_secret(head) is not None:
        answer = answer.with_headers({"set-cookie": no_session_cookie(head)})
    if scope["method"] not in ("GET", "HEAD") or "text/html" not in head.accept:
        return answer
    asked = scope["path"] + (f"?{scope['query_string'].decode('latin_1')}" if scope.get("query_string") else "")
    headers = {
        "location": LOGIN_PATH if asked == "/" else f"{LOGIN_PATH}?next={quote(asked, safe='')}",
        "cache-control": NO_STORE,
    }
    if "set-cookie" in answer.headers:
        headers["set-cookie"] = answer.headers["set-cookie"]
    return Answer(HTTPStatus.SEE_OTHER, headers)
