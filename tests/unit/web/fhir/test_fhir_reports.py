"""DiagnosticReport and Binary: states, versions, words, documents; AuditEvent; who sees what; how many questions it takes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import psycopg
import pytest

from fhir_asking import STUDY, get, resources
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.reports.facts import Addendum, ReportContent, ReportSection, ReportState
from fileroom.reports.writing import write_version
from fileroom.web.app import create_router
from stored_objects import make_file, store_file

SECTIONS = (ReportSection("Findings", "A nodule of 4 mm."), ReportSection("Impression", "Benign."))


async def write(archive: Archive, state: ReportState, content: ReportContent, reason: str = "") -> None:
    """One more version of the report."""
    with acting_as(SYSTEM):
        async with archive.pool.connection() as connection, connection.transaction():
            await write_version(connection, 1, state, content, who="ada", reason=reason)


async def test_a_report_says_what_was_found_and_refers_to_study_order_and_patient(
    client: httpx.AsyncClient, filled: Archive
) -> None:
    report = await get(client, "DiagnosticReport/1")
    assert (report["status"], report["meta"]["versionId"]) == ("final", "2")
    assert report["category"][0]["coding"][0]["code"] == "RAD"
    assert {one["code"] for one in report["code"]["coding"]} == {"18748-4", "CTCHE"}
    assert report["subject"]["reference"] == "Patient/1"
    assert report["basedOn"] == [{"reference": "ServiceRequest/1"}]
    assert report["imagingStudy"] == [{"reference": f"ImagingStudy/{STUDY}"}]
    assert report["conclusion"] == "Benign."
    assert (report["performer"][0]["display"], report["resultsInterpreter"][0]["display"]) == (
        "Ruth Amsel",
        "Paul Specht",
    )
    text, pdf = report["presentedForm"]
    assert base64.b64decode(text["data"]).decode() == "Findings\nA nodule of 4 mm.\n\nImpression\nBenign."
    assert (pdf["contentType"], pdf["url"]) == ("application/pdf", "Binary/pdf-1-2")
    answer = await client.get(f"/fhir/{pdf['url']}")
    assert (answer.headers["content-type"], answer.content[:5]) == ("application/pdf", b"%PDF-")
    binary = await get(client, pdf["url"], accept="application/fhir+json")
    assert base64.b64decode(binary["data"])[:5] == b"%PDF-"
    async with filled.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM audit_event WHERE study_uids @> ARRAY[%s]", (STUDY,))
        assert await cursor.fetchone()


async def test_versions_are_kept_and_what_came_after_signing_is_named(
    client: httpx.AsyncClient, filled: Archive
) -> None:
    moment = filled.now()
    await write(filled, ReportState.CORRECTED, ReportContent(SECTIONS, (Addendum("Compared.", "ada", moment),)))
    assert (await get(client, "DiagnosticReport/1"))["status"] == "appended"
    changed = (ReportSection("Findings", "A nodule of 5 mm."), ReportSection("Impression", "Benign."))
    await write(filled, ReportState.CORRECTED, ReportContent(changed), "Measured again")
    assert (await get(client, "DiagnosticReport/1"))["status"] == "corrected"
    for status, found in (("corrected", 1), ("appended", 0), ("amended,corrected", 1)):
        assert len(resources(await get(client, f"DiagnosticReport?status={status}"))) == found
    await write(filled, ReportState.CANCELLED, ReportContent(changed), "Wrong patient")
    history = await get(client, "DiagnosticReport/1/_history")
    assert [one["status"] for one in resources(history)] == [
        *("cancelled", "corrected", "appended", "final", "preliminary"),
    ]
    assert (await get(client, "DiagnosticReport/1/_history/1"))["status"] == "preliminary"
    for path in ("DiagnosticReport/1/_history/9", "DiagnosticReport/9/_history", "DiagnosticReport/1/_history/x"):
        await get(client, path, 404)


async def test_of_a_draft_only_that_it_is_there_is_told(client: httpx.AsyncClient, filled: Archive) -> None:
    async with filled.pool.connection() as connection:
        await connection.execute(b"UPDATE report SET state = 'draft'; ")
        await connection.execute(b"UPDATE report_version SET state = 'draft'")
    report = await get(client, "DiagnosticReport/1")
    assert (report["status"], "conclusion" in report, "presentedForm" in report) == ("registered", False, False)
    assert len(resources(await get(client, "DiagnosticReport?status=registered"))) == 1
    await get(client, "Binary/pdf-1-2", 404)


async def test_a_document_that_came_is_handed_on_as_it_is(client: httpx.AsyncClient, filled: Archive) -> None:
    content = ReportContent((), document=b"%PDF-1.4 as it came", document_type="application/pdf")
    await write(filled, ReportState.CORRECTED, content, "As PDF")
    [form] = (await get(client, "DiagnosticReport/1"))["presentedForm"]
    answer = await client.get(f"/fhir/{form['url']}")
    assert (answer.content, answer.headers["x-content-type-options"]) == (b"%PDF-1.4 as it came", "nosniff")
    for path in ("Binary/document-1-1", "Binary/document-9-1", "Binary/x", "Binary/document-1-99999999999999"):
        await get(client, path, 404)


async def test_the_audit_trail_is_read_as_events_and_that_is_an_event_too(
    client: httpx.AsyncClient, filled: Archive
) -> None:
    await get(client, "ImagingStudy?modality=CT")
    await client.get(f"/dicom-web/studies/{STUDY}/metadata")
    await filled.audit.flush(filled.pool)
    queries = await get(client, "AuditEvent?type=110112&_count=1")
    [event] = resources(queries)
    assert (event["type"]["code"], event["action"], event["outcome"]) == ("110112", "E", "0")
    assert await get(client, f"AuditEvent/{event['id']}") == event
    for question, found in (
        ("type=http://dicom.nema.org/resources/ontology/DCM|110112", True),
        ("date=ge2020-01-01&outcome=0", True),
        ("date=lt2020-01-01", False),
        ("agent=local", True),
        ("agent=nobody-of-that-name", False),
        ("agent-name=loc", True),
        ("action=E", True),
        (f"entity=ImagingStudy/{STUDY}", True),
        ("patient.identifier=P1", True),
        ("patient=Patient/1", True),
        ("patient=Patient/99", False),
        ("patient-id=P1", True),
        ("type=110101&_sort=date", True),
    ):
        assert bool(resources(await get(client, f"AuditEvent?{question}", prefer="handling=strict"))) == found, question
    assert resources(await get(client, "AuditEvent?type=110101&_count=200"))


def asked_as(archive: Archive, access: Access) -> httpx.AsyncClient:
    """The routes alone, in somebody's name."""
    router = create_router(archive)

    async def call(scope: Any, receive: Any, send: Any) -> None:
        with acting_as(access):
            await router(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(call), base_url="http://localhost:8080")


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        (RowScope(patient_ids=("P1",)), {"Patient": 1, "ServiceRequest": 1, "ImagingStudy": 1, "DiagnosticReport": 1}),
        (RowScope(modalities=("SR",)), {"Patient": 1, "ServiceRequest": 0, "ImagingStudy": 1, "DiagnosticReport": 1}),
        (RowScope(patient_ids=("P9",)), {"Patient": 0, "ServiceRequest": 0, "ImagingStudy": 0, "DiagnosticReport": 0}),
        (
            RowScope(institutions=("Elsewhere",)),
            {"Patient": 0, "ServiceRequest": 0, "ImagingStudy": 0, "DiagnosticReport": 0},
        ),
    ],
)
async def test_a_row_scope_hides_what_is_not_of_it(filled: Archive, rows: RowScope, seen: dict[str, int]) -> None:
    async with asked_as(filled, Access(ActorKind.PERSON, "ann", frozenset(Permission), rows)) as client:
        for kind, count in seen.items():
            bundle = await get(client, kind)
            assert [len(resources(bundle)), bundle["total"]] == [count, count], kind
            assert (await get(client, f"{kind}?_summary=count"))["total"] == count
        hidden = 404 if not seen["DiagnosticReport"] else 200
        for path in (
            "DiagnosticReport/1",
            "DiagnosticReport/1/_history",
            "Patient/1/$everything",
            f"ImagingStudy/{STUDY}",
        ):
            await get(client, path, hidden)
        assert (await client.get("/fhir/Binary/pdf-1-2")).status_code == hidden


@pytest.mark.parametrize(
    ("permissions", "path", "status"),
    [
        ({Permission.STUDY_SEARCH}, "ImagingStudy", 200),
        ({Permission.STUDY_SEARCH}, "ImagingStudy?patient=1", 403),
        ({Permission.STUDY_SEARCH}, "DiagnosticReport", 403),
        ({Permission.STUDY_VIEW}, "DiagnosticReport", 200),
        ({Permission.STUDY_VIEW}, "DiagnosticReport?patient.identifier=P1", 403),
        ({Permission.STUDY_VIEW}, "Binary/pdf-1-2?_format=json", 200),
        ({Permission.ORDER_READ}, "Patient/1/$everything", 200),
        ({Permission.ORDER_READ}, "AuditEvent", 403),
        ({Permission.ROUTING_READ}, "Subscription", 200),
        ({Permission.STUDY_SEARCH}, "Subscription", 403),
    ],
)
async def test_each_kind_needs_its_permission(
    filled: Archive, permissions: set[Permission], path: str, status: int
) -> None:
    async with asked_as(filled, Access(ActorKind.PERSON, "ann", frozenset(permissions))) as client:
        found = await get(client, path, status)
        if path == "ImagingStudy":
            assert all("reference" not in one["subject"] and "basedOn" not in one for one in resources(found))
        if path.endswith("$everything"):
            assert {one["resourceType"] for one in resources(found)} == {"Patient", "ServiceRequest"}
        if path == "DiagnosticReport" and status == 200:
            followed = await get(client, "DiagnosticReport?_include=DiagnosticReport:based-on")
            assert {one["resourceType"] for one in resources(followed)} == {"DiagnosticReport"}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many statements were sent to the database since the last time."""
    seen = [0]
    execute = psycopg.AsyncCursor.execute

    async def counting(self: Any, *values: Any, **named: Any) -> Any:
        seen[0] += 1
        return await execute(self, *values, **named)

    monkeypatch.setattr(psycopg.AsyncCursor, "execute", counting)

    def count() -> int:
        now, seen[0] = seen[0], 0
        return now

    return count


async def test_twenty_studies_take_as_many_questions_as_one(
    client: httpx.AsyncClient, filled: Archive, counted: Callable[[], int]
) -> None:
    with acting_as(SYSTEM):
        for number in range(20):
            uid = f"1.2.7.{number}"
            await store_file(
                filled,
                make_file(
                    StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1", PatientID="P1"
                ),
            )
    question = "_include=ImagingStudy:patient&_revinclude=DiagnosticReport:study"
    await get(client, "ImagingStudy?_count=1")
    counted()
    await get(client, f"ImagingStudy?_count=1&{question}")
    one = counted()
    assert len(resources(await get(client, f"ImagingStudy?_count=20&{question}"))) >= 20
    assert counted() <= one + 1
