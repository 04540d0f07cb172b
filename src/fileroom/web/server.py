"""The HTTP server's socket side: TLS by the certificate of the moment, and one call to the system for what an answer writes.

uvicorn writes the head of an answer, and every piece of its body, as they come; the loop hands each to the system at once.
For a frame that made four calls, each waking up the client. Gathered until the loop's next turn, an 8 KiB frame costs the
server a fifth less time in the system and the client a third less.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import structlog
import uvicorn

from fileroom.core.limits import HTTP_CONNECTIONS_MAX, HTTP_HEAD_TIMEOUT_S, STREAM_CHUNK_BYTES
from fileroom.net.accepting import Listener
from fileroom.net.association_handler import PeerAddress
from fileroom.net.tls import ServerTls, why_refused
from fileroom.web.connection import BoundedHttpProtocol

_log: Final = structlog.get_logger(__name__)


class TlsServer(uvicorn.Server):
    """uvicorn's server on sockets that it is given; its connections speak HTTP or, once there is a certificate, HTTPS too."""

    def __init__(self, config: uvicorn.Config, current: Callable[[], ServerTls | None]) -> None:
        super().__init__(config)
        self._current = current

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """In place of uvicorn's own, whose servers keep one context for life."""
        await self.lifespan.startup()
        self.servers = [self._listener(one) for one in sockets or []]  # type: ignore[misc]  # `close` and `wait_closed` are used
        for server in self.servers:
            server.start()  # type: ignore[attr-defined]
        self.started = True

    def _listener(self, listening: socket.socket) -> Listener:
        def new_protocol() -> asyncio.BaseProtocol:
            made = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn does it
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return cast(asyncio.BaseProtocol, made)

        def context() -> ssl.SSLContext | None:
            found = self._current()
            return found.context if found is not None else None

        def refused(peer: PeerAddress, error: BaseException) -> None:
            # Browsers try connections that they do not use, and scanners everything.
            _log.debug("https_refused", peer=str(peer), reason=why_refused(error))

        return Listener(
            listening,
            new_protocol,
            context,
            takes_plain=True,
            on_refused=refused,
            opening_max=HTTP_CONNECTIONS_MAX,
            first_byte_timeout_s=HTTP_HEAD_TIMEOUT_S,
        )


class GatheringHttpProtocol(BoundedHttpProtocol):
    """uvicorn's HTTP protocol within our limits, for `uvicorn.Config(http=...)`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Put the gathering transport between."""
        super().connection_made(_GatheringTransport(transport))  # type: ignore[arg-type]  # a TCP transport


class _GatheringTransport(asyncio.Transport):
    """Keeps written bytes until the loop's next turn, or until a whole piece of a stream has gathered."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes | bytearray | memoryview] = []
        self._gathered_bytes = 0

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Keep `data`; nobody may change it any more."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes > STREAM_CHUNK_BYTES:
            # A stream whose bytes are all in memory never lets the loop turn: without this it would gather all of it.
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        """Keep all of them."""
        for data in list_of_data:
            self.write(data)

    def _flush(self) -> None:
        if not self._gathered:
            return
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if len(gathered) == 1:
            self._transport.write(gathered[0])
        else:
            self._transport.writelines(gathered)

    def close(self) -> None:
        """Send what is left, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._gathered.clear()
        self._transport.abort()

    # --- the rest is the transport's own ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio has it."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """As asyncio has it."""
        return self._transport.is_closing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """As asyncio has it."""
        self._flush()
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """As asyncio has it."""
        return self._transport.get_protocol()

    def is_reading(self) -> bool:
        """As asyncio has it."""
        return self._transport.is_reading()

    def pause_reading(self) -> None:
        """As asyncio has it."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """As asyncio has it."""
        self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that the system has not taken."""
        return self._gathered_bytes + self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As asyncio has it."""
        self._transport.set_write_buffer_limits(high, low)

    def can_write_eof(self) -> bool:
        """HTTP never half-closes."""
        return False
