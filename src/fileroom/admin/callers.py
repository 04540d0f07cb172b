"""Who may open an association: nodes, from where they may call, how many at a time; and the callers that nobody has approved.

A caller from this machine comes in unless a node with its AE title says otherwise: one that is disabled, that may call from
other addresses only, or that must come over TLS. From elsewhere only nodes come in. Nobody acts yet when this is decided.
"""

from __future__ import annotations

import asyncio
import dataclasses
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.ledger_rows import Cause
from fileroom.admin.node_fields import Node, TlsUse, checked
from fileroom.admin.nodes import insert_node, lock_node, read_node, update_node
from fileroom.core.access import Access, ActorKind, Permission, current_access, require
from fileroom.core.errors import DatabaseError, NotFoundError, told
from fileroom.db.pool import Pool
from fileroom.dicom.charset import clean
from fileroom.net.tls import PeerCertificate

HELD_CALLERS_MAX: Final = 1000
"""The latest ones are enough to approve from; a flood of invented titles must not fill the database."""
APPROVED_PORT: Final = 104
"""The port that a caller listens on is not known from its call; this is DICOM's (PS3.8 9.1.1)."""
SLOT_S: Final = 30
"""How long an association counts that nobody renews: those of a worker that was killed."""
PACE_WAIT_S_MAX: Final = 30.0
"""How long the answer to one object is held back at most; senders give up after a minute."""
NODE_PERMISSIONS: Final = frozenset(
    {
        Permission.STUDY_STORE,
        Permission.STUDY_SEARCH,
        Permission.STUDY_VIEW,
        Permission.STUDY_EXPORT,
        Permission.ORDER_READ,
    }
)
"""What a node with every role may do, and a caller of this machine that is no node."""

AccessOf = Callable[[str, str], Access]
"""Who acts on an association, from its calling AE title and address."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class HeldCaller:
    """A caller that was turned away: AE title, address, how often, and when last (ISO 8601)."""

    aet: str
    host: str
    calls: int
    last_at: str
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a caller comes in. `cause` says why not; `node` is the node with its AE title, if there is one."""

    cause: Cause
    node: Node | None = None
    detail: str = ""

    @property
    def is_granted(self) -> bool:
        """It may come in."""
        return self.cause is Cause.NONE


async def admit(
    pool: Pool, aet: str, host: str, *, tls: bool = False, certificate: PeerCertificate | None = None
) -> Admission:
    """Decide about a caller, by its AE title and address, and what it has shown. One that is unknown is noted, for approval.

    Raises DatabaseError.
    """
    address = plain_address(host)
    title = clean(aet)
    node = await read_node(pool, aet=title)
    admission = await judge(node, address, tls=tls, certificate=certificate)
    if admission.cause is Cause.UNKNOWN_CALLER or admission.cause is Cause.OTHER_ADDRESS:
        await _hold(pool, title, address)
    return admission


async def judge(node: Node | None, address: Address, *, tls: bool, certificate: PeerCertificate | None) -> Admission:
    """Whether a node, or a caller without one, may call from an address."""
    if node is None:
        return Admission(Cause.NONE if address.is_loopback else Cause.UNKNOWN_CALLER)
    if not node.enabled:
        return Admission(Cause.NODE_DISABLED, node, f"The node {node.name} is disabled.")
    if not await _calls_from(node, address):
        allowed = ", ".join(node.calling_from) or node.host
        return Admission(Cause.OTHER_ADDRESS, node, f"The node {node.name} may call from {allowed}.")
    lacking = _lacking(node, tls=tls, certificate=certificate)
    return Admission(Cause.TLS_DEMANDED if lacking else Cause.NONE, node, lacking)


def _lacking(node: Node, *, tls: bool, certificate: PeerCertificate | None) -> str:
    """What is missing of the encryption that a node must use; empty: nothing."""
    if node.tls == TlsUse.OFF:
        return ""
    if not tls:
        return f"The node {node.name} must use TLS."
    if certificate is None:
        return f"The node {node.name} must show a certificate." if node.tls == TlsUse.MUTUAL else ""
    if node.tls_fingerprint and certificate.fingerprint.lower() != node.tls_fingerprint:
        return (
            f"The node {node.name} must show the certificate {node.tls_fingerprint[:16]}..., and showed {certificate}."
        )
    if node.tls_subject and node.tls_subject.lower() not in certificate.subject.lower():
        return f"The node {node.name} must show a certificate of {node.tls_subject}, and showed {certificate}."
    return ""


async def may_call(pool: Pool, aet: str, host: str) -> bool:
    """Whether a caller may open an association."""
    return (await admit(pool, aet, host)).is_granted


def node_access(aet: str, host: str) -> Access:
    """The access of a caller that was let in, if its node does not narrow it."""
    return Access(ActorKind.NODE, f"{aet}@{host}", NODE_PERMISSIONS, address=host)


def narrowed(access: Access, node: Node | None) -> Access:
    """The access that a node's roles leave."""
    if node is None:
        return access
    return dataclasses.replace(access, permissions=access.permissions & node.permissions)


# --- how many at a time, and how fast ---


async def take_slot(pool: Pool, node: Node) -> int | None:
    """A place among the associations that a node may have at a time; None when all are taken. Raises DatabaseError.

    Whoever has it renews it (`renew_slots`) and gives it back (`free_slot`).
    """
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"SELECT pg_advisory_xact_lock(%s::integer, %s::integer)", (_SLOT_LOCK, node.id % 2**31)
            )
            cursor = await connection.execute(
                b"""WITH gone AS (DELETE FROM node_association WHERE node_id = %(id)s AND expires_at < now()),
                    open AS (SELECT count(*) AS n FROM node_association WHERE node_id = %(id)s AND expires_at >= now())
                    INSERT INTO node_association (node_id, expires_at)
                    SELECT %(id)s, now() + make_interval(secs => %(s)s) FROM open WHERE n < %(most)s RETURNING id""",
                {"id": node.id, "s": SLOT_S, "most": node.associations_max},
            )
            row = await cursor.fetchone()
            return row[0] if row else None
    except psycopg.Error as error:
        raise DatabaseError(f"The associations of {node.name} cannot be counted: {type(error).__name__}.") from error


async def renew_slots(pool: Pool, slots: list[int]) -> None:
    """Say that these associations are still open."""
    async with pool.connection() as connection:
        await connection.execute(
            b"UPDATE node_association SET expires_at = now() + make_interval(secs => %s) WHERE id = ANY(%s)",
            (SLOT_S, slots),
        )


async def free_slot(pool: Pool, slot: int) -> None:
    """The association is over."""
    async with pool.connection() as connection:
        await connection.execute(b"DELETE FROM node_association WHERE id = %s", (slot,))


async def pace(pool: Pool, node: Node) -> float:
    """Count one object of a node with a pace; seconds to hold back its answer, 0 to PACE_WAIT_S_MAX."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""INSERT INTO node_pace AS p (node_id, next_at) VALUES (%(id)s, now() + make_interval(secs => %(step)s))
                ON CONFLICT (node_id) DO UPDATE SET next_at = greatest(p.next_at, now()) + make_interval(secs => %(step)s)
                RETURNING extract(epoch FROM next_at - now()) - %(step)s""",
            {"id": node.id, "step": 60.0 / node.objects_per_minute_max},
        )
        row = await cursor.fetchone()
    return min(max(float(row[0]), 0.0), PACE_WAIT_S_MAX) if row else 0.0


# --- callers that nobody has approved ---


async def list_held_callers(pool: Pool, *, ignored: bool = False) -> list[HeldCaller]:
    """Callers waiting for approval, or those that are ignored, the latest first. Raises NotAllowedError."""
    require(Permission.NODE_READ)
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(HeldCaller)) as cursor:
        await cursor.execute(
            b"""SELECT aet, host, calls, to_char(last_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS last_at,
                ignored_at IS NOT NULL AS ignored
                FROM held_caller WHERE (ignored_at IS NOT NULL) = %s ORDER BY held_caller.last_at DESC LIMIT %s""",
            (ignored, HELD_CALLERS_MAX),
        )
        return await cursor.fetchall()


async def approve_caller(pool: Pool, aet: str, host: str, *, name: str = "", port: int = APPROVED_PORT) -> Node:
    """Make a node of a held caller; where there is one with its AE title, let that call from this address too.

    Raises NotFoundError when no such caller waits, ConflictError for a name that is taken, InvalidRequestError,
    NotAllowedError.
    """
    require(Permission.NODE_MANAGE)
    async with pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM held_caller WHERE aet = %s AND host = %s RETURNING aet", (aet, host)
        )
        if await cursor.fetchone() is None:
            raise NotFoundError(told("{aet} from {host} does not wait for approval any more.", aet=aet, host=host))
        known = await read_node(pool, aet=aet)
        if known is None:
            return await insert_node(connection, checked(Node(name.strip() or aet, aet, host, port)))
        now = await lock_node(connection, known.name)
        addresses = now.calling_from or (() if now.host == host else await _own_addresses(now.host))
        wider = dataclasses.replace(now, calling_from=tuple(dict.fromkeys((*addresses, host))))
        return await update_node(connection, now.name, checked(wider))


async def ignore_caller(pool: Pool, aet: str, host: str, *, ignored: bool = True) -> None:
    """Show a held caller no more, or again. It is turned away either way. Raises NotFoundError, NotAllowedError."""
    require(Permission.NODE_MANAGE)
    async with pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""UPDATE held_caller SET ignored_at = CASE WHEN %s THEN now() END, ignored_by = %s
                WHERE aet = %s AND host = %s""",
            (ignored, current_access().name if ignored else "", aet, host),
        )
        if not cursor.rowcount:
            raise NotFoundError(told("{aet} from {host} does not wait for approval any more.", aet=aet, host=host))
        what = "is ignored" if ignored else "is listed again"
        await record(connection, node_changed(aet, f"The held caller {aet} at {host} {what}"))


async def _hold(pool: Pool, title: str, address: Address) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO held_caller (aet, host) VALUES (%s, %s)
                ON CONFLICT (aet, host) DO UPDATE SET calls = held_caller.calls + 1, last_at = now()""",
            (title, str(address)),
        )
        await connection.execute(
            b"""DELETE FROM held_caller WHERE (aet, host) IN
                (SELECT aet, host FROM held_caller ORDER BY ignored_at IS NULL, last_at DESC OFFSET %s)""",
            (HELD_CALLERS_MAX,),
        )


# --- addresses ---

_SLOT_LOCK: Final = 0x4E4F4445  # "NODE"


async def _calls_from(node: Node, address: Address) -> bool:
    if node.calling_from:
        return any(address in ipaddress.ip_network(entry) for entry in node.calling_from)
    return address.is_loopback or str(address) in await _own_addresses(node.host)


async def _own_addresses(host: str) -> tuple[str, ...]:
    """The addresses of a host name; the name itself when it is an address, nothing when it is not known."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return ()
    return tuple(dict.fromkeys(str(plain_address(str(entry[4][0]))) for entry in found))


def plain_address(host: str) -> Address:
    """An IPv4 caller on a socket for both kinds of IP comes as ::ffff:10.1.2.3."""
    address = ipaddress.ip_address(host)
    return getattr(address, "ipv4_mapped", None) or address
