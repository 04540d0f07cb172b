"""`/routing/treatments`: saved, listed, tried, removed."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from stored_objects import make_file, store_file

PATH = "/api/v1/routing/treatments"


async def test_treatment_goes_through_its_life(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file())
    fields = {"steps": [{"do": "prefix", "attribute": "PatientID", "value": "N-"}]}
    saved = await client.put(f"{PATH}/north", json=fields)
    assert saved.status_code == 200, saved.text
    assert (saved.json()["version"], saved.json()["prove_pixels"]) == (1, True)
    assert [one["name"] for one in (await client.get(PATH)).json()["items"]] == ["north"]
    tried = await client.post(f"{PATH}/north/trial", json={"sop_instance_uid": "1.2.3.1.1.1", "treatment": fields})
    (made,) = tried.json()["objects"]
    assert made["differences"] == [{"path": "PatientID", "tag": "(0010,0020)", "before": "P1", "after": "N-P1"}]
    wrong = await client.put(f"{PATH}/north", json={"steps": [{"do": "set", "attribute": "Nobody", "value": "1"}]})
    assert wrong.status_code in (400, 422)
    assert "There is no attribute Nobody" in wrong.json()["detail"]
    assert (await client.delete(f"{PATH}/north")).status_code in (200, 204)
    assert (await client.get(f"{PATH}/north")).status_code == 404
