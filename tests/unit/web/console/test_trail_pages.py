"""The pages of the audit trail, of the associations and of a study's history: what they show, to whom, and in whose words."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET

import httpx
import orjson
import pytest

from fileroom.admin import audit_events as events
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_chain import seal_waiting
from fileroom.admin.audit_checks import run_asked_check
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.audit_search import AuditQuery, search
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_advice import See
from fileroom.admin.ledger_journal import Journal, ObjectNote
from fileroom.admin.ledger_rows import Direction
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.net.association_handler import AssociationEnd, EndKind, PeerAddress
from fileroom.ul.items import (
    ContextResult,
    PresentationContextProposal,
    PresentationContextResult,
    UserInformation,
)
from fileroom.ul.pdu import AssociateAC, AssociateRQ
from fileroom.web.app import create_router
from fileroom.web.console.associations_page import _SEE
from stored_objects import CT, make_file, store_file

PART = {"x-fileroom-part": "1"}
HOSTILE = "<script>alert(1)</script>\"'"
KIM = Access(ActorKind.PERSON, "kim", address="10.0.0.7")
JPEG_2000 = "1.2.840.10008.1.2.4.90"


def client_of(archive: Archive, *permissions: Permission) -> httpx.AsyncClient:
    router, access = create_router(archive), Access(ActorKind.PERSON, "otto", frozenset(permissions))

    async def app(scope: object, receive: object, send: object) -> None:
        with acting_as(access):
            await router(scope, receive, send)  # type: ignore[arg-type]

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080")


def called(ledger: Ledger, aet: str = "CT1", host: str = "10.0.0.1") -> Journal:
    journal = ledger.begin(Direction.IN, PeerAddress(host, 40000))
    journal.called(aet, "FILEROOM")
    return journal


def refuse_jpeg_2000(journal: Journal) -> None:
    proposal = PresentationContextProposal(1, CT, (JPEG_2000,))
    request = AssociateRQ("FILEROOM", "CT1", (proposal,), UserInformation(implementation_class_uid="1.2.3"))
    result = PresentationContextResult(1, ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED, JPEG_2000)
    journal.requested(request)
    journal.answered(request, AssociateAC("FILEROOM", "CT1", (result,), UserInformation()))
    journal.ended(AssociationEnd(EndKind.RELEASED, "released"))


# --- the audit trail ---


async def test_the_trail_is_shown_in_sentences_that_lead_on(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file(PatientID="4711", StudyDescription="CT chest"))
    await record_alone(archive.pool, events.viewed([StudyReference("1.2.3.1")], "images", actor=KIM))
    html = (await client.get("/admin/audit")).text
    assert "kim viewed CT chest of patient 4711 (images)" in html
    assert 'href="/admin/audit?patient=4711"' in html
    assert 'href="/admin/audit?user=kim"' in html
    assert 'href="/admin/audit?address=10.0.0.7"' in html
    german = (await client.get("/admin/audit", headers={"accept-language": "de"})).text
    assert "kim hat CT chest von Patient 4711 angesehen (images)" in german


async def test_the_question_is_that_of_the_command(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(
        archive.pool,
        events.logged_in("ada", "10.0.0.1"),
        events.login_failed("ada", "10.0.0.2", "wrong password"),
        events.viewed([StudyReference("1.2")], "images", actor=KIM),
    )

    async def shown(**asked: str) -> set[str]:
        html = (
            await client.get("/admin/audit", params={name.rstrip("_"): value for name, value in asked.items()})
        ).text
        body = html[html.index("<tbody>") :] if "<tbody>" in html else ""
        return {name for name in ("ada logged in", "Somebody could not log in", "kim viewed") if name in body}

    assert await shown(event="login") == {"ada logged in", "Somebody could not log in"}
    assert await shown(event="login", outcome="failure") == {"Somebody could not log in"}
    assert await shown(user="kim") == {"kim viewed"}
    assert await shown(address="10.0.0.1") == {"ada logged in"}
    assert await shown(study="1.2") == {"kim viewed"}
    assert await shown(to="1d") == set()
    assert await shown(from_="1h") == {"ada logged in", "Somebody could not log in", "kim viewed"}


async def test_reading_the_page_is_an_event(client: httpx.AsyncClient, archive: Archive) -> None:
    await client.get("/admin/audit?patient=4711")
    records = (await search(archive.pool, AuditQuery(event="110101"))).records
    assert "patient=4711" in {one.what for one in records}


async def test_pages_follow_each_other(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(archive.pool, *(events.logged_in(f"p{number:03}", "10.0.0.1") for number in range(120)))
    address, seen = "/admin/audit?event=login", []
    while address:
        html = (await client.get(address)).text
        seen += re.findall(r">(p\d{3}) logged in<", html)
        older = re.search(r'rel="next" href="([^"]+)"', html)
        address = older[1].replace("&amp;", "&") if older else ""
    assert seen == [f"p{number:03}" for number in reversed(range(120))]


@pytest.mark.parametrize("asked", ["event=teleport", "from=soon", "outcome=maybe", "cursor=x", "patient=" + "x" * 999])
async def test_what_makes_no_sense_is_told_on_the_page(client: httpx.AsyncClient, asked: str) -> None:
    answer = await client.get(f"/admin/audit?{asked}")
    assert answer.status_code in (400, 413)
    assert 'role="alert"' in answer.text
    assert 'name="patient"' in answer.text  # the question can be put right


async def test_nothing_stored_can_run(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(archive.pool, events.login_failed(HOSTILE, HOSTILE, HOSTILE))
    [event] = (await search(archive.pool, AuditQuery(event="110114"))).records
    for address in ("/admin/audit", f"/admin/audit/events/{event.id}", f"/admin/audit?user={HOSTILE}"):
        html = (await client.get(address)).text
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert" in html


async def test_the_whole_message_stands_behind_an_event(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(archive.pool, events.viewed([StudyReference("1.2")], "images", actor=KIM))
    [event] = (await search(archive.pool, AuditQuery(event="110103"))).records
    html = (await client.get(f"/admin/audit/events/{event.id}")).text
    assert "&lt;AuditMessage&gt;" in html
    assert "EventActionCode=&#34;R&#34;" in html
    assert (await client.get("/admin/audit/events/999999")).status_code == 404
    assert (await client.get("/admin/audit/events/x")).status_code == 404


async def test_the_trail_is_exported_in_every_form(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(archive.pool, *(events.logged_in(f"p{number}", "10.0.0.1") for number in range(5)))
    answer = await client.get("/admin/audit/export?form=csv&event=login")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [row["sentence"] for row in rows] == [f"p{number} logged in" for number in reversed(range(5))]
    lines = (await client.get("/admin/audit/export?form=xml&event=login")).text.splitlines()
    assert {ET.fromstring(line).tag for line in lines} == {"AuditMessage"}
    lines = (await client.get("/admin/audit/export?form=jsonl&event=login")).text.splitlines()
    assert [orjson.loads(line)["actor"] for line in lines] == [f"p{number}" for number in reversed(range(5))]
    assert (await client.get("/admin/audit/export?form=exe")).status_code == 400
    reads = (await search(archive.pool, AuditQuery(event="110101"))).records
    assert "export as csv: event=110114, event_type=110122" in {one.what for one in reads}


async def test_the_chain_is_checked_from_the_page(client: httpx.AsyncClient, archive: Archive) -> None:
    await record_alone(archive.pool, events.logged_in("ada", "10.0.0.1"))
    await seal_waiting(archive.pool)
    assert "has not been checked yet" in (await client.get("/admin/audit")).text
    answer = await client.post("/admin/audit/check", data={"form_token": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/admin/audit/check")
    assert "<progress" in (await client.get("/admin/audit/check", headers=PART)).text
    await run_asked_check(archive.pool)
    assert "The trail is whole." in (await client.get("/admin/audit/check")).text
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE audit_event SET actor = 'eve' WHERE actor = 'ada'")
    await client.post("/admin/audit/check", data={"form_token": ""})
    await run_asked_check(archive.pool)
    html = (await client.get("/admin/audit")).text
    assert "The trail is not whole: 1 place does not fit." in html
    assert "It was last seen to be whole on" in html


# --- associations ---


async def test_an_empty_ledger_teaches(client: httpx.AsyncClient) -> None:
    html = (await client.get("/admin/associations")).text
    assert "No modality has called yet." in html
    assert "FILEROOM" in html


async def test_the_list_is_filtered_and_leads_to_each(client: httpx.AsyncClient, archive: Archive) -> None:
    ledger = Ledger(archive.pool, archive.now)
    called(ledger, "CT1", "10.0.0.1").ended(AssociationEnd(EndKind.RELEASED, "released"))
    called(ledger, "MR1", "10.0.0.2").ended(AssociationEnd(EndKind.CONNECTION_LOST, "gone"))
    called(ledger, HOSTILE[:16], "10.0.0.3").ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()

    async def shown(asked: str = "") -> list[str]:
        html = (await client.get(f"/admin/associations{asked}")).text
        assert "<script>alert" not in html
        body = html[html.index('id="associations"') :]
        return re.findall(r'class="peer"><a href="[^"]*">(\w+)', body)

    assert await shown() == ["MR1", "CT1"]
    assert await shown("?aet=CT1") == ["CT1"]
    assert await shown("?address=10.0.0.2") == ["MR1"]
    assert await shown("?outcome=failed") == ["MR1"]
    assert await shown("?outcome=released") == ["CT1"]
    assert await shown("?to=1d") == []
    assert await shown("?patient=4711") == []
    for wrong in ("?outcome=x", "?from=x", "?after=x", "?node=CT9"):
        answer = await client.get(f"/admin/associations{wrong}")
        assert answer.status_code in (400, 404)
        assert 'role="alert"' in answer.text


async def test_one_association_tells_what_was_agreed_done_and_what_to_do(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    ledger = Ledger(archive.pool, archive.now)
    journal = called(ledger)
    refuse_jpeg_2000(journal)
    await ledger.flush()
    html = (await client.get(f"/admin/associations/{journal.row.id}")).text
    assert "CT1 proposed only JPEG 2000 (Lossless Only) for CT Image Storage, which is not accepted from it." in html
    assert 'href="/admin/nodes"' in html
    assert "none of these transfer syntaxes" in html
    german = (await client.get(f"/admin/associations/{journal.row.id}", headers={"accept-language": "de"})).text
    assert "CT1 schlug für CT Image Storage nur JPEG 2000 (Lossless Only) vor" in german
    assert "Zu seinem Knoten" in german
    await client.post("/admin/nodes/add", data={"name": "CT / 1", "aet": "CT1", "host": "10.0.0.1", "port": "104"})
    html = (await client.get(f"/admin/associations/{journal.row.id}")).text
    assert 'href="/admin/nodes/node?name=CT%20%2F%201"' in html
    assert (await client.get("/admin/nodes/node?name=CT%20%2F%201")).status_code == 200
    assert (await client.get("/admin/associations/999999")).status_code == 404
    assert (await client.get("/admin/associations/x")).status_code == 404


def test_every_place_that_advice_names_has_its_link() -> None:
    assert set(See) == set(_SEE)


async def test_operations_are_listed_with_their_outcome(client: httpx.AsyncClient, archive: Archive) -> None:
    await store_file(archive, make_file(PatientID="4711"))
    ledger = Ledger(archive.pool, archive.now)
    journal = called(ledger)
    note = ObjectNote(archive.now(), CT, "1.2.9", "1.2.840.10008.1.2", 4096, 0, "1.2.3.1", "1.2.3.1.1")
    journal.object_ended(note)
    journal.object_ended(
        ObjectNote(archive.now(), CT, "1.2.8", "1.2", 1, 0xA700, cause="StorageFullError", reason="full")
    )
    journal.ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()
    html = (await client.get(f"/admin/associations/{journal.row.id}")).text
    assert "CT Image Storage" in html
    assert "Implicit VR Little Endian" in html
    assert "1 objects from CT1 were not stored: full" in html
    assert 'href="/studies/1.2.3.1"' in html
    assert f'href="/admin/associations/{journal.row.id}"' in (await client.get("/admin/associations?patient=4711")).text


async def test_the_live_part_has_those_that_are_open(client: httpx.AsyncClient, archive: Archive) -> None:
    ledger = Ledger(archive.pool, archive.now)
    journal = called(ledger)
    await ledger.flush()
    part = (await client.get("/admin/associations", headers=PART)).text
    assert "<html" not in part
    assert f'data-association="{journal.row.id}"' in part
    journal.ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()
    assert "data-association" not in (await client.get("/admin/associations", headers=PART)).text


async def test_an_auditor_finds_a_patients_associations_without_seeing_studies(archive: Archive) -> None:
    await store_file(archive, make_file(PatientID="4711", PatientName="DOE^JANE"))
    ledger = Ledger(archive.pool, archive.now)
    journal = called(ledger)
    journal.object_ended(ObjectNote(archive.now(), CT, "1.2.9", "1.2", 4096, 0, "1.2.3.1", "1.2.3.1.1"))
    journal.ended(AssociationEnd(EndKind.RELEASED, "released"))
    called(ledger, "OTHER").ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()
    async with client_of(archive, Permission.LEDGER_READ, Permission.AUDIT_READ) as client:
        html = (await client.get("/admin/associations?patient=4711")).text
        assert f'data-association="{journal.row.id}"' in html
        assert "OTHER" not in html
        one = (await client.get(f"/admin/associations/{journal.row.id}")).text
        assert 'href="/admin/audit?study=1.2.3.1"' in one
        assert "DOE" not in one
    async with client_of(archive, Permission.LEDGER_READ) as client:
        answer = await client.get("/admin/associations?patient=4711")
        assert answer.status_code == 403
        assert "study.search" in answer.text


async def test_permissions(archive: Archive) -> None:
    async with client_of(archive, Permission.STUDY_SEARCH) as client:
        for address in ("/admin/audit", "/admin/audit/export", "/admin/audit/check", "/admin/audit/events/1"):
            assert (await client.get(address)).status_code == 403
        for address in ("/admin/associations", "/admin/associations/1", "/events/associations"):
            assert (await client.get(address)).status_code == 403


# --- the history of a study ---


async def test_the_history_of_a_study_links_to_what_stands_behind_it(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await store_file(archive, make_file())
    ledger = Ledger(archive.pool, archive.now)
    journal = called(ledger)
    note = ObjectNote(archive.now(), CT, "1.2.9", "1.2.840.10008.1.2", 4096, 0, "1.2.3.1", "1.2.3.1.1")
    journal.object_ended(note)
    journal.ended(AssociationEnd(EndKind.RELEASED, "released"))
    await ledger.flush()
    await record_alone(archive.pool, events.exported([StudyReference("1.2.3.1")], HOSTILE, actor=KIM))
    for address in ("/studies/1.2.3.1", "/studies/1.2.3.1/history"):
        html = (await client.get(address)).text
        assert f'<a href="/admin/associations/{journal.row.id}">1 object came from CT1</a>' in html
        assert "kim exported" in html
        assert "<script>alert" not in html
    assert (await client.get("/studies/1.2.3.1/history?before=x")).status_code == 400
    assert (await client.get("/studies/9.9.9/history")).status_code == 404


async def test_what_is_hidden_is_told(archive: Archive) -> None:
    await store_file(archive, make_file())
    await record_alone(archive.pool, events.exported([StudyReference("1.2.3.1")], "ZIP", actor=KIM))
    async with client_of(archive, Permission.STUDY_SEARCH, Permission.STUDY_VIEW) as client:
        html = (await client.get("/studies/1.2.3.1/history")).text
    assert "kim exported" not in html
    assert "shown to those who may read the audit trail" in html
    assert "shown to those who may read the association ledger" in html
    assert "What was corrected is hidden" not in html
