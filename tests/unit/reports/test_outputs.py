"""Objects that are made of reports: when, once, what they say, and that they are stored as everything is."""

from __future__ import annotations

import asyncio
import dataclasses
import io
from typing import Any

import pypdf
import pytest
from pydicom import Dataset, dcmread

from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.retrieve import Selection, list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.core.settings import Settings
from fileroom.dicom.correction import AttributeCorrection
from fileroom.reports.facts import ReportContent, ReportSection, ReportState
from fileroom.reports.outputs import object_of, outputs_due
from fileroom.reports.writing import write_version
from stored_objects import make_file, store_file

STUDY = "1.2.3.1"
SR, PDF = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.104.1"
CONTENT = ReportContent(
    (ReportSection("Findings", "A nodule."), ReportSection("Impression", "Ärztlich: ok")), signer="Ray^Rita"
)


async def report(archive: Archive, study: str = STUDY, source: str = "console") -> int:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""INSERT INTO report (study_instance_uid, source, title, created_by, changed_by)
                VALUES (%s, %s, 'CT of the chest', 'ada', 'ada') RETURNING id""",
            (study, source),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def write(
    archive: Archive, number: int, state: ReportState, content: ReportContent = CONTENT, **more: Any
) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        await write_version(connection, number, state, content, who="ada", **more)


async def run(archive: Archive) -> None:
    while await outputs_due(archive):
        pass


async def objects(archive: Archive, study: str = STUDY) -> list[Dataset]:
    """What stands in the study beside its images, as it leaves."""
    found: list[Dataset] = []
    for one in await list_instances(archive, Selection(study_uids=(study,))):
        if one.modality in ("SR", "DOC"):
            opened = await open_object(archive, one, part10=True)
            found.append(dcmread(io.BytesIO(b"".join([chunk async for chunk in opened.chunks]))))
    return found


def with_settings(archive: Archive, **values: Any) -> Archive:

    return dataclasses.replace(archive, settings=Settings(**values))


async def test_signed_version_becomes_sr_and_pdf_once(archive: Archive) -> None:
    await store_file(archive, make_file())
    number = await report(archive)
    await write(archive, number, ReportState.DRAFT)
    await write(archive, number, ReportState.PRELIMINARY)
    await run(archive)
    assert await objects(archive) == []
    await write(archive, number, ReportState.FINAL)
    await run(archive)
    await run(archive)
    sr, pdf = sorted(await objects(archive), key=lambda one: one.Modality, reverse=True)
    assert (sr.SOPClassUID, pdf.SOPClassUID) == (SR, PDF)
    assert (sr.PatientID, str(sr.PatientName), sr.StudyInstanceUID) == ("P1", "DOE^JANE", STUDY)
    assert (sr.CompletionFlag, sr.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert str(sr.VerifyingObserverSequence[0].VerifyingObserverName) == "Ray^Rita"
    evidence = sr.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [one.ReferencedSOPInstanceUID for one in evidence[0].ReferencedSOPSequence] == ["1.2.3.1.1.1"]
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.EncapsulatedDocument)).pages)
    assert "A nodule." in text
    assert "Ärztlich: ok" in text


async def test_killed_between_object_and_row_makes_the_same_object_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_file(archive, make_file())
    number = await report(archive)
    await write(archive, number, ReportState.FINAL)

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("fileroom.reports.outputs._settle", killed)
        with pytest.raises(asyncio.CancelledError):
            await outputs_due(archive)
    before = {one.SOPInstanceUID for one in await objects(archive)}
    await run(archive)
    assert {one.SOPInstanceUID for one in await objects(archive)} == before
    assert len(before) == 2
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM conflict")
        assert await cursor.fetchone() == (0,)


async def test_correction_follows_its_predecessor_and_a_corrected_name_is_used(archive: Archive) -> None:
    await store_file(archive, make_file())
    number = await report(archive)
    await write(archive, number, ReportState.FINAL)
    await run(archive)
    name = AttributeCorrection((0x00100010,), "PN", ("ROE^RICA",))
    await add_corrections(archive, Corrections(STUDY, (name,), "wrong name", "ada"))
    await write(archive, number, ReportState.CORRECTED, reason="side")
    await run(archive)
    first, second = sorted(
        (one for one in await objects(archive) if one.Modality == "SR"), key=lambda o: o.InstanceNumber
    )
    assert str(second.PatientName) == "ROE^RICA"
    assert second.SeriesInstanceUID == first.SeriesInstanceUID
    before = second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert before.ReferencedSOPInstanceUID == first.SOPInstanceUID


async def test_cancelled_report_is_told_only_where_it_was_made_before(archive: Archive) -> None:
    await store_file(archive, make_file())
    told, untold = await report(archive), await report(archive)
    await write(archive, told, ReportState.FINAL)
    await run(archive)
    await write(archive, told, ReportState.CANCELLED, reason="wrong patient")
    await write(archive, untold, ReportState.CANCELLED)
    await run(archive)
    found = [one for one in await objects(archive) if one.Modality == "SR"]
    assert len(found) == 2
    last = max(found, key=lambda one: one.InstanceNumber)
    assert last.CompletionFlagDescription == "Cancelled"
    assert "wrong patient" in last.to_json()
    assert "A nodule" not in last.to_json()


async def test_received_report_is_made_by_setting_with_its_own_pdf(archive: Archive) -> None:
    await store_file(archive, make_file())
    number = await report(archive, source="hl7")
    received = b"%PDF-1.4 received, odd length%%EOF"
    await write(archive, number, ReportState.FINAL, ReportContent((), (), received, "application/pdf"))
    await run(archive)
    assert await objects(archive) == []
    other = await report(archive, source="hl7")
    await write(archive, other, ReportState.FINAL, ReportContent((), (), received, "application/pdf"))
    await run(with_settings(archive, report_objects_of="all"))
    (pdf,) = await objects(archive)
    assert pdf.EncapsulatedDocument[: pdf.EncapsulatedDocumentLength] == received


async def test_report_waits_for_its_images(archive: Archive) -> None:
    number = await report(archive)
    await write(archive, number, ReportState.FINAL)
    await run(archive)
    await store_file(archive, make_file())
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE report_task SET due_at = now()")
    await run(archive)
    assert len(await objects(archive)) == 2


async def test_report_of_another_study_is_withdrawn_there_and_valid_again_when_it_returns(archive: Archive) -> None:
    await store_file(archive, make_file())
    await store_file(
        archive,
        make_file(SOPInstanceUID="1.2.4.1.1", StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1", PatientID="P2"),
    )
    archive = with_settings(archive, report_objects="sr")
    number = await report(archive)
    await write(archive, number, ReportState.FINAL)
    await run(archive)
    for study, there, here in (("1.2.4", 2, 1), (STUDY, 2, 3)):
        async with archive.pool.connection() as connection:
            await connection.execute(b"UPDATE report SET study_instance_uid = %s WHERE id = %s", (study, number))
        await run(archive)
        old = STUDY if study != STUDY else "1.2.4"
        assert len(await objects(archive, old)) == there
        assert len(await objects(archive, study)) == here
    (last,) = [one for one in await objects(archive, "1.2.4") if one.get("CompletionFlagDescription") == "Cancelled"]
    assert last.PatientID == "P2"


async def test_dicom_report_and_nothing_wanted_make_nothing(archive: Archive) -> None:
    await store_file(archive, make_file())
    await write(archive, await report(archive, source="dicom"), ReportState.FINAL)
    await run(archive)
    await write(archive, await report(archive), ReportState.FINAL)
    await run(with_settings(archive, report_objects="none"))
    await run(archive)
    assert await objects(archive) == []


async def test_one_that_cannot_be_made_holds_no_other_up(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    await store_file(archive, make_file())
    broken, whole = await report(archive), await report(archive)
    await write(archive, broken, ReportState.FINAL)
    await write(archive, whole, ReportState.FINAL)

    def made(report: Any, *arguments: Any, **more: Any) -> Dataset:
        if report.id == broken:
            raise ZeroDivisionError
        return object_of(report, *arguments, **more)

    monkeypatch.setattr("fileroom.reports.outputs.object_of", made)
    await run(archive)
    assert len(await objects(archive)) == 2
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT attempts, reason FROM report_task WHERE what = 'objects'")
        assert await cursor.fetchall() == [(1, "ZeroDivisionError")]
