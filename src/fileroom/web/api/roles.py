"""`/roles`: sets of permissions, built in or one's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response
from pydantic import Field

from fileroom.admin import roles
from fileroom.admin.row_scopes import row_scope_to_json
from fileroom.core.access import Permission, require
from fileroom.web.api.models import Asked, NameInPath, Rows, Shown, Text
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, cut, next_address
from fileroom.web.api.versions import IfMatch, require_unchanged, tag

_NAME = r"^[a-z][a-z0-9_-]{0,39}$"
OwnRoleInPath = Annotated[str, Path(pattern=_NAME)]


class ShownRole(Shown):
    """What somebody with it may do, and whose studies they see."""

    name: str
    permissions: list[str]
    rows: Rows
    description: str
    built_in: bool
    version: Annotated[int, Field(description="Counts its changes.")]


class RolePage(Page[ShownRole]):
    """Roles."""


class AskedRole(Asked):
    """What a role allows."""

    permissions: Annotated[list[Permission], Field(min_length=1, max_length=100)]
    rows: Rows = Rows()
    description: Text = ""


class NewRole(AskedRole):
    """A role of one's own."""

    name: Annotated[str, Field(strict=True, pattern=_NAME, examples=["ct-desk"])]


def add_roles(api: Api) -> None:
    """The operations."""
    people = api.people
    resource = api.resource("roles", "Roles: sets of permissions, and whose studies they show.")

    @resource.get("/roles", "all", Permission.USER_MANAGE)
    async def all_roles(request: Request, limit: Limit = 100, cursor: Cursor = "") -> RolePage:
        """Built-in roles and own ones, by name."""
        found, behind = cut(await roles.list_roles(people), lambda role: role.name, cursor, limit)
        return RolePage(items=[_shown(role) for role in found], next=next_address(request, behind))

    @resource.add("/roles", "add", Permission.USER_MANAGE)
    async def add_role(asked: NewRole, response: Response) -> ShownRole:
        """Make a role. Nobody can give rights that they do not have."""
        role = _role(asked.name, asked)
        await roles.add_role(people, role)
        return await _tagged(asked.name, response)

    @resource.get("/roles/{role}", "get", Permission.USER_MANAGE)
    async def get_role(role: NameInPath, response: Response) -> ShownRole:
        """One role."""
        return await _tagged(role, response)

    @resource.put("/roles/{role}", "change", Permission.USER_MANAGE)
    async def change_role(
        role: OwnRoleInPath, asked: AskedRole, response: Response, if_match: IfMatch = None
    ) -> ShownRole:
        """Give a role of one's own other permissions or studies; they hold within seconds."""
        now = await _found(role)
        require_unchanged(if_match, now)
        version = None if if_match is None else now.version
        await roles.change_role(people, _role(role, asked), version=version)
        return await _tagged(role, response)

    @resource.delete("/roles/{role}", "remove", Permission.USER_MANAGE)
    async def remove_role(role: NameInPath, if_match: IfMatch = None) -> None:
        """Remove a role that nobody has."""
        require_unchanged(if_match, await _found(role))
        await roles.remove_role(people, role)

    async def _found(name: str) -> ShownRole:
        require(Permission.USER_MANAGE)
        return _shown(await roles.find_role(people, name))

    async def _tagged(name: str, response: Response) -> ShownRole:
        shown = await _found(name)
        tag(response, shown)
        return shown


def _role(name: str, asked: AskedRole) -> roles.Role:
    return roles.Role(name, frozenset(asked.permissions), asked.rows.scope(), asked.description)


def _shown(role: roles.Role) -> ShownRole:
    return ShownRole(
        name=role.name,
        permissions=sorted(role.permissions),
        rows=Rows(**row_scope_to_json(role.rows)),
        description=role.description,
        built_in=role.built_in,
        version=role.version,
    )
