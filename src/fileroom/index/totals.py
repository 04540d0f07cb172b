"""How much the archive holds of what somebody may see, at a price that does not grow with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool
from fileroom.index.conditions import Condition
from fileroom.index.visibility import Visibility, study_is_visible

COUNTED_EXACTLY_MAX: Final = 20_000
"""Up to here rows are counted (a few milliseconds); beyond, the database's own estimate is near enough."""
_VISIBLE: Final = {
    "patient": "patient p WHERE EXISTS (SELECT 1 FROM study s WHERE s.patient = p.id AND {visible})",
    "study": "study s WHERE {visible}",
    "series": "series e JOIN study s ON s.id = e.study WHERE {visible}",
    "instance": "instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study WHERE {visible}",
}


@dataclass(frozen=True, slots=True)
class Total:
    """A number of rows. `exact` False: the database's estimate, a few percent off (of what a row scope shows, more)."""

    count: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Totals:
    """What the archive holds."""

    patients: Total
    studies: Total
    series: Total
    instances: Total


async def read_totals(pool: Pool, visibility: Visibility) -> Totals:
    """Count or estimate. Raises DatabaseError."""
    return Totals(*[await _total(pool, table, study_is_visible(visibility)) for table in _VISIBLE])


async def _total(pool: Pool, table: str, visible: Condition) -> Total:
    rows = _VISIBLE[table].format(visible=visible.text) if visible.text else table
    counting = f"SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {COUNTED_EXACTLY_MAX + 1}) AS counted"
    try:
        async with pool.connection() as connection:
            row = await (await connection.execute(counting.encode(), visible.parameters)).fetchone()
            if row is not None and row[0] <= COUNTED_EXACTLY_MAX:
                return Total(int(row[0]))
            if visible.text:
                estimating = f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {rows}"
            else:
                estimating = f"SELECT reltuples::bigint FROM pg_class WHERE oid = '{table}'::regclass"
            row = await (await connection.execute(estimating.encode(), visible.parameters)).fetchone()
            estimate = 0 if row is None else row[0][0]["Plan"]["Plan Rows"] if visible.text else row[0]
            return Total(max(int(estimate), COUNTED_EXACTLY_MAX), exact=False)
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not count: {type(error).__name__}. Try again later.") from error
