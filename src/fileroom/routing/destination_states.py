"""How every destination stands now: state in one word, what waits for it and since when, what it takes a minute.

The map, the list and a destination's page show this. Sums come from the tally and the figures, which are kept, not counted:
it takes the same few milliseconds whether ten deliveries wait or a million.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.admin.entries import read_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.routing.calendars import Schedule, is_open, next_open
from fileroom.routing.destination_fields import Destination, destination_of
from fileroom.routing.destination_figures import STEP_S, step_of
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.health import Health, HealthState, read_health
from fileroom.routing.schedules import read_schedules

RATE_STEPS: Final = 3
"""Steps of five minutes that the rate is the mean of: a quarter of an hour."""


class Standing(enum.StrEnum):
    """How a destination stands, the first of these that is so."""

    DISABLED = "disabled"
    """Rules that name it plan nothing for it."""
    HELD = "held"
    """Somebody holds it; deliveries wait."""
    DOWN = "down"
    SUSPECT = "suspect"
    CLOSED = "closed"
    """Its schedule is not open now."""
    UP = "up"
    NEW = "new"
    """Nothing was sent and nobody has asked it yet."""

    @property
    def is_trouble(self) -> bool:
        """Somebody may have to do something."""
        return self in (Standing.DOWN, Standing.SUSPECT)


@dataclass(frozen=True, slots=True)
class DestinationNow:
    """One destination at this moment. Numbers are deliveries; `oldest_at`: when the first of those that wait was made."""

    destination: Destination
    standing: Standing
    since: dt.datetime | None = None
    """When it became up, suspect or down."""
    cause: str = ""
    """Why it is suspect or down, a sentence."""
    waiting: int = 0
    gathering: int = 0
    sent: int = 0
    """Taken, the proof still to come."""
    held: int = 0
    failed: int = 0
    """Dead letters, and what could not be de-identified."""
    delivered: int = 0
    oldest_at: dt.datetime | None = None
    per_minute: float = 0.0
    """Objects proven delivered, over the last quarter of an hour."""
    bytes_per_s: float = 0.0
    opens_at: dt.datetime | None = None
    """When its schedule opens; only while it is closed."""
    members: tuple[DestinationNow, ...] = ()
    """Of a pool."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.destination.name


async def destinations_now(archive: Archive) -> list[DestinationNow]:
    """All destinations by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    destinations = [destination_of(one) for one in await read_entries(archive.pool, DESTINATIONS)]
    health = await read_health(archive)
    schedules = await read_schedules(archive)
    now = archive.now()
    try:
        async with archive.pool.connection() as connection:
            tallies = await _tallies(connection)
            oldest = await _oldest(connection, [one.id for one in destinations])
            rates = await _rates(connection, now)
    except psycopg.Error as error:
        raise DatabaseError(
            f"The state of destinations cannot be read: {type(error).__name__}. Try again later."
        ) from error
    found: dict[str, DestinationNow] = {}
    for one in sorted(destinations, key=lambda one: one.kind == "pool"):  # members before their pools
        members = tuple(
            found[member["destination"]]
            for member in (one.target.get("members", ()) if one.kind == "pool" else ())
            if member["destination"] in found
        )
        found[one.name] = _now(one, health.get(one.id), schedules, now, tallies.get(one.id, {}), oldest, rates, members)
    return sorted(found.values(), key=lambda one: one.name.lower())


async def destinations_of_node(archive: Archive, node: str) -> list[str]:
    """Names of the destinations that are this node. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    entries = await read_entries(archive.pool, DESTINATIONS)
    return [
        one.name
        for one in entries
        if one.fields.get("kind") == "dicom" and one.fields.get("target", {}).get("node") == node
    ]


def standing_of(
    destination: Destination, health: Health | None, schedule: Schedule | None, now: dt.datetime
) -> Standing:
    """How it stands; pure."""
    if not destination.enabled:
        return Standing.DISABLED
    if destination.hold:
        return Standing.HELD
    if health is not None and health.state is not HealthState.UP:
        return Standing(health.state.value)
    if schedule is not None and not is_open(schedule, now):
        return Standing.CLOSED
    return Standing.NEW if health is None else Standing.UP


# --- helpers ---


def _now(
    one: Destination,
    health: Health | None,
    schedules: Mapping[str, Schedule],
    now: dt.datetime,
    tally: Mapping[str, int],
    oldest: Mapping[int, dt.datetime],
    rates: Mapping[int, tuple[float, float]],
    members: tuple[DestinationNow, ...],
) -> DestinationNow:
    schedule = schedules.get(one.schedule) if one.schedule else None
    standing = standing_of(one, health, schedule, now)
    if members and standing in (Standing.NEW, Standing.UP):
        standing = _of_members(members)
    closed = schedule is not None and standing is Standing.CLOSED
    per_minute, bytes_per_s = rates.get(one.id, (0.0, 0.0))
    return DestinationNow(
        destination=one,
        standing=standing,
        since=health.since if health is not None else None,
        cause=health.cause if health is not None else "",
        waiting=tally.get("waiting", 0),
        gathering=tally.get("gathering", 0),
        sent=tally.get("sent", 0),
        held=tally.get("held", 0),
        failed=tally.get("failed", 0) + tally.get("quarantined", 0),
        delivered=tally.get("delivered", 0),
        oldest_at=oldest.get(one.id),
        per_minute=per_minute,
        bytes_per_s=bytes_per_s,
        opens_at=next_open(schedule, now) if closed and schedule is not None else None,
        members=members,
    )


def _of_members(members: tuple[DestinationNow, ...]) -> Standing:
    """A pool is up while a member is; down when none can take anything."""
    standings = {one.standing for one in members}
    if standings & {Standing.UP, Standing.NEW}:
        return Standing.SUSPECT if Standing.DOWN in standings else Standing.UP
    return Standing.SUSPECT if Standing.SUSPECT in standings else Standing.DOWN


async def _tallies(connection: AsyncConnection[Any]) -> dict[int, dict[str, int]]:
    cursor = await connection.execute(
        b"SELECT destination_id, state, sum(number)::bigint FROM delivery_tally GROUP BY destination_id, state"
    )
    found: dict[int, dict[str, int]] = {}
    for number, state, count in await cursor.fetchall():
        found.setdefault(number, {})[state] = max(0, int(count))
    return found


async def _oldest(connection: AsyncConnection[Any], ids: list[int]) -> dict[int, dt.datetime]:
    """By the index (destination, state, id): one look for each destination, however much waits."""
    cursor = await connection.execute(
        b"""SELECT n.id, d.created_at FROM unnest(%s::integer[]) AS n(id) CROSS JOIN LATERAL (
                SELECT created_at FROM delivery WHERE destination_id = n.id AND state = 'waiting' ORDER BY id LIMIT 1) d""",
        (ids,),
    )
    return dict(await cursor.fetchall())


async def _rates(connection: AsyncConnection[Any], now: dt.datetime) -> dict[int, tuple[float, float]]:
    """Objects a minute and bytes a second, by destination."""
    begin = step_of(now) - dt.timedelta(seconds=STEP_S * (RATE_STEPS - 1))
    span_s = max((now - begin).total_seconds(), 1.0)
    cursor = await connection.execute(
        b"SELECT destination_id, sum(objects)::bigint, sum(bytes)::bigint FROM destination_figure"
        b" WHERE began_at >= %s GROUP BY destination_id",
        (begin,),
    )
    return {row[0]: (row[1] * 60 / span_s, row[2] / span_s) for row in await cursor.fetchall()}
