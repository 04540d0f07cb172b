"""Roles: what somebody may do, as a set of permissions, and whose studies. Built-in ones stand here, own ones in the database.

Nobody can give a right that they do not have themselves: see `require_may_give`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Json

from fileroom.admin.audit import record
from fileroom.admin.audit_events import role_changed
from fileroom.admin.people import People
from fileroom.admin.people_versions import (
    EditedMeanwhileError,
    Fields,
    fields_of_rows,
    forget_versions,
    keep_version,
    read_version,
)
from fileroom.admin.row_scopes import is_within, row_scope_from_json, row_scope_to_json
from fileroom.core.access import EVERYTHING, Access, Permission, RowScope, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError, told
from fileroom.core.limits import TEXT_CHARS_MAX

ADMINISTRATOR: Final = "administrator"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Role:
    """A set of permissions with a name, restricted to the studies of `rows`."""

    name: str
    permissions: frozenset[Permission]
    rows: RowScope = EVERYTHING
    description: str = ""
    built_in: bool = False
    version: int = field(default=1, compare=False)
    """Counts the changes; no part of what the role is."""
    changed_by: str = field(default="", compare=False)


def _built_in(name: str, description: str, *permissions: Permission) -> Role:
    return Role(name, frozenset(permissions), EVERYTHING, description, True)


_READ: Final = (Permission.STUDY_SEARCH, Permission.STUDY_VIEW)

BUILT_IN: Final[dict[str, Role]] = {
    role.name: role
    for role in (
        _built_in(ADMINISTRATOR, told("Everything, people and settings too."), *Permission),
        _built_in(
            "radiologist",
            told("Reads, reports and signs, exports and stores; may break the glass."),
            *_READ,
            Permission.STUDY_EXPORT,
            Permission.STUDY_STORE,
            Permission.STUDY_BREAK_GLASS,
            Permission.ORDER_READ,
            Permission.REPORT_WRITE,
            Permission.REPORT_SIGN,
            Permission.NODE_READ,
        ),
        _built_in(
            "physician",
            told("Reads; may break the glass where a row scope hides a patient."),
            *_READ,
            Permission.STUDY_BREAK_GLASS,
        ),
        _built_in(
            "technologist",
            told("Brings images in, corrects them, sends them, sees what arrived."),
            *_READ,
            Permission.STUDY_EXPORT,
            Permission.STUDY_STORE,
            Permission.STUDY_CORRECT,
            Permission.ORDER_READ,
            Permission.ORDER_MANAGE,
            Permission.NODE_READ,
            Permission.LEDGER_READ,
        ),
        _built_in("researcher", told("Finds, reads and exports."), *_READ, Permission.STUDY_EXPORT),
        _built_in(
            "auditor",
            told("Sees who did what and how the system is set up, no images."),
            Permission.AUDIT_READ,
            Permission.LEDGER_READ,
            Permission.NODE_READ,
            Permission.ROUTING_READ,
            Permission.SETTINGS_READ,
            Permission.SYSTEM_READ,
        ),
        _built_in(
            "interface analyst",
            told("Sees every HL7 message and its effect, mends and repeats it; no images."),
            Permission.MESSAGE_READ,
            Permission.MESSAGE_MANAGE,
            Permission.ORDER_READ,
            Permission.SYSTEM_READ,
        ),
        _built_in("edge", told("A Fileroom that dials in over the edge link; for no person."), Permission.EDGE_LINK),
    )
}


async def list_roles(people: People) -> list[Role]:
    """Built-in roles, then own ones by name."""
    require(Permission.USER_MANAGE)
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT name, permissions, row_scope, description, version, changed_by FROM role ORDER BY name"
        )
        return [*BUILT_IN.values(), *map(_role_of, await cursor.fetchall())]


async def add_role(people: People, role: Role) -> None:
    """Make a role. Raises InvalidRequestError, ConflictError, NotAllowedError for rights that one does not have."""
    new = _checked(role)
    try:
        async with people.pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"INSERT INTO role (permissions, row_scope, description, name) VALUES (%s, %s, %s, %s)", _values(new)
            )
            await record(connection, role_changed(new.name, _in_words(new)))
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(told("There is a role {name} already.", name=role.name)) from error


async def change_role(people: People, role: Role, *, version: int | None = None) -> None:
    """Give a role of one's own other permissions or studies; they hold within seconds.

    `version` is the one that the edit began with; None: whatever it is now. Raises EditedMeanwhileError, and as `add_role`
    and `find_role` do.
    """
    access = require(Permission.USER_MANAGE)
    current = await find_role(people, role.name)
    require_may_give(access, current)
    new = _checked(role)
    seen = current.version if version is None else version
    async with people.pool.connection() as connection, connection.transaction():
        now = await _lock_role(connection, role.name)
        subject, fields = _subject(now.name), _fields(now)
        if now.version != seen:
            base = await read_version(connection, subject, seen, fields)
            raise EditedMeanwhileError(now.name, now.changed_by, now.version, base=base, now=fields, mine=_fields(new))
        if new != now:
            await keep_version(connection, subject, now.version, fields)
            await connection.execute(
                b"""UPDATE role SET permissions = %s, row_scope = %s, description = %s,
                        version = version + 1, changed_by = %s WHERE name = %s""",
                (*_values(new)[:-1], access.name, now.name),
            )
        await record(connection, role_changed(new.name, _in_words(new)))


async def remove_role(people: People, name: str) -> None:
    """Remove a role that nobody has. Raises NotFoundError, ConflictError."""
    access = require(Permission.USER_MANAGE)
    if name in BUILT_IN:
        raise ConflictError(told("The role {name} is built in and stays.", name=name))
    require_may_give(access, await find_role(people, name))
    async with people.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""DELETE FROM role WHERE name = %(name)s
                AND NOT EXISTS (SELECT FROM account WHERE role = %(name)s)
                AND NOT EXISTS (SELECT FROM api_token WHERE role = %(name)s)
                RETURNING name""",
            {"name": name},
        )
        if await cursor.fetchone() is None:
            raise ConflictError(
                told("The role {name} is still given to accounts or tokens; give them another one first.", name=name)
            )
        await forget_versions(connection, _subject(name))
        await record(connection, role_changed(name, "Removed"))


async def find_role(people: People, name: str) -> Role:
    """A role by its name. Raises NotFoundError that names those there are."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT name, permissions, row_scope, description, version, changed_by FROM role WHERE name = %s",
            (name.replace("\0", ""),),
        )
        row = await cursor.fetchone()
    if row is None:
        raise _unknown(name)
    return _role_of(row)


def require_may_give(access: Access, role: Role) -> None:
    """Raises NotAllowedError where a role allows or shows more than one may and sees oneself."""
    if missing := role.permissions - access.permissions:
        raise NotAllowedError(
            told(
                "The role {name} allows {names}, which {who} may not do; nobody can give rights that they do not have.",
                name=role.name,
                names=", ".join(sorted(missing)),
                who=access.name,
            )
        )
    if not is_within(role.rows, access.rows):
        raise NotAllowedError(
            told("The role {name} shows studies that {who} does not see.", name=role.name, who=access.name)
        )


def permissions_from_names(names: Iterable[str]) -> frozenset[Permission]:
    """Raises InvalidRequestError that names what there is."""
    found = set()
    for name in names:
        try:
            found.add(Permission(name))
        except ValueError:
            raise InvalidRequestError(
                told(
                    "There is no permission {name}. There are {names}.",
                    name=f"{name!r:.60}",
                    names=", ".join(Permission),
                )
            ) from None
    return frozenset(found)


def stored_permissions(names: Iterable[str] | None) -> frozenset[Permission]:
    """Permissions of a row; one that this version does not know any more allows nothing."""
    known = set(Permission)
    return frozenset(Permission(name) for name in names or () if name in known)


def _checked(role: Role) -> Role:
    """A role that whoever acts may make."""
    require_may_give(require(Permission.USER_MANAGE), role)
    if role.name in BUILT_IN:
        raise ConflictError(
            told("The role {name} is built in and stays as it is; make one with another name.", name=role.name)
        )
    if not _NAME.fullmatch(role.name):
        raise InvalidRequestError(
            told("The name of a role has lower-case letters, digits, - and _, for example ct-desk.")
        )
    if not role.permissions:
        raise InvalidRequestError(told("A role needs at least one permission."))
    if len(role.description) > TEXT_CHARS_MAX or "\0" in role.description:
        raise InvalidRequestError(told("The description of the role is too long or holds a null character."))
    return replace(role, rows=row_scope_from_json(row_scope_to_json(role.rows)))


async def _lock_role(connection: AsyncConnection[Any], name: str) -> Role:
    """The role, which nobody else changes until the transaction ends."""
    cursor = await connection.execute(
        b"SELECT name, permissions, row_scope, description, version, changed_by FROM role WHERE name = %s FOR UPDATE",
        (name,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise _unknown(name)
    return _role_of(row)


def _values(role: Role) -> tuple[list[str], Json, str, str]:
    return (sorted(role.permissions), Json(row_scope_to_json(role.rows)), role.description, role.name)


def _fields(role: Role) -> Fields:
    """What administrators edit; each permission is a field, so that two of them can be given at the same time."""
    marks: Fields = {may.value: may in role.permissions for may in Permission}
    return {"description": role.description} | marks | fields_of_rows(role.rows)


def _subject(name: str) -> str:
    return f"role {name}"


def _in_words(role: Role) -> str:
    return f"Now allows {', '.join(sorted(role.permissions))}"


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        told("There is no role {name}. Built in are {names}.", name=f"{name!r:.60}", names=", ".join(BUILT_IN))
    )


def _role_of(row: TupleRow | tuple[Any, ...]) -> Role:
    name, permissions, rows, description, version, changed_by = row
    return Role(
        name,
        stored_permissions(permissions),
        row_scope_from_json(rows),
        description,
        version=version,
        changed_by=changed_by,
    )
