"""Logging in: password, then the code where the account has a second factor.

What failed is not told apart: an unknown login, a disabled account and a wrong password answer alike and take as long.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.admin.accounts import find_own_account, own_account_id
from fileroom.admin.audit import record, record_alone
from fileroom.admin.audit_events import logged_in, login_failed
from fileroom.admin.directory_login import log_in_by_directory
from fileroom.admin.lockout import Attempt, begin_attempt, plain_address, remember_address
from fileroom.admin.people import People
from fileroom.admin.random_secrets import hash_of
from fileroom.admin.sessions import NewSession, begin_session, end_session
from fileroom.admin.totp import take_code
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAuthenticatedError, told
from fileroom.core.limits import FRESH_LOGIN_S, LOGIN_CHARS_MAX

_log = structlog.get_logger(__name__)
_WRONG: Final = told("Login or password is wrong.")


@dataclass(frozen=True, slots=True)
class Client:
    """Where a login comes from."""

    address: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class _Checked:
    account_id: int
    login: str
    has_second_factor: bool
    attempt: Attempt
    must_change: bool = False
    how: str = "password"


async def log_in(people: People, login: str, password: str, client: Client) -> NewSession:
    """Begin a session. Raises NotAuthenticatedError, TooManyAttemptsError, ServiceError when too many log in at once."""
    checked = await _check_password(people, login, password, client.address)
    if checked.has_second_factor:
        await checked.attempt.take_back()
        return await begin_session(
            people, checked.account_id, client.address, client.user_agent, second_factor_due=True
        )
    return await _complete(people, checked, client)


async def finish_log_in(people: People, half_session: str, code: str, client: Client) -> NewSession:
    """The second step: a code for the session of the first. Raises as `log_in`; the half session ends with success."""
    found = await find_half_session(people, half_session)
    if found is None:
        raise NotAuthenticatedError(told("The time for the second step is over. Log in again."))
    account_id, login = found
    attempt = await begin_attempt(people, login, client.address, account_id)
    if not await take_code(people, account_id, code):
        _log.warning("login_refused", login=login, address=client.address, reason="wrong code")
        await record_alone(people.pool, login_failed(login, client.address, "wrong code"))
        raise NotAuthenticatedError(told("That code is wrong or was used already. Take the next one."))
    await end_session(people, half_session)
    return await _complete(people, _Checked(account_id, login, True, attempt), client)


async def check_basic(people: People, login: str, password: str, address: str) -> int:
    """The account whose password it is, for one request without a session. Accounts with a second factor are refused."""
    checked = await _check_password(people, login, password, address)
    if checked.has_second_factor:
        raise NotAuthenticatedError(
            told("This account has a second factor; programs use a token of it instead of the password.")
        )
    if checked.must_change:
        await checked.attempt.take_back()
        raise NotAuthenticatedError(told("The password of this account must be changed first. Log in with a browser."))
    await checked.attempt.succeeded()
    return checked.account_id


async def confirm_password(people: People, password: str, address: str) -> None:
    """Ask the person in front once more. Raises InvalidRequestError for a wrong password, TooManyAttemptsError."""
    account = await find_own_account(people)
    try:
        checked = await _check_password(people, account.login, password, address)
    except NotAuthenticatedError:
        raise InvalidRequestError(told("The present password is wrong.")) from None
    await checked.attempt.succeeded()


async def confirm_presence(people: People, session_id: int | None, password: str, address: str) -> None:
    """Ask the person in front once more, unless they have just logged in. Raises as `confirm_password`."""
    if not password and await is_fresh_login(people, session_id):
        return
    if not (await find_own_account(people)).has_password:
        raise ConflictError(told("You logged in a while ago. Log in again, then do it within five minutes."))
    await confirm_password(people, password, address)


async def is_fresh_login(people: People, session_id: int | None) -> bool:
    """Whether one's own session has just begun. Raises NotAllowedError where whoever acts has no account."""
    account_id, since = own_account_id(), people.now() - dt.timedelta(seconds=FRESH_LOGIN_S)
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT FROM session WHERE id = %s AND account_id = %s AND created_at > %s",
            (session_id, account_id, since),
        )
        return await cursor.fetchone() is not None


async def _check_password(people: People, login: str, password: str, address: str) -> _Checked:
    folded = login.strip().lower().replace("\0", "")[: LOGIN_CHARS_MAX + 1]
    account_id, kept, must_change, has_second_factor = await _find_enabled(people, folded)
    attempt = await begin_attempt(people, folded, address, account_id)
    if not await people.hashing.fits(kept, password) or kept is None or account_id is None:
        if kept is None and (theirs := await log_in_by_directory(people, folded, password, address, attempt)):
            account_id, _, must_change, has_second_factor = await _find_enabled(people, theirs)
            if account_id is not None:
                return _Checked(
                    account_id, theirs, has_second_factor, attempt, must_change, "password of the directory"
                )
        _log.warning("login_refused", login=folded, address=address, reason="wrong password")
        await record_alone(people.pool, login_failed(folded, address, "login or password is wrong"))
        raise NotAuthenticatedError(_WRONG)
    if people.hashing.is_outdated(kept):
        renewed = await people.hashing.make(password)
        async with people.pool.connection() as connection:
            await connection.execute(
                b"UPDATE account SET password_hash = %s WHERE id = %s AND password_hash = %s",
                (renewed, account_id, kept),
            )
    return _Checked(account_id, folded, has_second_factor, attempt, must_change)


async def _find_enabled(people: People, login: str) -> tuple[int | None, str | None, bool, bool]:
    """Id, hash of the password, whether it must be changed, whether there is a second factor; of nobody where there is none."""
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT id, password_hash, password_must_change, totp_secret IS NOT NULL
                    OR EXISTS (SELECT FROM passkey WHERE account_id = account.id)
                FROM account WHERE login = %s AND disabled_at IS NULL""",
            (login,),
        )
        row = await cursor.fetchone()
    return (row[0], row[1], row[2], row[3]) if row else (None, None, False, False)


async def _complete(people: People, checked: _Checked, client: Client) -> NewSession:
    await checked.attempt.succeeded()
    how = f"{checked.how} and code" if checked.has_second_factor else checked.how
    return await begin_full_session(people, checked.account_id, checked.login, client, how=how)


async def begin_full_session(people: People, account_id: int, login: str, client: Client, *, how: str) -> NewSession:
    """Whoever it is has shown all that is asked of them: note it, and begin their session. `how` goes into the audit trail."""
    await remember_address(people, account_id, client.address)
    async with people.pool.connection() as connection, connection.transaction():
        await connection.execute(b"UPDATE account SET last_login_at = %s WHERE id = %s", (people.now(), account_id))
        await record(connection, logged_in(login, client.address, how=how))
    _log.info("logged_in", login=login, address=plain_address(client.address))
    return await begin_session(people, account_id, client.address, client.user_agent)


async def find_half_session(people: People, secret: str) -> tuple[int, str] | None:
    """Account and login of a session whose second step is due; None where its time is over."""
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT a.id, a.login FROM session s JOIN account a ON a.id = s.account_id
                WHERE s.token_hash = %s AND s.second_factor_due AND s.expires_at > %s AND a.disabled_at IS NULL""",
            (hash_of(secret), people.now()),
        )
        row = await cursor.fetchone()
    return (row[0], row[1]) if row else None
