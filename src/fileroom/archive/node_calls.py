"""Associations that we open with a node: as its fields say, over TLS where it has that, and put down in the ledger.

    async with connect_node(archive, node, purpose="move", contexts=contexts) as (association, journal):
        ...

Whoever calls has asked whether it may: a node that is disabled, or has not the role, is not called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fileroom.admin.ledger_journal import Journal
from fileroom.admin.ledger_outgoing import connect_recorded
from fileroom.admin.node_fields import Node, TlsUse
from fileroom.admin.tls_in_use import client_tls_for
from fileroom.archive.services import Archive
from fileroom.core.errors import ConfigurationError, PeerRefusedError
from fileroom.core.identifiers import AETitle
from fileroom.core.limits import ARTIM_TIMEOUT_S
from fileroom.net.association_client import ClientAssociation, ProposedContext
from fileroom.net.association_handler import RequestHandler
from fileroom.net.connection import Timeouts
from fileroom.net.tls import ClientTls, PeerTls


@asynccontextmanager
async def connect_node(
    archive: Archive,
    node: Node,
    *,
    purpose: str,
    contexts: Sequence[ProposedContext],
    parent: Journal | None = None,
    handler: RequestHandler | None = None,
) -> AsyncIterator[tuple[ClientAssociation, Journal]]:
    """An association with a node, and its journal. `parent` is the one whose request caused it, `handler` answers what
    the node asks on it.

    Raises as `net.association_client.connect` does, DatabaseError.
    """
    async with connect_recorded(
        archive.ledger,
        node.host,
        node.port,
        purpose=purpose,
        parent=parent,
        calling_aet=AETitle(node.own_aet or archive.settings.aet),
        called_aet=AETitle(node.aet),
        contexts=contexts,
        tls=await node_tls(archive, node),
        timeouts=timeouts_of(node),
        handler=handler,
    ) as opened:
        yield opened


async def node_tls(archive: Archive, node: Node) -> ClientTls | None:
    """What a call to the node needs, None where it is called without TLS. Raises PeerRefusedError, DatabaseError."""
    if node.tls == TlsUse.OFF:
        return None
    try:
        wanted = PeerTls(fingerprint=node.tls_fingerprint, subject=node.tls_subject)
        return await client_tls_for(archive.pool, archive.settings, wanted)
    except ConfigurationError as error:
        raise PeerRefusedError(f"No TLS with {node.name}: {error}") from error


def timeouts_of(node: Node) -> Timeouts:
    """How long we wait for a node."""
    return Timeouts(artim_s=min(ARTIM_TIMEOUT_S, node.response_timeout_s), connect_s=node.connect_timeout_s)
