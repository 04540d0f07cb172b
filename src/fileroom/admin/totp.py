"""The second factor: codes of six digits that change every 30 s (TOTP, RFC 6238), and recovery codes for a lost telephone.

A code is taken once: the time step of the last one is kept, and an older or equal one is a replay (RFC 6238 5.2).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

import pyotp

from fileroom.admin.accounts import find_own_account, own_account_id, require_may_manage
from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed
from fileroom.admin.people import People
from fileroom.admin.provided_people import Source
from fileroom.admin.random_secrets import hash_of
from fileroom.admin.recovery_codes import forget_needless_codes, new_codes
from fileroom.core.access import current_access
from fileroom.core.errors import ConflictError, InvalidRequestError, told

STEP_S: Final = 30
_STEPS_AROUND: Final = 1
"""A telephone's clock may be half a minute wrong."""
_ISSUER: Final = "Fileroom"
_CODE_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class OfferedSecret:
    """What an authenticator application needs: the secret to be typed, or the same as an address for a QR code."""

    secret: str
    uri: str


async def offer_totp(people: People) -> OfferedSecret:
    """Make a new secret for whoever acts. It counts only after its first right code.

    Raises ConflictError for an account that never shows a password here, NotAllowedError.
    """
    account = await find_own_account(people)
    if account.source is Source.OPENID:
        raise ConflictError(
            told("The OpenID provider asks {login} for a second factor, or nobody does.", login=account.login)
        )
    secret = pyotp.random_base32()
    async with people.pool.connection() as connection:
        await connection.execute(b"UPDATE account SET totp_secret_offered = %s WHERE id = %s", (secret, account.id))
    return OfferedSecret(secret, pyotp.TOTP(secret).provisioning_uri(name=account.login, issuer_name=_ISSUER))


async def confirm_totp(people: People, code: str) -> list[str]:
    """Switch the second factor on by the first code of the offered secret. Returns recovery codes, to be shown once.

    Raises InvalidRequestError for a wrong code, ConflictError when nothing was offered.
    """
    account_id = own_account_id()
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT totp_secret_offered FROM account WHERE id = %s FOR UPDATE", (account_id,)
        )
        row = await cursor.fetchone()
        if row is None or row[0] is None:
            raise ConflictError(told("Begin again: no secret waits to be confirmed."))
        step = _step_of(row[0], code, _step_now(people))
        if step is None:
            raise InvalidRequestError(
                told("That code is not right. Look whether the telephone's clock is, and take the next code.")
            )
        await connection.execute(
            b"UPDATE account SET totp_secret = totp_secret_offered, totp_secret_offered = NULL, totp_step = %s WHERE id = %s",
            (step, account_id),
        )
        codes = await new_codes(connection, account_id)
        await record(connection, account_changed(current_access().name, "The second factor was switched on"))
    return codes


async def remove_own_totp(people: People) -> None:
    """Switch one's own second factor off. Whoever calls has asked for the password."""
    await _remove(people, own_account_id(), current_access().name)


async def remove_totp(people: People, login: str) -> None:
    """An administrator helps somebody who has lost telephone and recovery codes: passkeys go as well."""
    account = await require_may_manage(people, login)
    await _remove(people, account.id, account.login, passkeys_too=True)


async def take_code(people: People, account_id: int, code: str) -> bool:
    """Whether a code is right, of the application or a recovery code; it is used up by that."""
    plain = "".join(code.split()).lower()
    if len(plain) != _CODE_DIGITS:
        return await _take_recovery_code(people, account_id, plain)
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT totp_secret, totp_step FROM account WHERE id = %s FOR UPDATE", (account_id,)
        )
        row = await cursor.fetchone()
        step = _step_of(row[0], plain, _step_now(people)) if row and row[0] else None
        if row is None or step is None or step <= row[1]:
            return False
        await connection.execute(b"UPDATE account SET totp_step = %s WHERE id = %s", (step, account_id))
        return True


async def count_recovery_codes(people: People) -> int:
    """How many are left to whoever acts."""
    account_id = own_account_id()
    async with people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM recovery_code WHERE account_id = %s", (account_id,))
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


async def _take_recovery_code(people: People, account_id: int, code: str) -> bool:
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"DELETE FROM recovery_code WHERE account_id = %s AND code_hash = %s", (account_id, hash_of(code))
        )
        return cursor.rowcount == 1


async def _remove(people: People, account_id: int, login: str, *, passkeys_too: bool = False) -> None:
    async with people.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"UPDATE account SET totp_secret = NULL, totp_secret_offered = NULL WHERE id = %s", (account_id,)
        )
        if passkeys_too:
            await connection.execute(b"DELETE FROM passkey WHERE account_id = %s", (account_id,))
        await forget_needless_codes(connection, account_id)
        await record(connection, account_changed(login, "The second factor was switched off"))


def _step_now(people: People) -> int:
    return int(people.now().timestamp()) // STEP_S


def _step_of(secret: str, code: str, now: int) -> int | None:
    """The time step whose code it is, None for a wrong one. Every step is compared, in the same time."""
    otp = pyotp.TOTP(secret)
    found = None
    for step in range(now - _STEPS_AROUND, now + _STEPS_AROUND + 1):
        if hmac.compare_digest(otp.generate_otp(step).encode(), code.encode()):
            found = step
    return found
