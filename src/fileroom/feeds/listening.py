"""Where HL7 messages come in: the default port, and the ports that single feeds have for themselves.

The feeds are read again within seconds of every change: ports are opened and closed as they say. A port that cannot be opened
is told in the log and tried again; the others go on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from fileroom.admin.certificate_uses import Use
from fileroom.admin.entries import read_generation
from fileroom.admin.tls_in_use import read_tls, tls_version
from fileroom.archive.services import Archive
from fileroom.feeds.alarms import note_heard
from fileroom.feeds.feeds import FeedSet, read_feeds
from fileroom.feeds.inbox import keep_fault, receive_at
from fileroom.hl7.mllp import FrameError
from fileroom.net.association_handler import PeerAddress
from fileroom.net.mllp_server import MllpServer
from fileroom.net.tls import ServerTls

LOOK_INTERVAL_S: Final = 2.0
AT_ONCE_MAX: Final = 8
"""Messages that are applied at the same time in one process; the others wait in the order of their coming, so that fifty
senders get their turn one after another. Half of the pool's connections: the other half is for whoever else needs one."""
LISTEN_BACKLOG: Final = 128
OnRefused = Callable[[PeerAddress, BaseException], None]


class Hl7Ports:
    """Listens until it is closed. Belongs to one event loop."""

    def __init__(self, archive: Archive, on_refused: OnRefused) -> None:
        """`on_refused` hears of TLS handshakes that failed."""
        self._archive = archive
        self._on_refused = on_refused
        self._feeds = FeedSet((), (), None)
        self._generation = -1
        self._tls_version = -1
        self._contexts: dict[str, ServerTls | None] = {}
        self._servers: dict[int, tuple[MllpServer, str]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._heard: dict[str, dt.datetime] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def feeds(self) -> FeedSet:
        """Those in force now."""
        return self._feeds

    async def start(self, listening: socket.socket) -> None:
        """Serve the default port. Raises DatabaseError."""
        await self.look()
        server = self._server(0)
        await server.start(listening)
        self._servers[0] = (server, "off")

    async def look(self) -> int:
        """Take what has changed; for `tasks.loop.run_periodically`. Raises DatabaseError."""
        archive = self._archive
        version = await tls_version(archive.pool)
        if version != self._tls_version:
            found = await read_tls(archive.pool, archive.settings)
            self._contexts = {"on": found.server(Use.DICOM, "off"), "mutual": found.server(Use.DICOM, "required")}
            self._tls_version = version
        generation = await read_generation(archive.pool)
        if generation != self._generation:
            self._feeds = await read_feeds(archive.pool)
            self._generation = generation
        await self._open_ports()
        if self._heard:
            heard, self._heard = self._heard, {}
            await note_heard(archive.pool, heard)
        return 0

    async def close(self, deadline_s: float) -> None:
        """Accept no more; messages that are being applied are answered."""
        await asyncio.gather(*(server.close(deadline_s) for server, _ in self._servers.values()), *self._closing)
        if self._heard:
            await note_heard(self._archive.pool, self._heard)

    # --- helpers ---

    async def _open_ports(self) -> None:
        wanted = dict(self._feeds.ports)
        for port, (server, tls) in list(self._servers.items()):
            if port and wanted.get(port) != tls:
                del self._servers[port]
                task = asyncio.create_task(server.close(0))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        for port, tls in wanted.items():
            if port in self._servers:
                continue
            try:
                listening = _listen(self._archive.settings.host, port)
            except OSError as error:
                _log.error("hl7_port_not_opened", port=port, reason=error.strerror)
                continue
            server = self._server(port)
            if tls == "off":
                await server.start(listening)
            else:
                server.start_tls(listening, partial(self._context, tls), self._on_refused)
            self._servers[port] = (server, tls)
            _log.info("hl7_port_opened", port=port, tls=tls)

    def _context(self, tls: str) -> ServerTls | None:
        return self._contexts.get(tls)

    def _server(self, port: int) -> MllpServer:
        return MllpServer(partial(self._take, port), on_fault=self._fault)

    async def _take(self, port: int, raw: bytes, peer: PeerAddress) -> Sequence[bytes]:
        async with self._at_once:
            return await receive_at(self._archive, self._feeds, port, raw, address=peer.host, heard=self._note)

    async def _fault(self, error: FrameError, peer: PeerAddress) -> Sequence[bytes]:
        async with self._at_once:
            answer = await keep_fault(self._archive, error.raw, error.reason, address=peer.host)
        return [answer] if answer else []

    def _note(self, feed: str) -> None:
        self._heard[feed] = self._archive.now()


def _listen(host: str, port: int) -> socket.socket:
    """Several workers may listen on the same port of a feed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(LISTEN_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


_log: Final = structlog.get_logger(__name__)
