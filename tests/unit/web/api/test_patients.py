"""`/api/v1/patients`: looked at before a merge, merged, taken apart, changed, linked; visits moved and moved back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.web.app import create_app
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, PutPatient
from fileroom.worklist.facts import Identifier, PatientFacts, VisitFacts


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def two(archive: Archive, api: httpx.AsyncClient) -> tuple[int, int]:
    """Two patients; the second has a visit. The number of one looks like a date."""
    for number in ("19700101", "P2"):
        facts = PatientFacts((Identifier(number, "HOSP"),), name="Muster^Anna", birth_date="19600401", sex="F")
        visit = VisitFacts(Identifier("V2", "HOSP", "VN")) if number == "P2" else None
        async with archive.pool.connection() as connection, connection.transaction():
            await apply_change(archive, connection, PutPatient(facts, visit), Cause("test"))
    found = [(await api.get(f"/patients?text={number}")).json()["items"][0]["id"] for number in ("19700101", "P2")]
    return found[0], found[1]


async def test_two_are_merged_and_taken_apart(api: httpx.AsyncClient, archive: Archive) -> None:
    one, other = await two(archive, api)
    preview = (await api.get(f"/patients/{one}/merge/{other}")).json()
    assert (preview["visits"], preview["identifiers"][0]["retires"], preview["differences"]) == (1, True, [])
    asked = {"retired": other, "reason": "same card", "survivor_version": preview["survivor_version"]}
    stale = await api.post(f"/patients/{one}/merge", json=asked | {"retired_version": 9})
    assert stale.status_code == 409
    done = (await api.post(f"/patients/{one}/merge", json=asked | {"retired_version": 1})).json()
    assert (await api.get(f"/patients/{other}")).json()["merged_into"] == one
    assert (await api.get(f"/patients/merges/{done['merge']}")).json()["visits"] == 1
    back = await api.post(f"/patients/merges/{done['merge']}/undo", json={"reason": "twins"})
    assert back.json()["effects"][0]["number"] == other
    assert (await api.get(f"/patients/{one}")).json()["merges"][0]["revoke_reason"] == "twins"
    assert (await api.post(f"/patients/merges/{done['merge']}/undo", json={})).status_code == 404


async def test_a_patient_is_changed_and_linked_and_a_visit_moves(api: httpx.AsyncClient, archive: Archive) -> None:
    one, other = await two(archive, api)
    changed = await api.patch(f"/patients/{one}", json={"sex": "M", "details": {"Allergies": "Latex"}, "version": 1})
    assert (changed.json()["sex"], changed.json()["patient_name"]) == ("M", "Muster^Anna")
    assert (await api.patch(f"/patients/{one}", json={"sex": "F", "version": 1})).status_code == 409
    assert (await api.put(f"/patients/{one}/links/{other}")).status_code == 204
    assert (await api.get(f"/patients/{one}")).json()["links"][0]["other"] == other
    assert (await api.delete(f"/patients/{one}/links/{other}")).status_code == 204
    [visit] = (await api.get(f"/patients/{other}")).json()["visits"]
    assert (await api.post(f"/patients/visits/{visit['id']}/move", json={"target": one})).status_code == 200
    [move] = (await api.get(f"/patients/{one}/moves")).json()["items"]
    assert (move["source"], move["target"], move["undone_at"]) == (other, one, None)
    assert (await api.post(f"/patients/moves/{move['id']}/undo")).status_code == 200
    assert (await api.post(f"/patients/moves/{move['id']}/undo")).status_code == 409
