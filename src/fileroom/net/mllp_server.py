"""Listens for HL7 messages (MLLP) and answers each when its handler is done with it.

Each connection has its own task, which takes one message at a time in the order of their coming and reads no further
meanwhile: a sender that pours is slowed down by TCP, and others get their turn after every message. A handler that raises
gives no answer: the connection is closed, so that the sender comes again.

How messages are framed, and how much is forgiven, is in `hl7.mllp`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.core.errors import PeerRefusedError
from fileroom.core.limits import (
    HL7_CONNECTIONS_MAX,
    HL7_END_MARK_TIMEOUT_S,
    HL7_FRAME_TIMEOUT_S,
    HL7_HELD_BYTES_MAX,
    HL7_IDLE_TIMEOUT_S,
    HL7_MESSAGE_BYTES_MAX,
    KIB,
    SEND_TIMEOUT_S,
)
from fileroom.hl7.mllp import Deframer, Frame, FrameError, frame
from fileroom.net.accepting import Listener
from fileroom.net.association_handler import PeerAddress
from fileroom.net.tls import ServerTls, Trust, check_peer, peer_certificate

_log = structlog.get_logger(__name__)

Answers = bytes | Sequence[bytes] | None
"""What goes back, without frames: one message, several, or nothing."""
MessageHandler = Callable[[bytes, PeerAddress], Awaitable[Answers]]
"""Takes what stood in a frame. It is called for one message of a connection at a time."""
FaultHandler = Callable[[FrameError, PeerAddress], Awaitable[Answers]]
"""Hears of bytes that are no frame, so that they can be shown to somebody."""

_READ_BYTES: Final = 256 * KIB
_CLOSE_TIMEOUT_S: Final = 2.0
_TCP_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))
"""A sender whose machine has gone is noticed after two minutes."""


@dataclass(frozen=True, slots=True)
class MllpLimits:
    """What one server takes; times in seconds."""

    connections_max: int = HL7_CONNECTIONS_MAX
    message_bytes_max: int = HL7_MESSAGE_BYTES_MAX
    held_bytes_max: int = HL7_HELD_BYTES_MAX
    idle_s: float = HL7_IDLE_TIMEOUT_S
    frame_s: float = HL7_FRAME_TIMEOUT_S
    end_mark_s: float = HL7_END_MARK_TIMEOUT_S
    send_s: float = SEND_TIMEOUT_S


class MllpServer:
    """Serves messages on listening sockets until `close`. Belongs to one event loop."""

    def __init__(
        self, handler: MessageHandler, *, on_fault: FaultHandler | None = None, limits: MllpLimits | None = None
    ) -> None:
        self._handler = handler
        self._on_fault = on_fault or _only_log
        self._limits = limits or MllpLimits()
        self._servers: list[asyncio.Server | Listener] = []
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._held_bytes = 0
        self._is_closing = False

    async def start(self, listening: socket.socket) -> None:
        """Serve `listening`, which is bound already and may be shared with other processes."""
        server = await asyncio.get_running_loop().create_server(self._new_protocol, sock=listening)
        self._servers.append(server)

    def start_tls(
        self,
        listening: socket.socket,
        current: Callable[[], ServerTls | None],
        on_refused: Callable[[PeerAddress, BaseException], None],
    ) -> None:
        """Serve another socket over TLS by the certificates of the moment. `on_refused` hears who did not come in."""

        def protocol() -> asyncio.StreamReaderProtocol:
            found = current()
            return self._new_protocol(found.trust if found is not None else None, on_refused)

        def context() -> ssl.SSLContext | None:
            found = current()
            return found.context if found is not None else None

        listener = Listener(listening, protocol, context, takes_plain=False, on_refused=on_refused)
        listener.start()
        self._servers.append(listener)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def close(self, deadline_s: float) -> None:
        """Stop accepting and close who waits; messages that are being handled have `deadline_s` seconds to be answered.

        What else a sender has written was not answered, and comes again.
        """
        self._is_closing = True
        for server in self._servers:
            server.close()
        for connection, task in self._connections.items():
            if not connection.is_busy:
                task.cancel()
        for timeout_s in (deadline_s, _CLOSE_TIMEOUT_S):
            if self._connections:
                await asyncio.wait(list(self._connections.values()), timeout=timeout_s)
            for task in self._connections.values():
                task.cancel()

    # --- for the connections ---

    def _new_protocol(
        self, trust: Trust | None = None, on_refused: Callable[[PeerAddress, BaseException], None] | None = None
    ) -> asyncio.StreamReaderProtocol:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = _Connection(self, reader, writer)
            try:
                if trust is not None:
                    check_peer(writer.get_extra_info("ssl_object"), None, trust)
            except PeerRefusedError as error:
                if on_refused is not None:
                    on_refused(connection.peer, error)
                writer.transport.abort()
                return
            if self._is_closing or len(self._connections) >= self._limits.connections_max:
                _log.warning("connection closed, the limit of connections is reached", peer=str(connection.peer))
                writer.transport.abort()
                return
            task = asyncio.get_running_loop().create_task(connection.serve())
            self._connections[connection] = task
            task.add_done_callback(lambda _: self._connections.pop(connection, None))

        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=_READ_BYTES), connected)

    @property
    def limits(self) -> MllpLimits:
        """What it takes."""
        return self._limits

    @property
    def is_closing(self) -> bool:
        """No further message is begun."""
        return self._is_closing

    def hold(self, change: int) -> bool:
        """Count bytes that are held; False if there are too many."""
        self._held_bytes += change
        return self._held_bytes <= self._limits.held_bytes_max

    async def answers_to(self, found: Frame | FrameError, peer: PeerAddress) -> Sequence[bytes]:
        """What is to be written for a frame, or for what should have been one."""
        answers = await (self._handler(found.raw, peer) if isinstance(found, Frame) else self._on_fault(found, peer))
        if answers is None:
            return ()
        return (answers,) if isinstance(answers, bytes) else answers


class _Connection:
    """One sender."""

    def __init__(self, server: MllpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._socket: socket.socket | None = writer.get_extra_info("socket")
        self._deframer = Deframer(server.limits.message_bytes_max)
        self._held = 0
        self.is_busy = False
        """A message is being handled."""
        address = writer.get_extra_info("peername") or ("", 0)
        shown = writer.get_extra_info("ssl_object")
        self.peer = PeerAddress(str(address[0]), int(address[1]), shown is not None, peer_certificate(shown))

    async def serve(self) -> None:
        """Take messages until one of the two sides ends it. Closes the connection, whatever comes."""
        try:
            self._tune()
            await self._take_messages()
        except (ConnectionError, TimeoutError, ssl.SSLError) as error:
            _log.info("hl7_connection_ended", peer=str(self.peer), reason=str(error) or type(error).__name__)
        except Exception:  # noqa: BLE001 - the boundary of one connection
            # Nothing was answered: the sender, who sees its connection closed, sends the message again.
            _log.exception("hl7_message_failed", peer=str(self.peer))
        finally:
            self._server.hold(-self._held)
            await self._close()

    async def _take_messages(self) -> None:
        limits, loop = self._server.limits, asyncio.get_running_loop()
        begun_at: float | None = None
        while not self._server.is_closing:
            if begun_at is None:
                deadline = loop.time() + limits.idle_s
            else:
                deadline = begun_at + limits.frame_s
                if self._deframer.has_end_mark:
                    deadline = min(deadline, loop.time() + limits.end_mark_s)
            data = await self._read(deadline)
            if data:
                found = self._deframer.receive(data)
            else:
                is_over = data == b"" or not self._deframer.has_end_mark
                found = self._deframer.finish()
            if not self._hold():
                _log.warning("connection closed, too many bytes are arriving", peer=str(self.peer))
                return
            if not await self._answer(found) or (not data and is_over):
                return
            if found or not self._deframer.is_inside:
                begun_at = None
            if self._deframer.is_inside and begun_at is None:
                begun_at = loop.time()

    async def _read(self, deadline: float) -> bytes | None:
        """What came; empty at the end of the stream, None when nothing came in time."""
        try:
            async with asyncio.timeout_at(deadline):
                data = await self._reader.read(_READ_BYTES)
        except TimeoutError:
            return None
        if _TCP_QUICKACK is not None and self._socket is not None:
            # Senders with Nagle's algorithm on hold the end of a long message until its beginning was acknowledged.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
        return data

    def _hold(self) -> bool:
        change, self._held = self._deframer.size - self._held, self._deframer.size
        return self._server.hold(change)

    async def _answer(self, found: Sequence[Frame | FrameError]) -> bool:
        """Handle what came and write the answers; False if the server is closing and the rest must come again."""
        for one in found:
            if self._server.is_closing:
                return False
            self.is_busy = True
            try:
                answers = await self._server.answers_to(one, self.peer)
                if answers:
                    self._writer.write(b"".join(frame(answer) for answer in answers))
                    async with asyncio.timeout(self._server.limits.send_s):
                        await self._writer.drain()
            finally:
                self.is_busy = False
            await asyncio.sleep(0)  # whoever else has a message is next, also where the handler never had to wait
        return True

    def _tune(self) -> None:
        if self._socket is None or self._socket.family not in (socket.AF_INET, socket.AF_INET6):
            return
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, seconds in _KEEPALIVE:
                if (option := getattr(socket, name, None)) is not None:
                    self._socket.setsockopt(socket.IPPROTO_TCP, option, seconds)

    async def _close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        self._writer.transport.abort()


async def _only_log(error: FrameError, peer: PeerAddress) -> None:
    _log.warning("hl7_frame_refused", peer=str(peer), fault=error.fault.value, size=error.size)
