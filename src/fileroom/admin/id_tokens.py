"""Checking an ID token (OpenID Connect Core 1.0, 3.1.3.7): signature, issuer, audience, time, nonce. No I/O, no clock.

Only signatures by a public key count: with `none` there is no signature, and with HS256 the public key would be the secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from joserfc import jwk, jws, jwt
from joserfc.errors import InvalidKeyIdError, JoseError

from fileroom.core.errors import NotAuthenticatedError, told
from fileroom.core.limits import OPENID_LEEWAY_S

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})


class UnknownKeyError(NotAuthenticatedError):
    """The token is by a key that the set does not have: the provider may have changed its keys."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token must say. `now_s`: seconds since 1970."""

    issuer: str
    client_id: str
    nonce: str
    now_s: float


def check_id_token(token: str, keys: Mapping[str, Any], expected: Expected) -> Mapping[str, Any]:
    """The claims of a token that holds. Raises UnknownKeyError, NotAuthenticatedError that says what is wrong with it."""
    registry = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
    try:
        claims = jwt.decode(token, _key_set(keys), algorithms=list(ALGORITHMS), registry=registry).claims
    except InvalidKeyIdError as error:
        raise UnknownKeyError(told("it is signed by a key that the provider does not show")) from error
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotAuthenticatedError(
            told("its signature does not hold ({kind}: {error})", kind=type(error).__name__, error=str(error)[:200])
        ) from error
    if wrong := _what_is_wrong(claims, expected):
        raise NotAuthenticatedError(wrong)
    return claims


def _key_set(keys: Mapping[str, Any]) -> jwk.KeySet:
    """The keys that can check a signature; others (encryption, kinds that are not known) are left out."""
    found: list[Any] = []
    listed = keys.get("keys")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("kty") in _KEY_TYPES and one.get("use", "sig") == "sig":
            try:
                found.append(jwk.import_key(one))
            except (JoseError, ValueError, TypeError, KeyError):
                continue
    if not found:
        raise UnknownKeyError(told("the provider shows no key that could check it"))
    return jwk.KeySet(found)


def _what_is_wrong(claims: Mapping[str, Any], expected: Expected) -> str:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    party = claims.get("azp")
    ends, issued, begins = (claims.get(name) for name in ("exp", "iat", "nbf"))
    now = expected.now_s
    if claims.get("iss") != expected.issuer:
        return told("it is from {other}, not from {issuer}", other=str(claims.get("iss"))[:200], issuer=expected.issuer)
    if expected.client_id not in audiences:
        return told("it is for another application (aud)")
    if (len(audiences) > 1 and party is None) or (party is not None and party != expected.client_id):
        return told("it was given to another application (azp)")
    if not _is_number(ends) or ends + OPENID_LEEWAY_S < now:
        return told("it has expired (exp); are the clocks right?")
    if not _is_number(issued) or issued - OPENID_LEEWAY_S > now:
        return told("it is from the future (iat); are the clocks right?")
    if begins is not None and (not _is_number(begins) or begins - OPENID_LEEWAY_S > now):
        return told("it is not good yet (nbf); are the clocks right?")
    if not expected.nonce or claims.get("nonce") != expected.nonce:
        return told("it answers another question (nonce)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        return told("it does not say who it is about (sub)")
    return ""


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
