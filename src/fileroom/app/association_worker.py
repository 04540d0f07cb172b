"""A worker that serves associations on the DICOM port: `python -m fileroom.app.association_worker FD`."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final

from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.core.settings import Settings
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory
from fileroom.scp.node_watch import LOOK_INTERVAL_S, NodeWatch
from fileroom.tasks.loop import run_periodically

SHUTDOWN_DEADLINE_S: Final = 10.0
"""How long open associations may take to finish when the server is asked to stop."""


async def serve_associations(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the listening socket that the supervisor handed over, until asked to stop."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    async with open_archive(settings) as archive:
        watch = NodeWatch(archive.pool)
        server = AssociationServer(PeerAssociationFactory(archive, watch=watch))
        await server.start(listening)
        looking = asyncio.create_task(run_periodically("nodes", LOOK_INTERVAL_S, watch.look, stop))
        await stop.wait()
        await looking
        await server.close(SHUTDOWN_DEADLINE_S)


if __name__ == "__main__":
    run_worker("association", serve_associations)
