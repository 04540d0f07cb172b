"""The sums that alert conditions look at, from small tables and the ends of indexes: how long the queue is costs nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.gauges import read_storage
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.feeds.alarms import failed_counts, silent_feeds
from fileroom.reports.critical import overdue_critical
from fileroom.routing.alert_rules import AlertKind, Condition, DestinationSums, Sums
from fileroom.routing.calendars import Schedule, open_intervals
from fileroom.routing.destination_figures import STEP_S
from fileroom.routing.edges import silent_edges
from fileroom.routing.schedules import read_schedules

_LOOK_BACK_DAYS: Final = 8
"""A schedule that has been open for longer than that is open for good."""
_TROUBLES: Final = (AlertKind.RULE_ERROR, AlertKind.ROUTING_LOOP)


@dataclass(frozen=True, slots=True)
class DestinationQueue:
    """What one destination has in which state, and since when the oldest waits. For the metrics, too."""

    id: int
    name: str
    states: Mapping[str, int]
    oldest_at: dt.datetime | None
    """When the oldest object came that waits to be sent or proven."""
    is_sendable: bool
    """Enabled and not held."""
    schedule: str
    down_since: dt.datetime | None = None
    down_because: str = ""


async def read_queues(archive: Archive) -> list[DestinationQueue]:
    """Every destination's, by name; numbers only, for those who watch. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    async with archive.pool.connection() as connection:
        return await _queues(connection)


async def read_sums(archive: Archive, conditions: Iterable[Condition]) -> Sums:
    """What the conditions need. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    wanted = list(conditions)
    now = archive.now()
    schedules = await read_schedules(archive)
    async with archive.pool.connection() as connection:
        queues = await _queues(connection)
        windows = sorted({one.window_min for one in wanted if one.kind is AlertKind.FAILURE_RATE})
        tries = {window: await _tries(connection, window, now) for window in windows}
        troubles: dict[tuple[AlertKind, int], tuple[int, str]] = {
            (one.kind, one.window_min): await _troubles(connection, one.kind, one.window_min, now)
            for one in wanted
            if one.kind in _TROUBLES
        }
    disk = await _disk_percent(archive) if any(one.kind is AlertKind.DISK for one in wanted) else None
    silent: dict[str, float] = {}
    if any(one.kind is AlertKind.EDGE_SILENT for one in wanted):
        silent = {edge.name: edge.silence_s / 60 for edge in await silent_edges(archive)}
    kinds = {one.kind for one in wanted}
    feeds: dict[str, float] = {}
    failed: dict[str, tuple[int, int]] = {}
    if AlertKind.FEED_SILENT in kinds:
        feeds = {one.name: one.minutes for one in await silent_feeds(archive.pool)}
    if AlertKind.MESSAGES_FAILED in kinds:
        failed = {one.feed: (one.failed, one.dead) for one in await failed_counts(archive.pool)}
    overdue = await overdue_critical(archive) if AlertKind.CRITICAL_OVERDUE in kinds else (0, 0.0)
    queued = tuple(_sums(one, schedules, tries, now) for one in queues)
    return Sums(queued, disk, troubles, silent, feeds, failed, overdue)


# --- helpers ---


async def _queues(connection: AsyncConnection[Any]) -> list[DestinationQueue]:
    cursor = await connection.execute(
        b"""SELECT e.id, e.name,
                coalesce((SELECT jsonb_object_agg(state, number) FROM (SELECT state, sum(number) AS number FROM delivery_tally
                    WHERE destination_id = e.id GROUP BY state HAVING sum(number) <> 0) AS t), '{}'::jsonb),
                (SELECT min(created_at) FROM (
                    (SELECT created_at FROM delivery WHERE destination_id = e.id AND state = 'waiting' ORDER BY id LIMIT 1)
                    UNION ALL
                    (SELECT created_at FROM delivery WHERE destination_id = e.id AND state = 'sent' ORDER BY id LIMIT 1)) AS o),
                e.enabled AND NOT coalesce((e.fields ->> 'hold')::boolean, false), coalesce(e.fields ->> 'schedule', ''),
                CASE WHEN h.state = 'down' THEN h.since END, coalesce(h.cause, '')
            FROM named_entry e LEFT JOIN destination_health h ON h.destination_id = e.id
            WHERE e.section = 'destinations' AND e.removed_at IS NULL ORDER BY e.name"""
    )
    return [DestinationQueue(*row) for row in await cursor.fetchall()]


async def _tries(connection: AsyncConnection[Any], window_min: int, now: dt.datetime) -> dict[int, tuple[int, int]]:
    since = now - dt.timedelta(minutes=window_min, seconds=STEP_S)
    cursor = await connection.execute(
        b"""SELECT destination_id, sum(tries)::bigint, sum(tries_failed)::bigint FROM destination_figure
            WHERE began_at > %s GROUP BY destination_id""",
        (since,),
    )
    return {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}


async def _troubles(
    connection: AsyncConnection[Any], kind: AlertKind, window_min: int, now: dt.datetime
) -> tuple[int, str]:
    cursor = await connection.execute(
        b"""SELECT coalesce(sum(number), 0)::bigint, coalesce((array_agg(detail ORDER BY id DESC))[1], '')
            FROM routing_trouble WHERE kind = %s AND at > %s""",
        (kind.value, now - dt.timedelta(minutes=window_min)),
    )
    row = await cursor.fetchone()
    return (row[0], row[1]) if row is not None else (0, "")


async def _disk_percent(archive: Archive) -> float | None:
    storage = await read_storage(archive)
    if storage.free is None or not storage.total:
        return None
    return 100 * (storage.total - storage.free) / storage.total


def _sums(
    one: DestinationQueue,
    schedules: Mapping[str, Schedule],
    tries: Mapping[int, Mapping[int, tuple[int, int]]],
    now: dt.datetime,
) -> DestinationSums:
    down_min = (now - one.down_since).total_seconds() / 60 if one.down_since is not None else None
    return DestinationSums(
        one.name,
        _waiting_min(one, schedules, now),
        one.states.get("waiting", 0) + one.states.get("sent", 0),
        one.states.get("failed", 0),
        one.states.get("quarantined", 0),
        down_min,
        one.down_because,
        {window: found.get(one.id, (0, 0)) for window, found in tries.items()},
    )


def _waiting_min(one: DestinationQueue, schedules: Mapping[str, Schedule], now: dt.datetime) -> float | None:
    """Since when the oldest could have been sent: what waits for the night is not late before the night."""
    if one.oldest_at is None or not one.is_sendable:
        return None
    since = one.oldest_at
    if one.schedule in schedules:
        opened = open_intervals(schedules[one.schedule], now - dt.timedelta(days=_LOOK_BACK_DAYS), now)
        if not opened or opened[-1][1] < now:
            return None
        since = max(since, opened[-1][0])
    return (now - since).total_seconds() / 60
