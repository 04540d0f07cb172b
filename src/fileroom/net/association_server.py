"""The asyncio shell of the acceptor's side: listens, and serves each connection by a handler (PS3.8 9.1, PS3.7 7)."""

from __future__ import annotations

from fileroom.net.association_handler import (
    AssociationEnd,
    AssociationHandler,
    AssociationPort,
    DataSink,
    EndKind,
    HandlerFactory,
    Operation,
    PeerAddress,
    Response,
)

__all__ = [
    "AssociationEnd",
    "AssociationHandler",
    "AssociationPort",
    "DataSink",
    "EndKind",
    "HandlerFactory",
    "Operation",
    "PeerAddress",
    "Response",
]
