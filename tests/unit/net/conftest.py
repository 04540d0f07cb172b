"""Runs every test of the network shells on both event loops, and serves associations for them on loopback."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from fileroom.net.association_server import AssociationServer
from fileroom.net.tls import why_refused
from unit.net.handlers import RecordingHandler


def pytest_asyncio_loop_factories():
    """asyncio's own loop, and the one that serves in earnest."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Served:
    """A server on a free port of loopback, and the handlers that it made."""

    def __init__(self) -> None:
        self.handlers: list[RecordingHandler] = []
        self.port = 0
        self.server: AssociationServer | None = None
        self.refused: list[str] = []

    async def start(self, handler_class=RecordingHandler, *, tls=None, **options) -> int:
        """`tls`: a callable that gives the `ServerTls` of the moment."""

        def make(peer, port):
            self.handlers.append(handler_class(peer, port))
            return self.handlers[-1]

        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.server = AssociationServer(make, **options)
        if tls is None:
            await self.server.start(listening)
        else:
            self.server.start_tls(listening, tls, lambda peer, error: self.refused.append(why_refused(error)))
        return self.port

    async def handler(self) -> RecordingHandler:
        """The first handler, as soon as there is one."""
        async with asyncio.timeout(5):
            while not self.handlers:
                await asyncio.sleep(0)
        return self.handlers[0]


@pytest.fixture
async def served():
    server = Served()
    yield server
    if server.server is not None:
        await server.server.close(0)
