"""Another application as Fileroom calls it, and the shortest question to it: C-ECHO.

A module of its own because a command that only echoes shall start at once: what else we ask of peers (`archive.peers`)
needs pydicom, which takes longer to load than a peer takes to answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from fileroom.core.access import Permission, require
from fileroom.core.identifiers import AETitle
from fileroom.net.association_client import VERIFICATION, ClientAssociation, ProposedContext, connect

_UNCOMPRESSED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Implicit and Explicit VR Little Endian. `dicom.uids`, which names them, stands on pydicom's dictionary."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another application: where it is, what it is called, and what we call ourselves to it."""

    host: str
    port: int
    aet: str
    own_aet: str


def associate(peer: Peer, contexts: Sequence[ProposedContext]) -> AbstractAsyncContextManager[ClientAssociation]:
    """An association for the length of the block. Raises InvalidRequestError for a title that is none, PeerError."""
    return connect(
        peer.host, peer.port, calling_aet=AETitle(peer.own_aet), called_aet=AETitle(peer.aet), contexts=contexts
    )


async def echo(peer: Peer) -> float:
    """C-ECHO (PS3.4 Annex A); milliseconds from request to answer. Raises PeerError with the reason, NotAllowedError."""
    require(Permission.NODE_READ)
    async with associate(peer, [ProposedContext(VERIFICATION, _UNCOMPRESSED)]) as association:
        started = time.perf_counter()
        await association.echo()
        return (time.perf_counter() - started) * 1000
