"""Which group of a directory or OpenID provider gives which role, and whose studies: the settings `ldap_roles`, `oidc_roles`.

    {"PACS Admins": "administrator", "cn=ct,ou=groups,dc=hospital": {"role": "technologist", "modalities": ["CT"]}}

An account has one role (docs/adr/0016-people.md), so the order decides: the first group that somebody is in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from fileroom.admin.row_scopes import row_scope_from_json
from fileroom.core.access import EVERYTHING, RowScope
from fileroom.core.errors import ConfigurationError, InvalidRequestError


@dataclass(frozen=True, slots=True)
class GroupRole:
    """Who is in `group` gets `role`, for the studies of `rows`."""

    group: str
    role: str
    rows: RowScope = EVERYTHING


def group_roles_of(setting: str, name: str) -> tuple[GroupRole, ...]:
    """The mapping in its order. `name` is the setting's. Raises ConfigurationError."""
    try:
        value = json.loads(setting or "{}")
        if not isinstance(value, dict):
            raise InvalidRequestError("It is a JSON object of groups.")
        return tuple(_group_role(group, given) for group, given in value.items())
    except (ValueError, InvalidRequestError) as error:
        raise ConfigurationError(f"FILEROOM_{name.upper()} cannot be understood: {error}") from error


def choose_group_role(mapping: Iterable[GroupRole], groups: Iterable[str]) -> GroupRole | None:
    """The first of the mapping whose group is among `groups`; None: no group of theirs gives a role."""
    theirs = {folded_group(group) for group in groups}
    return next((one for one in mapping if folded_group(one.group) in theirs), None)


def folded_group(group: str) -> str:
    """A group's name or DN as it is compared: without regard to case, and to blanks around the parts of a DN."""
    return ",".join("=".join(half.strip() for half in part.split("=")) for part in group.casefold().split(",")).strip()


def _group_role(group: str, given: object) -> GroupRole:
    if isinstance(given, str):
        role, rows = given, EVERYTHING
    elif isinstance(given, dict) and isinstance(given.get("role"), str):
        role, rows = given["role"], row_scope_from_json({key: value for key, value in given.items() if key != "role"})
    else:
        raise InvalidRequestError(f'{group!r:.80} is given a role, or {{"role": ..., "modalities": [...]}}.')
    if not group.strip() or not role.strip():
        raise InvalidRequestError("A group and a role each have a name.")
    return GroupRole(group, role, rows)
