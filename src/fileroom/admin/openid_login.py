"""Logging in by an OpenID provider: authorization code with PKCE (OpenID Connect Core 1.0, 3.1; RFC 6749, 7636, 9207).

What must be remembered between leaving and coming back (state, nonce, verifier, where to go then) is kept by the browser in a
cookie that scripts cannot read: only the browser that left can come back, and nothing is kept here for those who never do.
The provider's access token is used at once, for what the ID token does not say, and thrown away; as a bearer token it opens
nothing here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson
import structlog

from fileroom.admin.audit import record_alone
from fileroom.admin.audit_events import login_failed
from fileroom.admin.group_roles import group_roles_of
from fileroom.admin.lockout import begin_attempt
from fileroom.admin.logins import Client, begin_full_session
from fileroom.admin.openid import ProviderAddresses, ask_provider, provider_down
from fileroom.admin.people import People
from fileroom.admin.provided_accounts import take_in
from fileroom.admin.provided_people import ProvidedPerson, Source
from fileroom.admin.random_secrets import hash_of, new_secret
from fileroom.admin.sessions import NewSession
from fileroom.core.errors import (
    ConflictError,
    FileroomError,
    InvalidRequestError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    ProviderDownError,
    TooManyAttemptsError,
    told,
)
from fileroom.core.limits import OPENID_ANSWER_BYTES_MAX, OPENID_LOGIN_S

_log = structlog.get_logger(__name__)
_FLOW_CHARS_MAX: Final = 4096
_CODE_CHARS_MAX: Final = 4096
_ERRORS: Final = frozenset(
    {"access_denied", "login_required", "interaction_required", "consent_required", "server_error"}
    | {
        "temporarily_unavailable",
        "invalid_request",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_response_type",
    }
)
"""What a provider may say by way of the browser (RFC 6749 4.1.2.1, Core 3.1.2.6); anybody could say something else there."""


@dataclass(frozen=True, slots=True)
class OpenIdStart:
    """Where the browser goes, and what it keeps meanwhile."""

    address: str
    flow: str


@dataclass(frozen=True, slots=True)
class OpenIdAnswer:
    """What the browser brings back in the address."""

    state: str
    code: str
    error: str = ""
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class _Flow:
    state: str
    nonce: str
    verifier: str
    back: str
    following: str
    until_s: int


async def begin_openid_login(people: People, back: str, following: str) -> OpenIdStart:
    """Begin. `back` is our own absolute address that the provider sends people to; `following` a path to go to then.

    Raises NotFoundError where no provider is set up, ProviderDownError.
    """
    settings = people.settings
    if not settings.oidc_issuer:
        raise NotFoundError(told("No OpenID provider is set up here."))
    addresses = await people.openid.addresses(settings)
    until_s = int(people.now().timestamp()) + OPENID_LOGIN_S
    flow = _Flow(new_secret(), new_secret(), new_secret(), back, following, until_s)
    question = {
        "response_type": "code",
        "client_id": settings.oidc_client_id,
        "redirect_uri": back,
        "scope": settings.oidc_scope,
        "state": flow.state,
        "nonce": flow.nonce,
        "code_challenge": _unpadded(hashlib.sha256(flow.verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
    return OpenIdStart(_with_query(addresses.authorization, question), _unpadded(orjson.dumps(asdict(flow))))


async def finish_openid_login(
    people: People, kept: str, answer: OpenIdAnswer, client: Client
) -> tuple[NewSession, str]:
    """A session for whoever comes back, and the path to go to. `kept` is `OpenIdStart.flow`.

    Raises NotAuthenticatedError, NotAllowedError, ConflictError, TooManyAttemptsError, ProviderDownError.
    """
    flow = _flow_of(kept)
    if flow is None or not answer.state or answer.state != flow.state or flow.until_s < people.now().timestamp():
        raise NotAuthenticatedError(told("That login took too long, or began in another window. Begin once more."))
    attempt = await begin_attempt(people, f"openid {hash_of(flow.state).hex()[:16]}", client.address, None)
    try:
        addresses = await people.openid.addresses(people.settings)
        tokens = await _exchange(people, addresses, flow, answer)
        person = await _person(people, addresses, tokens, flow)
        mapping = group_roles_of(people.settings.oidc_roles, "oidc_roles")
        account = await take_in(people, person, mapping, address=client.address)
    except FileroomError as error:
        if not isinstance(error, (NotAuthenticatedError, TooManyAttemptsError)):
            await attempt.take_back()
        _log.warning("login_refused", address=client.address, provider=people.settings.oidc_name, reason=str(error))
        reason = f"OpenID Connect ({people.settings.oidc_name}): {error}"
        await record_alone(people.pool, login_failed("", client.address, reason))
        if isinstance(error, (NotAuthenticatedError, NotAllowedError, ConflictError, ProviderDownError)):
            raise
        if isinstance(error, InvalidRequestError):
            raise NotAuthenticatedError(error.sentence) from error
        raise provider_down(people.settings) from error
    await attempt.succeeded()
    how = f"OpenID Connect ({people.settings.oidc_name})"
    session = await begin_full_session(people, account.id, account.login, client, how=how)
    async with people.pool.connection() as connection:
        await connection.execute(
            b"UPDATE session SET id_token = %s WHERE token_hash = %s", (tokens["id_token"], hash_of(session.secret))
        )
    return session, flow.following


async def logout_address(people: People, secret: str, back: str) -> str | None:
    """Where the provider ends its own session (RP-Initiated Logout 1.0); None: this session is not of it, or it cannot.

    Ask before the session ends. `back` is where the provider may send the browser then.
    """
    if not people.settings.oidc_issuer:
        return None
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT id_token FROM session WHERE token_hash = %s AND id_token IS NOT NULL", (hash_of(secret),)
        )
        row = await cursor.fetchone()
    if row is None:
        return None
    try:
        addresses = await people.openid.addresses(people.settings)
    except ProviderDownError:
        return None  # the session here ends all the same
    if not addresses.end_session:
        return None
    question = {"id_token_hint": row[0], "client_id": people.settings.oidc_client_id, "post_logout_redirect_uri": back}
    return _with_query(addresses.end_session, question)


# --- the steps ---


async def _exchange(
    people: People, addresses: ProviderAddresses, flow: _Flow, answer: OpenIdAnswer
) -> Mapping[str, Any]:
    """The tokens for the code (Core 3.1.3)."""
    settings = people.settings
    if (answer.issuer is not None or addresses.tells_issuer) and answer.issuer != settings.oidc_issuer:
        raise _refused(people, told("the answer is not from the provider that was asked (iss)"))
    if answer.error or not answer.code or len(answer.code) > _CODE_CHARS_MAX:
        raise _refused(people, answer.error if answer.error in _ERRORS else told("it brought no code"))
    form = {
        "grant_type": "authorization_code",
        "code": answer.code,
        "redirect_uri": flow.back,
        "client_id": settings.oidc_client_id,
        "code_verifier": flow.verifier,
    }
    login, secret = None, settings.oidc_client_secret.get_secret_value()
    if secret and addresses.takes_basic:
        login = (_form_encoded(settings.oidc_client_id), _form_encoded(secret))
    elif secret:
        form["client_secret"] = secret
    found = await ask_provider(settings, addresses.token, form=form, login=login)
    if found.status >= 500:
        raise provider_down(settings)
    if found.status != 200 or not isinstance(found.body.get("id_token"), str):
        reason = str(found.body.get("error", ""))[:80]
        raise _refused(
            people, told("it gives no token for the code ({status} {reason})", status=found.status, reason=reason)
        )
    return dict(found.body)


async def _person(
    people: People, addresses: ProviderAddresses, tokens: Mapping[str, Any], flow: _Flow
) -> ProvidedPerson:
    claims = await _checked_claims(people, tokens["id_token"], flow)
    settings = people.settings
    groups, login = _values(claims, settings.oidc_claim), claims.get(settings.oidc_login_claim)
    if (groups is None or login is None) and addresses.userinfo and isinstance(tokens.get("access_token"), str):
        more = await ask_provider(settings, addresses.userinfo, bearer=tokens["access_token"])
        if more.status == 200 and more.body.get("sub") == claims["sub"]:  # Core 5.3.2: else it is about somebody else
            claims = {**more.body, **claims}
            groups, login = _values(claims, settings.oidc_claim), claims.get(settings.oidc_login_claim)
    if groups is None:
        names = claims.get("_claim_names")
        is_too_many = isinstance(names, dict) and settings.oidc_claim in names
        _log.error(
            "openid_groups_missing", claim=settings.oidc_claim, too_many_groups=is_too_many, there=sorted(claims)
        )
    if not isinstance(login, str) or not login:
        raise _refused(people, told("it tells no login (claim {claim})", claim=settings.oidc_login_claim))
    name = claims.get("name")
    return ProvidedPerson(
        Source.OPENID,
        f"{settings.oidc_issuer} {claims['sub']}",
        login,
        name if isinstance(name, str) else "",
        groups or (),
    )


async def _checked_claims(people: People, token: str, flow: _Flow) -> Mapping[str, Any]:
    # Only where there is a provider: it takes a tenth of a second to load.
    from fileroom.admin.id_tokens import Expected, UnknownKeyError, check_id_token

    settings = people.settings
    expected = Expected(settings.oidc_issuer, settings.oidc_client_id, flow.nonce, people.now().timestamp())
    try:
        if len(token) > OPENID_ANSWER_BYTES_MAX:
            raise NotAuthenticatedError(told("it is too long"))
        try:
            return check_id_token(token, await people.openid.keys(settings), expected)
        except UnknownKeyError:
            return check_id_token(token, await people.openid.keys(settings, anew=True), expected)
    except NotAuthenticatedError as error:
        raise _refused(people, told("its ID token does not hold: {why}", why=error.sentence)) from error


def _values(claims: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    """The texts of a claim, by its name or by a path of names; None where it is not there."""
    value: object = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else None


def _refused(people: People, reason: str) -> NotAuthenticatedError:
    return NotAuthenticatedError(
        told("{provider} did not let you in: {reason}.", provider=people.settings.oidc_name, reason=reason)
    )


def _flow_of(kept: str) -> _Flow | None:
    if not 0 < len(kept) <= _FLOW_CHARS_MAX:
        return None
    try:
        found = orjson.loads(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)))
        texts = {name: found[name] for name in ("state", "nonce", "verifier", "back", "following")}
        if not all(isinstance(text, str) and text for text in texts.values()) or not isinstance(found["until_s"], int):
            return None
        return _Flow(**texts, until_s=found["until_s"])
    except (ValueError, TypeError, KeyError):
        return None


def _unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _form_encoded(text: str) -> str:
    """RFC 6749 2.3.1: both are encoded before they go into the header; a blank as %20, which everybody reads alike."""
    return quote(text, safe="")


def _with_query(url: str, values: Mapping[str, str]) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(values)}"
