"""What this installation is called among others: the UID with which it signs objects that it changes on the way."""

from __future__ import annotations

import uuid

import psycopg

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool


async def installation_uid(pool: Pool) -> str:
    """The same in all processes, for ever; made at the first call. Raises DatabaseError."""
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"INSERT INTO installation (uid) SELECT %s WHERE NOT EXISTS (SELECT FROM installation) ON CONFLICT DO NOTHING",
                (f"2.25.{uuid.uuid4().int}",),
            )
            cursor = await connection.execute(b"SELECT uid FROM installation")
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise DatabaseError(
            f"The installation's UID cannot be read: {type(error).__name__}. Try again later."
        ) from error
    if row is None:
        raise DatabaseError("The installation's UID cannot be read. Try again later.")
    return str(row[0])
