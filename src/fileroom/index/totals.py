"""How much there is."""

from __future__ import annotations

from fileroom.db.pool import Pool


async def count_studies(pool: Pool) -> int:
    """The number of studies."""
    async with pool.connection() as connection:
        row = await (await connection.execute(b"SELECT count(*) FROM study")).fetchone()
        return int(row[0]) if row else 0
