"""The pages of nodes and of orders to send: what their forms do, and what they say when something is wrong."""

from __future__ import annotations

import csv
import dataclasses
import io

import httpx
import pytest

from fileroom.admin import callers
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import add_node, change_node, get_node, list_nodes
from fileroom.archive.send_jobs import list_jobs
from fileroom.archive.services import Archive
from stored_objects import make_file, store_file

PART = {"x-fileroom-part": "1"}
CT1 = Node("CT 1/a", "CT1", "127.0.0.1", 1)
JPEG_LOSSLESS = "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)"
FORM = {
    "all_fields": "1",
    "was": "CT 1/a",
    "version": "1",
    "name": "CT 1/a",
    "aet": "CT1",
    "host": "127.0.0.1",
    "port": "1",
    "enabled": "1",
    "roles": ["send", "commit"],
    "tls": "off",
    "accept_syntaxes": f"{JPEG_LOSSLESS}\r\n1.2.840.10008.1.2.1",
    "calling_from": "10.1.0.0/16\r\n10.2.2.2",
    "associations_max": "3",
    "objects_per_minute_max": "0",
    "connect_timeout_s": "5",
    "response_timeout_s": "60",
    "echo_interval_s": "0",
}


async def test_every_field_is_changed_by_the_form_and_shown_again(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    answer = await client.post("/admin/nodes/change", data=FORM)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin/nodes/node?name=CT+1%2Fa&done=1"
    node = await get_node(archive.pool, "CT 1/a")
    assert (node.roles, node.associations_max, node.echo_interval_s) == (("send", "commit"), 3, 0)
    assert node.calling_from == ("10.1.0.0/16", "10.2.2.2")
    assert node.accept_syntaxes == ("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1")
    html = (await client.get(answer.headers["location"])).text
    assert JPEG_LOSSLESS in html
    assert 'name="version" value="2"' in html
    assert (await client.post("/admin/nodes/change", data={**FORM, "version": "2"})).status_code == 303
    assert (await get_node(archive.pool, "CT 1/a")).version == 2  # the same once more is no change


async def test_what_is_wrong_is_told_and_what_was_typed_stays(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    answer = await client.post("/admin/nodes/change", data={**FORM, "port": "99999", "comment": "<b>mine</b>"})
    assert answer.status_code == 400
    assert "Port cannot be 99999" in answer.text
    assert "&lt;b&gt;mine&lt;/b&gt;" in answer.text
    german = await client.post(
        "/admin/nodes/change", data={**FORM, "calling_from": "nowhere"}, headers={"accept-language": "de"}
    )
    assert "ist keine Adresse und kein Netz" in german.text


async def test_the_second_editor_sees_the_difference_and_saves_both(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    node = await add_node(archive.pool, CT1)
    await change_node(archive.pool, CT1.name, dataclasses.replace(node, location="Room <1>", associations_max=9))
    answer = await client.post("/admin/nodes/change", data=FORM)
    assert answer.status_code == 409
    assert 'id="conflict"' in answer.text
    assert "Room &lt;1&gt;" in answer.text
    assert 'name="version" value="2"' in answer.text
    assert (await get_node(archive.pool, CT1.name)).associations_max == 9
    both = {**FORM, "version": "2", "location": "Room <1>"}
    assert (await client.post("/admin/nodes/change", data=both)).status_code == 303
    saved = await get_node(archive.pool, CT1.name)
    assert (saved.location, saved.associations_max) == ("Room <1>", 3)


async def test_an_echo_brings_only_the_row_where_the_script_asks(client: httpx.AsyncClient, archive: Archive) -> None:
    await add_node(archive.pool, CT1)
    part = await client.post("/admin/nodes/echo", data={"name": CT1.name}, headers=PART)
    assert part.text.lstrip().startswith("<li")
    assert "nothing listens on port 1" in part.text
    whole = await client.post("/admin/nodes/echo", data={"name": CT1.name}, headers={"accept-language": "de"})
    assert "hört niemand" in whole.text


async def test_a_caller_is_approved_or_ignored(client: httpx.AsyncClient, archive: Archive) -> None:
    for aet in ("MR7", "NOISE"):
        await callers.may_call(archive.pool, aet, "10.9.8.7")
    approved = {"aet": "MR7", "host": "10.9.8.7", "name": "Upstairs", "port": "11112"}
    assert (await client.post("/admin/nodes/approve", data=approved)).status_code == 303
    assert (await client.post("/admin/nodes/approve", data=approved)).status_code == 303  # somebody was quicker
    assert (await client.post("/admin/nodes/ignore", data={"aet": "NOISE", "host": "10.9.8.7"})).status_code == 303
    html = (await client.get("/admin/nodes")).text
    assert "1 ignored caller" in html
    assert 'id="held"' not in html
    assert [(node.name, node.port) for node in await list_nodes(archive.pool)] == [("Upstairs", 11112)]


async def test_a_large_file_is_looked_at_before_it_is_imported(client: httpx.AsyncClient, archive: Archive) -> None:
    rows = "".join(f"node{n},AE{n},10.0.0.{n % 250 + 1},104,{'x' * 400}\r\n" for n in range(250))
    text = "name,aet,host,port,comment\r\n" + rows
    assert len(text) > 64 * 1024
    preview = await client.post("/admin/nodes/import", data={"file": text})
    assert "Import 250 nodes" in preview.text
    assert await list_nodes(archive.pool) == []
    assert (await client.post("/admin/nodes/import", data={"file": text, "sure": "1"})).status_code == 303
    assert len(await list_nodes(archive.pool)) == 250
    again = await client.post("/admin/nodes/import", data={"file": text.replace("\r\n", "\n")})
    assert "250 nodes of the file are here already" in again.text
    html = (await client.get("/admin/nodes")).text
    assert html.count("data-node>") == 100
    assert 'href="/admin/nodes?q=&amp;from=100"' in html
    html = (await client.get("/admin/nodes?q=NODE24")).text
    assert html.count("data-node>") == 11


async def test_wrong_lines_are_told_by_number(client: httpx.AsyncClient) -> None:
    answer = await client.post("/admin/nodes/import", data={"file": "aet,host\nA,h\n,h\nA,h2\n"})
    assert answer.status_code == 400
    assert answer.text.count("<li>Line") == 2
    assert "A stands in line 2 already" in answer.text


@pytest.mark.parametrize("kind", ["json", "csv"])
async def test_nodes_are_downloaded(client: httpx.AsyncClient, archive: Archive, kind: str) -> None:
    await add_node(archive.pool, dataclasses.replace(CT1, comment="=1+1"))
    answer = await client.get("/admin/nodes/export", params={"form": kind})
    assert answer.headers["content-disposition"] == f'attachment; filename="nodes.{kind}"'
    if kind == "json":
        assert answer.json()["nodes"][0]["aet"] == "CT1"
    else:
        titles, row = csv.reader(io.StringIO(answer.text))
        assert dict(zip(titles, row, strict=True))["comment"] == "'=1+1"
    assert (await client.get("/admin/nodes/export?form=exe")).status_code == 400


async def test_studies_are_sent_from_a_form(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file(PatientName="<i>DOE^JANE"))
    assert "There is no node that may be sent to" in (await client.get("/studies/send?uid=1.2.3.1")).text
    await add_node(archive.pool, CT1)
    page = (await client.get("/studies/send?uid=1.2.3.1")).text
    assert "&lt;i&gt;" in page
    answer = await client.post("/studies/send", data={"uids": "1.2.3.1", "node": CT1.name})
    assert answer.status_code == 303
    [job] = await list_jobs(archive)
    assert answer.headers["location"] == f"/studies/sent?job={job.id}"
    assert "Waiting for its turn" in (await client.get(answer.headers["location"])).text
    assert (await client.get(answer.headers["location"], headers=PART)).text.lstrip().startswith('<div id="job"')
    assert (await client.post("/studies/sent/cancel", data={"job": str(job.id)})).status_code == 303
    assert "Ended early" in (await client.get("/studies/sent")).text
    assert (await client.post("/studies/sent/again", data={"job": str(job.id)})).status_code == 303
    assert [one.state for one in await list_jobs(archive)] == ["waiting"]


@pytest.mark.parametrize("query", ["", "?uid=", "?uid=abc", "?job=x"])
async def test_odd_addresses_are_refused(client: httpx.AsyncClient, query: str) -> None:
    path = "/studies/sent" if "job" in query else "/studies/send"
    assert (await client.get(path + query)).status_code == 400
