"""Logging in by a passkey: alone, as it is two factors in one, or as the second step after the password."""

from __future__ import annotations

from fileroom.admin.audit import record_alone
from fileroom.admin.audit_events import login_failed
from fileroom.admin.logins import Client, begin_full_session, find_half_session
from fileroom.admin.passkey_challenges import Site, ask, take_assertion
from fileroom.admin.people import People
from fileroom.admin.sessions import NewSession, end_session
from fileroom.core.errors import NotAuthenticatedError, told


async def ask_for_passkey(people: People, site: Site, half_session: str | None = None) -> str:
    """What the browser needs to ask for a passkey: PublicKeyCredentialRequestOptions as JSON.

    With the half session of a right password, one of that account's. Raises InvalidRequestError where there can be none,
    NotAuthenticatedError when the time of the half session is over.
    """
    if half_session is None:
        return await ask(people, site, "login")
    account_id, _ = await _half(people, half_session)
    return await ask(people, site, "second-factor", account_id)


async def log_in_by_passkey(people: People, site: Site, credential: str, client: Client) -> NewSession:
    """Begin a session for whoever's passkey it is; no code is asked for. Raises NotAuthenticatedError."""
    try:
        shown = await take_assertion(people, site, "login", credential)
    except NotAuthenticatedError:
        await record_alone(people.pool, login_failed("", client.address, "the passkey is not good"))
        raise
    how = f"passkey {shown.passkey_name}"
    return await begin_full_session(people, shown.account_id, shown.login, client, how=how)


async def finish_log_in_by_passkey(
    people: People, site: Site, half_session: str, credential: str, client: Client
) -> NewSession:
    """The second step: a passkey for the session of the first. Raises NotAuthenticatedError."""
    account_id, login = await _half(people, half_session)
    try:
        shown = await take_assertion(people, site, "second-factor", credential, account_id)
    except NotAuthenticatedError:
        await record_alone(people.pool, login_failed(login, client.address, "the passkey is not good"))
        raise
    await end_session(people, half_session)
    how = f"password and passkey {shown.passkey_name}"
    return await begin_full_session(people, account_id, login, client, how=how)


async def _half(people: People, half_session: str) -> tuple[int, str]:
    found = await find_half_session(people, half_session)
    if found is None:
        raise NotAuthenticatedError(told("The time for the second step is over. Log in again."))
    return found
