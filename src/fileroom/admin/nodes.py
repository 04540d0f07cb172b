"""The nodes that an administrator has made known: add, change, remove, list, find. Every change is a version.

Two people who edit the same node at once: the second is shown what the first one did (`EditedMeanwhileError`), and nothing
of either is lost. Who may call is decided by `admin.callers`; what the fields mean stands in `admin.node_fields`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.node_fields import (
    FIELDS,
    LISTS,
    NODES_MAX,
    Difference,
    Node,
    NodeRole,
    checked,
    differences,
    from_fields,
    merged,
    to_fields,
)
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.db.pool import Pool

__all__ = ["Node"]

VERSIONS_KEPT_MAX: Final = 100
"""Of each node: what somebody may have begun to edit and left open."""
AUDIT_CHARS_MAX: Final = 2000
"""Of one change in the audit trail; a list of a hundred networks is cut."""

_COLUMNS: Final = ", ".join(("id", "version", "changed_by", *FIELDS))


class EditedMeanwhileError(ConflictError):
    """Somebody else has changed the node since the edit began; nothing was written.

    `now` is the node as it is, `theirs` what was changed meanwhile, `merged` both changes together (one's own where both
    touched the same field), and `clashes` the fields that both touched.
    """

    def __init__(self, base: Node, now: Node, mine: Node) -> None:
        super().__init__(
            told(
                "{name} was changed by {who} while you were editing it; nothing of yours is written yet. Look at the "
                "differences and save again.",
                name=now.name,
                who=now.changed_by or "somebody",
            )
        )
        self.now = now
        self.theirs = differences(base, now)
        self.merged = dataclasses.replace(merged(base, now, mine), id=now.id, version=now.version)
        touched = {one.field for one in differences(base, mine)}
        self.clashes = tuple(
            one for one in differences(now, mine) if one.field in touched & {other.field for other in self.theirs}
        )


@dataclass(frozen=True, slots=True)
class NodeVersion:
    """One version of a node: who made it, when (ISO 8601), and what it changed; nothing of the first."""

    version: int
    changed_at: str
    changed_by: str
    changes: tuple[Difference, ...]


async def add_node(pool: Pool, node: Node) -> Node:
    """Add a node. Raises InvalidRequestError, ConflictError when its name or AE title is taken, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    new = checked(node)
    async with pool.connection() as connection, connection.transaction():
        return await insert_node(connection, new)


async def change_node(pool: Pool, name: str, node: Node) -> Node:
    """Make the node called `name` what `node` says; `node.version` is the version that the edit began with.

    Raises EditedMeanwhileError, InvalidRequestError, ConflictError when the new name or AE title is taken, NotFoundError,
    NotAllowedError.
    """
    require(Permission.NODE_MANAGE)
    new = checked(node)
    async with pool.connection() as connection, connection.transaction():
        return await update_node(connection, name, new)


async def set_enabled(pool: Pool, name: str, *, enabled: bool) -> Node:
    """Let a node take part, or no more. Raises NotFoundError, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    async with pool.connection() as connection, connection.transaction():
        now = await lock_node(connection, name)
        return await update_node(connection, name, dataclasses.replace(now, enabled=enabled))


async def remove_node(pool: Pool, name: str) -> None:
    """Remove a node. Raises NotFoundError, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    async with pool.connection() as connection, connection.transaction():
        node = await lock_node(connection, name)
        await connection.execute(b"DELETE FROM node WHERE id = %s", (node.id,))
        was = "; ".join(f"{one.field}: {one.before}" for one in differences(node, _BLANK) if one.before)
        await record(connection, node_changed(name, f"Removed. It was {was}"[:AUDIT_CHARS_MAX]))


async def list_nodes(pool: Pool) -> list[Node]:
    """All nodes by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.NODE_READ)
    return await read_nodes(pool)


async def find_node(pool: Pool, *, aet: str | None = None, name: str | None = None) -> Node | None:
    """The node with an AE title or a name, None if there is none. Raises NotAllowedError, DatabaseError."""
    require(Permission.NODE_READ)
    return await read_node(pool, aet=aet, name=name)


async def get_node(pool: Pool, name: str) -> Node:
    """The node with a name. Raises NotFoundError, NotAllowedError, DatabaseError."""
    found = await find_node(pool, name=name)
    if found is None:
        raise _unknown(name)
    return found


async def list_versions(pool: Pool, name: str) -> list[NodeVersion]:
    """What was done to a node, the latest first. Raises NotFoundError, NotAllowedError."""
    node = await get_node(pool, name)
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT version, to_char(changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), changed_by, fields
                FROM node_version WHERE node_id = %s ORDER BY version""",
            (node.id,),
        )
        rows = await cursor.fetchall()
    found: list[NodeVersion] = []
    before: Node | None = None
    for version, changed_at, changed_by, fields in rows:
        after = from_fields(fields)
        found.append(NodeVersion(version, changed_at, changed_by, differences(before, after) if before else ()))
        before = after
    return found[::-1]


async def find_destination(pool: Pool, aet: str) -> Node | None:
    """The node that copies shall be sent to, None if there is none that may be. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_EXPORT)
    node = await read_node(pool, aet=aet)
    return node if node is not None and node.enabled and node.may(NodeRole.DESTINATION) else None


async def list_destinations(pool: Pool) -> list[Node]:
    """Nodes that studies may be sent to, by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_EXPORT)
    return [node for node in await read_nodes(pool) if node.enabled and node.may(NodeRole.DESTINATION)]


# --- rows, for services that have asked ---


async def read_nodes(pool: Pool) -> list[Node]:
    """All nodes by name. Raises DatabaseError."""
    return await _select(pool, f"SELECT {_COLUMNS} FROM node ORDER BY name LIMIT {NODES_MAX}", ())  # noqa: S608


async def read_node(pool: Pool, *, aet: str | None = None, name: str | None = None) -> Node | None:
    """The node with an AE title or a name. Raises DatabaseError."""
    found = await _select(pool, f"SELECT {_COLUMNS} FROM node WHERE aet = %s OR name = %s", (aet, name))  # noqa: S608
    return found[0] if found else None


async def insert_node(connection: AsyncConnection[Any], node: Node) -> Node:
    """A checked node as a row, its first version and its audit event. Raises ConflictError."""
    who = current_access().name
    columns = ", ".join((*FIELDS, "changed_by"))
    places = ", ".join(["%s"] * (len(FIELDS) + 1))
    await _require_room(connection)
    try:
        async with connection.transaction():
            cursor = await connection.execute(
                f"INSERT INTO node ({columns}) VALUES ({places}) RETURNING id".encode(),  # noqa: S608
                (*_values(node), who),
            )
            row = await cursor.fetchone()
    except psycopg.errors.UniqueViolation as error:
        raise _taken(node) from error
    added = dataclasses.replace(node, id=row[0] if row else 0, version=1, changed_by=who)
    await _keep_version(connection, added)
    await connection.execute(b"DELETE FROM held_caller WHERE aet = %s", (added.aet,))
    told_fields = "; ".join(f"{one.field}: {one.after}" for one in differences(_BLANK, added))
    await record(connection, node_changed(added.name, f"Added: {told_fields}"[:AUDIT_CHARS_MAX]))
    return added


async def update_node(connection: AsyncConnection[Any], name: str, node: Node) -> Node:
    """A checked node in place of the row called `name`. Raises EditedMeanwhileError, ConflictError, NotFoundError."""
    now = await lock_node(connection, name)
    if node.version != now.version:
        raise EditedMeanwhileError(await _read_version(connection, now, node.version), now, node)
    changes = differences(now, node)
    if not changes:
        return now
    who = current_access().name
    columns = ", ".join(f"{field} = %s" for field in FIELDS)
    try:
        async with connection.transaction():
            await connection.execute(
                f"UPDATE node SET {columns}, version = version + 1, changed_at = now(), changed_by = %s "  # noqa: S608
                "WHERE id = %s".encode(),
                (*_values(node), who, now.id),
            )
    except psycopg.errors.UniqueViolation as error:
        raise _taken(node) from error
    changed = dataclasses.replace(node, id=now.id, version=now.version + 1, changed_by=who)
    await _keep_version(connection, changed)
    await record(connection, node_changed(now.name, f"Changed: {'; '.join(map(str, changes))}"[:AUDIT_CHARS_MAX]))
    return changed


async def lock_node(connection: AsyncConnection[Any], name: str) -> Node:
    """The node, which nobody else changes until the transaction ends. Raises NotFoundError."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(f"SELECT {_COLUMNS} FROM node WHERE name = %s FOR UPDATE".encode(), (name,))  # noqa: S608
        row = await cursor.fetchone()
    if row is None:
        raise _unknown(name)
    return _node(row)


# --- helpers ---

_BLANK: Final = Node("", "", "", 0)


async def _select(pool: Pool, statement: str, parameters: Sequence[object]) -> list[Node]:
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return [_node(row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The nodes cannot be read: {type(error).__name__}. Try again later.") from error


def _node(row: dict[str, Any]) -> Node:
    lists: dict[str, Any] = {name: tuple(row[name]) for name in LISTS}
    return Node(**row | lists)


def _values(node: Node) -> list[object]:
    return [
        list(map(str, value)) if isinstance(value, tuple) else value for value in (getattr(node, f) for f in FIELDS)
    ]


async def _keep_version(connection: AsyncConnection[Any], node: Node) -> None:
    await connection.execute(
        b"INSERT INTO node_version (node_id, version, fields, changed_by) VALUES (%s, %s, %s, %s)",
        (node.id, node.version, orjson.dumps(to_fields(node)).decode(), node.changed_by),
    )
    await connection.execute(
        b"DELETE FROM node_version WHERE node_id = %s AND version <= %s", (node.id, node.version - VERSIONS_KEPT_MAX)
    )


async def _read_version(connection: AsyncConnection[Any], now: Node, version: int) -> Node:
    """What the edit began with; where that is forgotten, everything counts as one's own change."""
    cursor = await connection.execute(
        b"SELECT fields FROM node_version WHERE node_id = %s AND version = %s", (now.id, version)
    )
    row = await cursor.fetchone()
    return from_fields(row[0]) if row is not None else now


async def _require_room(connection: AsyncConnection[Any]) -> None:
    cursor = await connection.execute(b"SELECT count(*) FROM node")
    row = await cursor.fetchone()
    if row is not None and row[0] >= NODES_MAX:
        raise InvalidRequestError(told("There are {most} nodes already; remove some first.", most=NODES_MAX))


def _taken(node: Node) -> ConflictError:
    return ConflictError(
        told(
            "There is a node named {name} or with AE title {aet} already; see 'fileroom node list'.",
            name=node.name,
            aet=node.aet,
        )
    )


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(told("There is no node named {name}; see 'fileroom node list'.", name=name))
