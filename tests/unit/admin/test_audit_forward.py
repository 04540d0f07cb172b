"""Sending the trail on: in order, nothing lost, and only what has settled is not sent again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from audit_schema import check
from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_chain import seal_waiting
from fileroom.admin.audit_forward import AuditForwarder, forwarder_of
from fileroom.admin.audit_xml import AuditSource
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.net import syslog
from fileroom.net.syslog import SyslogServer, SyslogTransport
from unit.net.test_syslog import FrameServer, frame_server


async def fill(archive: Archive, first: int, count: int) -> None:
    for number in range(first, first + count):
        await record_alone(archive.pool, events.role_changed(f"role-{number}", "changed"))
    await seal_waiting(archive.pool)


def forwarder_to(archive: Archive, port: int) -> AuditForwarder:
    server = SyslogServer(SyslogTransport.TCP, "127.0.0.1", port)
    return AuditForwarder(archive.pool, server, AuditSource("FILEROOM"))


def numbers(server: FrameServer) -> list[int]:
    """The roles' numbers, in the order in which they came; each frame must be a whole, valid message."""
    found = []
    for frame in server.frames:
        check(frame.partition(b"\xef\xbb\xbf")[2])
        found.append(int(re.findall(rb"role-(\d+)", frame)[0]))
    return found


async def step_until(forwarder: AuditForwarder, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await forwarder.step()
            await asyncio.sleep(0)


async def position(archive: Archive) -> int:
    async with archive.pool.connection() as connection:
        row = await (await connection.execute("SELECT coalesce(max(position), 0) FROM audit_forward")).fetchone()
        assert row
        return int(row[0])


async def test_everything_arrives_in_order_and_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syslog, "SETTLE_S", 0.0)
    await fill(archive, 0, 20)
    async with frame_server() as server:
        forwarder = forwarder_to(archive, server.port)
        await step_until(forwarder, lambda: len(server.frames) >= 20)
        async with asyncio.timeout(20):
            while await position(archive) < 20:
                await forwarder.step()
        await forwarder.close()
        await fill(archive, 20, 5)
        other = forwarder_to(archive, server.port)  # as after a restart
        await step_until(other, lambda: len(server.frames) >= 25)
        await other.close()
        assert numbers(server) == list(range(25))


async def test_what_has_not_settled_is_sent_again_after_a_restart(archive: Archive) -> None:
    await fill(archive, 0, 3)
    async with frame_server() as server:
        forwarder = forwarder_to(archive, server.port)
        await step_until(forwarder, lambda: len(server.frames) >= 3)
        await forwarder.close()
        assert await position(archive) == 0
        other = forwarder_to(archive, server.port)
        await step_until(other, lambda: len(server.frames) >= 6)
        await other.close()
        assert numbers(server) == [0, 1, 2, 0, 1, 2]


async def test_a_server_that_hangs_up_gets_again_what_it_may_have_lost(archive: Archive) -> None:
    await fill(archive, 0, 30)
    async with frame_server() as server:
        server.drop_after = 7
        forwarder = forwarder_to(archive, server.port)
        await step_until(forwarder, lambda: server.connections >= 2)
        server.drop_after = 10**9
        await step_until(forwarder, lambda: 29 in numbers(server))
        await forwarder.close()
        assert set(numbers(server)) == set(range(30))


async def test_a_server_that_is_away_is_waited_for(archive: Archive) -> None:
    await fill(archive, 0, 4)
    async with frame_server() as server:
        port = server.port
    forwarder = forwarder_to(archive, port)
    assert await forwarder.step() == 0
    async with frame_server(port) as server:
        await step_until(forwarder, lambda: len(server.frames) >= 4)
        assert numbers(server) == [0, 1, 2, 3]
        await forwarder.close()


async def test_of_two_workers_one_sends(archive: Archive) -> None:
    await fill(archive, 0, 2)
    async with frame_server() as server:
        one, other = forwarder_to(archive, server.port), forwarder_to(archive, server.port)
        async with archive.pool.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO audit_forward (target, position) VALUES (%s, 0)", (f"tcp://127.0.0.1:{server.port}",)
            )
            await connection.execute("SELECT 1")
        async with archive.pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM audit_forward FOR UPDATE")
            assert await one.step() == 0
        await step_until(other, lambda: len(server.frames) >= 2)
        await other.close()


def test_no_server_no_forwarder(archive: Archive) -> None:
    assert forwarder_of(archive.pool, Settings()) is None
    assert forwarder_of(archive.pool, Settings(audit_syslog_url="tls://log.example")) is not None


@pytest.mark.parametrize("url", ["log.example", "https://log.example"])
def test_a_wrong_address_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ValueError, match="tls://HOST"):
        Settings(audit_syslog_url=url)
