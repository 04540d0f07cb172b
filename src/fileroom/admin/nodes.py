"""Nodes: the systems that Fileroom talks to, by name and AE title; and the callers that nobody has approved yet."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.core.access import Access, ActorKind, Permission, require
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError, NotFoundError
from fileroom.core.identifiers import AETitle
from fileroom.db.pool import Pool
from fileroom.dicom.charset import clean

HELD_CALLERS_MAX: Final = 1000
"""The latest ones are enough to approve from; a flood of invented titles must not fill the database."""
HOST_CHARS_MAX: Final = 255
"""RFC 1035 2.3.4."""
NODE_PERMISSIONS: Final = frozenset(
    {Permission.STUDY_STORE, Permission.STUDY_SEARCH, Permission.STUDY_VIEW, Permission.STUDY_EXPORT}
)
"""What a node may do that may open an association: send, ask for commitment, query, retrieve, have sent elsewhere."""

AccessOf = Callable[[str, str], Access]
"""Who acts on an association, from its calling AE title and address."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Node:
    """A peer: `name` is for people, `aet`, `host` and `port` are for the network."""

    name: str
    aet: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HeldCaller:
    """A caller that was turned away: AE title, address, how often, and when last (ISO 8601)."""

    aet: str
    host: str
    calls: int
    last_at: str


async def add_node(pool: Pool, node: Node) -> None:
    """Add a node. Raises InvalidRequestError, ConflictError when its name or AE title is taken, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    if not node.name.strip() or not node.name.isprintable():
        raise InvalidRequestError("A node needs a name, for example CT1.")
    if not node.host.isprintable() or len(node.host.split()) != 1 or len(node.host) > HOST_CHARS_MAX:
        raise InvalidRequestError(f"{node.host!r:.50} is no host name or address, for example 10.1.2.3.")
    if not 1 <= node.port <= 65535:
        raise InvalidRequestError(f"Port {node.port} does not exist; it must be between 1 and 65535.")
    aet = str(AETitle(node.aet))
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"INSERT INTO node (name, aet, host, port) VALUES (%s, %s, %s, %s)",
                (node.name.strip(), aet, node.host, node.port),
            )
            await connection.execute(b"DELETE FROM held_caller WHERE aet = %s", (aet,))
            await record(connection, node_changed(node.name, f"Added: {aet} at {node.host}:{node.port}"))
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(
            f"There is a node named {node.name} or with AE title {aet} already; see 'fileroom node list'."
        ) from error


async def remove_node(pool: Pool, name: str) -> None:
    """Remove a node. Raises NotFoundError, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    async with pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"DELETE FROM node WHERE name = %s", (name,))
        if cursor.rowcount:
            await record(connection, node_changed(name, "Removed"))
    if cursor.rowcount == 0:
        raise NotFoundError(f"There is no node named {name}; see 'fileroom node list'.")


async def list_nodes(pool: Pool) -> list[Node]:
    """All nodes by name. Raises NotAllowedError."""
    require(Permission.NODE_READ)
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Node)) as cursor:
        await cursor.execute(b"SELECT name, aet, host, port FROM node ORDER BY name")
        return await cursor.fetchall()


async def find_node(pool: Pool, *, aet: str | None = None, name: str | None = None) -> Node | None:
    """The node with an AE title or a name, None if there is none. Raises NotAllowedError, DatabaseError."""
    require(Permission.NODE_READ)
    return await _find(pool, aet, name)


async def find_destination(pool: Pool, aet: str) -> Node | None:
    """The node that copies shall be sent to, None if there is none. Raises NotAllowedError, DatabaseError."""
    require(Permission.STUDY_EXPORT)
    return await _find(pool, aet, None)


async def _find(pool: Pool, aet: str | None, name: str | None) -> Node | None:
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=class_row(Node)) as cursor:
            await cursor.execute(b"SELECT name, aet, host, port FROM node WHERE aet = %s OR name = %s", (aet, name))
            return await cursor.fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"The nodes cannot be read: {type(error).__name__}. Try again later.") from error


async def may_call(pool: Pool, aet: str, host: str) -> bool:
    """Whether a caller may open an association: from this machine always, from elsewhere when a node says so.

    A caller that may not is noted, so that an administrator can approve it. Who acts is only known after this.
    """
    address = _plain_address(host)
    if address.is_loopback:
        return True
    title = clean(aet)
    node = await _find(pool, title, None)
    if node is not None and address in await _addresses(node.host):
        return True
    async with pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO held_caller (aet, host) VALUES (%s, %s)
                ON CONFLICT (aet, host) DO UPDATE SET calls = held_caller.calls + 1, last_at = now()""",
            (title, str(address)),
        )
        await connection.execute(
            b"""DELETE FROM held_caller WHERE (aet, host) IN
                (SELECT aet, host FROM held_caller ORDER BY last_at DESC OFFSET %s)""",
            (HELD_CALLERS_MAX,),
        )
    return False


def node_access(aet: str, host: str) -> Access:
    """The access of a caller that `may_call` let in."""
    return Access(ActorKind.NODE, f"{aet}@{host}", NODE_PERMISSIONS, address=host)


async def list_held_callers(pool: Pool) -> list[HeldCaller]:
    """Callers waiting for approval, the latest first. Raises NotAllowedError."""
    require(Permission.NODE_READ)
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(HeldCaller)) as cursor:
        await cursor.execute(
            b"""SELECT aet, host, calls, to_char(last_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS last_at
                FROM held_caller ORDER BY held_caller.last_at DESC LIMIT %s""",
            (HELD_CALLERS_MAX,),
        )
        return await cursor.fetchall()


async def _addresses(host: str) -> set[_Address]:
    """The addresses of a host name; the name itself when it is an address, nothing when it is not known."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return set()
    return {_plain_address(str(entry[4][0])) for entry in found}


def _plain_address(host: str) -> _Address:
    """An IPv4 caller on a socket for both kinds of IP comes as ::ffff:10.1.2.3."""
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address
