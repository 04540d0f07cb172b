"""How many bytes the objects of the index have together, without adding up all of them each time.

Rows up to a number are counted; `count_on` goes on from there, and subtracts what a trigger has noted as deleted. Rows of
the last minutes are left for later: numbers are given before transactions commit, so a smaller one may still appear.
"""

from __future__ import annotations

from typing import Final

import psycopg

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

ROWS_AT_ONCE: Final = 100_000
"""Of one step: about 50 ms."""
SETTLED_AFTER_S: Final = 120
"""Longer than any transaction that files objects (`index.write.COMMIT_TIMEOUT_S`)."""

# One statement, so that all of it sees the same moment: a deleted row is either still there, or among those noted.
_COUNT_ON: Final = b"""
WITH so_far AS (SELECT last_id FROM storage_tally),
next AS (SELECT id, file_bytes, received_at >= now() - make_interval(secs => %(settled)s) AS is_young FROM instance
    WHERE id > (SELECT last_id FROM so_far) ORDER BY id LIMIT %(rows)s),
fresh AS (SELECT id, file_bytes FROM next
    WHERE id < coalesce((SELECT min(id) FROM next WHERE is_young), 9223372036854775807)),
freed AS (DELETE FROM storage_freed
    WHERE instance_id <= (SELECT last_id FROM so_far)
       OR instance_id <= (SELECT max(id) FROM fresh) RETURNING instance_id, bytes)
UPDATE storage_tally SET
    bytes = bytes + coalesce((SELECT sum(file_bytes) FROM fresh), 0)
        - coalesce((SELECT sum(f.bytes) FROM freed f WHERE f.instance_id <= storage_tally.last_id), 0),
    last_id = coalesce((SELECT max(id) FROM fresh), last_id)
RETURNING (SELECT count(*) FROM fresh)
"""
_READ: Final = b"""
SELECT t.bytes + coalesce((SELECT sum(r.file_bytes) FROM (
    SELECT file_bytes FROM instance WHERE id > t.last_id ORDER BY id LIMIT %s) AS r), 0)::bigint
FROM (SELECT coalesce(max(last_id), 0) AS last_id, coalesce(max(bytes), 0) AS bytes FROM storage_tally) AS t
"""


async def count_on(pool: Pool) -> int:
    """Count some more rows; returns how many, and 0 when there are none left that are settled. Raises DatabaseError."""
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"INSERT INTO storage_tally (last_id, bytes) VALUES (0, 0) ON CONFLICT (one) DO NOTHING"
            )
            await connection.execute(b"SELECT FROM storage_tally FOR UPDATE")  # one at a time
            values = {"rows": ROWS_AT_ONCE, "settled": SETTLED_AFTER_S}
            row = await (await connection.execute(_COUNT_ON, values)).fetchone()
            return int(row[0]) if row else 0
    except psycopg.Error as error:
        raise DatabaseError(f"The sizes of objects could not be added up: {type(error).__name__}.") from error


async def stored_bytes(pool: Pool) -> int:
    """The bytes of all objects, those of the last minutes too. Raises psycopg.Error, DatabaseError."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_READ, (ROWS_AT_ONCE,))).fetchone()
        return int(row[0]) if row else 0
