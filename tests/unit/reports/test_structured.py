"""Structured reports and PDFs of reports, as other programs read them: dciodvfy, DCMTK, highdicom, pypdf, our own page."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import subprocess
from pathlib import Path

import highdicom
import pypdf
import pytest
from pydicom import dcmread

from fileroom.reports.document_header import Made, Predecessor
from fileroom.reports.encapsulated import CDA, PDF, document_dataset
from fileroom.reports.encode import file_bytes
from fileroom.reports.facts import Addendum, ReportContent, ReportSection, ReportSource, ReportState
from fileroom.reports.headings import heading_of
from fileroom.reports.printed import CHARS_MAX, report_pdf
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.structured import BASIC_TEXT_SR, report_dataset
from fileroom.reports.subject import SeriesOfStudy, Subject
from fileroom.web.console.structured_report import ReportNode, report_of
from fileroom.worklist.order_rows import Order

NOW = dt.datetime(2026, 11, 22, 10, 15, tzinfo=dt.UTC)
REPORT = ReportRow(
    *(7, "1.2.3", 1, 1, "A1", ReportSource.CONSOLE, "", "", "CT Thorax", ReportState.FINAL, 1, False),
    *(NOW, "ada", NOW, "ada", NOW),
)
CONTENT = ReportContent(
    (
        ReportSection("Befund", "Größe 3 cm,\nkeine Ergüsse."),
        ReportSection("Own heading", "山田 \\ and <b>&amp;</b>"),
        ReportSection("", "without a heading"),
    ),
    (Addendum("Also the spleen.", "Nolan^Ned", NOW),),
    author="Jung^Jo",
    signer="Ray^Rita^^Dr.",
)
SUBJECT = Subject(
    study_instance_uid="1.2.3",
    patient_id="P1",
    patient_issuer="HOSP",
    patient_name="Yamada^Tarou=山田^太郎",
    birth_date="19700101",
    sex="F",
    study_date="20261122",
    study_time="083000",
    study_id="S1",
    description="CT Thorax",
    accession_number="A1",
    referring_physician="Ward^Wanda",
    institution="City Hospital",
    order=Order(
        1, placer_number="PL1", procedure_code="CTTHX", procedure_scheme="99L", procedure_meaning="CT of the thorax"
    ),
    series=(SeriesOfStudy("1.2.3.1", "CT", (("1.2.840.10008.5.1.4.1.1.2", "1.2.3.1.1"),)),),
)
MADE = Made("sr", "1.2.3.9.1", "1.2.3.9", NOW, "de", Predecessor("1.2.3.9", BASIC_TEXT_SR, "1.2.3.9.0"))


def version(state: ReportState = ReportState.CORRECTED, content: ReportContent = CONTENT) -> ReportVersion:
    return ReportVersion(7, 2, state, content, "typo", made_at=NOW, made_by="ada", signed_at=NOW)


def complaints(file: bytes, folder: Path) -> list[str]:
    """Of dciodvfy, but for private coding schemes, which it cannot know, and for what the patient is not told by."""
    path = folder / "one.dcm"
    path.write_bytes(file)
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, timeout=60)
    lines = said.stderr.splitlines() + said.stdout.splitlines()
    known = ("Coding Scheme Designator", "DICOMDIR", "Retired Person Name form")
    return [one for one in lines if one.startswith(("Error", "Warning")) and not any(each in one for each in known)]


def texts(node: ReportNode) -> list[tuple[str, str]]:
    found = [(node.name, node.value or node.person)] if node.value or node.person else []
    return [*found, *(pair for child in node.children for pair in texts(child))]


@pytest.mark.parametrize("state", [ReportState.PRELIMINARY, ReportState.CORRECTED, ReportState.CANCELLED])
@pytest.mark.parametrize("subject", [SUBJECT, Subject(study_instance_uid="1.2.3")])
def test_independent_checker_finds_nothing(state: ReportState, subject: Subject, tmp_path: Path) -> None:
    assert complaints(file_bytes(report_dataset(version(state), subject, MADE), "FILEROOM"), tmp_path) == []
    printed = report_pdf(REPORT, version(state), subject)
    pdf = document_dataset(REPORT, version(state), subject, dataclasses.replace(MADE, kind="pdf"), printed, PDF)
    assert complaints(file_bytes(pdf, "FILEROOM"), tmp_path) == []


def test_dcmtk_highdicom_and_our_own_page_read_the_same_words(tmp_path: Path) -> None:
    file = file_bytes(report_dataset(version(), SUBJECT, MADE), "FILEROOM")
    (tmp_path / "sr.dcm").write_bytes(file)
    dumped = subprocess.run(
        ["dsrdump", "+Pl", str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for said in ("Verification Flag   : VERIFIED", "keine Ergüsse.", "Also the spleen.", "Predecessor Docs    : 1"):
        assert said in dumped
    dataset = dcmread(io.BytesIO(file))
    items = highdicom.sr.ContentSequence.from_sequence(dataset.ContentSequence, is_root=False)
    assert [one.name.meaning for one in items][3:] == ["Findings", "Own heading", "Findings", "Addendum"]
    root = report_of(dataset)
    assert root is not None
    said_here = texts(root)
    assert ("Finding", "Größe 3 cm,\r\nkeine Ergüsse.") in said_here
    assert ("Own heading", "山田 \\ and <b>&amp;</b>") in said_here
    assert ("Person Observer Name", "Nolan^Ned") in said_here


@pytest.mark.parametrize(
    ("state", "flags"),
    [
        (ReportState.PRELIMINARY, ("PARTIAL", "UNVERIFIED", "PRELIMINARY")),
        (ReportState.FINAL, ("COMPLETE", "VERIFIED", "FINAL")),
        (ReportState.CANCELLED, ("PARTIAL", "UNVERIFIED", "FINAL")),
    ],
)
def test_flags(state: ReportState, flags: tuple[str, str, str]) -> None:
    dataset = report_dataset(version(state), SUBJECT, MADE)
    assert (dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag) == flags


def test_values_that_do_not_fit_leave_the_report_made(tmp_path: Path) -> None:
    subject = dataclasses.replace(
        SUBJECT, patient_name="X" * 300, birth_date="no date", description="D" * 500, study_id="\0\\" * 40
    )
    dataset = dcmread(io.BytesIO(file_bytes(report_dataset(version(), subject, MADE), "FILEROOM")))
    assert not dataset.PatientBirthDate
    assert len(str(dataset.PatientName)) == 64
    assert complaints(file_bytes(dataset, "FILEROOM"), tmp_path) == []


def test_received_cda_is_enclosed_as_it_came(tmp_path: Path) -> None:
    received = b"<?xml version='1.0'?><ClinicalDocument xmlns='urn:hl7-org:v3'/>"
    made = dataclasses.replace(MADE, kind="pdf", predecessor=None)
    dataset = document_dataset(REPORT, version(), SUBJECT, made, received, CDA)
    read = dcmread(io.BytesIO(file_bytes(dataset, "FILEROOM")))
    assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == received
    assert read.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.2"


def test_headings_are_codes_and_others_keep_their_words() -> None:
    assert heading_of("Beurteilung:").section == heading_of("IMPRESSION").section
    mine = heading_of("My own \\ heading")
    assert (mine.section.scheme, mine.section.meaning) == ("99FILEROOM", "My own / heading")
    assert heading_of("my  own \\ heading").section.value == mine.section.value
    assert len(mine.section.value) <= 16


def test_print_is_the_same_each_time_says_what_it_is_and_keeps_every_line() -> None:
    lines = "\n".join(f"line {n} of a long text" for n in range(300))
    content = dataclasses.replace(CONTENT, sections=(ReportSection("Findings", lines), *CONTENT.sections))
    pdf = report_pdf(REPORT, version(content=content), SUBJECT, language="de")
    assert pdf == report_pdf(REPORT, version(content=content), SUBJECT, language="de")
    read = pypdf.PdfReader(io.BytesIO(pdf))
    pages = [page.extract_text() for page in read.pages]
    assert len(pages) > 4
    assert all("KORRIGIERT" in one and f"von {len(pages)}" in one and "P1" in one for one in pages)
    text = "\n".join(pages)
    assert "line 0 of" in text
    assert "line 299 of" in text
    assert "<b>&amp;</b>" in text
    assert "Elektronisch freigegeben durch Dr. Ray, Rita" in text
    assert read.metadata is not None
    assert (read.metadata.producer, read.metadata.creator) == ("Fileroom (ReportLab)", "Fileroom")


def test_print_shows_what_it_lacks_and_what_it_cuts() -> None:
    content = ReportContent((ReportSection("Findings", "עברית\nthe rest " + "x" * 200_000 + "\n" + "y " * CHARS_MAX),))
    text = "\n".join(
        page.extract_text()
        for page in pypdf.PdfReader(io.BytesIO(report_pdf(REPORT, version(content=content), SUBJECT))).pages
    )
    assert "\N{REPLACEMENT CHARACTER}" in text
    assert "longer than is printed" in text


def test_cancelled_print_has_none_of_the_words() -> None:
    pdf = report_pdf(REPORT, version(ReportState.CANCELLED), SUBJECT)
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)
    assert "CANCELLED" in text
    assert "not valid" in text
    assert "Ergüsse" not in text
    assert "spleen" not in text
