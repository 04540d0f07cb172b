"""Studies that have come since a moment, by modality and by whoever brought them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import psycopg

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

STUDIES_MAX: Final = 10_000
"""Looked at; more come in a day only when an archive is taken over. They cost 20 ms."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How many studies, and the largest parts. `by_sender` has AE titles; what came by other ways stands under ''."""

    studies: int
    by_modality: dict[str, int]
    by_sender: dict[str, int]

    @property
    def is_cut(self) -> bool:
        """There are more than were looked at."""
        return self.studies >= STUDIES_MAX


async def studies_since(pool: Pool, moment: dt.datetime) -> Arrivals:
    """Count. A study of two modalities counts for both. Raises DatabaseError."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(_COUNT, (moment, STUDIES_MAX))
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The database could not count: {type(error).__name__}. Try again later.") from error
    parts: dict[str, dict[str, int]] = {"all": {}, "modality": {}, "sender": {}}
    for kind, name, count in rows:
        parts[kind][name] = count
    return Arrivals(parts["all"].get("", 0), parts["modality"], parts["sender"])


_COUNT: Final = b"""
WITH fresh AS MATERIALIZED (
    SELECT modalities, CASE WHEN brought_by LIKE 'node:%%' THEN split_part(substr(brought_by, 6), '@', 1) ELSE '' END AS sender
    FROM study WHERE received_at >= %s ORDER BY received_at DESC LIMIT %s)
SELECT 'all', '', count(*) FROM fresh
UNION ALL (SELECT 'modality', name, count(*) FROM fresh, unnest(modalities) AS name GROUP BY name)
UNION ALL (SELECT 'sender', sender, count(*) FROM fresh GROUP BY sender)
ORDER BY 3 DESC
"""
