"""The rules that an administrator has made: list, add, change, enable, remove, restore a version, check a condition.

The page, the API and the command line call these functions. A rule that is wrong in any way is refused, and the version that
is in force stays in force.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from fileroom.admin.configuration_sections import ConfigurationSection
from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    configuration_section,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    remove_entry,
    set_entry_enabled,
)
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.core.live_settings import Problem
from fileroom.db.pool import Pool
from fileroom.routing.conditions import Condition, compile_condition
from fileroom.routing.references import missing_names
from fileroom.routing.rule_fields import RULES, check_rule, destinations_of


async def list_rules(archive: Archive) -> list[Entry]:
    """All rules in the order in which they are asked. Raises NotAllowedError, DatabaseError."""
    return sorted(await list_entries(archive.pool, RULES), key=lambda one: (one.fields.get("priority", 0), one.name))


async def get_rule(archive: Archive, name: str) -> Entry:
    """One rule. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, RULES, name)


async def put_rule(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a rule, or change it, as `entries.put_entry` does. Its destinations and its treatment must be there.

    Raises InvalidRequestError (ExpressionError with the place where the condition is wrong), ConflictError
    (EditedMeanwhileError), NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    checked = check_rule(name, fields)
    await _require_named(archive.pool, checked)
    return await put_entry(
        archive.pool, archive.settings, RULES, name, checked, enabled=enabled, version=version, new=new
    )


async def set_rule_enabled(archive: Archive, name: str, *, enabled: bool) -> Entry:
    """Let a rule take part, or no more. One that has become wrong cannot be enabled.

    Raises InvalidRequestError, NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    if enabled:
        await _require_named(archive.pool, check_rule(name, (await get_rule(archive, name)).fields))
    return await set_entry_enabled(archive.pool, archive.settings, RULES, name, enabled=enabled)


async def remove_rule(archive: Archive, name: str) -> None:
    """Remove a rule; deliveries that it has planned stay. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, RULES, name)


async def rule_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What a rule was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, RULES, name)


async def restore_rule(archive: Archive, name: str, version: int) -> Entry:
    """Make a rule what it was; that is a new version. Raises NotFoundError, InvalidRequestError, NotAllowedError."""
    require(Permission.ROUTING_MANAGE)
    for one in await rule_versions(archive, name):
        if one.version == version:
            return await put_rule(archive, name, one.fields, enabled=one.enabled, new=False)
    raise NotFoundError(told("There is no version {version} of the rule {name}.", version=version, name=name))


async def move_rule(archive: Archive, name: str, *, earlier: bool) -> None:
    """Let a rule be asked before the one that was asked before it, or after the next one.

    Raises NotFoundError, NotAllowedError, ConflictError, DatabaseError.
    """
    require(Permission.ROUTING_MANAGE)
    ordered = await list_rules(archive)
    place = next((number for number, one in enumerate(ordered) if one.name == name), None)
    if place is None:
        raise NotFoundError(told("There is no {word} {name}.", word=RULES.word, name=name))
    other = place + (-1 if earlier else 1)
    if not 0 <= other < len(ordered):
        return
    ordered[place], ordered[other] = ordered[other], ordered[place]
    priority = -1
    for one in ordered:  # only as many priorities change as must
        now = int(one.fields["priority"])
        priority = now if now > priority else priority + 10
        if priority != now:
            await put_rule(
                archive, one.name, {**one.fields, "priority": priority}, enabled=one.enabled, version=one.version
            )


def check_condition(when: str | Mapping[str, Any]) -> Condition:
    """Whether a condition could be that of a rule. Raises ExpressionError, NotAllowedError."""
    require(Permission.ROUTING_READ)
    return compile_condition(when)


def rules_section() -> ConfigurationSection:
    """Rules in versions and files of the configuration; with the check of all names that entries of routing give."""

    async def missing(people: People) -> Sequence[Problem]:
        return await missing_names(people.pool)

    return dataclasses.replace(configuration_section(RULES), missing=missing)


async def _require_named(pool: Pool, fields: Mapping[str, Any]) -> None:
    """What a rule names is there. Raises InvalidRequestError, DatabaseError."""
    wanted = [("destinations", "destination", name) for name in destinations_of(fields)]
    if fields["treatment"]:
        wanted.append(("treatments", "treatment", fields["treatment"]))
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                b"SELECT section, name FROM named_entry WHERE removed_at IS NULL AND name = ANY(%s)",
                ([name for _, _, name in wanted],),
            )
            there = set(await cursor.fetchall())
    except psycopg.Error as error:
        raise DatabaseError(f"The rule cannot be checked: {type(error).__name__}. Try again later.") from error
    for section, word, name in wanted:
        if (section, name) not in there:
            raise InvalidRequestError(told("There is no {word} {name}. Add it first.", word=word, name=name))
