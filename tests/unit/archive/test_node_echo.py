"""A node is asked whether it is there: when somebody asks and on a schedule; every way to fail has its own plain words."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from pynetdicom import AE, evt

from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import add_node, change_node, get_node, remove_node, set_enabled
from fileroom.archive.node_echo import (
    EXPLANATIONS,
    SLOTS,
    EchoProblem,
    echo_due,
    echo_histories,
    echo_node,
    explain,
    forget_old_echoes,
)
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError

VERIFICATION, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.1.2"


@contextlib.contextmanager
def peer(*, sop_class: str = VERIFICATION, known: tuple[str, ...] = (), title_check: bool = False) -> Iterator[int]:
    entity = AE(ae_title="PEER")
    entity.add_supported_context(sop_class)
    entity.require_calling_aet = list(known)
    entity.require_called_aet = title_check
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _: 0)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """Takes connections and says nothing."""
    ended = asyncio.Event()

    async def wait(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    ended.set()
    server.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


async def add(archive: Archive, port: int, **fields: object) -> Node:
    return await add_node(archive.pool, dataclasses.replace(Node("ws", "PEER", "127.0.0.1", port), **fields))  # type: ignore[arg-type]


async def test_a_node_that_is_there_answers_and_the_answer_is_kept(archive: Archive) -> None:
    with peer() as port:
        node = await add(archive, port)
        result = await echo_node(archive, "ws")
    assert result.is_answered
    assert result.latency_ms is not None
    assert 0 < result.latency_ms < 5000
    history = (await echo_histories(archive, [node]))["ws"]
    assert history.last is not None
    assert history.last.is_answered
    assert history.answered_at == result.asked_at
    assert len(history.ticks) == SLOTS
    assert [(tick.asked, tick.failed) for tick in history.ticks if tick.asked] == [(1, 0)]


async def test_a_port_where_nobody_listens_is_told_so(archive: Archive) -> None:
    node = await add(archive, free_port())
    result = await echo_node(archive, "ws")
    assert result.problem is EchoProblem.PORT_CLOSED
    assert f"nothing listens on port {node.port}" in explain(node, result, "FILEROOM")
    history = (await echo_histories(archive, [node]))["ws"]
    assert (history.ticks[-1].asked, history.ticks[-1].failed, history.answered_at) == (1, 1, None)


async def test_a_host_that_nobody_knows_is_told_so(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = socket.getaddrinfo

    def unknown(host: str, *rest: object, **more: object) -> object:
        if host == "gone.hospital.invalid":
            raise socket.gaierror(-2, "Name or service not known")
        return asked(host, *rest, **more)  # type: ignore[arg-type]

    await add(archive, 104, host="gone.hospital.invalid")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert (await echo_node(archive, "ws")).problem is EchoProblem.NO_SUCH_HOST


async def test_a_node_that_hangs_is_told_so_in_its_own_time(archive: Archive, silent_port: int) -> None:
    await add(archive, silent_port, response_timeout_s=1)
    assert (await echo_node(archive, "ws")).problem is EchoProblem.NO_ANSWER


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"known": ("OTHER",)}, EchoProblem.KNOWS_US_NOT),
        ({"title_check": True}, EchoProblem.CALLED_OTHERWISE),
        ({"sop_class": CT}, EchoProblem.NO_ECHO),
    ],
)
async def test_a_refusal_is_told_by_its_reason(archive: Archive, how: dict[str, object], problem: EchoProblem) -> None:
    with peer(**how) as port:  # type: ignore[arg-type]
        node = await add(archive, port, aet="WRONG" if "title_check" in how else "PEER")
        result = await echo_node(archive, "ws")
    assert result.problem is problem
    assert result.detail
    assert "%" not in explain(node, result, "FILEROOM")


async def test_our_title_there_is_the_one_that_the_node_says(archive: Archive) -> None:
    with peer(known=("OURS",)) as port:
        await add(archive, port, own_aet="OURS")
        assert (await echo_node(archive, "ws")).is_answered


async def test_the_schedule_asks_each_enabled_node_when_its_time_has_come(archive: Archive) -> None:
    port = free_port()
    for name, fields in {"a": {}, "b": {"echo_interval_s": 0}, "c": {"enabled": False}}.items():
        await add_node(archive.pool, Node(name, name.upper(), "127.0.0.1", port, **fields))  # type: ignore[arg-type]
    assert await echo_due(archive) == 0  # a new one is asked when its interval has passed
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE node_echo_due SET due_at = now() - interval '1 second'")
    assert await echo_due(archive) == 1
    assert await echo_due(archive) == 0
    nodes = [await get_node(archive.pool, name) for name in "abc"]
    asked = {
        name: sum(tick.asked for tick in one.ticks) for name, one in (await echo_histories(archive, nodes)).items()
    }
    assert asked == {"a": 1, "b": 0, "c": 0}


async def test_a_shorter_interval_holds_at_once(archive: Archive) -> None:
    node = await add(archive, free_port(), echo_interval_s=86_400)
    await echo_due(archive)
    await change_node(archive.pool, "ws", dataclasses.replace(node, echo_interval_s=10))
    assert await echo_due(archive) == 1


async def test_old_answers_are_forgotten_and_a_removed_node_takes_its_own_along(archive: Archive) -> None:
    node = await add(archive, free_port())
    await echo_node(archive, "ws")
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"INSERT INTO node_echo (node_id, asked_at) VALUES (%s, now() - interval '8 days')", (node.id,)
        )
        await forget_old_echoes(archive)
        rows = await (await connection.execute(b"SELECT count(*) FROM node_echo")).fetchone()
        assert rows == (1,)
        await set_enabled(archive.pool, "ws", enabled=False)
        assert not (await echo_node(archive, "ws")).is_answered  # one may ask a disabled node by hand
        await remove_node(archive.pool, "ws")
        rows = await (await connection.execute(b"SELECT count(*) FROM node_echo")).fetchone()
        assert rows == (0,)
    with pytest.raises(NotFoundError):
        await echo_node(archive, "ws")


def test_every_problem_has_its_words() -> None:
    assert set(EXPLANATIONS) == set(EchoProblem) - {EchoProblem.NONE}
