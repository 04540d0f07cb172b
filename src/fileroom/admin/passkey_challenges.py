"""Questions to passkeys and the check of their answers (W3C WebAuthn level 2, 7.1 and 7.2).

A question is a challenge of 64 random bytes that lies in the database until it is answered or its time is over. Whatever
comes back takes it away first, so the same answer is never looked at twice, by no worker. The signature covers the
challenge, the name and the origin, so an answer that was given to another site fails here.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
import webauthn
from psycopg.rows import dict_row
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from fileroom.admin.people import People
from fileroom.core.errors import InvalidRequestError, NotAuthenticatedError, told
from fileroom.core.limits import PASSKEY_CHALLENGE_S

Purpose = Literal["register", "login", "second-factor"]

CREDENTIAL_CHARS_MAX: Final = 16_384
"""An answer in JSON: a credential id of at most 1023 bytes, a key or signature, our challenge."""
_CREDENTIAL_ID_BYTES_MAX: Final = 1023
"""WebAuthn 7.1 step 25 allows no longer one."""
_PUBLIC_KEY_BYTES_MAX: Final = 4096
"""RSA with 4096 bits needs 530."""
_RP_NAME: Final = "Fileroom"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """Under which name the browser sees this server. `origin`: scheme, name and, if it is another one, port."""

    name: str
    origin: str


@dataclass(frozen=True, slots=True)
class Known:
    """Whose passkey shall be made, and the credentials that they have here already."""

    account_id: int
    login: str
    full_name: str
    handle: bytes
    credentials: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class NewCredential:
    """What an authenticator has made."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The passkey that somebody has shown, and whose it is."""

    passkey_id: int
    passkey_name: str
    account_id: int
    login: str


async def offer(people: People, site: Site, whose: Known) -> str:
    """Ask for a new passkey. Raises InvalidRequestError where there can be none."""
    _require_a_name(site)
    options = webauthn.generate_registration_options(
        rp_id=site.name,
        rp_name=_RP_NAME,
        user_id=whose.handle,
        user_name=whose.login,
        user_display_name=whose.full_name or whose.login,
        timeout=PASSKEY_CHALLENGE_S * 1000,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in whose.credentials],
    )
    await _keep(people, options.challenge, "register", whose.account_id, site)
    return webauthn.options_to_json(options)


async def ask(people: People, site: Site, purpose: Purpose, account_id: int | None = None) -> str:
    """Ask for a passkey, anybody's or this account's: PublicKeyCredentialRequestOptions as JSON.

    Raises InvalidRequestError at a name where there can be none.
    """
    _require_a_name(site)
    credentials: list[bytes] = []
    if account_id is not None:
        async with people.pool.connection() as connection:
            cursor = await connection.execute(
                b"SELECT credential_id FROM passkey WHERE account_id = %s AND site = %s", (account_id, site.name)
            )
            credentials = [row[0] for row in await cursor.fetchall()]
        if not credentials:
            raise InvalidRequestError(
                told("None of your passkeys is good at {name}. Use a code instead.", name=site.name)
            )
    options = webauthn.generate_authentication_options(
        rp_id=site.name,
        timeout=PASSKEY_CHALLENGE_S * 1000,
        allow_credentials=[PublicKeyCredentialDescriptor(id=one) for one in credentials],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    await _keep(people, options.challenge, purpose, account_id, site)
    return webauthn.options_to_json(options)


async def take_registration(people: People, site: Site, account_id: int, credential: str) -> NewCredential:
    """The passkey of an answer to `offer`. Raises InvalidRequestError."""
    wrong = InvalidRequestError(told("That passkey could not be added: its answer is wrong or came too late."))
    answer = _parsed(credential)
    challenge = None if answer is None else await _take_challenge(people, answer, "register", account_id, site)
    if answer is None or challenge is None:
        raise wrong
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=site.name,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever a stranger's bytes do to the parsers, it is a wrong answer
        _log.warning("passkey_refused", purpose="register", reason=_reason(error))
        raise wrong from None
    if (
        not 1 <= len(made.credential_id) <= _CREDENTIAL_ID_BYTES_MAX
        or len(made.credential_public_key) > _PUBLIC_KEY_BYTES_MAX
    ):
        raise wrong
    return NewCredential(made.credential_id, made.credential_public_key, made.sign_count)


async def take_assertion(
    people: People, site: Site, purpose: Purpose, credential: str, account_id: int | None = None
) -> Shown:
    """Whose passkey an answer to `ask` shows; its counter goes on. `account_id`: it must be of this account.

    Raises NotAuthenticatedError.
    """
    wrong = NotAuthenticatedError(told("That passkey is not known here, or its answer came too late. Try again."))
    answer = _parsed(credential)
    challenge = None if answer is None else await _take_challenge(people, answer, purpose, account_id, site)
    if answer is None or challenge is None:
        raise wrong
    try:
        credential_id = webauthn.base64url_to_bytes(answer["rawId"])
        handle = answer["response"].get("userHandle")
        handle = webauthn.base64url_to_bytes(handle) if handle else None
    except Exception:  # noqa: BLE001 - as above
        raise wrong from None
    async with people.pool.connection() as connection, connection.transaction():
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                b"""SELECT p.id, p.name, p.public_key, p.sign_count, p.account_id, a.login, a.passkey_handle
                    FROM passkey p JOIN account a ON a.id = p.account_id
                    WHERE p.credential_id = %s AND p.site = %s AND a.disabled_at IS NULL FOR UPDATE OF p""",
                (credential_id, site.name),
            )
            row = await cursor.fetchone()
        if row is None or (account_id is not None and row["account_id"] != account_id):
            raise wrong
        # A passkey that is found without a login must say whose it is (7.2 step 6).
        if handle != row["passkey_handle"] and not (handle is None and account_id is not None):
            raise wrong
        try:
            verified = webauthn.verify_authentication_response(
                credential=answer,
                expected_challenge=challenge,
                expected_rp_id=site.name,
                expected_origin=site.origin,
                credential_public_key=row["public_key"],
                credential_current_sign_count=row["sign_count"],
                require_user_verification=True,
            )
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("passkey_refused", purpose=purpose, login=row["login"], reason=_reason(error))
            raise wrong from None
        await connection.execute(
            b"UPDATE passkey SET sign_count = %s, last_used_at = %s WHERE id = %s",
            (verified.new_sign_count, people.now(), row["id"]),
        )
    return Shown(row["id"], row["name"], row["account_id"], row["login"])


async def forget_old_challenges(people: People) -> None:
    """Background work: questions that nobody has answered."""
    async with people.pool.connection() as connection:
        await connection.execute(b"DELETE FROM passkey_challenge WHERE expires_at <= %s", (people.now(),))


def _require_a_name(site: Site) -> None:
    """Browsers know passkeys by name only, never by address (WebAuthn 5.1.3 step 7)."""
    try:
        ipaddress.ip_address(site.name.strip("[]"))
    except ValueError:
        return
    raise InvalidRequestError(
        told("Passkeys need this server's name; {address} is an address. Open it by its name.", address=site.name)
    )


async def _keep(people: People, challenge: bytes, purpose: Purpose, account_id: int | None, site: Site) -> None:
    until = people.now() + dt.timedelta(seconds=PASSKEY_CHALLENGE_S)
    async with people.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO passkey_challenge (challenge, purpose, account_id, site, origin, expires_at)
                VALUES (%s, %s, %s, %s, %s, %s)""",
            (challenge, purpose, account_id, site.name, site.origin, until),
        )


def _parsed(credential: str) -> dict[str, Any] | None:
    if len(credential) > CREDENTIAL_CHARS_MAX:
        return None
    try:
        answer = json.loads(credential)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and isinstance(answer.get("response"), dict) else None


async def _take_challenge(
    people: People, answer: dict[str, Any], purpose: Purpose, account_id: int | None, site: Site
) -> bytes | None:
    """The challenge that an answer names, if it is out and for this; it is gone in any case."""
    try:
        client_data = json.loads(webauthn.base64url_to_bytes(answer["response"]["clientDataJSON"]))
        challenge = webauthn.base64url_to_bytes(client_data["challenge"])
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes do to the parsers, it is a wrong answer
        return None
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"""DELETE FROM passkey_challenge WHERE challenge = %s
                RETURNING purpose, account_id, site, origin, expires_at""",
            (challenge,),
        )
        row = await cursor.fetchone()
    if row is None or row[4] <= people.now() or tuple(row[:4]) != (purpose, account_id, site.name, site.origin):
        _log.warning(
            "passkey_refused", purpose=purpose, reason="the challenge is not out, over, used, or for something else"
        )
        return None
    return challenge


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
