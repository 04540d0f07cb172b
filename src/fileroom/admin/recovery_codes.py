"""Recovery codes: for whoever has lost the telephone or the security key. Each is good for one login and shown once."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.admin.random_secrets import hash_of, new_readable_secret
from fileroom.core.limits import RECOVERY_CODES_MAX

_GROUPS: Final = 3
"""Of five characters: 74 bits."""


async def new_codes(connection: AsyncConnection[Any], account_id: int) -> list[str]:
    """Make new codes in the place of those that there are."""
    codes = [new_readable_secret(_GROUPS) for _ in range(RECOVERY_CODES_MAX)]
    await connection.execute(b"DELETE FROM recovery_code WHERE account_id = %s", (account_id,))
    for one in codes:
        await connection.execute(
            b"INSERT INTO recovery_code (account_id, code_hash) VALUES (%s, %s)", (account_id, hash_of(one))
        )
    return codes


async def first_codes(connection: AsyncConnection[Any], account_id: int) -> list[str]:
    """Make codes where there are none."""
    cursor = await connection.execute(b"SELECT FROM recovery_code WHERE account_id = %s LIMIT 1", (account_id,))
    return [] if await cursor.fetchone() is not None else await new_codes(connection, account_id)


async def forget_needless_codes(connection: AsyncConnection[Any], account_id: int) -> None:
    """Without a second factor they are good for nothing."""
    await connection.execute(
        b"""DELETE FROM recovery_code WHERE account_id = %(account)s
            AND NOT EXISTS (SELECT FROM passkey WHERE account_id = %(account)s)
            AND NOT EXISTS (SELECT FROM account WHERE id = %(account)s AND totp_secret IS NOT NULL)""",
        {"account": account_id},
    )
