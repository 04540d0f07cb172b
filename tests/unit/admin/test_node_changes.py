"""Changes of nodes are checked, are versions, stand in the audit trail, and do not swallow what another has done meanwhile."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fileroom.admin.node_fields import Node, checked, with_texts
from fileroom.admin.nodes import (
    EditedMeanwhileError,
    add_node,
    change_node,
    find_destination,
    get_node,
    list_destinations,
    list_versions,
    set_enabled,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError

CT1 = Node("CT1", "CT_ONE", "10.1.2.3", 104)
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


def person(name: str) -> Access:
    return Access(ActorKind.PERSON, name, frozenset({Permission.NODE_MANAGE, Permission.NODE_READ}))


async def audited(archive: Archive) -> list[str]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT message::text FROM audit_event ORDER BY id")
        return [row[0] for row in await cursor.fetchall()]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("calling_from", "10.1.0.5/16, 10.2.2.2;fd00::/8", ("10.1.0.0/16", "10.2.2.2", "fd00::/8")),
        ("roles", "commit SEND", ("send", "commit")),
        ("roles", "", ()),
        ("tls", " Mutual ", "mutual"),
        ("tls_fingerprint", "AB:" * 31 + "CD", "ab" * 31 + "cd"),
        ("charset", "iso_ir 100", "ISO_IR 100"),
        ("accept_syntaxes", JPEG_LOSSLESS, (JPEG_LOSSLESS,)),
        ("own_aet", " OTHER ", "OTHER"),
        ("echo_interval_s", "0", 0),
        ("enabled", "no", False),
        ("location", " Room 1 ", "Room 1"),
    ],
)
def test_a_field_is_brought_into_its_normal_form(field: str, text: str, value: object) -> None:
    assert getattr(checked(with_texts(CT1, {field: text})), field) == value


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("calling_from", "10.1.2.300", "no address or network"),
        ("roles", "send,rule", "no role"),
        ("tls", "maybe", "TLS is"),
        ("tls_fingerprint", "12", "64 hexadecimal"),
        ("charset", "ISO_IR 999", "character set"),
        ("accept_syntaxes", "1.2.3", "transfer syntax"),
        ("propose_syntaxes", "1.2.840.10008.1.1", "transfer syntax"),
        ("own_aet", "A" * 17, "AE title"),
        ("associations_max", "1001", "between 0 and 1000"),
        ("objects_per_minute_max", "5", "between 10"),
        ("connect_timeout_s", "0", "between 1"),
        ("echo_interval_s", "3", "between 10"),
        ("port", "-1", "whole number"),
        ("enabled", "perhaps", "yes or no"),
        ("colour", "red", "no field"),
        ("comment", "x" * 1001, "more than 1000"),
    ],
)
def test_a_wrong_field_is_refused_with_the_reason(field: str, text: str, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        checked(with_texts(CT1, {field: text}))


async def test_a_change_is_a_version_and_stands_in_the_audit_trail_with_old_and_new_values(archive: Archive) -> None:
    added = await add_node(archive.pool, CT1)
    with acting_as(person("ann")):
        changed = await change_node(archive.pool, "CT1", dataclasses.replace(added, port=11112, location="Room 1"))
    assert (changed.version, changed.changed_by) == (2, "ann")
    assert await get_node(archive.pool, "CT1") == changed
    latest, first = await list_versions(archive.pool, "CT1")
    assert [str(one) for one in latest.changes] == ["port: 104 -> 11112", "location: - -> Room 1"]
    assert (first.version, first.changes) == (1, ())
    assert "port: 104 -> 11112; location: - -> Room 1" in (await audited(archive))[-1]


async def test_who_saves_second_sees_what_the_first_did_and_nothing_is_lost(archive: Archive) -> None:
    base = await add_node(archive.pool, CT1)
    with acting_as(person("ann")):
        await change_node(archive.pool, "CT1", dataclasses.replace(base, port=11112, location="Room 1"))
    mine = dataclasses.replace(base, port=4242, comment="new tube")
    with acting_as(person("bob")), pytest.raises(EditedMeanwhileError, match="changed by ann") as caught:
        await change_node(archive.pool, "CT1", mine)
    told = caught.value
    assert [str(one) for one in told.theirs] == ["port: 104 -> 11112", "location: - -> Room 1"]
    assert [(one.field, one.before, one.after) for one in told.clashes] == [("port", "11112", "4242")]
    assert (told.merged.port, told.merged.location, told.merged.comment) == (4242, "Room 1", "new tube")
    assert (await get_node(archive.pool, "CT1")).port == 11112  # nothing was written
    with acting_as(person("bob")):
        both = await change_node(archive.pool, "CT1", told.merged)
    assert (both.version, both.port, both.location, both.comment) == (3, 4242, "Room 1", "new tube")


async def test_a_change_that_changes_nothing_is_no_version(archive: Archive) -> None:
    added = await add_node(archive.pool, CT1)
    assert (await change_node(archive.pool, "CT1", added)).version == 1


async def test_a_name_or_title_that_another_node_has_is_refused(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    other = await add_node(archive.pool, Node("MR1", "MR", "10.1.2.4", 104))
    for twin in (dataclasses.replace(other, name="CT1"), dataclasses.replace(other, aet="CT_ONE")):
        with pytest.raises(ConflictError):
            await change_node(archive.pool, "MR1", twin)
    with pytest.raises(NotFoundError):
        await change_node(archive.pool, "MR2", other)
    assert await get_node(archive.pool, "MR1") == other


async def test_only_an_enabled_node_with_the_role_is_a_destination(archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    await add_node(archive.pool, Node("WS", "WS", "10.1.2.4", 104, roles=("send",)))
    assert (await find_destination(archive.pool, "CT_ONE")) is not None
    assert await find_destination(archive.pool, "WS") is None
    await set_enabled(archive.pool, "CT1", enabled=False)
    assert await find_destination(archive.pool, "CT_ONE") is None
    assert await list_destinations(archive.pool) == []


async def test_the_number_that_workers_look_at_grows_with_every_change(archive: Archive) -> None:
    async def generation() -> Any:
        async with archive.pool.connection() as connection:
            row = await (await connection.execute(b"SELECT generation FROM node_generation")).fetchone()
            return row[0] if row else 0

    seen = [await generation()]
    node = await add_node(archive.pool, CT1)
    seen.append(await generation())
    await change_node(archive.pool, "CT1", dataclasses.replace(node, port=105))
    seen.append(await generation())
    assert seen == sorted(set(seen))
