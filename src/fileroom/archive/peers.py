"""What Fileroom does at other systems as an SCU: echo."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fileroom.core.identifiers import AETitle
from fileroom.dicom import uids
from fileroom.net.association_client import ProposedContext, connect


@dataclass(frozen=True, slots=True)
class Peer:
    """Another application: where it is, what it is called, and what we call ourselves to it."""

    host: str
    port: int
    aet: str
    own_aet: str


async def echo(peer: Peer) -> float:
    """C-ECHO (PS3.4 Annex A); milliseconds from request to answer. Raises PeerError with the reason."""
    context = ProposedContext(uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN))
    async with connect(
        peer.host, peer.port, calling_aet=AETitle(peer.own_aet), called_aet=AETitle(peer.aet), contexts=[context]
    ) as association:
        started = time.perf_counter()
        await association.echo()
        return (time.perf_counter() - started) * 1000
