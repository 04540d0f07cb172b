"""The pages of workitems: the list with its filter, one workitem with its history, and the request that it be ended."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.worklist.workitem_subscriptions import subscribe
from fileroom.worklist.workitems import change_workitem_state, create_workitem, get_workitem, update_workitem
from workitem_models import TRANSACTION, UID, json_of, progress, workitem

ONE = f"/worklist/workitem?uid={UID}"


async def make(archive: Archive, *, begun: bool = False) -> None:
    with acting_as(SYSTEM):
        await create_workitem(archive, UID, json_of(workitem(ProcedureStepLabel="<Leber> & Milz")))
        if begun:
            await subscribe(archive, UID, "WATCHER")
            await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION)
            await update_workitem(archive, UID, json_of(progress("40", "zweite Phase")), TRANSACTION)


async def cancel(client: httpx.AsyncClient, uid: str = UID) -> httpx.Response:
    form = {"uid": uid, "reason": "Patient went home", "form_token": ""}
    return await client.post("/worklist/workitem/cancel", data=form)


async def test_an_empty_list_teaches(client: httpx.AsyncClient) -> None:
    assert "N-CREATE of the UPS Push SOP class" in (await client.get("/worklist/workitems")).text
    assert "No workitem fits" in (await client.get("/worklist/workitems?state=open&text=x")).text


async def test_the_list_and_its_filter(archive: Archive, client: httpx.AsyncClient) -> None:
    await make(archive, begun=True)
    for query in ("", "?state=IN PROGRESS", "?state=open&text=milz", "?text=müller", "?text=P1"):
        shown = await client.get(f"/worklist/workitems{query}")
        assert "&lt;Leber&gt; &amp; Milz" in shown.text, query
        assert "40 %" in shown.text
    for query in ("?state=COMPLETED", "?text=nobody"):
        assert "Milz" not in (await client.get(f"/worklist/workitems{query}")).text


async def test_one_workitem_with_its_history(archive: Archive, client: httpx.AsyncClient) -> None:
    await make(archive, begun=True)
    shown = (await client.get(ONE)).text
    assert "zweite Phase" in shown
    assert shown.count("WATCHER") == 2  # the state and the progress; the greeting is no part of the history
    assert "(0074,1204)" in shown
    assert TRANSACTION not in shown
    assert (await client.get("/worklist/workitem?uid=1.2.99")).status_code == 404


async def test_the_end_is_asked_for(archive: Archive, client: httpx.AsyncClient) -> None:
    await make(archive)
    answer = await cancel(client)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ONE}&done=cancelled")
    shown = (await client.get(answer.headers["location"])).text
    assert "nobody had begun it" in shown
    assert "Patient went home" in shown
    with acting_as(SYSTEM):
        assert (await get_workitem(archive, UID)).state == "CANCELED"
    assert (await cancel(client, "1.2.99")).status_code == 404


async def test_why_nobody_can_be_asked(archive: Archive, client: httpx.AsyncClient) -> None:
    await make(archive)
    with acting_as(SYSTEM):
        await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION)
    refused = await cancel(client)
    assert refused.status_code == 409
    assert "nobody is subscribed" in refused.text
    assert 'value="Patient went home"' in refused.text
