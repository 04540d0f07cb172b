"""Edges: the Filerooms that dial in to this one, the centre (decision 35). Each has an entry, a token, and a state.

    added = await add_edge(archive, "clinic-north")     added.token is shown once; the edge connects with it
    await list_edges(archive)                           last seen, clock, version, what waits both ways
    await silent_edges(archive)                         for alerts: those that should be here and are not

The permission `edge.link` of the token is good for the link's own addresses only. Which edge calls is told by the token's
name, which only who may manage tokens can give; a person's token has another form of name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.rows import dict_row

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    get_entry,
    put_entry,
    read_entry,
    remove_entry,
    set_entry_enabled,
)
from fileroom.admin.people import People
from fileroom.admin.tokens import TokenRequest, create_token, list_tokens, revoke_token
from fileroom.archive.services import Archive
from fileroom.core.access import ActorKind, Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotAllowedError, NotFoundError, told
from fileroom.routing.delivery_rows import CHANNEL, IS_BACK
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled

EDGE_ROLE: Final = "edge"
NAME_CHARS_MAX: Final = 50
_TOKEN_NAME: Final = "edge "  # noqa: S105 - how names of such tokens begin
SILENT_AFTER_S: Final = 300

FIELDS: Final = (
    TargetField("description", told("Description"), help=told("Where it stands, and whom to ask about it.")),
    TargetField(
        "silent_after_s",
        told("Silent after (seconds)"),
        FieldType.NUMBER,
        default=SILENT_AFTER_S,
        minimum=60,
        maximum=7 * 86_400,
        help=told("When it has not called for so long, it counts as silent and an alert may be raised."),
    ),
)


def _checked(name: str, fields: Mapping[str, Any]) -> Fields:
    if len(name) > NAME_CHARS_MAX:
        raise InvalidRequestError(told("The name of an edge has at most {most} characters.", most=NAME_CHARS_MAX))
    return checked_target(told("An edge"), FIELDS, fields)


EDGES: Final = Section("edges", "edge", _checked)


@dataclass(frozen=True, slots=True)
class AddedEdge:
    """An edge and its new token, which is shown this one time."""

    name: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge as the centre knows it. Times are aware, in UTC; `seen_at` None: it has never called.

    `waiting_here` are deliveries that wait for it at the centre, `waiting_there` those that wait at the edge for any
    destination, as it said. `clock_ahead_s`: its clock against ours.
    """

    id: int
    name: str
    description: str
    enabled: bool
    version: int
    state: str
    """`here`, `silent`, `never seen` or `disabled`."""
    silent_after_s: int
    seen_at: dt.datetime | None = None
    silence_s: float = 0.0
    """Since it last called, by the clock of the database."""
    since: dt.datetime | None = None
    address: str = ""
    software: str = ""
    clock_ahead_s: float = 0.0
    round_trip_s: float = 0.0
    waiting_here: int = 0
    waiting_there: int = 0
    failed_there: int = 0
    destinations: tuple[str, ...] = ()
    """Destinations of kind `edge_inbox` that lead to it."""


@dataclass(frozen=True, slots=True)
class CallingEdge:
    """Which edge calls."""

    id: int
    name: str


# --- for administrators ---


async def add_edge(archive: Archive, name: str, fields: Mapping[str, Any] | None = None) -> AddedEdge:
    """Make an edge and its token. Raises InvalidRequestError, ConflictError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    require(Permission.USER_MANAGE)
    entry = await put_entry(archive.pool, archive.settings, EDGES, name, fields or {}, new=True)
    return AddedEdge(entry.name, await _new_token(archive, entry.name))


async def renew_edge_token(archive: Archive, name: str) -> AddedEdge:
    """Give an edge another token; the old one is good no more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    require(Permission.USER_MANAGE)
    entry = await get_entry(archive.pool, EDGES, name)
    await _revoke(archive, entry.name)
    return AddedEdge(entry.name, await _new_token(archive, entry.name))


async def change_edge(archive: Archive, name: str, fields: Mapping[str, Any], *, version: int | None = None) -> Entry:
    """Change the fields of an edge. Raises as `entries.put_entry` does."""
    now = await get_entry(archive.pool, EDGES, name)
    return await put_entry(
        archive.pool, archive.settings, EDGES, name, fields, enabled=now.enabled, version=version, new=False
    )


async def set_edge_enabled(archive: Archive, name: str, *, enabled: bool) -> Entry:
    """Let an edge call, or no more. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await set_entry_enabled(archive.pool, archive.settings, EDGES, name, enabled=enabled)


async def remove_edge(archive: Archive, name: str) -> None:
    """Remove an edge; its token is good no more. Raises ConflictError while a destination leads to it, NotFoundError."""
    require(Permission.ROUTING_MANAGE)
    require(Permission.USER_MANAGE)
    edge = await get_edge(archive, name)
    if edge.destinations:
        raise InvalidRequestError(
            told(
                "The destination {destination} still leads to the edge {name}; remove it first.",
                destination=edge.destinations[0],
                name=name,
            )
        )
    await _revoke(archive, name)
    await remove_entry(archive.pool, EDGES, name)
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM edge_state WHERE edge_id = %s", (edge.id,))
        await connection.execute(b"DELETE FROM edge_offer WHERE edge_id = %s", (edge.id,))


async def list_edges(archive: Archive) -> list[Edge]:
    """All by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    return await _edges(archive)


async def get_edge(archive: Archive, name: str) -> Edge:
    """One. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    found = next((one for one in await _edges(archive) if one.name == name), None)
    if found is None:
        raise NotFoundError(told("There is no edge {name}.", name=name))
    return found


async def silent_edges(archive: Archive) -> list[Edge]:
    """Edges that have called before and do not any more: what the alert `edge_silent` tells of. Raises DatabaseError."""
    require(Permission.ROUTING_READ)
    return [one for one in await _edges(archive) if one.state == "silent"]


# --- for the link ---


async def calling_edge(archive: Archive) -> CallingEdge:
    """The edge that acts now. Raises NotAllowedError: no token of an edge, or of one that is gone or disabled."""
    access = require(Permission.EDGE_LINK)
    refused = NotAllowedError(told("These addresses are for edges: show the token that 'fileroom edge add' has made."))
    if access.kind is not ActorKind.TOKEN or access.account_id is not None or not access.name.startswith(_TOKEN_NAME):
        raise refused
    try:
        entry = await read_entry(archive.pool, EDGES, access.name.removeprefix(_TOKEN_NAME))
    except NotFoundError as error:
        raise refused from error
    if not entry.enabled:
        raise NotAllowedError(told("The edge {name} is disabled at the centre.", name=entry.name))
    return CallingEdge(entry.id, entry.name)


async def edge_id_of(archive: Archive, name: str) -> int:
    """Raises NotFoundError, DatabaseError."""
    return (await read_entry(archive.pool, EDGES, name)).id


@dataclass(frozen=True, slots=True)
class Hello:
    """What an edge says of itself. `session` changes with each start of its link."""

    session: str
    version: str
    clock_ahead_s: float
    round_trip_s: float
    waiting: int
    failed: int


async def note_hello(archive: Archive, edge: CallingEdge, hello: Hello) -> bool:
    """Write down that an edge is here. True: it was away, or has started anew. Raises DatabaseError.

    Then offers that were given to it before are given again, and what waits for it is due at once.
    """
    address = current_access().address
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"SELECT session, seen_at > now() - interval '60 seconds' FROM edge_state WHERE edge_id = %s FOR UPDATE",
            (edge.id,),
        )
        before = await cursor.fetchone()
        is_new = before is None or before[0] != hello.session or not before[1]
        await connection.execute(
            b"""INSERT INTO edge_state AS s
                    (edge_id, session, address, version, clock_ahead_s, round_trip_s, waiting, failed)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (edge_id) DO UPDATE SET session = excluded.session, seen_at = now(),
                    since = CASE WHEN %s THEN now() ELSE s.since END, address = excluded.address,
                    version = excluded.version, clock_ahead_s = excluded.clock_ahead_s,
                    round_trip_s = excluded.round_trip_s, waiting = excluded.waiting, failed = excluded.failed""",
            (
                edge.id,
                hello.session,
                address,
                hello.version,
                hello.clock_ahead_s,
                hello.round_trip_s,
                hello.waiting,
                hello.failed,
                is_new,
            ),
        )
        if is_new:
            await connection.execute(
                b"UPDATE edge_offer SET given_until = '-infinity' WHERE edge_id = %s AND outcome = ''", (edge.id,)
            )
            await _wake(connection, edge.name)
    return is_new


# --- helpers ---


async def _wake(connection: Any, name: str) -> None:
    """What waits for this edge is due now, however long the pause was to be."""
    cursor = await connection.execute(
        b"""SELECT id FROM named_entry WHERE section = 'destinations' AND removed_at IS NULL
            AND fields ->> 'kind' = 'edge_inbox' AND fields -> 'target' ->> 'edge' = %s""",
        (name,),
    )
    for (destination_id,) in await cursor.fetchall():
        await connection.execute(
            b"UPDATE delivery SET due_at = now() WHERE destination_id = %s AND state = 'waiting' AND due_at > now()",
            (destination_id,),
        )
        await connection.execute(
            b"UPDATE parcel SET due_at = now() WHERE destination_id = %s AND state = 'later' AND due_at > now()",
            (destination_id,),
        )
        await connection.execute(b"SELECT pg_notify(%s, %s)", (CHANNEL, f"{IS_BACK}{destination_id}"))


async def _edges(archive: Archive) -> list[Edge]:
    async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT e.id, e.name, e.fields, e.enabled, e.version, s.seen_at, s.since, s.address, s.version AS software,
                    s.clock_ahead_s, s.round_trip_s, s.waiting, s.failed,
                    extract(epoch FROM now() - s.seen_at)::float8 AS silence_s,
                    coalesce((SELECT array_agg(d.name ORDER BY d.name) FROM named_entry d
                        WHERE d.section = 'destinations' AND d.removed_at IS NULL AND d.fields ->> 'kind' = 'edge_inbox'
                        AND d.fields -> 'target' ->> 'edge' = e.name), '{}') AS destinations,
                    coalesce((SELECT sum(t.number)::bigint FROM delivery_tally t JOIN named_entry d ON d.id = t.destination_id
                        WHERE t.state IN ('gathering', 'waiting', 'sent', 'held') AND d.section = 'destinations'
                        AND d.removed_at IS NULL AND d.fields ->> 'kind' = 'edge_inbox'
                        AND d.fields -> 'target' ->> 'edge' = e.name), 0) AS waiting_here
                FROM named_entry e LEFT JOIN edge_state s ON s.edge_id = e.id
                WHERE e.section = 'edges' AND e.removed_at IS NULL ORDER BY e.name"""
        )
        return [_edge(row) for row in await cursor.fetchall()]


def _edge(row: Mapping[str, Any]) -> Edge:
    fields = filled(FIELDS, row["fields"])
    silent_after_s = int(fields["silent_after_s"])
    if not row["enabled"]:
        state = "disabled"
    elif row["seen_at"] is None:
        state = "never seen"
    else:
        state = "silent" if row["silence_s"] > silent_after_s else "here"
    return Edge(
        id=row["id"],
        name=row["name"],
        description=fields["description"],
        enabled=row["enabled"],
        version=row["version"],
        state=state,
        silent_after_s=silent_after_s,
        seen_at=row["seen_at"],
        silence_s=row["silence_s"] or 0.0,
        since=row["since"],
        address=row["address"] or "",
        software=row["software"] or "",
        clock_ahead_s=row["clock_ahead_s"] or 0.0,
        round_trip_s=row["round_trip_s"] or 0.0,
        waiting_here=row["waiting_here"],
        waiting_there=row["waiting"] or 0,
        failed_there=row["failed"] or 0,
        destinations=tuple(row["destinations"]),
    )


async def _new_token(archive: Archive, name: str) -> str:
    people = People(archive.pool, archive.settings, archive.now)
    return await create_token(people, TokenRequest(_TOKEN_NAME + name), EDGE_ROLE)


async def _revoke(archive: Archive, name: str) -> None:
    people = People(archive.pool, archive.settings, archive.now)
    if any(one.name == _TOKEN_NAME + name and one.login is None for one in await list_tokens(people)):
        await revoke_token(people, _TOKEN_NAME + name)
