"""The sections of the configuration: what a version and a file may hold. Each room that has more adds a section of its own.

Settings are the section whose values live in the versions themselves (`admin.configuration` knows them). The entries of any
other section live in tables of their own, with services that check, write and audit them: its section says how to read all of
them, how to check one, and how to make a change by those services.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.configuration_changes import Change
from fileroom.admin.people import People
from fileroom.admin.roles import Role, add_role, change_role, list_roles, permissions_from_names, remove_role
from fileroom.admin.row_scopes import row_scope_from_json, row_scope_to_json
from fileroom.core.errors import InvalidRequestError
from fileroom.core.live_settings import Problem

ENTRIES_MAX: Final = 10_000
"""Of one section."""


@dataclass(frozen=True, slots=True)
class ConfigurationSection:
    """A section whose entries live elsewhere. The functions ask for permissions themselves (NotAllowedError)."""

    name: str
    read: Callable[[People], Awaitable[Mapping[str, Any]]]
    """All entries by name, as JSON has them."""
    check: Callable[[str, Any], Any]
    """An entry as it will be read again. Raises InvalidRequestError. Reads no table."""
    apply: Callable[[People, Change], Awaitable[None]]
    """Make one change. It takes part in the transaction of `People.pool`."""
    missing: Callable[[People], Awaitable[Sequence[Problem]]] | None = None
    """What entries of its room name and is not there. It is asked before a document is applied and when all of it is written:
    what has come to be missing by that is refused, whatever the order in which a file names things."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the services of `admin.configuration` stand on."""

    people: People
    sections: Sequence[ConfigurationSection]


# --- roles ---


async def _read_roles(people: People) -> dict[str, Any]:
    return {role.name: _role_to_json(role) for role in await list_roles(people) if not role.built_in}


def _check_role(name: str, value: Any) -> dict[str, Any]:
    return _role_to_json(_role_of(name, value))


async def _apply_role(people: People, change: Change) -> None:
    if change.new is None:
        await remove_role(people, change.name)
    elif change.old is None:
        await add_role(people, _role_of(change.name, change.new))
    else:
        await change_role(people, _role_of(change.name, change.new))


def _role_of(name: str, value: Any) -> Role:
    if not isinstance(value, Mapping):
        raise InvalidRequestError('a role is a table such as {permissions = ["study.search"]}')
    if unknown := set(value) - {"description", "permissions", "rows"}:
        raise InvalidRequestError(f"a role has no {min(unknown)!r:.60}; it has description, permissions and rows")
    names, description = value.get("permissions", ()), value.get("description", "")
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise InvalidRequestError("permissions is a list of names")
    if not isinstance(description, str):
        raise InvalidRequestError("description is a text")
    return Role(name, permissions_from_names(names), row_scope_from_json(value.get("rows", {})), description)


def _role_to_json(role: Role) -> dict[str, Any]:
    told: dict[str, Any] = {"description": role.description, "permissions": sorted(role.permissions)}
    return {**told, "rows": row_scope_to_json(role.rows)} if not role.rows.is_everything else told


ROLES: Final = ConfigurationSection("roles", _read_roles, _check_role, _apply_role)

SECTIONS: Final = (ROLES,)
"""Those of this room; `app.services` adds those of the rooms above."""
