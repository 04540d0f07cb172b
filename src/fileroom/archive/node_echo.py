"""Is a node there? C-ECHO (PS3.4 Annex A) when somebody asks and on a schedule, and how it answered during the last day.

Every attempt is a row; why one failed is one of a few `EchoProblem`s, which `EXPLANATIONS` puts into plain words.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import get_node, read_nodes
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import PeerError, PeerRefusedError, PeerTimeoutError, ServiceError
from fileroom.dicom.charset import clean
from fileroom.net.association_client import VERIFICATION, ProposedContext

ECHOES_AT_ONCE_MAX: Final = 20
"""Nodes asked at the same time: one that is slow must not make the others wait."""
ECHOES_KEPT_DAYS: Final = 7
"""History; the strip shows the last day of it."""
SLOTS: Final = 48
SLOT_S: Final = 1800
"""The strip has a tick for each half hour of a day."""
_DETAIL_CHARS_MAX: Final = 300
_UNCOMPRESSED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_REJECTION: Final = re.compile(r"source (\d), reason (\d)")


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


class EchoProblem(enum.StrEnum):
    """Why a node did not answer."""

    NONE = ""
    NO_SUCH_HOST = "no such host"
    PORT_CLOSED = "port closed"
    UNREACHABLE = "unreachable"
    NO_CONNECTION = "no connection"
    NO_ANSWER = "no answer"
    KNOWS_US_NOT = "knows us not"
    CALLED_OTHERWISE = "called otherwise"
    FULL = "full"
    REFUSED = "refused"
    NO_ECHO = "no echo"
    TLS = "tls"
    CUT = "cut"
    NOT_ASKED = "not asked"


EXPLANATIONS: Final[dict[EchoProblem, str]] = {
    EchoProblem.NO_SUCH_HOST: N_(
        "Nobody knows the host name %(host)s. Correct it, or ask whoever runs the name server."
    ),
    EchoProblem.PORT_CLOSED: N_(
        "%(host)s is there, but nothing listens on port %(port)s. Start its DICOM service, or correct the port."
    ),
    EchoProblem.UNREACHABLE: N_("%(host)s cannot be reached. Look whether it is switched on and the network is up."),
    EchoProblem.NO_CONNECTION: N_(
        "%(host)s did not take the connection in time. It is switched off, or a firewall between us drops it."
    ),
    EchoProblem.NO_ANSWER: N_(
        "%(host)s took the connection and then said nothing. Its DICOM service hangs or is overloaded, or this is another port."
    ),
    EchoProblem.KNOWS_US_NOT: N_("It does not let %(own)s in. Register our AE title and address there."),
    EchoProblem.CALLED_OTHERWISE: N_("It says that it is not called %(aet)s. Correct the AE title of the node."),
    EchoProblem.FULL: N_("It has no room for another association now. If it happens often, its limit is too low."),
    EchoProblem.REFUSED: N_("It refused the association. Its log has the reason, at this time."),
    EchoProblem.NO_ECHO: N_("It let us in, but does not answer echoes. Enable the Verification service there."),
    EchoProblem.TLS: N_(
        "No encrypted connection came about. Compare the certificates of both sides, and the port for TLS."
    ),
    EchoProblem.CUT: N_("It broke the association off before it answered. Its log has the reason, at this time."),
    EchoProblem.NOT_ASKED: N_("Fileroom could not ask. See under System what is down."),
}
"""What happened and what to do next, by problem. `own` is our AE title there."""


@dataclass(frozen=True, slots=True)
class EchoResult:
    """One attempt. `latency_ms` is from request to answer, None without one; `detail` says more than the problem."""

    asked_at: dt.datetime
    latency_ms: float | None
    problem: EchoProblem = EchoProblem.NONE
    detail: str = ""

    @property
    def is_answered(self) -> bool:
        """The node is there."""
        return self.problem is EchoProblem.NONE


@dataclass(frozen=True, slots=True)
class EchoTick:
    """Half an hour: how many attempts, how many of them failed, and the slowest answer."""

    began_at: dt.datetime
    asked: int = 0
    failed: int = 0
    slowest_ms: float | None = None


@dataclass(frozen=True, slots=True)
class EchoHistory:
    """The last day of one node, the oldest half hour first."""

    ticks: tuple[EchoTick, ...]
    last: EchoResult | None = None
    answered_at: dt.datetime | None = None


async def echo_node(archive: Archive, name: str) -> EchoResult:
    """Ask a node now, and keep the result. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.NODE_READ)
    return await _ask(archive, await get_node(archive.pool, name))


async def echo_due(archive: Archive) -> int:
    """Ask the nodes whose time has come; returns how many. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    due = await _claim_due(archive)
    if not due:
        return 0
    nodes = {node.id: node for node in await read_nodes(archive.pool)}
    await asyncio.gather(*(_ask(archive, nodes[one]) for one in due if one in nodes))
    return len(due)


async def forget_old_echoes(archive: Archive) -> int:
    """Remove what is older than ECHOES_KEPT_DAYS. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM node_echo WHERE asked_at < now() - make_interval(days => %s)", (ECHOES_KEPT_DAYS,)
        )
    return 0


async def echo_histories(archive: Archive, nodes: Sequence[Node]) -> dict[str, EchoHistory]:
    """The last day of nodes, by name. Raises NotAllowedError, DatabaseError."""
    require(Permission.NODE_READ)
    now = archive.now()
    begin = now - dt.timedelta(seconds=SLOTS * SLOT_S)
    ids = [node.id for node in nodes]
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT node_id, floor(extract(epoch FROM asked_at - %s) / %s)::integer, count(*),
                count(*) FILTER (WHERE problem <> ''), max(latency_ms)
                FROM node_echo WHERE node_id = ANY(%s) AND asked_at >= %s GROUP BY 1, 2""",
            (begin, SLOT_S, ids, begin),
        )
        slots = {(row[0], min(row[1], SLOTS - 1)): row[2:] for row in await cursor.fetchall()}
        cursor = await connection.execute(
            b"""SELECT n.id, e.asked_at, e.latency_ms, e.problem, e.detail, d.answered_at FROM node n
                LEFT JOIN node_echo_due d ON d.node_id = n.id
                LEFT JOIN LATERAL (SELECT * FROM node_echo x WHERE x.node_id = n.id ORDER BY x.asked_at DESC LIMIT 1) e ON true
                WHERE n.id = ANY(%s)""",
            (ids,),
        )
        lasts = {row[0]: row[1:] for row in await cursor.fetchall()}
    return {node.name: _history(node.id, begin, slots, lasts) for node in nodes}


def explanation_values(node: Node, own_aet: str) -> dict[str, object]:
    """What the sentences of EXPLANATIONS speak of."""
    return {"host": node.host, "port": node.port, "aet": node.aet, "own": node.own_aet or own_aet}


def explain(node: Node, result: EchoResult, own_aet: str) -> str:
    """Why a node did not answer, in English; empty when it did."""
    return EXPLANATIONS[result.problem] % explanation_values(node, own_aet) if result.problem else ""


# --- helpers ---


def _history(
    node_id: int,
    begin: dt.datetime,
    slots: dict[tuple[int, int], tuple[int, int, float | None]],
    lasts: dict[int, tuple[dt.datetime | None, float | None, str, str, dt.datetime | None]],
) -> EchoHistory:
    ticks: list[EchoTick] = []
    for number in range(SLOTS):
        asked, failed, slowest = slots.get((node_id, number), (0, 0, None))
        ticks.append(EchoTick(begin + dt.timedelta(seconds=number * SLOT_S), asked, failed, slowest))
    asked_at, latency, problem, detail, answered_at = lasts.get(node_id, (None, None, "", "", None))
    last = EchoResult(asked_at, latency, EchoProblem(problem), detail) if asked_at is not None else None
    return EchoHistory(tuple(ticks), last, answered_at)


async def _claim_due(archive: Archive) -> list[int]:
    """Nodes whose time has come, set due again. A new one is asked first when its interval has passed."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO node_echo_due (node_id, due_at)
                SELECT n.id, now() + make_interval(secs => n.echo_interval_s) FROM node n
                WHERE n.enabled AND n.echo_interval_s > 0 AND NOT EXISTS (SELECT FROM node_echo_due d WHERE d.node_id = n.id)
                ON CONFLICT DO NOTHING"""
        )
        cursor = await connection.execute(
            b"""UPDATE node_echo_due d SET due_at = now() + make_interval(secs => n.echo_interval_s) FROM node n
                WHERE n.id = d.node_id AND d.node_id IN (
                    SELECT x.node_id FROM node_echo_due x JOIN node y ON y.id = x.node_id
                    WHERE y.enabled AND y.echo_interval_s > 0
                    AND (x.due_at <= now() OR x.due_at > now() + make_interval(secs => y.echo_interval_s))
                    ORDER BY x.due_at LIMIT %s FOR UPDATE OF x SKIP LOCKED)
                RETURNING d.node_id""",
            (ECHOES_AT_ONCE_MAX,),
        )
        return [row[0] for row in await cursor.fetchall()]


async def _ask(archive: Archive, node: Node) -> EchoResult:
    result = await _echo(archive, node)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""WITH put AS (
                    INSERT INTO node_echo (node_id, asked_at, latency_ms, problem, detail)
                    SELECT id, %(at)s, %(ms)s, %(problem)s, %(detail)s FROM node WHERE id = %(id)s)
                INSERT INTO node_echo_due AS d (node_id, due_at, answered_at)
                SELECT id, now() + make_interval(secs => greatest(echo_interval_s, 1)), %(answered)s FROM node WHERE id = %(id)s
                ON CONFLICT (node_id) DO UPDATE SET answered_at = coalesce(%(answered)s, d.answered_at)""",
            {
                "id": node.id,
                "at": result.asked_at,
                "ms": result.latency_ms,
                "problem": result.problem.value,
                "detail": result.detail,
                "answered": result.asked_at if result.is_answered else None,
            },
        )
    return result


async def _echo(archive: Archive, node: Node) -> EchoResult:
    asked_at = archive.now()
    contexts = [ProposedContext(VERIFICATION, _UNCOMPRESSED)]
    latency_ms: float | None = None
    try:
        async with connect_node(archive, node, purpose="echo", contexts=contexts) as (association, _):
            started = time.perf_counter()
            await association.echo(timeout_s=node.response_timeout_s)
            latency_ms = (time.perf_counter() - started) * 1000
    except PeerError as error:
        if latency_ms is None:  # one that answered and then left without a release is there all the same
            return EchoResult(asked_at, None, _problem(error), clean(str(error))[:_DETAIL_CHARS_MAX])
    except ServiceError as error:
        return EchoResult(asked_at, None, EchoProblem.NOT_ASKED, clean(str(error))[:_DETAIL_CHARS_MAX])
    return EchoResult(asked_at, latency_ms)


def _problem(error: PeerError) -> EchoProblem:
    """What an error of `net.association_client` means."""
    cause, text = error.__cause__, str(error)
    if isinstance(cause, ssl.SSLError) or text.startswith("No TLS with"):
        return EchoProblem.TLS
    if isinstance(cause, socket.gaierror):
        return EchoProblem.NO_SUCH_HOST
    if isinstance(cause, ConnectionRefusedError):
        return EchoProblem.PORT_CLOSED
    if isinstance(cause, OSError):
        return EchoProblem.UNREACHABLE
    if isinstance(error, PeerTimeoutError):
        return EchoProblem.NO_CONNECTION if "did not take a connection" in text else EchoProblem.NO_ANSWER
    rejection = _REJECTION.search(text)
    if rejection is not None:
        return _REJECTIONS.get((int(rejection[1]), int(rejection[2])), EchoProblem.REFUSED)
    if isinstance(error, PeerRefusedError):
        return EchoProblem.NO_ECHO if "accepted none of the proposed contexts" in text else EchoProblem.CUT
    return EchoProblem.CUT


_REJECTIONS: Final = {
    (1, 3): EchoProblem.KNOWS_US_NOT,
    (1, 7): EchoProblem.CALLED_OTHERWISE,
    (3, 1): EchoProblem.FULL,
    (3, 2): EchoProblem.FULL,
}
"""PS3.8 table 9-21: source and reason."""
