"""Rules over the API: saved by version, checked with a place, tried, taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.destinations import put_destination
from fileroom.web.app import create_app
from stored_objects import make_file, store_file


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    with acting_as(SYSTEM):
        await put_destination(archive, "PACS", {"kind": "folder", "target": {"path": "PACS"}})
        await store_file(archive, make_file())
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def test_a_rule_is_saved_listed_restored_and_removed(api: httpx.AsyncClient) -> None:
    tree = {"attribute": "Modality", "operator": "equals", "value": "CT"}
    first = await api.put("/routing/rules/CT", json={"when": tree, "to": ["PACS"], "urgency": "stat"})
    assert first.status_code == 200
    assert (first.json()["text"], first.json()["when"]) == ('Modality == "CT"', tree)
    changed = {"when": "true", "to": ["PACS"], "enabled": False}
    assert (await api.put("/routing/rules/CT", json=changed, headers={"if-match": '"old"'})).status_code == 412
    assert (
        await api.put("/routing/rules/CT", json=changed, headers={"if-match": first.headers["etag"]})
    ).status_code == 200
    assert [one["version"] for one in (await api.get("/routing/rules/CT/versions")).json()["items"]] == [2, 1]
    restored = await api.post("/routing/rules/CT/restore", json={"version": 1})
    assert (restored.json()["version"], restored.json()["enabled"], restored.json()["urgency"]) == (3, True, "stat")
    assert [one["name"] for one in (await api.get("/routing/rules")).json()["items"]] == ["CT"]
    assert (await api.delete("/routing/rules/CT")).status_code == 204
    assert (await api.get("/routing/rules/CT")).status_code == 404


async def test_a_wrong_rule_is_422_and_told_where(api: httpx.AsyncClient) -> None:
    wrong = await api.put("/routing/rules/CT", json={"when": "Rws > 3", "to": ["PACS"]})
    assert (wrong.status_code, "Did you mean Rows?" in wrong.json()["detail"]) == (422, True)
    told = (await api.post("/routing/condition-checks", json={"when": "true && Rws > 3"})).json()
    assert (told["valid"], told["position"], told["length"]) == (False, 8, 3)
    fine = (await api.post("/routing/condition-checks", json={"when": "study.instances > 3"})).json()
    assert (fine["valid"], fine["late"], fine["attributes"]) == (True, True, ["study.instances"])


async def test_a_condition_is_tried(api: httpx.AsyncClient) -> None:
    tried = (await api.post("/routing/rule-tests", json={"when": "InstanceNumber > 1", "study": "1.2.3.1"})).json()
    assert (tried["matched"], tried["items"][0]["parts"][0]["values"]) == (0, {"InstanceNumber": "1"})
    found = (await api.post("/routing/rule-backtests", json={"when": 'Modality == "CT"', "days": 2})).json()
    assert (found["objects"], found["by_modality"], found["source"]) == (1, {"CT": 1}, "index")


async def test_names_are_completed(api: httpx.AsyncClient) -> None:
    found = (await api.get("/routing/attribute-names?text=slicethi")).json()["items"]
    assert found[0] == {
        "keyword": "SliceThickness",
        "tag": "0018,0050",
        "vr": "DS",
        "name": "Slice Thickness",
        "retired": False,
    }
    by_tag = (await api.get("/routing/attribute-names", params={"text": "0010,0020"})).json()["items"]
    assert [one["keyword"] for one in by_tag] == ["PatientID"]
    assert "now.weekday" in [
        one["keyword"] for one in (await api.get("/routing/attribute-names?text=now.")).json()["items"]
    ]
