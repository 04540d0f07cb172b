"""Failed logins: after a few, an account and an address have to wait, each time twice as long (NIST 800-63B 3.2.2).

An attempt is counted before the password is looked at and taken back when it was right, so that many at once do not pass
together. Strangers who guess somebody's password do not lock the person out: from an address that the account has logged
in from before, attempts are counted apart.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.admin.people import People
from fileroom.core.access import Permission, require
from fileroom.core.errors import TooManyAttemptsError, told
from fileroom.core.limits import (
    ACCOUNT_FAILURES_MAX,
    ADDRESS_FAILURES_MAX,
    KNOWN_ADDRESS_DAYS_MAX,
    KNOWN_ADDRESSES_MAX,
    LOGIN_BLOCK_MAX_S,
    LOGIN_FAILURE_MEMORY_S,
)

_DOUBLINGS_MAX: Final = 20
"""Keeps the power within numbers; the limit is reached long before."""
_IPV6_PREFIX: Final = 64
"""One customer has so many addresses at least."""

_COUNT: Final = b"""
    INSERT INTO login_failure AS f (subject, failures, last_at, blocked_until) VALUES (%(subject)s, 1, %(now)s, %(now)s)
    ON CONFLICT (subject) DO UPDATE SET
        failures = CASE WHEN f.last_at < %(forgotten)s THEN 1 ELSE f.failures + 1 END,
        last_at = %(now)s,
        blocked_until = CASE WHEN f.last_at < %(forgotten)s OR f.failures + 1 < %(free)s THEN %(now)s
            ELSE %(now)s + make_interval(
                secs => least(power(2, least(f.failures + 1 - %(free)s, %(doublings)s)), %(longest)s)) END
    WHERE f.blocked_until <= %(now)s
    RETURNING failures"""
_BLOCKED_UNTIL: Final = b"SELECT blocked_until FROM login_failure WHERE subject = %s"
_TAKE_BACK: Final = b"""
    UPDATE login_failure SET failures = greatest(failures - 1, 0), blocked_until = least(blocked_until, %s)
    WHERE subject = %s"""


class Attempt:
    """One attempt to log in: counted as failed until it is told otherwise."""

    def __init__(self, people: People, account_subject: str, address: str) -> None:
        self._people = people
        self._account = account_subject
        self._address = _address_subject(address)

    async def count(self) -> None:
        """Raises TooManyAttemptsError where account or address has to wait; the attempt is not looked at then."""
        now = self._people.now()
        async with self._people.pool.connection() as connection, connection.transaction():
            for subject, free in ((self._account, ACCOUNT_FAILURES_MAX), (self._address, ADDRESS_FAILURES_MAX)):
                await _count(connection, subject, free, now)

    async def take_back(self) -> None:
        """It was no failure, but no login either: the password was right and the code is still due."""
        await self._settle(forget_account=False)

    async def succeeded(self) -> None:
        """The failures of the account are forgotten, those of the address stay: it may have many accounts."""
        await self._settle(forget_account=True)

    async def _settle(self, *, forget_account: bool) -> None:
        now = self._people.now()
        async with self._people.pool.connection() as connection, connection.transaction():
            if forget_account:
                await connection.execute(b"DELETE FROM login_failure WHERE subject = %s", (self._account,))
            else:
                await connection.execute(_TAKE_BACK, (now, self._account))
            await connection.execute(_TAKE_BACK, (now, self._address))


async def begin_attempt(people: People, login: str, address: str, account_id: int | None) -> Attempt:
    """Count an attempt. `account_id` None: there is no such account, which is not told. Raises TooManyAttemptsError."""
    subject = f"account {login}"
    if account_id is not None and await _is_known(people, account_id, address):
        subject = f"account {login} at {plain_address(address)}"
    attempt = Attempt(people, subject, address)
    await attempt.count()
    return attempt


async def remember_address(people: People, account_id: int, address: str) -> None:
    """The account has logged in from there."""
    async with people.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO known_address (account_id, address, last_at) VALUES (%s, %s, %s)
                ON CONFLICT (account_id, address) DO UPDATE SET last_at = excluded.last_at""",
            (account_id, plain_address(address), people.now()),
        )
        await connection.execute(
            b"""DELETE FROM known_address WHERE account_id = %(account)s AND address IN
                (SELECT address FROM known_address WHERE account_id = %(account)s ORDER BY last_at DESC OFFSET %(kept)s)""",
            {"account": account_id, "kept": KNOWN_ADDRESSES_MAX},
        )


async def lift_wait(people: People, login: str) -> None:
    """An administrator helps somebody who has to wait."""
    require(Permission.USER_MANAGE)
    login = login.strip().lower()
    async with people.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM login_failure WHERE subject = %s OR starts_with(subject, %s)",
            (f"account {login}", f"account {login} at "),
        )


async def forget_old_failures(people: People) -> None:
    """Background work: a flood of invented logins must not fill the database."""
    forgotten = people.now() - dt.timedelta(seconds=LOGIN_FAILURE_MEMORY_S)
    async with people.pool.connection() as connection:
        await connection.execute(b"DELETE FROM login_failure WHERE last_at < %s", (forgotten,))


def plain_address(address: str) -> str:
    """An address as it is counted: IPv4 as such, of IPv6 the network of one customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.version == 6 and not parsed.is_loopback:
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


def _address_subject(address: str) -> str:
    return f"address {plain_address(address)}"


async def _is_known(people: People, account_id: int, address: str) -> bool:
    since = people.now() - dt.timedelta(days=KNOWN_ADDRESS_DAYS_MAX)
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT FROM known_address WHERE account_id = %s AND address = %s AND last_at > %s",
            (account_id, plain_address(address), since),
        )
        return await cursor.fetchone() is not None


async def _count(connection: AsyncConnection[Any], subject: str, free: int, now: dt.datetime) -> None:
    values = {
        "subject": subject,
        "now": now,
        "forgotten": now - dt.timedelta(seconds=LOGIN_FAILURE_MEMORY_S),
        "free": free,
        "doublings": _DOUBLINGS_MAX,
        "longest": LOGIN_BLOCK_MAX_S,
    }
    if await (await connection.execute(_COUNT, values)).fetchone() is not None:
        return
    row = await (await connection.execute(_BLOCKED_UNTIL, (subject,))).fetchone()
    wait_s = max(1, round((row[0] - now).total_seconds())) if row else 1
    raise TooManyAttemptsError(
        told(
            "Too many failed logins. Wait {wait_s} s and try again; an administrator can lift the wait by "
            "'fileroom user unlock'.",
            wait_s=wait_s,
        ),
        wait_s,
    )
