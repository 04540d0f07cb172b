"""A worker that serves the web port: `python -m fileroom.app.web_worker FD`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Final

import uvicorn

from fileroom.admin.certificate_uses import Use
from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.app.tls_watch import watched_tls
from fileroom.core.limits import NOTIFICATION_MESSAGE_BYTES_MAX, NOTIFICATION_PING_S
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.server import GatheringHttpProtocol, TlsServer

SHUTDOWN_DEADLINE_S: Final = 10
"""How long answers under way may take to finish when the server is asked to stop."""
KEEP_ALIVE_S: Final = 65
"""Longer than the usual 60 s of proxies, so that they close idle connections first."""


async def serve_web(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the listening socket that the supervisor handed over, until asked to stop."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    async with (
        open_archive(settings) as archive,
        watched_tls(archive.pool, archive.settings, Use.WEB, archive.now) as current_tls,
    ):
        config = uvicorn.Config(
            create_app(archive, stop),
            http=GatheringHttpProtocol,
            ws="wsproto",
            ws_max_size=NOTIFICATION_MESSAGE_BYTES_MAX,
            ws_ping_interval=NOTIFICATION_PING_S,
            ws_ping_timeout=NOTIFICATION_PING_S,
            ws_per_message_deflate=False,
            proxy_headers=False,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_DEADLINE_S,
        )
        server = TlsServer(config, current_tls)
        server.capture_signals = contextlib.nullcontext  # type: ignore[assignment,method-assign]  # we hear them ourselves
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await asyncio.wait([serving, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving


if __name__ == "__main__":
    run_worker("web", serve_web)
