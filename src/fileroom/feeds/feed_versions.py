"""What a feed was: its versions with what changed from each to the next, and the way back to one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import NotFoundError, told
from fileroom.feeds.feeds import Feed, feed_versions, put_feed

VALUE_CHARS_SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, `mapping.facts.accession` for instance, as it was and became; empty: it was not, or is no more, said."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FeedVersion:
    """A version, and what made it differ from the one before; of the first: nothing."""

    version: int
    enabled: bool
    changed_by: str
    changed_at: str
    changes: tuple[FieldChange, ...]


async def list_feed_versions(archive: Archive, name: str) -> list[FeedVersion]:
    """The latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.MESSAGE_READ)
    found = await feed_versions(archive, name)
    flat = [_flat({**one.fields, "enabled": one.enabled}) for one in found]
    changes: list[tuple[FieldChange, ...]] = [_changes(before, after) for after, before in pairwise(flat)]
    return [
        FeedVersion(one.version, one.enabled, one.changed_by, one.changed_at, made)
        for one, made in zip(found, [*changes, ()], strict=True)
    ]


async def go_back(archive: Archive, name: str, to_version: int, *, version: int | None = None) -> Feed:
    """Make the feed as it was in a version, as a new version; `version`: the one that somebody looked at.

    Raises NotFoundError, ConflictError, InvalidRequestError (it would not be right today), NotAllowedError, DatabaseError.
    """
    require(Permission.MESSAGE_MANAGE)
    found = next((one for one in await feed_versions(archive, name) if one.version == to_version), None)
    if found is None:
        raise NotFoundError(told("The feed {name} has no version {version}.", name=name, version=to_version))
    return await put_feed(archive, name, found.fields, enabled=found.enabled, version=version, new=False)


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[FieldChange, ...]:
    names = sorted({*before, *after})
    return tuple(
        FieldChange(name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    )


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for name, one in value.items():
            found |= _flat(one, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value)
    else:
        text = "" if value in ({}, None) else str(value)
    return {path: text[:VALUE_CHARS_SHOWN_MAX]}
