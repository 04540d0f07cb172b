"""The pages of orders: what is scheduled, one order, its form, the procedure code table."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from fileroom.worklist.changes import Cause, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState, PatientFacts, StepFacts
from fileroom.worklist.order_search import OrderFilter, get_order, search_orders
from fileroom.worklist.orders import put_order, save_order
from fileroom.worklist.procedure_codes import list_procedure_codes
from fileroom.worklist.worklist_views import hospital_time

ADA = PatientFacts((Identifier("4711", "HOSP"),), name="Lovelace^Ada <b>", birth_date="18151210", sex="F")
FORM = {
    "patient_id": "4711",
    "authority": "HOSP",
    "name": "Lovelace, Ada",
    "birth_date": "1815-12-10",
    "sex": "F",
    "code": "CTABD",
    "scheme": "L",
    "meaning": "CT abdomen",
    "priority": "STAT",
    "referring_physician": "Gray, Henry",
    "step_id.0": "",
    "start.0": "2026-11-22T10:30",
    "modality.0": "CT",
    "stations.0": "CT1 CT2",
    "location.0": "ROOM 7",
}


async def entered(archive: Archive, day: str = "20261122", accession: str = "A123", modality: str = "CT") -> int:
    step = StepFacts(modality=modality, station_aets=(f"{modality}1",), start=f"{day}1030")
    facts = OrderFacts(accession=Identifier(accession), procedure=Code("X", "", "CT <i>abdomen"), steps=(step,))
    return (await save_order(archive, PutOrder(facts, ADA)))[0]


async def test_the_worklist_shows_the_steps_of_a_day_by_modality(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "Nothing is scheduled then" in (await client.get("/worklist")).text
    today = f"{hospital_time(archive):%Y%m%d}"
    await entered(archive, today, "A1")
    await entered(archive, today, "A2", "MR")
    await entered(archive, "20200101", "A3")
    html = (await client.get("/worklist")).text
    assert "Lovelace, Ada &lt;b&gt;" in html
    assert [name in html for name in (">A1<", ">A2<", ">A3<")] == [True, True, False]
    html = (await client.get("/worklist?modality=MR")).text
    assert [name in html for name in (">A1<", ">A2<")] == [False, True]
    assert ">A3<" in (await client.get("/worklist?day=2020-01-01")).text
    assert ">A3<" in (await client.get("/worklist?day=2020-01-01&text=loveLACE&station=CT1&state=open")).text
    assert "Nothing that is scheduled then fits" in (await client.get("/worklist?text=nobody")).text


async def test_a_day_or_state_that_is_none_is_told(client: httpx.AsyncClient) -> None:
    wrong = await client.get("/worklist?day=2026-13-99")
    assert (wrong.status_code, "is no day" in wrong.text) == (400, True)
    assert (await client.get("/worklist?state=gone")).status_code == 400
    assert (await client.get("/worklist/order?number=999")).status_code == 404
    assert (await client.get("/worklist/order?number=x")).status_code == 404


async def test_an_order_is_entered_shown_changed_and_cancelled(client: httpx.AsyncClient, archive: Archive) -> None:
    assert 'name="patient_id"' in (await client.get("/worklist/order/edit")).text
    made = await client.post("/worklist/order/save", data=FORM)
    assert made.status_code == 303, made.text
    [order] = await search_orders(archive, OrderFilter())
    assert (order.patient_name, order.referring_physician, order.priority) == ("Lovelace^Ada", "Gray^Henry", "STAT")
    assert (order.steps[0].station_aets, order.steps[0].start_time) == (("CT1", "CT2"), "103000")
    html = (await client.get(made.headers["location"])).text
    assert "CT abdomen" in html
    assert "made, 1 step for CT1 at 2026-11-22 10:30" in html
    form = (await client.get(f"/worklist/order/edit?number={order.id}")).text
    assert 'value="2026-11-22T10:30"' in form
    assert 'value="Gray, Henry"' in form
    edit = FORM | {"number": str(order.id), "version": "1", "step_id.0": order.steps[0].step_id, "stations.0": "CT2"}
    edit |= {"start.1": "2026-11-23T08:00", "step_id.1": "", "modality.1": "US"}
    assert (await client.post("/worklist/order/save", data=edit)).status_code == 303
    order = await get_order(archive, order.id)
    assert [(one.modality, one.station_aets) for one in order.steps] == [("CT", ("CT2",)), ("US", ())]
    late = await client.post("/worklist/order/save", data=edit | {"modality.0": "XX"})
    assert (late.status_code, "while you were editing" in late.text, 'value="XX"' in late.text) == (409, True, True)
    cancel = {"number": str(order.id), "version": "2", "state": "cancelled", "reason": "left <b>"}
    assert (await client.post("/worklist/order/state", data=cancel)).status_code == 303
    order = await get_order(archive, order.id)
    assert {order.state, *(step.state for step in order.steps)} == {OrderState.CANCELLED}
    assert "because: left &lt;b&gt;" in (await client.get(f"/worklist/order?number={order.id}")).text
    refused = await client.post("/worklist/order/state", data=cancel | {"version": "3", "state": "arrived"})
    assert (refused.status_code, "Reopen it first" in refused.text) == (409, True)


async def test_one_step_is_cancelled_on_the_page_and_the_order_follows_its_steps(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    second = {key.replace(".0", ".1"): value for key, value in FORM.items() if key.endswith(".0")}
    assert (await client.post("/worklist/order/save", data=FORM | second)).status_code == 303
    [order] = await search_orders(archive, OrderFilter())
    first, other = order.steps
    form = {
        "number": str(order.id),
        "version": "1",
        "step": str(first.id),
        "state": "cancelled",
        "reason": "broken <i>",
    }
    assert f'name="step" value="{other.id}"' in (await client.get(f"/worklist/order?number={order.id}")).text
    assert (await client.post("/worklist/order/step", data=form)).status_code == 303
    now = await get_order(archive, order.id)
    assert [one.state for one in now.steps] == [OrderState.CANCELLED, OrderState.SCHEDULED]
    assert now.state is OrderState.SCHEDULED
    stale = await client.post("/worklist/order/step", data=form | {"step": str(other.id)})
    assert (stale.status_code, "was changed by" in stale.text) == (409, True)
    done = await client.post("/worklist/order/step", data=form | {"step": str(other.id), "version": "2"})
    assert done.status_code == 303
    assert (await get_order(archive, order.id)).state is OrderState.CANCELLED
    assert "because: broken &lt;i&gt;" in (await client.get(f"/worklist/order?number={order.id}")).text
    again = form | {"version": "3", "state": "scheduled"}
    assert (await client.post("/worklist/order/step", data=again)).status_code == 303
    reopened = await get_order(archive, order.id)
    assert (reopened.state, reopened.steps[0].state) == (OrderState.SCHEDULED, OrderState.SCHEDULED)


async def test_what_is_wrong_in_the_form_is_told_and_what_was_typed_stays(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    wrong = await client.post(
        "/worklist/order/save", data=FORM | {"stations.0": "A TITLE THAT IS MUCH_TOO_LONG_FOR_AET"}
    )
    assert wrong.status_code == 400
    assert "is not an AE title" in wrong.text
    assert 'value="Lovelace, Ada"' in wrong.text
    nobody = await client.post("/worklist/order/save", data=FORM | {"patient_id": ""})
    assert "needs its patient" in nobody.text
    assert await search_orders(archive, OrderFilter()) == []


async def test_an_order_without_a_patient_says_so(client: httpx.AsyncClient, archive: Archive) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        change = PutOrder(OrderFacts(accession=Identifier("A9"), procedure=Code("X")))
        told = await put_order(archive, connection, change, Cause("RIS"))
    number = next(one.number for one in told)
    assert "has not been told yet" in (await client.get(f"/worklist/order?number={number}")).text
    assert "patient not told yet" in (await client.get("/worklist/orders?text=A9")).text
    assert "No order fits" in (await client.get("/worklist/orders?text=B")).text


async def test_the_table_of_procedure_codes_is_kept(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "There is no code yet" in (await client.get("/worklist/procedures")).text
    row = {
        "code": "CTABD",
        "scheme": "L",
        "meaning": "CT <b>",
        "modality": "CT",
        "stations": "CT1, CT2",
        "minutes": "20",
    }
    assert (await client.post("/worklist/procedures/save", data=row | {"version": "0"})).status_code == 303
    assert "CT &lt;b&gt;" in (await client.get("/worklist/procedures")).text
    again = await client.post("/worklist/procedures/save", data=row | {"version": "0"})
    assert (again.status_code, "while you were editing" in again.text) == (409, True)
    table = (await client.get("/worklist/procedures/table.csv")).text
    wrong = await client.post("/worklist/procedures/import", data={"table": table + "A,,,,,,,,often,\n"})
    assert (wrong.status_code, "Line 3" in wrong.text) == (400, True)
    assert (
        await client.post("/worklist/procedures/import", data={"table": table + "MRKNE,,Knee,MR,,,,,,\n"})
    ).status_code == 303
    assert [one.code for one in await list_procedure_codes(archive)] == ["CTABD", "MRKNE"]
    assert (await client.post("/worklist/procedures/remove", data={"code": "CTABD", "scheme": "L"})).status_code == 303
    assert [one.code for one in await list_procedure_codes(archive)] == ["MRKNE"]


async def test_the_history_is_told_in_german(client: httpx.AsyncClient, archive: Archive) -> None:
    number = await entered(archive)
    html = (await client.get(f"/worklist/order?number={number}", headers={"accept-language": "de"})).text
    assert "Auftrag A123 angelegt, 1 Schritt für CT1 am 2026-11-22 10:30" in html
