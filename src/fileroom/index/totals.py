"""How much the archive holds, at a price that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

COUNTED_EXACTLY_MAX: Final = 20_000
"""Up to here rows are counted (a few milliseconds); beyond, the database's own estimate is near enough."""


@dataclass(frozen=True, slots=True)
class Total:
    """A number of rows. `exact` False: the database's estimate, a few percent off."""

    count: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Totals:
    """What the archive holds."""

    patients: Total
    studies: Total
    series: Total
    instances: Total


async def read_totals(pool: Pool) -> Totals:
    """Count or estimate. Raises DatabaseError."""
    return Totals(*[await _total(pool, table) for table in ("patient", "study", "series", "instance")])


async def _total(pool: Pool, table: str) -> Total:
    counting = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {COUNTED_EXACTLY_MAX + 1}) AS counted"
    estimating = f"SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass"
    try:
        async with pool.connection() as connection:
            row = await (await connection.execute(counting.encode())).fetchone()
            if row is not None and row[0] <= COUNTED_EXACTLY_MAX:
                return Total(int(row[0]))
            row = await (await connection.execute(estimating.encode())).fetchone()
            return Total(max(int(row[0]) if row else 0, COUNTED_EXACTLY_MAX), exact=False)
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not count: {type(error).__name__}. Try again later.") from error
