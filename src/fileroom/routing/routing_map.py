"""The map of routing: what sends to us, the rules in their order, the destinations, and how much flows between them.

It looks at the newest objects and deliveries only, never at all of them: the last LOOKED_AT of each by their numbers, at most
those of the last hour. In a busy archive that is some minutes; `window_s` says how long it is, and rates are over that time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.admin.entries import Entry, read_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.routing.destination_states import DestinationNow, destinations_now
from fileroom.routing.rule_fields import RULES, destinations_of

LOOKED_AT: Final = 10_000
"""Newest objects and deliveries that flows are counted from: some milliseconds by the primary key."""
LINKED_AT: Final = 2000
"""Newest deliveries of which the sender is looked up."""
WINDOW_S: Final = 3600
SOURCES_MAX: Final = 60
"""Drawn each by itself; a hospital has some dozens of modalities."""


@dataclass(frozen=True, slots=True)
class MapSource:
    """What sent within a day: `door` is dimse, stow, import, edge, fetch; `name` its AE title, or the edge or archive."""

    key: str
    door: str
    name: str
    objects_day: int
    per_minute: float
    last_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class MapRule:
    """A rule in its place. `planned` deliveries within the window."""

    id: int
    name: str
    on: str
    enabled: bool
    stop: bool
    drops: bool
    destinations: tuple[str, ...]
    description: str
    planned: int


@dataclass(frozen=True, slots=True)
class MapLine:
    """A line from a source to a rule, or from a rule to a destination, by their keys."""

    begin: str
    end: str
    per_minute: float


@dataclass(frozen=True, slots=True)
class RoutingMap:
    """All of it. Destinations come in the order in which rules name them."""

    sources: tuple[MapSource, ...]
    more_sources: int
    rules: tuple[MapRule, ...]
    destinations: tuple[DestinationNow, ...]
    from_sources: tuple[MapLine, ...]
    to_destinations: tuple[MapLine, ...]
    window_s: float
    at: dt.datetime


async def routing_map(archive: Archive) -> RoutingMap:
    """The map of this moment. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    destinations = await destinations_now(archive)
    entries = await read_entries(archive.pool, RULES)
    rules = sorted(entries, key=lambda one: (one.fields.get("priority", 0), one.name))
    now = archive.now()
    try:
        async with archive.pool.connection() as connection:
            sources = await _sources(connection, now)
            flows, window_s = await _flows(connection, now)
            links = await _links(connection, now)
    except psycopg.Error as error:
        raise DatabaseError(f"The map cannot be read: {type(error).__name__}. Try again later.") from error
    shown, more = sources[:SOURCES_MAX], max(0, len(sources) - SOURCES_MAX)
    return RoutingMap(
        tuple(shown),
        more,
        tuple(_rule(one, flows) for one in rules),
        tuple(_in_order(destinations, rules)),
        tuple(_from_sources(links, shown)),
        tuple(_to_destinations(rules, destinations, flows, window_s)),
        window_s,
        now,
    )


# --- helpers ---

Flows = dict[tuple[int, int], int]


def _rule(entry: Entry, flows: Flows) -> MapRule:
    fields = entry.fields
    return MapRule(
        entry.id,
        entry.name,
        fields.get("on", "instance"),
        entry.enabled,
        bool(fields.get("stop")),
        any(one.get("do") == "drop" for one in fields.get("actions", ())),
        _names(entry),
        fields.get("description", ""),
        sum(count for (rule, _), count in flows.items() if rule == entry.id),
    )


def _names(entry: Entry) -> tuple[str, ...]:
    return destinations_of({"to": (), "actions": (), **entry.fields})


def _in_order(destinations: Iterable[DestinationNow], rules: Sequence[Entry]) -> list[DestinationNow]:
    """As rules name them, so that lines seldom cross; members of pools stand in their pools unless a rule names them too."""
    named = list(dict.fromkeys(name for rule in rules for name in _names(rule)))
    place = {name: number for number, name in enumerate(named)}
    inside = {member.name for one in destinations for member in one.members}
    shown = [one for one in destinations if one.name in place or one.name not in inside]
    return sorted(shown, key=lambda one: (place.get(one.name, len(place)), one.name.lower()))


def _to_destinations(
    rules: Sequence[Entry], destinations: Sequence[DestinationNow], flows: Flows, window_s: float
) -> list[MapLine]:
    numbers = {one.name: one.destination.id for one in destinations}
    lines = []
    for rule in rules:
        planned = {numbers[name]: 0 for name in _names(rule) if name in numbers}
        planned |= {to: count for (by, to), count in flows.items() if by == rule.id and to in numbers.values()}
        lines += [MapLine(f"r{rule.id}", f"d{to}", count * 60 / window_s) for to, count in planned.items()]
    return lines


def _from_sources(links: dict[tuple[str, int], float], shown: Sequence[MapSource]) -> list[MapLine]:
    keys = {one.key for one in shown}
    return [MapLine(source, f"r{rule}", rate) for (source, rule), rate in links.items() if source in keys]


async def _sources(connection: AsyncConnection[Any], now: dt.datetime) -> list[MapSource]:
    """Callers of the last day by the association ledger, and how much came lately through which door."""
    cursor = await connection.execute(
        b"""SELECT calling_aet, sum(objects)::bigint, max(began_at) FROM association
            WHERE began_at >= %s AND direction = 'in' AND objects > 0 GROUP BY calling_aet""",
        (now - dt.timedelta(days=1),),
    )
    callers = {row[0]: (int(row[1]), row[2]) for row in await cursor.fetchall()}
    cursor = await connection.execute(
        f"""SELECT {_DOOR}, count(*), max(received_at), min(received_at),
                count(*) FILTER (WHERE received_at >= %s)
            FROM (SELECT received_at, received_by, sender FROM instance ORDER BY id DESC LIMIT %s) AS i
            WHERE received_at >= %s GROUP BY 1, 2""".encode(),  # noqa: S608 - our own words; the values are parameters
        (now - dt.timedelta(seconds=WINDOW_S), LOOKED_AT, now - dt.timedelta(days=1)),
    )
    lately = {(row[0], row[1]): row[2:] for row in await cursor.fetchall()}
    first = min((row[2] for row in lately.values()), default=now)
    is_busy = sum(row[0] for row in lately.values()) >= LOOKED_AT
    window_s = min(max((now - first).total_seconds(), 60.0), float(WINDOW_S)) if is_busy else float(WINDOW_S)
    found = []
    for (door, name), (day, last_at) in (
        {("dimse", aet): told for aet, told in callers.items()} | _other(lately)
    ).items():
        count, latest, _, in_window = lately.get((door, name), (0, last_at, None, 0))
        found.append(
            MapSource(f"{door}:{name}", door, name, max(day, count), in_window * 60 / window_s, max(last_at, latest))
        )
    return sorted(found, key=lambda one: (one.door != "dimse", -one.objects_day, one.name, one.door))


def _other(lately: Mapping[tuple[str, str], Sequence[Any]]) -> dict[tuple[str, str], tuple[int, dt.datetime]]:
    """Who came by another door than a C-STORE."""
    return {key: (row[0], row[1]) for key, row in lately.items() if key[0] != "dimse"}


async def _flows(connection: AsyncConnection[Any], now: dt.datetime) -> tuple[Flows, float]:
    """Deliveries made lately by (rule, destination), and the seconds that they were made in."""
    cursor = await connection.execute(
        b"""SELECT rule_id, destination_id, count(*), min(created_at)
            FROM (SELECT rule_id, destination_id, created_at FROM delivery ORDER BY id DESC LIMIT %s) AS d
            WHERE created_at >= %s AND rule_id IS NOT NULL GROUP BY rule_id, destination_id""",
        (LOOKED_AT, now - dt.timedelta(seconds=WINDOW_S)),
    )
    rows = await cursor.fetchall()
    flows = {(row[0], row[1]): int(row[2]) for row in rows}
    if sum(flows.values()) < LOOKED_AT:
        return flows, float(WINDOW_S)
    return flows, max((now - min(row[3] for row in rows)).total_seconds(), 60.0)


async def _links(connection: AsyncConnection[Any], now: dt.datetime) -> dict[tuple[str, int], float]:
    """Objects a minute from a source into a rule: the senders of the newest deliveries."""
    cursor = await connection.execute(
        f"""SELECT {_DOOR}, d.rule_id, count(DISTINCT i.id), min(d.created_at), sum(count(*)) OVER ()
            FROM (SELECT rule_id, instance_id, created_at FROM delivery ORDER BY id DESC LIMIT %s) AS d
            JOIN instance i ON i.id = d.instance_id
            WHERE d.created_at >= %s AND d.rule_id IS NOT NULL GROUP BY 1, 2, 3""".encode(),  # noqa: S608 - our own words; the values are parameters
        (LINKED_AT, now - dt.timedelta(seconds=WINDOW_S)),
    )
    rows = await cursor.fetchall()
    first = min((row[4] for row in rows), default=now)
    window_s = max((now - first).total_seconds(), 60.0) if rows and rows[0][5] >= LINKED_AT else float(WINDOW_S)
    found: dict[tuple[str, int], float] = {}
    for door, name, rule, count, _, _ in rows:
        found[f"{door}:{name}", rule] = count * 60 / window_s
    return found


_DOOR: Final = """received_by, CASE received_by WHEN 'dimse' THEN regexp_replace(sender, '@[^@]*$', '')
    WHEN 'edge' THEN sender WHEN 'fetch' THEN sender ELSE '' END"""
