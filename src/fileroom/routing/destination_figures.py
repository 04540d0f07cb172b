"""What went to each destination over time, for its page: objects, bytes, failures, how long it took; in steps of five minutes.

Deliveries are counted from the ledger when they are settled, the last steps again and again until nothing can be added to
them; so a worker that dies between two counts loses nothing. Attempts are counted by the lanes, as the ledger keeps only
their number for each object.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require

STEP_S: Final = 300
KEPT_DAYS: Final = 90
STEPS_MAX: Final = 2000
"""Of one answer: a week of five minutes. Longer spans come in longer steps."""
_LOOK_BACK_S: Final = STEP_S
"""A transaction that began before the last count may settle its deliveries after it."""
_CATCH_UP_S: Final = 6 * 3600
"""What is counted at once after a long stop."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One step. Latency in seconds, from the object's arrival to the proof of its delivery; None where nothing was delivered.

    Where several steps of five minutes are one, the median is that of the busiest of them and p95 the worst.
    """

    began_at: dt.datetime
    objects: int = 0
    bytes: int = 0
    failed: int = 0
    """Objects given up: dead letters and what could not be de-identified."""
    tries: int = 0
    tries_failed: int = 0
    """Attempts that failed, those of objects that were delivered later too."""
    latency_median_s: float | None = None
    latency_p95_s: float | None = None


async def read_destination_figures(
    archive: Archive, destination_id: int, *, since: dt.datetime, until: dt.datetime, step_s: int = STEP_S
) -> list[Figure]:
    """Steps of a destination, the oldest first; steps of which there is nothing are missing. `step_s` is made a multiple
    of STEP_S, and so long that there are at most STEPS_MAX. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    span_s = max((until - since).total_seconds(), 1)
    step_s = max(step_s, int(span_s / STEPS_MAX))
    step_s = -(-step_s // STEP_S) * STEP_S
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT date_bin(make_interval(secs => %s), began_at, %s) AS step, sum(objects)::bigint, sum(bytes)::bigint,
                    sum(failed)::bigint, sum(tries)::bigint, sum(tries_failed)::bigint,
                    (array_agg(latency_median_s ORDER BY objects DESC) FILTER (WHERE latency_median_s IS NOT NULL))[1],
                    max(latency_p95_s)
                FROM destination_figure WHERE destination_id = %s AND began_at >= %s AND began_at < %s
                GROUP BY step ORDER BY step""",
            (step_s, _EPOCH, destination_id, since - dt.timedelta(seconds=STEP_S), until),
        )
        return [Figure(*row) for row in await cursor.fetchall()]


async def keep_destination_figures(archive: Archive) -> int:
    """Count what was settled since the last time, and forget what is older than KEPT_DAYS. Returns 1 while there is more
    to catch up with. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""INSERT INTO destination_figure_mark (made_until)
                SELECT coalesce((SELECT min(settled_at) FROM delivery WHERE settled_at IS NOT NULL), %s)
                ON CONFLICT (one_row) DO NOTHING""",
            (now,),
        )
        cursor = await connection.execute(b"SELECT made_until FROM destination_figure_mark FOR UPDATE SKIP LOCKED")
        row = await cursor.fetchone()
        if row is None:
            return 0  # Another worker is at it.
        begin = min(step_of(row[0] - dt.timedelta(seconds=_LOOK_BACK_S)), step_of(now))
        end = min(now, begin + dt.timedelta(seconds=_CATCH_UP_S))
        await _count(connection, begin, step_of(end) + dt.timedelta(seconds=STEP_S))
        await connection.execute(b"UPDATE destination_figure_mark SET made_until = %s", (end,))
        await connection.execute(
            b"DELETE FROM destination_figure WHERE began_at < %s", (now - dt.timedelta(days=KEPT_DAYS),)
        )
    return int(end < now)


async def count_tries(
    connection: AsyncConnection[Any], destination_id: int, tries: int, failed: int, now: dt.datetime
) -> None:
    """Add attempts to the step that is. Raises psycopg.Error."""
    await connection.execute(
        b"""INSERT INTO destination_figure AS f (destination_id, began_at, tries, tries_failed) VALUES (%s, %s, %s, %s)
            ON CONFLICT (destination_id, began_at) DO UPDATE SET tries = f.tries + excluded.tries,
                tries_failed = f.tries_failed + excluded.tries_failed""",
        (destination_id, step_of(now), tries, failed),
    )


def step_of(moment: dt.datetime) -> dt.datetime:
    """The beginning of the step that a moment is in, in UTC."""
    seconds = int(moment.timestamp()) // STEP_S * STEP_S
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


# --- helpers ---

_EPOCH: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


async def _count(connection: AsyncConnection[Any], begin: dt.datetime, end: dt.datetime) -> None:
    await connection.execute(
        b"""WITH counted AS (
                SELECT destination_id, date_bin(make_interval(secs => %(step)s), settled_at, %(epoch)s) AS began_at,
                    count(*) FILTER (WHERE state = 'delivered') AS objects,
                    coalesce(sum(bytes) FILTER (WHERE state = 'delivered'), 0) AS bytes,
                    count(*) FILTER (WHERE state IN ('failed', 'quarantined')) AS failed,
                    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (
                        ORDER BY greatest(extract(epoch FROM settled_at - created_at)::float8, 0))
                        FILTER (WHERE state = 'delivered') AS latency
                FROM delivery WHERE settled_at >= %(begin)s AND settled_at < %(end)s
                    AND state IN ('delivered', 'failed', 'quarantined')
                GROUP BY 1, 2)
            INSERT INTO destination_figure AS f (destination_id, began_at, objects, bytes, failed, latency_median_s,
                    latency_p95_s)
                SELECT destination_id, began_at, objects, bytes, failed, latency[1], latency[2] FROM counted
                ON CONFLICT (destination_id, began_at) DO UPDATE SET objects = excluded.objects, bytes = excluded.bytes,
                    failed = excluded.failed, latency_median_s = excluded.latency_median_s,
                    latency_p95_s = excluded.latency_p95_s""",
        {"step": STEP_S, "epoch": _EPOCH, "begin": begin, "end": end},
    )
