"""ID tokens: what holds and what does not, claim by claim."""

from __future__ import annotations

import pytest
from joserfc import jwk, jwt

from fileroom.admin.id_tokens import Expected, UnknownKeyError, check_id_token
from fileroom.core.errors import NotAuthenticatedError
from fileroom.core.limits import OPENID_LEEWAY_S

NOW = 1_800_000_000
RSA = jwk.RSAKey.generate_key(2048, {"kid": "rsa"}, private=True)
EC = jwk.ECKey.generate_key("P-256", {"kid": "ec", "use": "sig"}, private=True)
KEYS = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
EXPECTED = Expected("https://id.example", "fileroom", "n-1", NOW)
GOOD: dict[str, object] = {
    "iss": "https://id.example",
    "sub": "s-1",
    "aud": "fileroom",
    "exp": NOW + 300,
    "iat": NOW,
    "nonce": "n-1",
}


def _token(alg: str = "RS256", key: jwk.Key = RSA, **changes: object) -> str:
    claims = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid}, claims, key, [alg])


@pytest.mark.parametrize(("alg", "key"), [("RS256", RSA), ("PS512", RSA), ("ES256", EC)])
def test_a_token_by_a_key_of_the_provider_holds(alg: str, key: jwk.Key) -> None:
    assert check_id_token(_token(alg, key), KEYS, EXPECTED)["sub"] == "s-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["fileroom"]},
        {"aud": ["fileroom", "other"], "azp": "fileroom"},
        {"exp": NOW - OPENID_LEEWAY_S + 1},
        {"iat": NOW + OPENID_LEEWAY_S - 1, "nbf": NOW + OPENID_LEEWAY_S - 1},
    ],
)
def test_what_is_within_the_rules_holds(changes: dict[str, object]) -> None:
    assert check_id_token(_token(**changes), KEYS, EXPECTED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://id.example/"}, "not from"),
        ({"iss": None}, "not from"),
        ({"aud": "other"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": {"fileroom": 1}}, "aud"),
        ({"aud": ["fileroom", "other"]}, "azp"),
        ({"azp": "other"}, "azp"),
        ({"exp": NOW - OPENID_LEEWAY_S - 1}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": "never"}, "exp"),
        ({"exp": True}, "exp"),
        ({"iat": NOW + OPENID_LEEWAY_S + 1}, "iat"),
        ({"iat": None}, "iat"),
        ({"nbf": NOW + OPENID_LEEWAY_S + 1}, "nbf"),
        ({"nonce": "n-2"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": 7}, "sub"),
    ],
)
def test_what_breaks_a_rule_does_not_hold(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(NotAuthenticatedError, match=reason):
        check_id_token(_token(**changes), KEYS, EXPECTED)


def test_an_empty_nonce_answers_nothing() -> None:
    with pytest.raises(NotAuthenticatedError, match="nonce"):
        check_id_token(_token(nonce=""), KEYS, Expected("https://id.example", "fileroom", "", NOW))


def test_a_secret_among_the_keys_checks_nothing() -> None:
    secret = jwk.OctKey.import_key("0123456789abcdef0123456789abcdef", {"kid": "oct"})
    token = jwt.encode({"alg": "HS256", "kid": "oct"}, GOOD, secret, ["HS256"])
    with pytest.raises(NotAuthenticatedError):
        check_id_token(token, {"keys": [secret.as_dict(private=True)]}, EXPECTED)
    with pytest.raises(NotAuthenticatedError):
        check_id_token(token, {"keys": [secret.as_dict(private=True), *KEYS["keys"]]}, EXPECTED)


def test_a_key_that_is_not_shown_is_told_apart_so_that_the_keys_are_asked_for_again() -> None:
    other = jwk.RSAKey.generate_key(2048, {"kid": "new"}, private=True)
    with pytest.raises(UnknownKeyError):
        check_id_token(_token(key=other), KEYS, EXPECTED)
    for keys in ({}, {"keys": []}, {"keys": "no"}, {"keys": [1, {}, {"kty": "RSA"}, {"kty": "new"}]}):
        with pytest.raises(UnknownKeyError):
            check_id_token(_token(), keys, EXPECTED)
    encryption = RSA.as_dict(private=False) | {"use": "enc"}
    with pytest.raises(UnknownKeyError):
        check_id_token(_token(), {"keys": [encryption]}, EXPECTED)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "....", "é.é.é", "eyJhbGciOiJub25lIn0.e30.", "[" * 5000])
def test_what_is_no_token_does_not_hold(token: str) -> None:
    with pytest.raises(NotAuthenticatedError):
        check_id_token(token, KEYS, EXPECTED)


def test_a_changed_token_does_not_hold() -> None:
    head, body, signature = _token().split(".")
    for at in range(0, len(signature), 40):
        changed = signature[:at] + ("A" if signature[at] != "A" else "B") + signature[at + 1 :]
        with pytest.raises(NotAuthenticatedError):
            check_id_token(f"{head}.{body}.{changed}", KEYS, EXPECTED)
