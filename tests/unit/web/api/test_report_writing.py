"""Reports written over the API: begun, saved, signed, added to, corrected, cancelled; and their templates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.web.app import create_app
from stored_objects import make_file, store_file

STUDY = "1.2.3"
SECTIONS = [{"heading": "Findings", "text": "No nodule."}]


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    await store_file(archive, make_file(StudyInstanceUID=STUDY, Modality="CT"))
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def test_a_report_from_a_template_to_its_correction(api: httpx.AsyncClient) -> None:
    template = {"modalities": ["CT"], "title": "CT {StudyDate}", "sections": [{"heading": "Findings", "text": "-"}]}
    assert (await api.put("/report-templates/CT", json=template)).status_code == 200
    begun = await api.post("/reports", json={"study": STUDY})
    assert begun.status_code == 201, begun.text
    path = f"/reports/{begun.json()['id']}"
    draft = (await api.get(f"{path}/draft")).json()
    assert (draft["sections"], draft["state"], draft["edits"]) == ([{"heading": "Findings", "text": "-"}], "draft", 0)
    saved = await api.put(f"{path}/draft", json={"edits": 0, "title": "CT", "sections": SECTIONS})
    assert (saved.json()["edits"], saved.json()["is_open"]) == (1, True)
    stale = await api.put(f"{path}/draft", json={"edits": 0, "sections": []})
    assert (stale.status_code, "while you were writing" in stale.json()["detail"]) == (409, True)
    signed = await api.post(f"{path}/signature", json={"edits": 1})
    assert signed.json() == {"version": 2, "state": "final"}
    added = await api.post(f"{path}/addenda", json={"version": 2, "text": "more"})
    assert added.json() == {"version": 3, "state": "corrected"}
    edits = (await api.get(f"{path}/draft")).json()["edits"]
    changed = [{"heading": "Findings", "text": "One nodule."}]
    edits = (await api.put(f"{path}/draft", json={"edits": edits, "sections": changed})).json()["edits"]
    corrected = await api.post(f"{path}/correction", json={"edits": edits, "reason": "overlooked"})
    assert corrected.json()["version"] == 4
    shown = (await api.get(path)).json()
    assert [one["state"] for one in shown["versions"]] == ["corrected", "corrected", "final", "draft"]
    assert shown["versions"][0]["sections"] == changed
    assert (await api.post(f"{path}/cancellation", json={"reason": "wrong"})).json()["state"] == "cancelled"
    assert (await api.put(f"{path}/draft", json={"edits": 9, "sections": []})).status_code == 409


async def test_what_was_written_is_taken_back(api: httpx.AsyncClient) -> None:
    await api.post("/reports", json={"study": STUDY, "template": ""})
    await api.put("/reports/1/draft", json={"edits": 0, "sections": SECTIONS})
    assert (await api.delete("/reports/1/draft?edits=1")).status_code == 204
    assert (await api.get("/reports/1/draft")).json()["is_open"] is False


async def test_what_cannot_be_meant_is_refused(api: httpx.AsyncClient) -> None:
    assert (await api.post("/reports", json={"study": "9.9"})).status_code == 404
    assert (await api.post("/reports", json={"study": STUDY, "template": "none"})).status_code == 404
    await api.post("/reports", json={"study": STUDY})
    heading = [{"heading": "a\nb", "text": ""}]
    assert (await api.put("/reports/1/draft", json={"edits": 0, "sections": heading})).status_code == 400
    assert (await api.post("/reports/1/signature", json={"edits": 0, "state": "corrected"})).status_code == 400
    assert (await api.post("/reports/1/addenda", json={"version": 1, "text": "x"})).status_code == 409
    wrong = {"sections": [{"heading": "", "text": "{Nothing}"}]}
    assert (await api.put("/report-templates/x", json=wrong)).status_code == 422


async def test_templates_are_listed_replaced_and_removed(api: httpx.AsyncClient) -> None:
    await api.put("/report-templates/A", json={"sections": SECTIONS})
    await api.put("/report-templates/A", json={"sections": SECTIONS, "title": "T", "enabled": False})
    [one] = (await api.get("/report-templates")).json()["items"]
    assert (one["name"], one["version"], one["title"], one["enabled"]) == ("A", 2, "T", False)
    assert (await api.get("/report-templates/A")).json() == one
    assert (await api.delete("/report-templates/A")).status_code == 204
    assert (await api.get("/report-templates/A")).status_code == 404
