"""Orders and the procedure code table over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.web.app import create_app

ADA = {"patient_id": "4711", "authority": "HOSP", "name": "Lovelace^Ada", "birth_date": "18151210", "sex": "F"}


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def test_an_order_is_entered_changed_cancelled_and_reopened(api: httpx.AsyncClient) -> None:
    table = {"csv": "code,modality,stations,minutes\nCTABD,CT,CT1 CT2,20\n"}
    assert (await api.post("/procedures", json=table)).json() == {"made": 1, "changed": 0}
    order = {"procedure": {"value": "CTABD"}, "steps": [{"start": "202611221030"}], "patient": ADA}
    made = await api.post("/orders", json=order)
    assert made.status_code == 201, made.text
    number = made.json()["id"]
    shown = (await api.get(f"/orders/{number}")).json()
    assert (shown["patient_id"], shown["steps"][0]["station_aets"], shown["version"]) == ("4711", ["CT1", "CT2"], 1)
    assert shown["accession_number"].startswith("FR")
    changed = await api.patch(f"/orders/{number}", json={"priority": "STAT", "version": 1})
    assert changed.json()["effects"] == [f"order {shown['accession_number']} changed: priority"]
    late = await api.patch(f"/orders/{number}", json={"priority": "LOW", "version": 1})
    assert (late.status_code, "while you were editing" in late.json()["detail"]) == (409, True)
    for state in ("cancelled", "scheduled"):
        assert (await api.post(f"/orders/{number}/state", json={"state": state})).status_code == 200
    [step] = (await api.get("/scheduled-steps?from_day=2026-11-22&to_day=2026-11-22&modality=CT")).json()["items"]
    assert (step["order"], step["state"], step["minutes"]) == (number, "scheduled", 20)
    assert (await api.get("/scheduled-steps?from_day=2026-11-23")).json()["items"] == []
    history = (await api.get(f"/orders/{number}/history")).json()["items"]
    assert [one["sentences"][0].split(" ", 2)[2] for one in history] == [
        "reopened: it was cancelled",
        "is cancelled now",
        "changed: priority",
        "made, 1 step for CT1 at 2026-11-22 10:30",
    ]


async def test_orders_are_found_by_number_patient_and_state(api: httpx.AsyncClient) -> None:
    for number in ("A1", "A2", "B1"):
        order = {"accession": {"value": number}, "procedure": {"value": "X"}, "patient": ADA}
        assert (await api.post("/orders", json=order)).status_code == 201
    for query, found in {
        "text=A": ["A2", "A1"],
        "text=lovel": ["B1", "A2", "A1"],
        "patient_id=4711&limit=2": ["B1", "A2"],
        "state=cancelled": [],
        "text=%25": [],
    }.items():
        items = (await api.get(f"/orders?{query}")).json()["items"]
        assert [one["accession_number"] for one in items] == found, query
    page = (await api.get("/orders?limit=2")).json()
    rest = await api.get(page["next"].removeprefix("/api/v1"))
    assert [one["accession_number"] for one in rest.json()["items"]] == ["A1"]


async def test_a_patient_is_found_with_their_orders(api: httpx.AsyncClient) -> None:
    order = {"accession": {"value": "A1"}, "procedure": {"value": "X", "meaning": "CT"}, "patient": ADA}
    assert (await api.post("/orders", json=order)).status_code == 201
    [found] = (await api.get("/patients?text=lovelace")).json()["items"]
    assert (found["patient_id"], found["orders"]) == ("4711", 1)
    shown = (await api.get(f"/patients/{found['id']}")).json()
    assert [one["value"] for one in shown["identifiers"]] == ["4711"]
    assert [(one["accession_number"], one["what"]) for one in shown["orders"]] == [("A1", "CT")]
    assert (await api.get("/patients?text=nobody")).json()["items"] == []
    assert (await api.get("/patients/999")).status_code == 404


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({}, 422),
        ({"procedure": {"value": "X"}, "steps": [{"start": "20261399"}]}, 422),
        ({"procedure": {"value": "X"}, "study_instance_uid": "1..2"}, 400),
        ({"procedure": {"value": "X"}, "priority": "NOW"}, 400),
        ({"procedure": {"value": "X"}, "accession": {"value": "a\\b"}}, 400),
    ],
)
async def test_a_wrong_order_is_refused(api: httpx.AsyncClient, order: dict[str, object], status: int) -> None:
    answer = await api.post("/orders", json=order)
    assert answer.status_code == status, answer.text
    assert (await api.get("/orders")).json()["items"] == []


async def test_a_procedure_is_saved_found_and_removed(api: httpx.AsyncClient) -> None:
    row = {"meaning": "MR knee", "modality": "mr", "protocol_codes": [{"value": "K1", "scheme": "99L"}]}
    saved = await api.put("/procedures/MRKNEE", json=row)
    assert (saved.status_code, saved.json()["modality"], saved.json()["version"]) == (200, "MR", 1)
    assert [one["code"] for one in (await api.get("/procedures?text=knee")).json()["items"]] == ["MRKNEE"]
    assert (await api.put("/procedures/MRKNEE", json={"minutes": 5000})).status_code == 400
    assert (await api.delete("/procedures/MRKNEE")).status_code == 204
    assert (await api.get("/procedures/MRKNEE")).status_code == 404


async def test_a_wrong_line_of_the_table_is_told_and_nothing_is_written(api: httpx.AsyncClient) -> None:
    wrong = await api.post("/procedures", json={"csv": "code,minutes\nA,10\nB,soon\n"})
    assert (wrong.status_code, "Line 3" in wrong.json()["detail"]) == (422, True)
    assert (await api.get("/procedures")).json()["items"] == []
