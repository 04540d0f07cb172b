"""Who may call is decided by the node's addresses, state, TLS and limits; held callers are approved or ignored."""

from __future__ import annotations

import dataclasses

import pytest

from fileroom.admin.callers import (
    admit,
    approve_caller,
    free_slot,
    ignore_caller,
    list_held_callers,
    may_call,
    pace,
    renew_slots,
    take_slot,
)
from fileroom.admin.ledger_rows import Cause
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import add_node, change_node, find_node, get_node, set_enabled
from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, NotFoundError
from fileroom.net.tls import PeerCertificate

CT1 = Node("CT1", "CT_ONE", "10.1.2.3", 104)


async def cause(archive: Archive, host: str, **shown: object) -> Cause:
    return (await admit(archive.pool, "CT_ONE", host, **shown)).cause  # type: ignore[arg-type]


async def test_a_disabled_node_may_not_call_even_from_this_machine(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    assert await cause(archive, "127.0.0.1") is Cause.NONE
    await set_enabled(archive.pool, "CT1", enabled=False)
    assert await cause(archive, "127.0.0.1") is Cause.NODE_DISABLED
    assert await cause(archive, "10.1.2.3") is Cause.NODE_DISABLED
    assert await list_held_callers(archive.pool) == []  # an administrator has decided already


async def test_addresses_take_the_place_of_the_host_and_of_this_machine(archive: Archive) -> None:
    await add_node(archive.pool, dataclasses.replace(CT1, calling_from=("10.7.0.0/16", "fd00::/8", "127.0.0.2")))
    for host in ("10.7.200.1", "::ffff:10.7.0.9", "fd00::5", "127.0.0.2"):
        assert await cause(archive, host) is Cause.NONE
    for host in ("10.1.2.3", "10.8.0.1", "127.0.0.1", "::1", "fe80::1"):
        assert await cause(archive, host) is Cause.OTHER_ADDRESS
    assert {one.host for one in await list_held_callers(archive.pool)} == {
        "10.1.2.3",
        "10.8.0.1",
        "127.0.0.1",
        "::1",
        "fe80::1",
    }


async def test_a_node_that_must_use_tls_must_show_the_right_certificate(archive: Archive) -> None:
    node = await add_node(archive.pool, dataclasses.replace(CT1, tls="on"))
    right, wrong = PeerCertificate("CN=ct1,O=Hospital", "ab" * 32), PeerCertificate("CN=mr1", "cd" * 32)
    assert await cause(archive, "127.0.0.1") is Cause.TLS_DEMANDED
    assert await cause(archive, "127.0.0.1", tls=True) is Cause.NONE
    node = await change_node(archive.pool, "CT1", dataclasses.replace(node, tls="mutual"))
    assert await cause(archive, "127.0.0.1", tls=True) is Cause.TLS_DEMANDED
    assert await cause(archive, "127.0.0.1", tls=True, certificate=wrong) is Cause.NONE
    for pin in ({"tls_subject": "cn=CT1"}, {"tls_subject": "", "tls_fingerprint": "ab" * 32}):
        node = await change_node(archive.pool, "CT1", dataclasses.replace(node, **pin))
        assert await cause(archive, "127.0.0.1", tls=True, certificate=wrong) is Cause.TLS_DEMANDED
        assert await cause(archive, "127.0.0.1", tls=True, certificate=right) is Cause.NONE


async def test_one_click_makes_a_node_of_a_held_caller(archive: Archive) -> None:
    await may_call(archive.pool, "MR7", "10.9.8.7")
    node = await approve_caller(archive.pool, "MR7", "10.9.8.7")
    assert (node.name, node.aet, node.host, node.port) == ("MR7", "MR7", "10.9.8.7", 104)
    assert await may_call(archive.pool, "MR7", "10.9.8.7")
    with pytest.raises(NotFoundError):
        await approve_caller(archive.pool, "MR7", "10.9.8.7")


async def test_a_node_that_calls_from_elsewhere_is_approved_by_its_address(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    assert not await may_call(archive.pool, "CT_ONE", "10.1.2.99")
    await approve_caller(archive.pool, "CT_ONE", "10.1.2.99", name="ignored here")
    assert (await get_node(archive.pool, "CT1")).calling_from == ("10.1.2.3", "10.1.2.99")
    assert await may_call(archive.pool, "CT_ONE", "10.1.2.99")
    assert await may_call(archive.pool, "CT_ONE", "10.1.2.3")


async def test_a_name_that_is_taken_is_told_and_the_caller_waits_on(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    await may_call(archive.pool, "MR7", "10.9.8.7")
    with pytest.raises(ConflictError):
        await approve_caller(archive.pool, "MR7", "10.9.8.7", name="CT1")
    assert [one.aet for one in await list_held_callers(archive.pool)] == ["MR7"]


async def test_an_ignored_caller_is_listed_apart_and_still_turned_away(archive: Archive) -> None:
    await may_call(archive.pool, "SCANNER", "10.9.8.7")
    await ignore_caller(archive.pool, "SCANNER", "10.9.8.7")
    assert not await may_call(archive.pool, "SCANNER", "10.9.8.7")
    assert await list_held_callers(archive.pool) == []
    ignored = await list_held_callers(archive.pool, ignored=True)
    assert [(one.aet, one.calls, one.ignored) for one in ignored] == [("SCANNER", 2, True)]
    await ignore_caller(archive.pool, "SCANNER", "10.9.8.7", ignored=False)
    assert [one.aet for one in await list_held_callers(archive.pool)] == ["SCANNER"]
    assert await find_node(archive.pool, aet="SCANNER") is None


async def test_places_for_associations_are_counted_for_all_workers_and_expire(archive: Archive) -> None:
    node = await add_node(archive.pool, dataclasses.replace(CT1, associations_max=2))
    first, second = await take_slot(archive.pool, node), await take_slot(archive.pool, node)
    assert first is not None
    assert second is not None
    assert await take_slot(archive.pool, node) is None
    await free_slot(archive.pool, first)
    third = await take_slot(archive.pool, node)
    assert third is not None
    async with archive.pool.connection() as connection:  # both workers were killed half a minute ago
        await connection.execute(b"UPDATE node_association SET expires_at = now() - interval '1 second'")
    await renew_slots(archive.pool, [third])
    assert await take_slot(archive.pool, node) is not None
    assert await take_slot(archive.pool, node) is None


async def test_the_pace_holds_the_answers_back(archive: Archive) -> None:
    node = await add_node(archive.pool, dataclasses.replace(CT1, objects_per_minute_max=60))
    waits = [await pace(archive.pool, node) for _ in range(4)]
    assert waits[0] == 0
    assert [round(wait) for wait in waits[1:]] == [1, 2, 3]
