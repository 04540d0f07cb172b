"""Names that entries of routing give to each other, and to nodes: which of them are not there.

Pages and the API ask it of one entry as they save it. A file of the configuration may change all at once, in any order; so it
is asked when everything is written, before it is committed (`admin.configuration`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import psycopg

from fileroom.core.errors import DatabaseError, told
from fileroom.core.live_settings import Problem
from fileroom.db.pool import Pool
from fileroom.routing.rule_fields import destinations_of

_WORDS: Final = {
    "nodes": "node",
    "destinations": "destination",
    "treatments": "treatment",
    "schedules": "schedule",
    "projects": "project",
    "edges": "edge",
    "centres": "centre",
    "sources": "source",
}


async def missing_names(pool: Pool) -> list[Problem]:
    """For each entry that names something which is not there, what that is. Raises DatabaseError."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(b"SELECT 'nodes', name, NULL FROM node")
            nodes = await cursor.fetchall()
            cursor = await connection.execute(
                b"SELECT section, name, fields FROM named_entry WHERE removed_at IS NULL ORDER BY section, name"
            )
            entries = await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"Names cannot be checked: {type(error).__name__}. Try again later.") from error
    there = {(section, name) for section, name, _ in (*nodes, *entries)}
    return [
        Problem(
            f"{section}.{name}",
            None,
            told("there is no {word} {name}; add it, or name another one", word=_WORDS[wanted], name=other),
        )
        for section, name, fields in entries
        for wanted, other in dict.fromkeys(named_by(section, fields))
        if (wanted, other) not in there
    ]


def named_by(section: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Section and name of everything that an entry names."""
    read = _READERS.get(section)
    if read is not None:
        yield from ((wanted, str(name)) for wanted, name in read(fields) if name)


# --- helpers ---

_Named = Iterator[tuple[str, Any]]


def _of_rule(fields: Mapping[str, Any]) -> _Named:
    given = {"to": (), "actions": (), **fields}
    yield from (("destinations", name) for name in destinations_of(given))
    yield "treatments", fields.get("treatment")


def _of_destination(fields: Mapping[str, Any]) -> _Named:
    target = fields.get("target", {})
    yield "treatments", fields.get("treatment")
    yield "schedules", fields.get("schedule")
    match fields.get("kind"):
        case "dicom":
            yield "nodes", target.get("node")
        case "pool":
            yield from (("destinations", one.get("destination")) for one in target.get("members", ()))
        case "edge":
            yield "centres", target.get("centre")
        case "edge_inbox":
            yield "edges", target.get("edge")


def _of_alert(fields: Mapping[str, Any]) -> _Named:
    yield from (("destinations", name) for name in (*fields.get("destinations", ()), *fields.get("notify", ())))
    yield "schedules", fields.get("quiet")


def _of_prefetch(fields: Mapping[str, Any]) -> _Named:
    yield from (("destinations", name) for name in fields.get("push_to", ()))
    yield from (("sources", name) for name in fields.get("sources", ()))


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], _Named]]] = {
    "rules": _of_rule,
    "destinations": _of_destination,
    "treatments": lambda fields: iter([("projects", fields.get("deid"))]),
    "alerts": _of_alert,
    "prefetch": _of_prefetch,
    "sources": lambda fields: iter([("nodes", fields.get("node"))]),
}
