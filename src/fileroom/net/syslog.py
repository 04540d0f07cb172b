"""Sending to a syslog server: messages of RFC 5424 over TLS (RFC 5425), TCP (RFC 6587, counted octets) or UDP (RFC 5426).

Syslog has no answers. What was written is counted as `delivered` only when the server's machine has acknowledged it (TCP) and
the connection has stood SETTLE_S longer; what was on its way when a connection broke is sent again by the caller.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import datetime as dt
import enum
import fcntl
import os
import socket
import ssl
import sys
import termios
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fileroom.core.errors import ConfigurationError, PeerError, PeerRefusedError, PeerTimeoutError
from fileroom.core.limits import CONNECT_TIMEOUT_S, SEND_TIMEOUT_S

SETTLE_S: Final = 2.0
"""A server that dies takes what its system had acknowledged and it had not read: that is told by the reset connection."""
UDP_BYTES_MAX: Final = 65_000
"""An IP packet has at most 65,535 bytes; a longer message is cut (PS3.15 A.7 warns of it)."""
NOTICE: Final = 5
WARNING: Final = 4
_FACILITY: Final = 10
"""security/authorization messages (PS3.15 A.6)."""
_MESSAGE_ID: Final = "DICOM+RFC3881"
_BOM: Final = b"\xef\xbb\xbf"


class SyslogTransport(enum.StrEnum):
    """How messages go; the value is the scheme of the address."""

    TLS = "tls"
    TCP = "tcp"
    UDP = "udp"


_PORTS: Final = {SyslogTransport.TLS: 6514, SyslogTransport.TCP: 601, SyslogTransport.UDP: 514}


@dataclass(frozen=True, slots=True)
class SyslogServer:
    """Where a server is, and how it is trusted: `ca` are the certificates it is checked by (empty: the system's);
    `certificate` and `key` are what we show."""

    transport: SyslogTransport
    host: str
    port: int
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value}://{host}:{self.port}"


def parse_server(
    url: str, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> SyslogServer:
    """`tls://host:6514`, `tcp://host:601`, `udp://host:514`; the port may be left out. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        transport = SyslogTransport(parts.scheme)
        host, port = parts.hostname, parts.port or _PORTS[transport]
        if not host or parts.path.strip("/") or parts.query or parts.username:
            raise ValueError(url)
    except ValueError as error:
        raise ConfigurationError(
            f"{url!r:.100} is no address of a syslog server; write tls://HOST:6514, tcp://HOST:601 or udp://HOST:514."
        ) from error
    return SyslogServer(transport, host, port, ca, certificate, key)


def format_message(content: bytes, at: dt.datetime, severity: int, hostname: str, process: str) -> bytes:
    """A SYSLOG-MSG (RFC 5424 6) with `content` as MSG, which is UTF-8."""
    moment = at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    priority = _FACILITY * 8 + severity
    header = f"<{priority}>1 {moment} {_name(hostname, 255)} fileroom {_name(process, 128)} {_MESSAGE_ID} - "
    return header.encode("ascii") + _BOM + content


def _name(text: str, length: int) -> str:
    """PRINTUSASCII of a header field; `-` for none."""
    return "".join(character for character in text if "!" <= character <= "~")[:length] or "-"


class SyslogConnection:
    """One connection. Messages have numbers that grow; `delivered` is the highest that is known to be safe."""

    def __init__(self, server: SyslogServer) -> None:
        self._server = server
        self._datagrams: asyncio.DatagramTransport | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._watch: asyncio.Task[None] | None = None
        self._settling: deque[tuple[float, int]] = deque()
        self._drained = 0
        self.delivered = 0

    async def open(self) -> None:
        """Connect. Raises PeerRefusedError, PeerTimeoutError, ConfigurationError for certificates that cannot be read."""
        server = self._server
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if server.transport is SyslogTransport.UDP:
                    loop = asyncio.get_running_loop()
                    self._datagrams, _ = await loop.create_datagram_endpoint(
                        asyncio.DatagramProtocol, remote_addr=(server.host, server.port)
                    )
                    return
                context = _tls_context(server) if server.transport is SyslogTransport.TLS else None
                reader, self._writer = await asyncio.open_connection(server.host, server.port, ssl=context)
        except TimeoutError as error:
            raise PeerTimeoutError(f"The syslog server {server} did not answer in {CONNECT_TIMEOUT_S:g} s.") from error
        except ssl.SSLError as error:
            raise PeerRefusedError(f"No TLS with the syslog server {server}: {error.reason or error}.") from error
        except OSError as error:
            raise PeerRefusedError(
                f"The syslog server {server} cannot be reached: {error.strerror or error}."
            ) from error
        self._watch = asyncio.create_task(_wait_for_end(reader))

    async def send(self, number: int, message: bytes) -> None:
        """Send one message. Raises PeerError when the connection is lost."""
        if self._datagrams is not None:
            self._datagrams.sendto(message[:UDP_BYTES_MAX])
            self.delivered = number
            return
        writer = self._require_writer()
        writer.write(b"%d " % len(message) + message)
        self._drained = number
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await writer.drain()
        except TimeoutError as error:
            raise PeerTimeoutError(f"The syslog server {self._server} takes nothing any more.") from error
        except OSError as error:
            raise self._lost() from error

    def settle(self) -> int:
        """Look what has become safe; the number of the last message that is. Raises PeerError for a lost connection."""
        if self._datagrams is not None:
            return self.delivered
        writer = self._require_writer()
        now = asyncio.get_running_loop().time()
        last = self._settling[-1][1] if self._settling else self.delivered
        if self._drained > last and not writer.transport.get_write_buffer_size() and not _unacknowledged(writer):
            self._settling.append((now, self._drained))
        while self._settling and now - self._settling[0][0] >= SETTLE_S:
            self.delivered = self._settling.popleft()[1]
        return self.delivered

    async def close(self) -> None:
        """End the connection in order."""
        if self._watch is not None:
            self._watch.cancel()
        if self._datagrams is not None:
            self._datagrams.close()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._writer.wait_closed()

    def _require_writer(self) -> asyncio.StreamWriter:
        if self._writer is None or self._writer.is_closing() or self._watch is None or self._watch.done():
            raise self._lost()
        return self._writer

    def _lost(self) -> PeerError:
        return PeerError(f"The connection to the syslog server {self._server} was lost.")


async def _wait_for_end(reader: asyncio.StreamReader) -> None:
    """A syslog server says nothing, until it goes away."""
    with contextlib.suppress(OSError, ssl.SSLError):
        while await reader.read(4096):
            pass


def _tls_context(server: SyslogServer) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=server.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if server.certificate is not None:
            context.load_cert_chain(server.certificate, server.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"A certificate or key for the syslog server cannot be read: {error}. See the FILEROOM_AUDIT_SYSLOG_* settings."
        ) from error
    return context


def _unacknowledged(writer: asyncio.StreamWriter) -> bool:
    """Whether the other machine has not acknowledged all bytes yet (tcp(7), SIOCOUTQ); unknown elsewhere than on Linux."""
    if sys.platform != "linux":
        return False
    connection: socket.socket = writer.get_extra_info("socket")
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, waiting)
    except OSError:
        return True
    return waiting[0] > 0


def process_name() -> str:
    """What stands as PROCID."""
    return str(os.getpid())
