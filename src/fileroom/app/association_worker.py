"""A worker that serves associations on the DICOM ports: `python -m fileroom.app.association_worker FD [FD]`.

The second socket, where there is one, is that of DICOM over TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from functools import partial
from typing import Final

from fileroom.admin.certificate_uses import Use
from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.app.tls_watch import watched_tls
from fileroom.core.settings import Settings
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory
from fileroom.scp.handshakes import handshake_failed
from fileroom.scp.node_watch import LOOK_INTERVAL_S, NodeWatch
from fileroom.tasks.loop import run_periodically

SHUTDOWN_DEADLINE_S: Final = 10.0
"""How long open associations may take to finish when the server is asked to stop."""


async def serve_associations(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the listening sockets that the supervisor handed over, until asked to stop."""
    listening, *secure = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    async with open_archive(settings) as archive, contextlib.AsyncExitStack() as stack:
        watch = NodeWatch(archive.pool)
        server = AssociationServer(PeerAssociationFactory(archive, watch=watch))
        await server.start(listening)
        for one in secure:
            tls = await stack.enter_async_context(watched_tls(archive.pool, archive.settings, Use.DICOM, archive.now))
            server.start_tls(one, tls, partial(handshake_failed, archive))
        looking = asyncio.create_task(run_periodically("nodes", LOOK_INTERVAL_S, watch.look, stop))
        await stop.wait()
        await looking
        await server.close(SHUTDOWN_DEADLINE_S)


if __name__ == "__main__":
    run_worker("association", serve_associations)
