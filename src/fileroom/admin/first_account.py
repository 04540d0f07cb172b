"""The first start: the account `admin`, with the password of the setting or a random one that is shown once."""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.admin.accounts import FIRST_LOGIN
from fileroom.admin.audit import record
from fileroom.admin.audit_events import account_changed
from fileroom.admin.passwords import require_good_password
from fileroom.admin.people import People
from fileroom.admin.random_secrets import new_readable_secret
from fileroom.admin.roles import ADMINISTRATOR
from fileroom.core.errors import ConfigurationError, InvalidRequestError

_RANDOM_GROUPS = 4
"""Of five characters: 99 bits."""
_CHARS_MIN = 8
"""Shorter than for others, as whoever writes the setting has the machine; NIST 800-63B's least."""


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """What was made: `password` where it is a random one, None where it is that of the setting."""

    login: str
    password: str | None


async def ensure_first_account(people: People) -> FirstAccount | None:
    """Make the account where there is none at all. Raises ConfigurationError where the setting's password is too weak."""
    async with people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT FROM account LIMIT 1")
        if await cursor.fetchone() is not None:
            return None
    given = people.settings.admin_password.get_secret_value()
    if given:
        try:
            require_good_password(given, (FIRST_LOGIN,), chars_min=_CHARS_MIN)
        except InvalidRequestError as error:
            raise ConfigurationError(
                f"FILEROOM_ADMIN_PASSWORD cannot be the first password: {error} Left empty, a random one is made."
            ) from error
    password = given or new_readable_secret(_RANDOM_GROUPS)
    kept = await people.hashing.make(password)
    async with people.pool.connection() as connection, connection.transaction():
        # Of several machines that start at the same time on one database, one makes it.
        cursor = await connection.execute(
            b"""INSERT INTO account (login, role, password_hash, created_at) VALUES (%s, %s, %s, %s)
                ON CONFLICT (login) DO NOTHING RETURNING id""",
            (FIRST_LOGIN, ADMINISTRATOR, kept, people.now()),
        )
        if await cursor.fetchone() is None:
            return None
        await record(
            connection, account_changed(FIRST_LOGIN, f"Made at the first start, with the role {ADMINISTRATOR}")
        )
    return FirstAccount(FIRST_LOGIN, None if given else password)
