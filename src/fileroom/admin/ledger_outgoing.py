"""Associations that we open, with their entry in the ledger: `net.association_client.connect` and a journal beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_journal import Journal
from fileroom.admin.ledger_port import RecordedPort
from fileroom.admin.ledger_rows import Direction, safe_text
from fileroom.core.errors import PeerError
from fileroom.core.identifiers import AETitle
from fileroom.net.association_client import ClientAssociation, ProposedContext, connect
from fileroom.net.association_handler import PeerAddress, RequestHandler
from fileroom.net.connection import Timeouts
from fileroom.net.tls import ClientTls


@asynccontextmanager
async def connect_recorded(
    ledger: Ledger,
    host: str,
    port: int,
    *,
    purpose: str,
    parent: Journal | None = None,
    calling_aet: AETitle,
    called_aet: AETitle,
    contexts: Sequence[ProposedContext],
    tls: ClientTls | None = None,
    timeouts: Timeouts | None = None,
    handler: RequestHandler | None = None,
) -> AsyncIterator[tuple[ClientAssociation, Journal]]:
    """Open an association; yields it and its journal. `parent` is the association whose request caused it,
    `handler` answers what the peer asks on it.

    Its requests and their answers are noted, but C-STOREs: who sends objects knows more of them.

    Raises as `connect` does.
    """
    journal = ledger.begin(Direction.OUT, PeerAddress(host, port, tls is not None), purpose=purpose, parent=parent)
    journal.called(str(calling_aet), str(called_aet))
    try:
        async with connect(
            host,
            port,
            calling_aet=calling_aet,
            called_aet=called_aet,
            contexts=contexts,
            tls=tls,
            timeouts=timeouts,
            handler=handler,
            on_end=journal.ended,
        ) as association:
            journal.row.peer_certificate = safe_text(str(association.port.peer.certificate or ""))
            journal.answered(association.request, association.acceptance)
            yield association.through(RecordedPort(association.port, journal)), journal
    except PeerError as error:
        journal.unreachable(str(error))  # unless its end was told before
        raise
    finally:
        journal.unreachable("given up before it was open")
