"""Nodes go out as JSON and CSV and come back the same; a file is taken whole or not at all; errors name the line."""

from __future__ import annotations

import csv
import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.admin.node_fields import Node, checked, with_texts
from fileroom.admin.node_files import FILE_BYTES_MAX, nodes_to_csv, nodes_to_json, read_entries
from fileroom.admin.node_import import ImportKind, WrongLinesError, import_nodes, plan_import
from fileroom.admin.nodes import add_node, get_node, list_nodes
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError

CT1 = checked(
    Node(
        "CT1",
        "CT_ONE",
        "10.1.2.3",
        104,
        description='=HYPERLINK("http://evil","x")',
        calling_from=("10.1.0.0/16", "fd00::/8"),
        roles=("send", "commit"),
        charset="ISO 2022 IR 6\\ISO 2022 IR 87",
        accept_syntaxes=("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"),
        enabled=False,
    )
)
MR1 = Node("MR1", "MR", "mr1.hospital", 11112, comment='two "words", and; more')

names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(name=names, comment=names, host=st.from_regex(r"[a-z=+@\-'][a-z0-9.\-]{0,20}", fullmatch=True))
def test_text_of_any_kind_survives_both_ways(name: str, comment: str, host: str) -> None:
    node = checked(Node(name, "AET", host, 1, comment=comment))
    for text in (nodes_to_json([node]), nodes_to_csv([node])):
        (entry,) = read_entries(text)
        assert checked(with_texts(Node("", "", "", 1), entry.texts)) == node


def test_no_cell_begins_like_a_formula() -> None:
    nodes = [dataclasses.replace(CT1, comment=text) for text in ("=1+1", "+1", "-1", "@SUM(A1)", "'=1")]
    for row in list(csv.reader(io.StringIO(nodes_to_csv(nodes))))[1:]:
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize("write", [nodes_to_json, nodes_to_csv])
async def test_what_was_exported_changes_nothing_and_comes_back_after_a_loss(archive: Archive, write: object) -> None:
    for node in (CT1, MR1):
        await add_node(archive.pool, node)
    text = write(await list_nodes(archive.pool))  # type: ignore[operator]
    assert {one.kind for one in await plan_import(archive.pool, text)} == {ImportKind.SAME}
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM node")
    await import_nodes(archive.pool, text)
    assert await list_nodes(archive.pool) == [CT1, MR1]


async def test_a_dry_run_tells_the_differences_and_writes_nothing(archive: Archive) -> None:
    await add_node(archive.pool, MR1)
    text = "name,aet,host,port\nMR1,MR,mr1.hospital,104\nUS1,US,10.1.2.9,105\n"
    planned = await plan_import(archive.pool, text)
    assert [(one.line, one.kind, one.node.name, [str(c) for c in one.changes]) for one in planned] == [
        (2, ImportKind.CHANGE, "MR1", ["port: 11112 -> 104"]),
        (3, ImportKind.ADD, "US1", []),
    ]
    assert await list_nodes(archive.pool) == [MR1]
    await import_nodes(archive.pool, text)
    changed = await get_node(archive.pool, "MR1")
    assert (changed.port, changed.comment, changed.version) == (104, MR1.comment, 2)  # what the file has not stays


@pytest.mark.parametrize(
    "text",
    [
        "AE Title;IP Address;Port Number;Station Name\nUS;10.1.2.9;105;US 1\n",
        "\ufeffStationName\tAETitle\tHost name\tTCP Port\r\nUS 1\tUS\t10.1.2.9\t105\r\n",
        '{"US 1": ["US", "10.1.2.9", 105, "GE"]}',
        '{"US 1": {"AET": "US", "Host": "10.1.2.9", "Port": 105, "AllowEcho": true}}',
        '[{"alias": "US 1", "aeTitle": "US", "hostname": "10.1.2.9", "port": 105}]',
    ],
)
async def test_lists_of_other_systems_are_read_where_they_are_clear(archive: Archive, text: str) -> None:
    await import_nodes(archive.pool, text)
    assert await list_nodes(archive.pool) == [Node("US 1", "US", "10.1.2.9", 105)]


async def test_every_wrong_line_is_told_and_nothing_is_imported(archive: Archive) -> None:
    await add_node(archive.pool, MR1)
    text = (
        "name,aet,host,port\n"
        "A,AAA,10.0.0.1,104\n"
        "\n"
        "B,BBB,10.0.0.2,99999\n"
        "C,,10.0.0.3,104\n"
        "D,AAA,10.0.0.4,104\n"
        "MR2,MR2,h,x\n"
    )
    with pytest.raises(WrongLinesError, match="Nothing was imported: 4 entries") as caught:
        await import_nodes(archive.pool, text)
    assert [line for line, _ in caught.value.problems] == [4, 5, 6, 7]
    assert "AAA stands in line 2 already" in dict(caught.value.problems)[6]
    assert await list_nodes(archive.pool) == [MR1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no node"),
        ("name,aet,host,port\n", "no node"),
        ("colour,shape\nred,round\n", "no(ne| column)"),
        ("name,aet,host,port\nA,B,C,1,2,3\n", "Line 2 has more columns"),
        ('name,aet,host,port\nA,"B" x,C,1\n', "Line 2 is no CSV"),
        ("{", "no JSON: line 1"),
        ("[1]", "Node 1"),
        ("[" * 100_000, "no JSON"),
        ("x" * (FILE_BYTES_MAX + 1), "more than"),
        ("aet,host\n" + "A,B\n" * 5001, "more than 5000"),
    ],
)
def test_what_is_no_list_of_nodes_is_refused(text: str, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        read_entries(text)
