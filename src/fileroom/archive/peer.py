"""Another application as Fileroom calls it, and the shortest question to it: C-ECHO.

A module of its own because a command that only echoes shall start at once: what else we ask of peers (`archive.peers`)
needs pydicom, which takes longer to load than a peer takes to answer.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fileroom.core.access import Permission, require
from fileroom.core.identifiers import AETitle
from fileroom.net.association_client import VERIFICATION, ClientAssociation, ProposedContext, connect
from fileroom.net.tls import ClientTls

if TYPE_CHECKING:
    from fileroom.admin.ledger_journal import Journal

_UNCOMPRESSED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Implicit and Explicit VR Little Endian. `dicom.uids`, which names them, stands on pydicom's dictionary."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another application: where it is, what it is called, and what we call ourselves to it."""

    host: str
    port: int
    aet: str
    own_aet: str
    tls: ClientTls | None = None
    """Called over TLS, and checked (`admin.tls_in_use.client_tls_for`)."""


Opened = AbstractAsyncContextManager["tuple[ClientAssociation, Journal | None]"]
"""An association for the length of a block, and its journal where it is put down in the ledger."""
Associate = Callable[[Peer, Sequence[ProposedContext], str], Opened]
"""Opens an association with a peer for a purpose (echo, send, find, get, move): `associate`, or `recorded_calls.recorded`."""


@asynccontextmanager
async def associate(
    peer: Peer, contexts: Sequence[ProposedContext], _purpose: str
) -> AsyncIterator[tuple[ClientAssociation, Journal | None]]:
    """An association that is put down nowhere. Raises InvalidRequestError for a title that is none, PeerError."""
    async with connect(
        peer.host,
        peer.port,
        calling_aet=AETitle(peer.own_aet),
        called_aet=AETitle(peer.aet),
        contexts=contexts,
        tls=peer.tls,
    ) as association:
        yield association, None


async def echo(peer: Peer, open_association: Associate = associate) -> float:
    """C-ECHO (PS3.4 Annex A); milliseconds from request to answer. Raises PeerError with the reason, NotAllowedError."""
    require(Permission.NODE_READ)
    async with open_association(peer, [ProposedContext(VERIFICATION, _UNCOMPRESSED)], "echo") as (association, _):
        started = time.perf_counter()
        await association.echo()
        return (time.perf_counter() - started) * 1000
