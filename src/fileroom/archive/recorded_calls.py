"""Calls to other systems that are put down in the association ledger: what `archive.peer` and `archive.peers` open them by:
`echo(peer, recorded(archive.ledger))`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_journal import Journal
from fileroom.admin.ledger_outgoing import connect_recorded
from fileroom.archive.peer import Associate, Peer
from fileroom.core.identifiers import AETitle
from fileroom.net.association_client import ClientAssociation, ProposedContext


def recorded(ledger: Ledger) -> Associate:
    """Opens associations that this ledger puts down."""

    @asynccontextmanager
    async def open_association(
        peer: Peer, contexts: Sequence[ProposedContext], purpose: str
    ) -> AsyncIterator[tuple[ClientAssociation, Journal | None]]:
        async with connect_recorded(
            ledger,
            peer.host,
            peer.port,
            purpose=purpose,
            calling_aet=AETitle(peer.own_aet),
            called_aet=AETitle(peer.aet),
            contexts=contexts,
            tls=peer.tls,
        ) as opened:
            yield opened

    return open_association
