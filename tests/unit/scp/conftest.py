"""Fileroom's own association server in front of the test's archive, and peers made with pynetdicom."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from fileroom.archive.services import Archive
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory


@pytest.fixture
async def dicom_port(archive: Archive) -> AsyncIterator[int]:
    """The port that serves the archive."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = AssociationServer(PeerAssociationFactory(archive))
    await server.start(listening)
    yield listening.getsockname()[1]
    await server.close(0)


@dataclass
class Peer:
    """A destination: what it received, and what it answers."""

    port: int = 0
    stored: list[Dataset] = field(default_factory=list)
    originators: list[tuple[Any, Any]] = field(default_factory=list)
    calling_aets: list[str] = field(default_factory=list)
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    status: Callable[[Dataset], int] = lambda _dataset: 0
    breaks_at: frozenset[str] = frozenset()
    """SOP Instance UIDs at which it aborts the association."""

    def handle_store(self, event: evt.Event) -> int:
        if event.request.AffectedSOPInstanceUID in self.breaks_at:
            event.assoc.abort()
            return 0
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.stored.append(dataset)
        self.originators.append(
            (event.request.MoveOriginatorApplicationEntityTitle, event.request.MoveOriginatorMessageID)
        )
        self.calling_aets.append(event.assoc.requestor.ae_title)
        return self.status(dataset)

    def handle_report(self, event: evt.Event) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information))
        return 0, None


@pytest.fixture
def start_peer() -> Iterator[Callable[..., Peer]]:
    """Starts a destination that takes storage classes in the transfer syntaxes given, and commitment results."""
    servers = []

    def start(*transfer_syntaxes: str, aet: str = "PEER") -> Peer:
        peer = Peer()
        entity = AE(ae_title=aet)
        for context in StoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, list(transfer_syntaxes) or None)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_C_STORE, peer.handle_store), (evt.EVT_N_EVENT_REPORT, peer.handle_report)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        servers.append(server)
        peer.port = server.server_address[1]
        return peer

    yield start
    for server in servers:
        server.shutdown()
