"""The pages of patients: found, looked at, changed, merged after a second question, taken out again, visits moved."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, PutOrder, PutPatient
from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, StepFacts, VisitFacts
from fileroom.worklist.patient_search import get_patient, search_patients

NAME = "Lovelace^Ada <b>"


def known(number: str) -> PatientFacts:
    return PatientFacts((Identifier(number, "HOSP"),), name=NAME, birth_date="19151210", sex="F")


async def two(archive: Archive) -> tuple[int, int]:
    """Two patients; the second has a visit with an order."""
    facts = OrderFacts(accession=Identifier("A1"), procedure=Code("X", "", "CT"), steps=(StepFacts(modality="CT"),))
    visit = VisitFacts(Identifier("V2", "HOSP", "VN"), location="WARD 3")
    async with archive.pool.connection() as connection, connection.transaction():
        await apply_change(archive, connection, PutPatient(known("P1")), Cause("test"))
        await apply_change(archive, connection, PutOrder(facts, known("P2"), visit), Cause("test"))
    return tuple([(await search_patients(archive, number))[0].id for number in ("P1", "P2")])  # type: ignore[return-value]  # two


async def test_patients_are_found_by_name_number_and_birth_date(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "There is no patient yet" in (await client.get("/worklist/patients")).text
    one, other = await two(archive)
    for text in ("", "lovel", "19151210", "1915-12-10", "10.12.1915"):
        html = (await client.get("/worklist/patients", params={"text": text})).text
        assert f"/worklist/patients/{one}" in html, text
        assert f"/worklist/patients/{other}" in html, text
        assert "Lovelace, Ada &lt;b&gt;" in html
    assert f"/worklist/patients/{other}" not in (await client.get("/worklist/patients?text=P1")).text
    assert "No patient fits" in (await client.get("/worklist/patients?text=nobody")).text
    html = (await client.get(f"/worklist/patients/{other}")).text
    assert all(words in html for words in ("V2", "WARD 3", ">A1<", "No other record became part of this one"))
    for wrong in ("999", "x"):
        assert (await client.get(f"/worklist/patients/{wrong}")).status_code == 404


async def test_a_merge_is_asked_twice_done_once_and_taken_out_again(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    one, other = await two(archive)
    address = f"/worklist/patients/{one}"
    found = (await client.get(f"{address}/other?for=merge")).text  # those of the same birth date
    assert f"{address}/merge?other={other}" in found
    html = (await client.get(f"{address}/merge?other={other}")).text
    assert "1 visit" in html
    assert "1 order" in html
    assert "0 studies" in html
    form = {"other": str(other), "reason": "same card"}
    asked = await client.post(f"{address}/merge", data=form)
    assert asked.status_code == 200
    assert "Once more" in asked.text
    assert (await get_patient(archive, other)).merged_into is None
    sure = form | {"sure": "1", "survivor_version": "1", "retired_version": "9"}
    stale = await client.post(f"{address}/merge", data=sure)
    assert stale.status_code == 409
    assert "was changed while you were looking" in stale.text
    done = await client.post(f"{address}/merge", data=sure | {"retired_version": "1"})
    assert done.status_code == 303
    html = (await client.get(done.headers["location"])).text
    assert "one patient now" in html
    assert "retired: what still comes" in html
    assert "same card" in html
    assert "became part of another one" in (await client.get(f"/worklist/patients/{other}")).text
    refused = await client.post(f"{address}/merge", data=sure)
    assert refused.status_code == 409

    [merge] = (await get_patient(archive, one)).merges
    before = await client.get(f"{address}/unmerge?merge={merge.id}")
    assert "What goes back" in before.text
    assert "1 visit" in before.text
    back = await client.post(f"{address}/unmerge", data={"merge": str(merge.id), "reason": "twins"})
    assert back.headers["location"].startswith(f"/worklist/patients/{other}")
    assert "twins" in (await client.get(address)).text
    assert (await client.get(f"{address}/unmerge?merge={merge.id}")).status_code == 404


async def test_what_is_known_is_changed_and_errors_keep_what_was_typed(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    one, _ = await two(archive)
    address = f"/worklist/patients/{one}"
    form = {"version": "1", "name": "King, Ada", "birth_date": "1915-12-10", "sex": "F", "other_names": "Byron, Ada"}
    form |= {"Allergies": "Penicillin <i>", "correct_images": "1"}
    assert 'value="1915-12-10"' in (await client.get(f"{address}/edit")).text
    wrong = await client.post(f"{address}/save", data=form | {"birth_date": "20261399"})
    assert wrong.status_code == 400
    assert "King, Ada" in wrong.text
    assert "birth date" in wrong.text
    assert (await client.post(f"{address}/save", data=form)).status_code == 303
    now = await get_patient(archive, one)
    assert (now.patient_name, list(now.other_names), now.details["Allergies"]) == (
        "King^Ada",
        ["Byron^Ada"],
        "Penicillin <i>",
    )
    assert "Penicillin &lt;i&gt;" in (await client.get(f"{address}?done=saved")).text
    assert (await client.post(f"{address}/save", data=form)).status_code == 409


async def test_a_visit_is_moved_and_moved_back_and_two_are_linked(client: httpx.AsyncClient, archive: Archive) -> None:
    one, other = await two(archive)
    [visit] = (await get_patient(archive, other)).visits
    html = (await client.get(f"/worklist/patients/{other}/other?for=visit&visit={visit.id}")).text
    assert f"/worklist/patients/{other}/move" in html
    assert "V2" in html
    moved = await client.post(f"/worklist/patients/{other}/move", data={"other": str(one), "visit": str(visit.id)})
    html = (await client.get(moved.headers["location"])).text
    assert "The visit is moved" in html
    assert "came from" in html
    again = await client.post(f"/worklist/patients/{one}/move", data={"other": str(one), "visit": str(visit.id)})
    assert again.status_code == 409
    assert "already" in again.text
    back = await client.post(f"/worklist/patients/{one}/move-back", data={"move": "1"})
    assert back.status_code == 303
    assert len((await get_patient(archive, other)).visits) == 1

    assert (await client.post(f"/worklist/patients/{one}/link", data={"other": str(other)})).status_code == 303
    assert "Linked as one person" in (await client.get(f"/worklist/patients/{other}")).text
    assert (await client.post(f"/worklist/patients/{other}/unlink", data={"other": str(one)})).status_code == 303
    assert (await get_patient(archive, one)).links == ()
