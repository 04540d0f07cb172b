"""The destinations that an administrator has made: list, add, change, hold, release, ask, remove.

The page, the API and the command line call these functions; delivery workers take `read_destinations`, with secrets in clear.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    Section,
    checked_name,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    read_entries,
    read_entry,
    remove_entry,
    set_entry_enabled,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, FileroomError, InvalidRequestError, told
from fileroom.db.pool import Pool
from fileroom.routing.destination_fields import (
    Destination,
    checked_destination,
    destination_of,
    fields_of_destination,
    secret_paths,
)
from fileroom.routing.destination_kind import KindContext
from fileroom.routing.kinds import KindWithLimits, kind_named

DESTINATIONS: Final = Section("destinations", "destination", checked_destination, secret_paths)
PROBE_TIMEOUT_S: Final = 30.0
"""How long a probe may take in all: somebody waits before the page."""
_WHERE_TO: Final = ("url", "token_url", "endpoint", "host", "port", "node")
"""Fields that decide who is shown a secret."""
_SECRET: Final = "secret"  # noqa: S105 - the word that stands for one


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a destination said when it was asked whether it is there."""

    is_there: bool
    answer: str
    """What answered, or why nothing did: a sentence."""
    latency_ms: float


async def list_destinations(archive: Archive) -> list[Destination]:
    """All by name, without secrets. Raises NotAllowedError, DatabaseError."""
    return [destination_of(one) for one in await list_entries(archive.pool, DESTINATIONS)]


async def get_destination(archive: Archive, name: str) -> Destination:
    """One, without secrets. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return destination_of(await get_entry(archive.pool, DESTINATIONS, name))


async def destination_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What it was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, DESTINATIONS, name)


async def put_destination(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Destination:
    """Add a destination, or change it, as `entries.put_entry` does; what it names (node, treatment, schedule) must be there.

    A secret is given as itself, or as the word `secret`: then it stays what it was, unless the destination leads elsewhere now.
    Raises InvalidRequestError, ConflictError (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    name = checked_name(DESTINATIONS, name)
    checked = checked_destination(name, fields)
    kind = kind_named(checked["kind"])
    if isinstance(kind, KindWithLimits):
        kind.require_allowed(archive.settings, checked["target"])
    await _require_named(archive.pool, name, checked)
    await _require_secrets(archive.pool, name, checked)
    return destination_of(
        await put_entry(
            archive.pool, archive.settings, DESTINATIONS, name, checked, enabled=enabled, version=version, new=new
        )
    )


async def set_destination_enabled(archive: Archive, name: str, *, enabled: bool) -> Destination:
    """Let it take part, or no more: rules that name it plan nothing for it. Raises NotFoundError, NotAllowedError."""
    return destination_of(await set_entry_enabled(archive.pool, archive.settings, DESTINATIONS, name, enabled=enabled))


async def hold_destination(archive: Archive, name: str) -> Destination:
    """Send nothing there; deliveries are planned and wait. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await _set_hold(archive, name, hold=True)


async def release_destination(archive: Archive, name: str) -> Destination:
    """Send what waits. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await _set_hold(archive, name, hold=False)


async def remove_destination(archive: Archive, name: str) -> None:
    """Remove it; the ledger still tells what was delivered there.

    Raises ConflictError while rules or pools name it or something waits for it, NotFoundError, NotAllowedError.
    """
    require(Permission.ROUTING_MANAGE)
    entry = await read_entry(archive.pool, DESTINATIONS, name)
    if users := await destination_users(archive.pool, name):
        raise ConflictError(
            told(
                "{name} is still named by {users}. Change or remove them first.", name=name, users=", ".join(users[:5])
            )
        )
    if waiting := await _waiting(archive.pool, entry.id):
        raise ConflictError(
            told(
                "{number} deliveries still wait for {name}. Cancel them or send them elsewhere first, or disable it.",
                number=waiting,
                name=name,
            )
        )
    await remove_entry(archive.pool, DESTINATIONS, name)


async def probe_destination(archive: Archive, name: str) -> ProbeResult:
    """Ask a destination whether it is there; nothing stays there. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    destination = destination_of(await read_entry(archive.pool, DESTINATIONS, name, settings=archive.settings))
    return await probe(archive, destination)


async def probe(archive: Archive, destination: Destination) -> ProbeResult:
    """The same for one that was read with its secrets, for `routing.health`. It never raises for what is the peer's."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            answer = await kind_named(destination.kind).probe(context_of(archive, destination))
        is_there = True
    except TimeoutError:
        is_there, answer = False, f"{destination.name} did not answer within {PROBE_TIMEOUT_S:g} s."
    except FileroomError as error:
        is_there, answer = False, error.sentence
    except Exception as error:  # noqa: BLE001 - a kind of a third party; the page that asked must live
        is_there, answer = False, f"The kind {destination.kind} failed: {type(error).__name__}."
    return ProbeResult(is_there, answer, (time.monotonic() - started) * 1000)


# --- for workers ---


async def read_destinations(archive: Archive) -> dict[str, Destination]:
    """All by name, with secrets in clear: for those who deliver. Raises DatabaseError, ConfigurationError."""
    entries = await read_entries(archive.pool, DESTINATIONS, settings=archive.settings)
    return {one.name: destination_of(one) for one in entries}


def context_of(archive: Archive, destination: Destination) -> KindContext:
    """What its kind is given to work with; the destination must have been read with its secrets."""
    return KindContext(archive, destination.name, destination.target, destination.confirmation)


async def destination_users(pool: Pool, name: str) -> list[str]:
    """Which rules and pools name a destination, in words. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT section, name, fields FROM named_entry
                WHERE removed_at IS NULL AND (section = 'rules' OR (section = 'destinations' AND fields ->> 'kind' = 'pool'))
                ORDER BY section DESC, name"""
        )
        rows = await cursor.fetchall()
    words = {"rules": "the rule", "destinations": "the pool"}
    return [f"{words[section]} {one}" for section, one, fields in rows if _names(fields, name, inside=False)]


# --- helpers ---


async def _set_hold(archive: Archive, name: str, *, hold: bool) -> Destination:
    require(Permission.ROUTING_MANAGE)
    now = destination_of(await read_entry(archive.pool, DESTINATIONS, name))
    if now.hold == hold:
        return now
    fields = {**fields_of_destination(now), "hold": hold}
    return destination_of(
        await put_entry(
            archive.pool,
            archive.settings,
            DESTINATIONS,
            name,
            fields,
            enabled=now.enabled,
            version=now.version,
            new=False,
        )
    )


async def _require_named(pool: Pool, name: str, fields: Mapping[str, Any]) -> None:
    """What a destination names is there. Raises InvalidRequestError."""
    async with pool.connection() as connection:
        if fields["kind"] == "dicom":
            node = str(fields["target"].get("node", ""))
            cursor = await connection.execute(b"SELECT 1 FROM node WHERE name = %s", (node,))
            if await cursor.fetchone() is None:
                raise InvalidRequestError(told("There is no node {node}. Add it first under Nodes.", node=node))
        for field, section in (("treatment", "treatments"), ("schedule", "schedules")):
            if wanted := fields.get(field):
                await _require_entry(connection, section, str(wanted))
        if fields["kind"] == "pool":
            for member in fields["target"].get("members", ()):
                wanted = str(member.get("destination", "")) if isinstance(member, Mapping) else str(member)
                if wanted == name:
                    raise InvalidRequestError(told("A pool cannot be its own member."))
                await _require_entry(connection, "destinations", wanted)


async def _require_entry(connection: Any, section: str, name: str) -> None:
    cursor = await connection.execute(
        b"SELECT 1 FROM named_entry WHERE section = %s AND name = %s AND removed_at IS NULL", (section, name)
    )
    if await cursor.fetchone() is None:
        raise InvalidRequestError(
            told("There is no {word} {name}. Add it first.", word=section.removesuffix("s"), name=name)
        )


async def _require_secrets(pool: Pool, name: str, fields: Mapping[str, Any]) -> None:
    """A kept secret goes only where it went before: who may change an address shall not learn a password by that."""
    kept = [path[-1] for path in secret_paths(dict(fields)) if fields["target"].get(path[-1]) == _SECRET]
    if not kept:
        return
    before = next((one for one in await _entries_named(pool, name)), None)
    was: Mapping[str, Any] = before.fields if before is not None else {}
    target_before = was.get("target", {})
    moved = was.get("kind") != fields["kind"] or any(
        target_before.get(one) != fields["target"].get(one) for one in _WHERE_TO
    )
    if moved or any(target_before.get(one) != _SECRET for one in kept):
        raise InvalidRequestError(
            told("Enter {fields} again: a secret stays only where the address stays.", fields=", ".join(sorted(kept)))
        )


async def _entries_named(pool: Pool, name: str) -> list[Entry]:
    return [one for one in await read_entries(pool, DESTINATIONS) if one.name == name]


async def _waiting(pool: Pool, destination_id: int) -> int:
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT coalesce(sum(number), 0) FROM delivery_tally
                WHERE destination_id = %s AND state IN ('gathering', 'waiting', 'sent', 'held')""",
            (destination_id,),
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _names(fields: Any, name: str, *, inside: bool) -> bool:
    """Whether a rule or a pool names a destination: in `to`, `destination` or `send`, however deep."""
    if isinstance(fields, Mapping):
        return any(
            _names(value, name, inside=key in ("to", "send", "destination", "members")) for key, value in fields.items()
        )
    if isinstance(fields, list | tuple):
        return any(_names(one, name, inside=inside) for one in fields)
    return inside and fields == name
