"""The exceptions queue over the API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.web.app import create_app
from fileroom.worklist.facts import Identifier, PatientFacts
from unit.worklist.test_matching import STUDY, images, order, rounds


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def test_a_study_is_listed_looked_at_fixed_undone_and_dismissed(api: httpx.AsyncClient, archive: Archive) -> None:
    number = await order(archive, patient=PatientFacts((Identifier("P9", "HOSP"),), "Roe^Richard"))
    for study in (STUDY, "1.2.3.2"):
        await images(archive, study)
    await rounds(archive)
    await rounds(archive, quiet=True)
    page = (await api.get("/exceptions", params={"limit": 1})).json()
    assert [one["study_instance_uid"] for one in page["items"]] == ["1.2.3.2"]
    following = (await api.get(page["next"].removeprefix("/api/v1"))).json()
    (one,) = following["items"]
    assert (one["study_instance_uid"], one["best_order"], one["reasons"][0]["code"]) == (
        STUDY,
        number,
        "patient_differs",
    )
    assert one["reasons"][0]["text"].startswith("The patient of the order A1 differs: P1 (HOSP) / P9 (HOSP)")
    counts = (await api.get("/matching/counts")).json()
    assert (counts["studies"], counts["images"]) == (2, 2)
    standing = (await api.get(f"/exceptions/{STUDY}")).json()
    assert [(each["order"], each["patient_differs"]) for each in standing["candidates"]] == [(number, True)]
    fixed = await api.post(f"/exceptions/{STUDY}/fix", json={"order": number})
    assert (fixed.json()["matched_order"], fixed.json()["how"]) == (number, "person")
    assert [each["order_name"] for each in (await api.get("/matching/matches")).json()["items"]] == ["A1"]
    assert (await api.post(f"/exceptions/{STUDY}/fix", json={"order": number})).status_code == 409
    assert (await api.post(f"/exceptions/{STUDY}/fix", json={"order": 4711})).status_code == 404
    assert (await api.post(f"/exceptions/{STUDY}/undo")).json()["matched_order"] is None
    asked = {"studies": [STUDY, "1.2.3.2"], "note": "seen"}
    assert (await api.post("/exceptions/dismiss", json=asked)).json() == {"count": 2}
    assert (await api.get("/exceptions", params={"state": "dismissed"})).json()["items"][0]["note"] == "seen"
    assert (await api.get("/exceptions/1.2.99")).status_code == 404


async def test_matching_is_set_for_a_node(api: httpx.AsyncClient) -> None:
    made = await api.put("/matching/nodes/CT1", json={"attributes": ["AccessionNumber"], "score_min": 101})
    assert (made.json()["name"], made.json()["score_min"]) == ("CT1", 101)
    assert (await api.put("/matching/nodes/CT1", json={"attributes": ["SOPInstanceUID"]})).status_code == 422
    assert len((await api.get("/matching/nodes")).json()["items"]) == 1
    assert (await api.delete("/matching/nodes/CT1")).status_code == 204
