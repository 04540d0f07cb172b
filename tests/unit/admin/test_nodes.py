"""Nodes have unique names and titles; callers that nobody knows are turned away and noted."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from fileroom.admin import callers
from fileroom.admin.callers import list_held_callers, may_call
from fileroom.admin.nodes import Node, add_node, find_node, list_nodes, remove_node
from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError

CT1 = Node("CT1", "CT_ONE", "10.1.2.3", 104)


async def test_a_node_is_found_by_its_title_and_by_its_name(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    assert await find_node(archive.pool, aet="CT_ONE") == CT1
    assert await find_node(archive.pool, name="CT1") == CT1
    assert await find_node(archive.pool, aet="CT1") is None
    assert await find_node(archive.pool) is None


async def test_nodes_are_listed_by_name(archive: Archive) -> None:
    for name in ("B", "C", "A"):
        await add_node(archive.pool, Node(name, f"AET_{name}", "h", 1))
    assert [node.name for node in await list_nodes(archive.pool)] == ["A", "B", "C"]


async def test_names_and_titles_lose_their_padding(archive: Archive) -> None:
    await add_node(archive.pool, Node(" CT1 ", " CT_ONE ", "10.1.2.3", 104))
    assert await list_nodes(archive.pool) == [CT1]


@pytest.mark.parametrize("twin", [Node("CT1", "OTHER", "h", 1), Node("OTHER", "CT_ONE", "h", 1)])
async def test_a_name_or_title_can_be_taken_once(archive: Archive, twin: Node) -> None:
    await add_node(archive.pool, CT1)
    with pytest.raises(ConflictError, match="already; see 'fileroom node list'"):
        await add_node(archive.pool, twin)
    assert await list_nodes(archive.pool) == [CT1]


@pytest.mark.parametrize(
    "node",
    [
        Node("", "A", "h", 1),
        Node("  ", "A", "h", 1),
        Node("A", "", "h", 1),
        Node("A", "TOO LONG FOR A TITLE", "h", 1),
        Node("A", "Ä", "h", 1),
        Node("A", "A", "h", 0),
        Node("A", "A", "h", 65536),
        Node("A", "A", "", 1),
        Node("A", "A", "two words", 1),
        Node("A", "A", "h\0", 1),
        Node("A\0", "A", "h", 1),
    ],
)
async def test_a_node_that_makes_no_sense_is_refused(archive: Archive, node: Node) -> None:
    with pytest.raises(InvalidRequestError):
        await add_node(archive.pool, node)
    assert await list_nodes(archive.pool) == []


async def test_a_node_is_removed_once(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    await remove_node(archive.pool, "CT1")
    with pytest.raises(NotFoundError, match="no node named CT1"):
        await remove_node(archive.pool, "CT1")


# --- who may call ---


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_may_always_call(archive: Archive, host: str) -> None:
    assert await may_call(archive.pool, "ANYBODY", host)
    assert await list_held_callers(archive.pool) == []


async def test_a_node_may_call_from_its_own_address(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    assert await may_call(archive.pool, "CT_ONE", "10.1.2.3")
    assert await may_call(archive.pool, "CT_ONE", "::ffff:10.1.2.3")  # as a socket for both kinds of IP has it
    assert not await may_call(archive.pool, "CT_ONE", "10.1.2.4")
    assert not await may_call(archive.pool, "CT1", "10.1.2.3")


async def test_a_node_known_by_a_host_name_may_call(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(_self: Any, host: str, _port: object, **_: Any) -> list[tuple[Any, ...]]:
        if host != "ct1.hospital":
            raise OSError("not known")
        return [(0, 0, 0, "", ("10.9.9.9", 0)), (0, 0, 0, "", ("fd00::9", 0, 0, 0))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", addresses)
    await add_node(archive.pool, Node("CT1", "CT_ONE", "ct1.hospital", 104))
    await add_node(archive.pool, Node("CT2", "CT_TWO", "gone.hospital", 104))
    assert await may_call(archive.pool, "CT_ONE", "10.9.9.9")
    assert await may_call(archive.pool, "CT_ONE", "fd00::9")
    assert not await may_call(archive.pool, "CT_ONE", "10.9.9.8")
    assert not await may_call(archive.pool, "CT_TWO", "10.9.9.9")


async def test_callers_turned_away_are_counted_and_the_latest_comes_first(archive: Archive) -> None:
    for aet, host in (("A", "10.0.0.1"), ("B", "10.0.0.2"), ("A", "10.0.0.1"), ("A", "10.0.0.3")):
        assert not await may_call(archive.pool, aet, host)
    held = await list_held_callers(archive.pool)
    assert [(caller.aet, caller.host, caller.calls) for caller in held] == [
        ("A", "10.0.0.3", 1),
        ("A", "10.0.0.1", 2),
        ("B", "10.0.0.2", 1),
    ]
    assert held[0].last_at.endswith("Z")


async def test_a_caller_that_becomes_a_node_is_held_no_longer(archive: Archive) -> None:
    await may_call(archive.pool, "CT_ONE", "10.1.2.3")
    await add_node(archive.pool, CT1)
    assert await list_held_callers(archive.pool) == []


async def test_a_flood_of_invented_callers_does_not_fill_the_database(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "HELD_CALLERS_MAX", 3)
    for number in range(10):
        assert not await may_call(archive.pool, f"FAKE{number}", str(ipaddress.ip_address("10.0.0.1") + number))
    held = await list_held_callers(archive.pool)
    assert [caller.aet for caller in held] == ["FAKE9", "FAKE8", "FAKE7"]


@pytest.mark.parametrize("aet", ["", "\0\0", "A\0B", "\udcff", "x" * 16])
async def test_odd_titles_are_turned_away_without_ado(archive: Archive, aet: str) -> None:
    assert not await may_call(archive.pool, aet, "10.0.0.1")
