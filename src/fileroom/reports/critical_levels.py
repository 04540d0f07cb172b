"""Levels of critical findings: how long somebody may take to hear of one, who is told, and who is told when nobody answers.

Entries by name. The usual levels are there without anybody having made them; an entry of the same name takes the place of one.

    "critical": {"minutes": 60, "tell": ["ward desk"], "escalate": ["head of radiology"]}

`tell` and `escalate` are destinations of the kinds mail and webhook, as alerts name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.entries import Entry, Fields, Section, list_entries, put_entry, read_entries, remove_entry
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.db.pool import Pool

MINUTES_MAX: Final = 30 * 24 * 60
NAMES_MAX: Final = 20
CRITICAL: Final = "critical"
"""The level of what a RIS calls critical without saying more."""


@dataclass(frozen=True, slots=True)
class Level:
    """A level. `entry` None: nobody has made it, it is one of the usual ones."""

    name: str
    minutes: int
    tell: tuple[str, ...] = ()
    escalate: tuple[str, ...] = ()
    entry: Entry | None = None


USUAL: Final = (Level(CRITICAL, 60), Level("urgent", 12 * 60), Level("unexpected", 3 * 24 * 60))
"""Minutes to hours for what threatens life, hours for what needs care soon, days for what must not be forgotten."""


def check_level(_: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a level in their normal form. Raises InvalidRequestError."""
    known = ("minutes", "tell", "escalate")
    if unknown := sorted(set(map(str, fields)) - set(known)):
        raise InvalidRequestError(
            told("A level has no field {field}. It has: {known}.", field=unknown[0][:40], known=", ".join(known))
        )
    minutes = fields.get("minutes", 60)
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= MINUTES_MAX:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field="minutes", least=1, most=MINUTES_MAX)
        )
    return {"minutes": minutes, "tell": _names(fields, "tell"), "escalate": _names(fields, "escalate")}


LEVELS: Final = Section(
    "critical_levels",
    "level of critical findings",
    check_level,
    may_read=Permission.STUDY_VIEW,
    may_manage=Permission.ROUTING_MANAGE,
)


async def list_levels(archive: Archive) -> list[Level]:
    """The levels in force, the most pressing first. Raises NotAllowedError, DatabaseError."""
    return _together(await list_entries(archive.pool, LEVELS))


async def put_level(
    archive: Archive, name: str, fields: Mapping[str, Any], *, enabled: bool = True, version: int | None = None
) -> Entry:
    """Add a level or change it; whom it names must be there.

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    checked = check_level(name, fields)
    await _require_destinations(archive, [*checked["tell"], *checked["escalate"]])
    return await put_entry(archive.pool, archive.settings, LEVELS, name, checked, enabled=enabled, version=version)


async def remove_level(archive: Archive, name: str) -> None:
    """Remove it; findings that have it keep their time. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, LEVELS, name)


async def notice_names(archive: Archive) -> list[str]:
    """Destinations that notices can go to, by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_MANAGE)
    return sorted(await _notice_names(archive))


async def read_levels(pool: Pool) -> dict[str, Level]:
    """By name, for services that have asked. Raises DatabaseError."""
    return {one.name: one for one in _together(await read_entries(pool, LEVELS))}


# --- helpers ---


def _together(entries: list[Entry]) -> list[Level]:
    made = {one.name: one for one in entries}
    found = [
        Level(one.name, one.fields["minutes"], tuple(one.fields["tell"]), tuple(one.fields["escalate"]), one)
        for one in entries
        if one.enabled
    ]
    return sorted([*found, *(one for one in USUAL if one.name not in made)], key=lambda one: (one.minutes, one.name))


def _names(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    if isinstance(values, str):
        values = values.split(",")
    if (
        not isinstance(values, list | tuple)
        or len(values) > NAMES_MAX
        or not all(isinstance(one, str) and one.isprintable() for one in values)
    ):
        raise InvalidRequestError(told("{field} is a list of at most {most} names.", field=name, most=NAMES_MAX))
    return list(dict.fromkeys(one.strip() for one in values if one.strip()))


async def _notice_names(archive: Archive) -> set[str]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT name FROM named_entry WHERE removed_at IS NULL AND section = 'destinations'
                AND fields ->> 'kind' IN ('mail', 'webhook')"""
        )
        return {row[0] for row in await cursor.fetchall()}


async def _require_destinations(archive: Archive, names: list[str]) -> None:
    there = await _notice_names(archive)
    for name in names:
        if name not in there:
            raise InvalidRequestError(
                told("{name} is no destination of the kind mail or webhook, which notices go to.", name=name)
            )
