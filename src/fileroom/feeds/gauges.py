"""What waits on the RIS side, as numbers: for the System page, and for whoever collects metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.feeds.alarms import failed_counts


@dataclass(frozen=True, slots=True)
class RisGauges:
    """`failed` and `dead` by feed: messages in that wait for a mend, and messages out that were given up."""

    exceptions: Mapping[str, int]
    """Open exceptions by reason; a study may have several."""
    unmatched: int
    """Studies that wait for a person to say which order they are of."""
    failed: Mapping[str, int]
    dead: Mapping[str, int]
    waiting: Mapping[str, int]
    """Messages out that are not sent yet, by feed."""
    oldest_s: Mapping[str, float]
    """The age of the oldest of them, in seconds."""


async def read_ris_gauges(archive: Archive) -> RisGauges:
    """All of it, whatever the row scope. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    try:
        feeds = await failed_counts(archive.pool)
        async with archive.pool.connection() as connection:
            exceptions = dict(await _rows(connection, _EXCEPTIONS))
            [(unmatched,)] = await _rows(connection, b"SELECT count(*) FROM study_exception WHERE state = 'open'")
            waiting = await _rows(connection, _WAITING)
    except psycopg.Error as error:
        raise DatabaseError(f"What waits cannot be counted: {type(error).__name__}. Try again later.") from error
    return RisGauges(
        exceptions,
        unmatched,
        {one.feed: one.failed for one in feeds if one.failed},
        {one.feed: one.dead for one in feeds if one.dead},
        {feed: count for feed, count, _ in waiting},
        {feed: float(age) for feed, _, age in waiting},
    )


_EXCEPTIONS: Final = b"""
SELECT reason->>'code', count(*) FROM study_exception, jsonb_array_elements(reasons) AS reason
WHERE state = 'open' GROUP BY 1 ORDER BY 1"""
_WAITING: Final = b"""
SELECT feed, count(*), greatest(extract(epoch FROM now() - min(made_at)), 0) FROM hl7_outgoing
WHERE state = 'waiting' GROUP BY feed ORDER BY feed"""


async def _rows(connection: AsyncConnection[Any], statement: bytes) -> list[Any]:
    return await (await connection.execute(statement)).fetchall()
