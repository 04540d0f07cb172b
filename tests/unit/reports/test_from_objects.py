"""Structured reports and encapsulated documents that are stored become reports; what has no words for readers does not."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator
from typing import Any

import highdicom as hd
import pytest
from highdicom.sr import CodeContentItem, ContainerContentItem, NumContentItem, RelationshipTypeValues, TextContentItem
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.reports.facts import ReportSection, ReportSource, ReportState
from fileroom.reports.from_objects import read_objects_due
from fileroom.reports.reports import ReportFilter, get_versions, search_reports
from fileroom.reports.sr_text import read_narrative
from stored_objects import make_file, store_file

STUDY = "1.2.3.1"
CONTAINS = RelationshipTypeValues.CONTAINS
PDF_BYTES = b"%PDF-1.4\nnothing to see\n%%EOF"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_CDA = "1.2.840.10008.5.1.4.1.1.104.2"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture(autouse=True)
def _as_the_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


async def settle(archive: Archive) -> None:
    while await read_objects_due(archive):
        pass


def section(code: Code, *items: Any) -> ContainerContentItem:
    made = ContainerContentItem(code, relationship_type=CONTAINS)
    made.ContentSequence = hd.sr.ContentSequence(items)
    return made


def narrative(*, is_verified: bool = True, title: Code | None = None, with_text: bool = True) -> Any:
    """A report as highdicom makes it, of one image."""
    image = dcmread(io.BytesIO(make_file(AccessionNumber="A1", PatientBirthDate="19700101", PatientSex="F")))
    for keyword in ("StudyID", "StudyTime", "ReferringPhysicianName"):
        setattr(image, keyword, "")
    root = ContainerContentItem(title or Code("18748-4", "LN", "Diagnostic Imaging Report"), template_id="2000")
    root.ContentSequence = hd.sr.ContentSequence(is_root=False)
    size = NumContentItem(
        Code("246120007", "SCT", "Nodule size"), 12.5, unit=codes.UCUM.Millimeter, relationship_type=CONTAINS
    )
    finding = [size]
    if with_text:
        text = TextContentItem(codes.DCM.Finding, "No fracture.\r\nNo effusion.", relationship_type=CONTAINS)
        finding.insert(0, text)  # type: ignore[arg-type]
    category = CodeContentItem(Code("X", "99T", "Category"), Code("2", "99T", "Benign"), relationship_type=CONTAINS)
    root.ContentSequence.append(section(Code("59776-5", "LN", "Findings"), *finding))
    root.ContentSequence.append(section(Code("19005-8", "LN", "Impressions"), category))
    verified: dict[str, Any] = (
        {"verifying_observer_name": "Ray^Rita", "verifying_organization": "HOSP"} if is_verified else {}
    )
    return hd.sr.ComprehensiveSR(
        evidence=[image],
        content=root,
        series_number=9,
        series_instance_uid=f"{STUDY}.9",
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="M",
        is_complete=True,
        is_final=is_verified,
        is_verified=is_verified,
        record_evidence=False,
        **verified,
    )


async def store(archive: Archive, dataset: Dataset) -> None:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    await store_file(archive, out.getvalue())


async def test_a_structured_report_becomes_a_report(archive: Archive) -> None:
    made = narrative()
    await store(archive, made)
    await settle(archive)
    (row,) = await search_reports(archive, ReportFilter())
    assert (row.study_instance_uid, row.source, row.source_number) == (STUDY, ReportSource.DICOM, made.SOPInstanceUID)
    assert (row.title, row.state, row.accession_number, row.patient_id) == (
        *("Diagnostic Imaging Report", ReportState.FINAL),
        *("A1", "P1"),
    )
    (version,) = await get_versions(archive, row.id)
    assert version.content.sections == (
        ReportSection("Findings", "No fracture.\nNo effusion.\nNodule size: 12.5 mm"),
        ReportSection("Impressions", "Category: Benign"),
    )
    assert (version.content.signer, version.sop_instance_uid) == ("Ray^Rita", made.SOPInstanceUID)
    assert version.signed_at is not None


async def test_the_one_that_replaces_it_is_its_next_version_whichever_comes_first(archive: Archive) -> None:
    first, second = narrative(is_verified=False), narrative()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = first.SOPClassUID, first.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = first.SeriesInstanceUID, [reference]
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = STUDY, [series]
    second.PredecessorDocumentsSequence = [study]
    await store(archive, second)
    await store(archive, first)
    await settle(archive)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE report_object SET due_at = now()")  # as if the wait was over
    await settle(archive)
    (row,) = await search_reports(archive, ReportFilter())
    assert [one.state for one in await get_versions(archive, row.id)] == [ReportState.FINAL, ReportState.PRELIMINARY]


async def test_without_narrative_there_is_no_report(archive: Archive) -> None:
    await store(archive, narrative(with_text=False))
    await store(archive, narrative(title=Code("113701", "DCM", "X-Ray Radiation Dose Report")))
    key_object = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59",
        "SOPInstanceUID": "1.2.3.7",
        "CompletionFlag": "COMPLETE",
    }
    await store_file(archive, make_file(pixels=None, **key_object))
    await store_file(archive, make_file())
    await settle(archive)
    assert await search_reports(archive, ReportFilter()) == []


def document(data: bytes, sop_class: str = ENCAPSULATED_PDF, **more: Any) -> bytes:
    said = {
        "SOPClassUID": sop_class,
        "SOPInstanceUID": "1.2.3.1.8.1",
        "SeriesInstanceUID": "1.2.3.1.8",
        "Modality": "DOC",
        "DocumentTitle": "Letter",
        "MIMETypeOfEncapsulatedDocument": "application/pdf",
        "EncapsulatedDocument": data + b"\0" * (len(data) % 2),
        "EncapsulatedDocumentLength": len(data),
        **more,
    }
    return make_file(pixels=None, **said)


async def test_an_encapsulated_pdf_is_a_report_with_that_document(archive: Archive) -> None:
    await store_file(archive, document(PDF_BYTES, ContentDate="20261122", ContentTime="101500"))
    await settle(archive)
    (row,) = await search_reports(archive, ReportFilter())
    (version,) = await get_versions(archive, row.id, with_documents=True)
    assert (row.title, row.state, version.content.document) == ("Letter", ReportState.FINAL, PDF_BYTES)
    assert version.signed_at == dt.datetime(2026, 11, 22, 10, 15).astimezone()


async def test_an_encapsulated_cda_is_read(archive: Archive) -> None:
    cda = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>CT</title><component><structuredBody><component><section>'
    cda += b"<title>Findings</title><text>Clear.</text></section></component></structuredBody></component></ClinicalDocument>"
    await store_file(archive, document(cda, ENCAPSULATED_CDA, MIMETypeOfEncapsulatedDocument="text/XML"))
    await settle(archive)
    (row,) = await search_reports(archive, ReportFilter())
    (version,) = await get_versions(archive, row.id)
    assert version.content.sections == (ReportSection("Findings", "Clear."),)


async def test_what_is_no_document_waits_with_the_reason_and_holds_no_other_up(archive: Archive) -> None:
    await store_file(archive, document(b"no pdf", SOPInstanceUID="1.2.3.1.8.2"))
    await store_file(archive, document(PDF_BYTES))
    await settle(archive)
    assert len(await search_reports(archive, ReportFilter())) == 1
    async with archive.pool.connection() as connection:
        rows = await (
            await connection.execute(b"SELECT sop_instance_uid, due_at, reason FROM report_object")
        ).fetchall()
    assert rows == [("1.2.3.1.8.2", None, "The enclosed document is no PDF.")]


async def test_what_fileroom_has_made_itself_is_passed_over(archive: Archive) -> None:
    made = narrative()
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""WITH r AS (INSERT INTO report (source, created_by, changed_by) VALUES ('console', 'a', 'a') RETURNING id)
                INSERT INTO report_output (report, version, kind, result) SELECT id, 1, 'sr', %s FROM r""",
            (made.SOPInstanceUID,),
        )
    await store(archive, made)
    await settle(archive)
    assert [row.source for row in await search_reports(archive, ReportFilter())] == [ReportSource.CONSOLE]


def test_a_tree_that_is_odd_is_read_as_far_as_it_goes() -> None:
    deep = Dataset()
    deep.ValueType, deep.TextValue = "TEXT", "At the bottom"
    for _ in range(60):
        outer = Dataset()
        outer.ValueType, outer.ContentSequence = "CONTAINER", [deep]
        deep = outer
    found = read_narrative(deep)
    assert (found.sections, found.has_text) == ((), False)
    odd = Dataset()
    child = Dataset()
    child.ValueType, child.TextValue = "TEXT", "Words without a name"
    odd.ContentSequence = [child, Dataset()]
    assert read_narrative(odd).sections == (ReportSection("", "Words without a name"),)
