"""The default port, and ports of single feeds that open and close as the feeds change."""

from __future__ import annotations

import asyncio
import socket

import pytest

from fileroom.archive.services import Archive
from fileroom.feeds.alarms import heard_at
from fileroom.feeds.feeds import put_feed, remove_feed
from fileroom.feeds.inbox_search import list_messages
from fileroom.feeds.listening import Hl7Ports

END = b"\x1c\r"


def adt(control_id: str) -> bytes:
    return f"MSH|^~\\&|RIS|H|FR|H|20261122||ADT^A04|{control_id}|P|2.5\rPID|||P1^^^H^MR||Doe^Jane\r".encode()


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        async with asyncio.timeout(10):
            return await reader.readuntil(END)
    finally:
        writer.close()


def listening() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.setblocking(False)
    return made


async def test_ports_open_and_close_as_feeds_change(archive: Archive) -> None:
    ports = Hl7Ports(archive, lambda _peer, _error: None)
    default = listening()
    port = default.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    await ports.start(default)
    try:
        assert b"MSA|AA|1" in await ask(port, b"\x0b" + adt("1") + END)
        await put_feed(archive, "ct", {"direction": "in", "port": own})
        await ports.look()
        assert b"MSA|AA|2" in await ask(own, b"\x0b" + adt("2") + END)
        assert b"MSA|AR|" in await ask(port, b"\x0b" + b"GET / HTTP/1.1" + END)
        await remove_feed(archive, "ct")
        await ports.look()
        with pytest.raises(ConnectionError):
            await ask(own, b"\x0b" + adt("3") + END)
    finally:
        await ports.close(5)
    assert [(one.feed, one.control_id) for one in await list_messages(archive)] == [
        ("", ""),
        ("ct", "2"),
        ("default", "1"),
    ]
    assert set(await heard_at(archive.pool)) == {"ct", "default"}


async def test_a_port_that_is_taken_does_not_stop_the_others(archive: Archive) -> None:
    ports = Hl7Ports(archive, lambda _peer, _error: None)
    default = listening()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        await put_feed(archive, "ct", {"direction": "in", "port": other.getsockname()[1]})
        await ports.start(default)
        try:
            assert b"MSA|AA|1" in await ask(default.getsockname()[1], b"\x0b" + adt("1") + END)
        finally:
            await ports.close(5)


async def test_fifty_senders_all_get_their_turn(archive: Archive) -> None:
    ports = Hl7Ports(archive, lambda _peer, _error: None)
    default = listening()
    await ports.start(default)
    try:
        asked = (ask(default.getsockname()[1], b"\x0b" + adt(str(number)) + END) for number in range(50))
        answers = await asyncio.gather(*asked)
    finally:
        await ports.close(5)
    assert all(b"MSA|AA|%d" % number in answer for number, answer in enumerate(answers))
