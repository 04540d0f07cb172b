"""Syslog: messages of RFC 5424, frames of RFC 5425 and 6587, and what counts as delivered."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fileroom.core.errors import ConfigurationError, PeerError, PeerRefusedError
from fileroom.net import syslog
from fileroom.net.syslog import SyslogConnection, SyslogServer, SyslogTransport, format_message, parse_server

AT = dt.datetime(2026, 3, 1, 12, 30, 5, 123456, dt.timezone(dt.timedelta(hours=1)))


class FrameServer:
    """A TCP server that takes counted frames."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.drop_after = 10**9
        self._arrived = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            for _ in range(self.drop_after):
                length = int(await reader.readuntil(b" "))
                self.frames.append(await reader.readexactly(length))
                self._arrived.set()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def wait_for(self, arrived: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not arrived():
                self._arrived.clear()
                await self._arrived.wait()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def frame_server(port: int = 0) -> AsyncIterator[FrameServer]:
    state = FrameServer()
    server = await asyncio.start_server(state.serve, "127.0.0.1", port)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        state.hang_up()
        await server.wait_closed()


def test_a_message_is_one_of_rfc_5424() -> None:
    message = format_message("<AuditMessage>ö</AuditMessage>".encode(), AT, syslog.NOTICE, "pacs 1ö", "")
    header, _, content = message.partition(b"\xef\xbb\xbf")
    assert header == b"<85>1 2026-03-01T11:30:05.123Z pacs1 fileroom - DICOM+RFC3881 - "
    assert content.decode() == "<AuditMessage>ö</AuditMessage>"
    assert format_message(b"", AT, syslog.WARNING, "a", "b").startswith(b"<84>1 ")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("tls://log.example", ("tls", "log.example", 6514)),
        ("tls://[::1]:7000", ("tls", "::1", 7000)),
        ("tcp://log.example/", ("tcp", "log.example", 601)),
        ("udp://10.0.0.1:5514", ("udp", "10.0.0.1", 5514)),
    ],
)
def test_addresses(url: str, expected: tuple[str, str, int]) -> None:
    server = parse_server(url)
    assert (server.transport.value, server.host, server.port) == expected
    assert parse_server(str(server)) == server


@pytest.mark.parametrize("url", ["", "log.example", "http://x", "tls://", "tls://x:99999", "tls://u@x", "tls://x/path"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_server(url)


async def test_frames_are_counted_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "SETTLE_S", 0.0)
    async with frame_server() as server:
        connection = SyslogConnection(SyslogServer(SyslogTransport.TCP, "127.0.0.1", server.port))
        await connection.open()
        messages = ["ö 1 2".encode(), b"x" * 100_000, b"7 "]
        for number, message in enumerate(messages, 1):
            await connection.send(number, message)
        await server.wait_for(lambda: len(server.frames) == 3)
        assert server.frames == messages
        async with asyncio.timeout(10):
            while connection.settle() < 3:
                await asyncio.sleep(0)
        await connection.close()


async def test_what_has_not_settled_is_not_delivered() -> None:
    async with frame_server() as server:
        connection = SyslogConnection(SyslogServer(SyslogTransport.TCP, "127.0.0.1", server.port))
        await connection.open()
        await connection.send(1, b"x")
        await server.wait_for(lambda: len(server.frames) == 1)
        assert connection.settle() == 0
        await connection.close()


async def test_a_lost_connection_is_noticed_before_anything_counts() -> None:
    async with frame_server() as server:
        connection = SyslogConnection(SyslogServer(SyslogTransport.TCP, "127.0.0.1", server.port))
        await connection.open()
        await connection.send(1, b"x")
        await server.wait_for(lambda: len(server.frames) == 1)
        server.hang_up()
        with pytest.raises(PeerError, match="lost"):
            async with asyncio.timeout(10):
                while True:
                    assert connection.settle() == 0
                    await asyncio.sleep(0)
        await connection.close()


async def test_nobody_there() -> None:
    async with frame_server() as server:
        port = server.port
    with pytest.raises(PeerRefusedError):
        await SyslogConnection(SyslogServer(SyslogTransport.TCP, "127.0.0.1", port)).open()


async def test_datagrams() -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            got.put_nowait(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    connection = SyslogConnection(SyslogServer(SyslogTransport.UDP, "127.0.0.1", port))
    await connection.open()
    await connection.send(1, b"hello")
    await connection.send(2, b"x" * 100_000)
    async with asyncio.timeout(10):
        assert await got.get() == b"hello"
        assert len(await got.get()) == syslog.UDP_BYTES_MAX
    assert connection.settle() == 2
    await connection.close()
    transport.close()


async def test_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    server = SyslogServer(SyslogTransport.TLS, "127.0.0.1", 1, ca=tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match="AUDIT_SYSLOG"):
        await SyslogConnection(server).open()
