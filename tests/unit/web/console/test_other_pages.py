"""Search everywhere, the system's page, nodes: what they show, what their forms do, who may use them."""

from __future__ import annotations

import re

import httpx
import pytest

from fileroom.admin import callers
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, acting_as
from fileroom.index.instances import record_refusal
from fileroom.web.app import create_router
from stored_objects import make_file, store_file

PART = {"x-fileroom-part": "1"}
NODE = {"name": "CT <1>", "aet": "CT1", "host": "127.0.0.1", "port": "1"}


def client_of(archive: Archive, access: Access) -> httpx.AsyncClient:
    router = create_router(archive)

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(access):
            await router(scope, receive, send)  # type: ignore[arg-type]

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


@pytest.mark.parametrize("text", ["doe", "jane", "P1", "A77", "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1"])
async def test_a_study_is_found_by_what_people_have_in_hand(
    client: httpx.AsyncClient, archive: Archive, text: str
) -> None:
    await store_file(archive, make_file(AccessionNumber="A77"))
    assert 'href="/studies/1.2.3.1"' in (await client.get("/search", params={"q": text}, headers=PART)).text


async def test_nodes_and_pages_are_found_too(client: httpx.AsyncClient) -> None:
    await client.post("/admin/nodes/add", data=NODE)
    assert "CT &lt;1&gt;" in (await client.get("/search?q=ct1", headers=PART)).text
    assert 'href="/system"' in (await client.get("/search?q=sys", headers=PART)).text


@pytest.mark.parametrize("text", ["<script>", "\0", "%%%", "*", "?", "..", "1." * 99, "\\", "^^=="])
async def test_odd_searches_are_answered(client: httpx.AsyncClient, archive: Archive, text: str) -> None:
    await store_file(archive, make_file())
    answer = await client.get("/search", params={"q": text})
    assert answer.status_code == 200
    assert "<script>" not in answer.text


async def test_the_system_page_shows_what_was_refused_and_who_waits(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await store_file(archive, make_file())
    await callers.may_call(archive.pool, "STRANGER<b>", "10.9.8.7")
    facts = {"sop_class_uid": "1.2", "transfer_syntax_uid": "1.2", "received_by": "dimse", "sender": "X@10.0.0.1"}
    await record_refusal(archive.pool, sop_instance_uid="1.2.3", status=0xA900, reason="<i>no</i> identity", **facts)
    html = (await client.get("/system")).text
    assert "STRANGER&lt;b&gt;" in html
    assert "10.9.8.7" in html
    assert "A900" in html
    assert "&lt;i&gt;no&lt;/i&gt; identity" in html


async def test_a_node_is_added_called_and_removed(client: httpx.AsyncClient) -> None:
    assert (await client.post("/admin/nodes/add", data=NODE)).status_code == 303
    html = (await client.get("/admin/nodes")).text
    assert "CT &lt;1&gt;" in html
    echoed = await client.post("/admin/nodes/echo", data={"name": NODE["name"]})
    assert re.search(r"CT &lt;1&gt; did not answer", echoed.text)
    again = await client.post("/admin/nodes/add", data=NODE)
    assert again.status_code == 409
    assert 'role="alert"' in again.text
    assert 'value="CT1"' in again.text  # nobody types it twice
    assert (await client.post("/admin/nodes/remove", data={"name": NODE["name"]})).status_code == 303
    assert "CT &lt;1&gt;" not in (await client.get("/admin/nodes")).text


async def test_a_held_caller_is_approved_with_one_click(client: httpx.AsyncClient, archive: Archive) -> None:
    await callers.may_call(archive.pool, "MR7", "10.9.8.7")
    html = (await client.get("/admin/nodes")).text
    assert 'name="host" value="10.9.8.7"' in html
    form = {"aet": "MR7", "host": "10.9.8.7", "name": "MR7", "port": "104"}
    assert (await client.post("/admin/nodes/add", data=form)).status_code == 303
    assert await callers.may_call(archive.pool, "MR7", "10.9.8.7")
    assert 'name="host" value="10.9.8.7"' not in (await client.get("/admin/nodes")).text


@pytest.mark.parametrize("port", ["", "x", "-1", "0", "70000", "１０４", "1" * 30])
async def test_what_is_no_port_is_refused(client: httpx.AsyncClient, port: str) -> None:
    answer = await client.post("/admin/nodes/add", data={**NODE, "port": port})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/system", "/admin/nodes"])
async def test_pages_of_the_administrator_are_closed_to_others(archive: Archive, path: str) -> None:
    reader = Access(ActorKind.PERSON, "r", frozenset({Permission.STUDY_SEARCH}), account_id=4)
    for access in (NOBODY, reader):
        async with client_of(archive, access) as client:
            assert (await client.get(path)).status_code == 403
    async with client_of(archive, reader) as client:
        assert (await client.post("/admin/nodes/add", data=NODE)).status_code == 403
        rail = (await client.get("/")).text
    assert 'href="/system"' not in rail
    assert 'href="/admin' not in rail
