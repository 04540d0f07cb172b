"""`/api/v1/reports`: found, read, as PDF and structured report, told once more."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator

import httpx
import pypdf
import pytest
from pydicom import dcmread

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import NotAllowedError, NotFoundError
from fileroom.feeds.feeds import put_feed
from fileroom.reports.facts import ReportContent, ReportSection, ReportState
from fileroom.reports.files import report_document, report_sr
from fileroom.reports.writing import write_version
from fileroom.web.app import create_app
from stored_objects import make_file, store_file


@pytest.fixture
async def api(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
        yield client


async def report(archive: Archive, study: str = "1.2.3.1") -> int:
    await store_file(archive, make_file())
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"""INSERT INTO report (study_instance_uid, source, title, created_by, changed_by)
                VALUES (%s, 'console', 'CT', 'ada', 'ada') RETURNING id""",
            (study,),
        )
        row = await cursor.fetchone()
        assert row is not None
        content = ReportContent((ReportSection("Findings", "A nodule."),), signer="Ray^Rita")
        await write_version(connection, row[0], ReportState.PRELIMINARY, content, who="ada")
        await write_version(connection, row[0], ReportState.FINAL, content, who="ada")
    return int(row[0])


async def test_found_read_and_taken_away(api: httpx.AsyncClient, archive: Archive) -> None:
    number = await report(archive)
    assert [one["id"] for one in (await api.get("/reports?q=nodule&state=final")).json()["items"]] == [number]
    shown = (await api.get(f"/reports/{number}")).json()
    assert [one["state"] for one in shown["versions"]] == ["final", "preliminary"]
    assert shown["versions"][0]["sections"] == [{"heading": "Findings", "text": "A nodule."}]
    file = (await api.get(f"/reports/{number}/pdf?version=1")).json()
    pages = pypdf.PdfReader(io.BytesIO(base64.b64decode(file["content"]))).pages
    assert "PRELIMINARY" in pages[0].extract_text()
    assert file["media_type"] == "application/pdf"
    sr = dcmread(io.BytesIO(base64.b64decode((await api.get(f"/reports/{number}/sr")).json()["content"])))
    assert (sr.VerificationFlag, sr.PatientID) == ("VERIFIED", "P1")
    assert (await api.get(f"/reports/{number}/pdf?version=9")).status_code == 404
    assert (await api.get("/reports/999/sr")).status_code == 404


async def test_told_once_more(api: httpx.AsyncClient, archive: Archive) -> None:
    number = await report(archive)
    assert (await api.post(f"/reports/{number}/send", json={"feed": "ris"})).status_code == 404
    await put_feed(archive, "ris", {"direction": "out", "host": "10.0.0.1", "port": 2575})
    sent = await api.post(f"/reports/{number}/send", json={"feed": "ris"})
    assert sent.status_code == 200
    waiting = (await api.get("/hl7/outbox")).json()["items"]
    assert [(one["id"], one["kind"]) for one in waiting] == [(sent.json()["id"], "ORU^R01")]


async def test_row_scope_and_permission_hold(archive: Archive) -> None:
    number = await report(archive)
    rows = RowScope(patient_ids=("P9",))
    viewer = Access(ActorKind.PERSON, "eve", frozenset({Permission.STUDY_VIEW}), rows)
    with acting_as(viewer), pytest.raises(NotFoundError):
        await report_document(archive, number)
    with acting_as(viewer), pytest.raises(NotAllowedError):
        await report_sr(archive, number)
    with acting_as(SYSTEM):
        assert (await report_document(archive, number)).data.startswith(b"%PDF")


async def test_console_gives_pdf_and_structured_report(archive: Archive) -> None:
    number = await report(archive)
    transport = httpx.ASGITransport(create_app(archive), client=("127.0.0.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as browser:
        pdf = await browser.get(f"/reports/{number}/pdf")
        assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
        sr = await browser.get(f"/reports/{number}/sr?version=2")
        assert sr.headers["content-disposition"] == f'attachment; filename="report-{number}-2.dcm"'
        assert dcmread(io.BytesIO(sr.content)).Modality == "SR"
        assert (await browser.get(f"/reports/{number}/pdf?version=x")).status_code == 404
        page = await browser.get(f"/reports/{number}")
        assert f"/reports/{number}/pdf?version=2" in page.text
