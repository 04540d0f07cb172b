"""The exceptions queue as a page: reasons, candidates, one click, undo, dismiss, and how studies meet orders."""

from __future__ import annotations

from typing import Any

import httpx

from fileroom.archive.services import Archive
from fileroom.worklist.coercion import list_coercions
from fileroom.worklist.exceptions import list_exceptions, list_matches
from fileroom.worklist.facts import Identifier, PatientFacts
from unit.worklist.test_matching import STUDY, images, order, rounds

SECOND = "1.2.3.2"


async def waiting(archive: Archive, **said: Any) -> int:
    """A study that names an order of another patient; the order's number."""
    number = await order(
        archive, patient=PatientFacts((Identifier("P9", "HOSP"),), "Roe^<b>Richard</b>", "19800101", "M")
    )
    await images(archive, **said)
    await rounds(archive)
    await rounds(archive, quiet=True)
    return number


async def test_an_empty_queue_says_what_will_appear(client: httpx.AsyncClient) -> None:
    html = (await client.get("/exceptions")).text
    assert "Nothing waits for anybody" in html
    assert 'href="/exceptions" aria-current="page"' in html
    assert "No study has met an order yet" in (await client.get("/exceptions?show=matched")).text
    assert "No study was dismissed" in (await client.get("/exceptions?show=dismissed")).text


async def test_a_study_is_shown_with_what_differs_and_fixed_and_undone(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    number = await waiting(archive)
    html = (await client.get("/exceptions")).text
    assert (
        "The patient of the order A1 differs: P1 (HOSP) / P9 (HOSP); DOE, JANE / Roe, &lt;b&gt;Richard&lt;/b&gt;"
        in html
    )
    assert f'src="/dicom-web/studies/{STUDY}/thumbnail' in html
    assert html.count('<tr class="other">') == 4  # ID, name, birth date, sex
    assert f'value="{STUDY} {number}"' in html
    assert "<b>Richard" not in html
    answer = await client.post("/exceptions/fix", data={"fix": f"{STUDY} {number}"})
    assert answer.status_code == 303
    (match,) = await list_matches(archive)
    assert (match.how, match.patient_id) == ("person", "P9")
    assert "by a person" in (await client.get("/exceptions?show=matched")).text
    assert "It has met its order" in (await client.get(f"/exceptions/{STUDY}")).text
    assert (await client.post("/exceptions/undo", data={"undo": STUDY})).status_code == 303
    assert await list_matches(archive) == []
    assert "was undone by a person" in (await client.get("/exceptions", headers={"accept-language": "en"})).text
    again = await client.post("/exceptions/fix", data={"fix": f"{STUDY} 4711"})
    assert (again.status_code, "There is no order number 4711" in again.text) == (404, True)


async def test_marked_studies_are_fixed_and_dismissed(client: httpx.AsyncClient, archive: Archive) -> None:
    await order(archive, "A1")
    await order(archive, "A2")
    await images(archive, AccessionNumber="")
    await images(archive, SECOND, AccessionNumber="")
    await rounds(archive)
    await rounds(archive, quiet=True)
    html = (await client.get("/exceptions")).text
    assert "2 orders fit about equally well" in html
    assert f'name="best.{STUDY}"' in html
    refused = await client.post("/exceptions/dismiss", data={"study": [STUDY], "note": ""})
    assert (refused.status_code, "Say in a few words" in refused.text) == (400, True)
    note = "seen & done"
    assert (await client.post("/exceptions/dismiss", data={"study": [STUDY], "note": note})).status_code == 303
    assert "seen &amp; done" in (await client.get("/exceptions?show=dismissed")).text
    (row,) = await list_exceptions(archive)
    fields = {"study": [SECOND], f"best.{SECOND}": str(row.candidates[0]["order"])}
    assert (await client.post("/exceptions/fix-marked", data=fields)).status_code == 303
    assert [one.study_instance_uid for one in await list_matches(archive)] == [SECOND]
    assert (await client.post("/exceptions/fix-marked", data={})).status_code == 400


async def test_another_order_is_found_by_its_number(client: httpx.AsyncClient, archive: Archive) -> None:
    await waiting(archive)
    await order(archive, "A77", patient=PatientFacts((Identifier("P5", "HOSP"),), "Poe^Paula"))
    html = (await client.get(f"/exceptions/{STUDY}", params={"order": "A77"})).text
    assert "Poe, Paula" in html
    assert "No order has this number" in (await client.get(f"/exceptions/{STUDY}", params={"order": "A0"})).text
    assert (await client.get("/exceptions/1.2.99")).status_code == 404


async def test_how_studies_meet_orders_is_set_for_a_node(client: httpx.AsyncClient, archive: Archive) -> None:
    fields = {"name": "CT1", "attributes": ["AccessionNumber"], "score_min": "101"}
    assert (await client.post("/exceptions/matching", data=fields)).status_code == 303
    (entry,) = await list_coercions(archive)
    assert (entry.name, entry.fields) == ("CT1", {"attributes": ["AccessionNumber"], "score_min": 101})
    assert "never by itself" in (await client.get("/exceptions")).text
    wrong = await client.post("/exceptions/matching", data={**fields, "attributes": ["StudyInstanceUID"]})
    assert (wrong.status_code, "is never taken over" in wrong.text) == (400, True)
    assert (await client.post("/exceptions/matching/remove", data={"name": "CT1"})).status_code == 303


async def test_the_page_is_in_german(client: httpx.AsyncClient, archive: Archive) -> None:
    await waiting(archive)
    html = (await client.get("/exceptions", headers={"accept-language": "de"})).text
    assert "Ausnahmen" in html
    assert "Beim Patienten des Auftrags A1 ist anders" in html
