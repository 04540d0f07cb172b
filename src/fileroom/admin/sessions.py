"""Sessions of the web port: begun by a login, ended by silence, by age, by their owner or by an administrator.

The cookie holds 256 random bits; the database holds their hash.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from psycopg.rows import class_row

from fileroom.admin.accounts import own_account_id, require_may_manage
from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed, logged_out
from fileroom.admin.people import People
from fileroom.admin.random_secrets import hash_of, new_secret
from fileroom.core.access import current_access
from fileroom.core.errors import NotFoundError, told
from fileroom.core.limits import SECOND_FACTOR_S, SESSIONS_PER_ACCOUNT_MAX

_USER_AGENT_CHARS_MAX: Final = 200
_ALIVE: Final = b"expires_at > %(now)s AND last_seen_at > %(idle_since)s"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its owner sees it. Times are aware, in UTC."""

    id: int
    address: str
    user_agent: str
    created_at: dt.datetime
    last_seen_at: dt.datetime
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class NewSession:
    """`secret` is the cookie's value, told once. With `second_factor_due` it is good for nothing but the code."""

    secret: str
    second_factor_due: bool
    expires_at: dt.datetime


async def begin_session(
    people: People, account_id: int, address: str, user_agent: str, *, second_factor_due: bool = False
) -> NewSession:
    """Begin a session; of too many, the oldest end."""
    secret, now = new_secret(), people.now()
    lasts = (
        dt.timedelta(seconds=SECOND_FACTOR_S)
        if second_factor_due
        else dt.timedelta(hours=people.settings.session_hours)
    )
    shown = "".join(c for c in user_agent[:_USER_AGENT_CHARS_MAX] if c.isprintable())
    async with people.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"""INSERT INTO session
                    (account_id, token_hash, second_factor_due, address, user_agent, created_at, last_seen_at, expires_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
            (account_id, hash_of(secret), second_factor_due, address, shown, now, now, now + lasts),
        )
        await connection.execute(
            b"""DELETE FROM session WHERE id IN
                (SELECT id FROM session WHERE account_id = %s ORDER BY created_at DESC, id DESC OFFSET %s)""",
            (account_id, SESSIONS_PER_ACCOUNT_MAX),
        )
    return NewSession(secret, second_factor_due, now + lasts)


async def end_session(people: People, secret: str) -> None:
    """Log out. A session that is over already is no error."""
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""DELETE FROM session s USING account a WHERE s.token_hash = %s AND a.id = s.account_id
                RETURNING a.login, s.address, s.second_factor_due""",
            (hash_of(secret),),
        )
        row = await cursor.fetchone()
        if row is not None and not row[2]:  # half a session was no login
            await record(connection, logged_out(row[0], row[1]))


async def list_own_sessions(people: People) -> list[Session]:
    """The living sessions of whoever acts, the latest first. Raises NotAllowedError where it is no person."""
    return await _list(people, own_account_id())


async def end_own_session(people: People, session_id: int) -> None:
    """End one of one's own sessions. Raises NotFoundError, NotAllowedError."""
    account_id = own_account_id()
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM session WHERE id = %s AND account_id = %s RETURNING address", (session_id, account_id)
        )
        row = await cursor.fetchone()
        if row is not None:
            name = current_access().name
            await record(connection, logged_out(name, row[0], how=f"by {name}, from another session"))
    if row is None:
        raise NotFoundError(told("That session is over already."))


async def list_sessions(people: People, login: str) -> list[Session]:
    """The living sessions of an account, for an administrator."""
    return await _list(people, (await require_may_manage(people, login)).id)


async def end_sessions(people: People, login: str) -> int:
    """End all sessions of an account; how many there were."""
    account = await require_may_manage(people, login)
    async with people.pool.connection() as connection, connection.transaction():
        ended = (await connection.execute(b"DELETE FROM session WHERE account_id = %s", (account.id,))).rowcount
        if ended:
            await record(connection, account_changed(account.login, f"{ended} sessions were ended"))
    return ended


async def forget_dead_sessions(people: People) -> None:
    """Background work."""
    async with people.pool.connection() as connection:
        await connection.execute(b"DELETE FROM session WHERE NOT (" + _ALIVE + b")", _moments(people))


def idle_since(people: People) -> dt.datetime:
    """A session that was last seen before is over."""
    return people.now() - dt.timedelta(minutes=people.settings.session_idle_minutes)


def _moments(people: People) -> dict[str, dt.datetime]:
    return {"now": people.now(), "idle_since": idle_since(people)}


async def _list(people: People, account_id: int) -> list[Session]:
    async with people.pool.connection() as connection, connection.cursor(row_factory=class_row(Session)) as cursor:
        await cursor.execute(
            b"SELECT id, address, user_agent, created_at, last_seen_at, expires_at FROM session "
            b"WHERE account_id = %(account)s AND NOT second_factor_due AND "
            + _ALIVE
            + b" ORDER BY last_seen_at DESC, id DESC",
            {"account": account_id, **_moments(people)},
        )
        return await cursor.fetchall()
