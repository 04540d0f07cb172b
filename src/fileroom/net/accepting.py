"""A listening socket whose connections may speak TLS, by the context of the moment.

asyncio's own server binds one context for its life, and tells nobody why a handshake failed. Here each connection gets the
context that is current when it comes, so that a new certificate needs no restart and open connections keep theirs; and
a failed handshake is told with the caller's address.

A port that speaks both looks at the first byte, without taking it: a TLS record of a handshake begins with 16H (RFC 8446
5.1), which no HTTP request does.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from fileroom.core.errors import PeerRefusedError
from fileroom.core.limits import CONNECT_TIMEOUT_S, HANDSHAKES_MAX
from fileroom.net.association_handler import PeerAddress

_log: Final = structlog.get_logger(__name__)

_TLS_HANDSHAKE: Final = b"\x16"
_ACCEPT_PAUSE_S: Final = 1.0
"""When the system has no file left for another connection."""


class Listener:
    """Accepts on a socket that other processes may share. Belongs to one event loop."""

    def __init__(
        self,
        listening: socket.socket,
        new_protocol: Callable[[], asyncio.BaseProtocol],
        current_context: Callable[[], ssl.SSLContext | None],
        *,
        takes_plain: bool,
        on_refused: Callable[[PeerAddress, BaseException], None],
        opening_max: int = HANDSHAKES_MAX,
        first_byte_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        """`takes_plain`: callers without TLS are served too. `on_refused` hears of each handshake that failed."""
        self._listening = listening
        self._new_protocol = new_protocol
        self._current_context = current_context
        self._takes_plain = takes_plain
        self._on_refused = on_refused
        self._opening_max = opening_max
        self._first_byte_timeout_s = first_byte_timeout_s
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def start(self) -> None:
        """Accept from now on."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept no more. Connections that are open stay; those that are being opened are dropped."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._listening)
            for task in self._opening:
                task.cancel()
            self._listening.close()

    async def wait_closed(self) -> None:
        """Until what was being opened has gone."""
        if self._opening:
            await asyncio.wait(self._opening)

    def _accept(self) -> None:
        """One at a time: another process may take the next one."""
        try:
            connection, address = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            _log.warning("connection_not_accepted", reason=error.strerror)
            self._loop.remove_reader(self._listening)
            self._loop.call_later(_ACCEPT_PAUSE_S, self._accept_again)
            return
        if len(self._opening) >= self._opening_max:
            connection.close()
            return
        task = self._loop.create_task(self._open(connection, PeerAddress(str(address[0]), int(address[1]), tls=True)))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _accept_again(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening, self._accept)

    async def _open(self, connection: socket.socket, peer: PeerAddress) -> None:
        try:
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = self._current_context()
            if context is None and not self._takes_plain:
                raise PeerRefusedError(
                    "this port has no certificate; add one under Certificates, or by the command line"
                )
            if context is not None and self._takes_plain and not await self._speaks_tls(connection):
                context = None
            timeout_s = CONNECT_TIMEOUT_S if context is not None else None
            await self._loop.connect_accepted_socket(
                self._new_protocol, connection, ssl=context, ssl_handshake_timeout=timeout_s
            )
        except asyncio.CancelledError:
            connection.close()
            raise
        except (OSError, TimeoutError, PeerRefusedError) as error:
            connection.close()
            if isinstance(error, ssl.SSLError | TimeoutError) or not self._takes_plain:
                self._on_refused(peer, error)

    async def _speaks_tls(self, connection: socket.socket) -> bool:
        """Wait for the first byte. Raises OSError when there is none."""
        readable: asyncio.Future[None] = self._loop.create_future()

        def note() -> None:
            if not readable.done():
                readable.set_result(None)

        self._loop.add_reader(connection, note)
        try:
            async with asyncio.timeout(self._first_byte_timeout_s):
                await readable
        except TimeoutError:
            raise ConnectionAbortedError("it said nothing") from None
        finally:
            self._loop.remove_reader(connection)
        first = connection.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionAbortedError("it closed the connection")
        return first == _TLS_HANDSHAKE
