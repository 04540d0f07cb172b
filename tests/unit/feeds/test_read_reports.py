"""Reports as systems send them: each shape becomes the report that its sender means, by the mapping."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.feeds.changes import Change
from fileroom.feeds.mapping import read_changes
from fileroom.feeds.mapping_fields import mapping_from_fields
from fileroom.feeds.mapping_trial import try_mapping
from fileroom.reports.documents import CDA, PDF, RTF
from fileroom.reports.facts import PutReport, ReportSection, ReportState
from fileroom.worklist.changes import Nothing, PutOrder
from fileroom.worklist.facts import Identifier, OrderState
from hl7_texts import PID, message

ORC = "ORC|RE|P1^RIS|F1^PACS||CM"
OBR = (
    "OBR|1|P1^RIS|F1^PACS|71020^Chest two views^L|||202611220900|||||||||2^Ruf^Rolf||ACC1||||20261122101500||CT|F"
    "|||||||7&Ray&Rita&&&Dr.|8&Young&Yves"
)
PDF_BYTES = b"%PDF-1.4\n" + b"x" * 400 + b"\n%%EOF"
CDA_BYTES = b"""<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>CT</title><component><structuredBody>
<component><section><title>Findings</title><text>Clear &amp; dry.<br/>No mass.</text></section></component>
<component><section><title>Impression</title><text><paragraph>Normal.</paragraph></text></section></component>
</structuredBody></component></ClinicalDocument>"""


def obx(kind: str, value: str, code: str = "71020^Chest", status: str = "F", flag: str = "", unit: str = "") -> str:
    return f"OBX|1|{kind}|{code}||{value}|{unit}||{flag}|||{status}"


def read(kind: str, *segments: str, fields: dict[str, Any] | None = None) -> list[Change]:
    return read_changes(message(kind, *segments), mapping_from_fields(fields or {}))


def report(kind: str, *segments: str, fields: dict[str, Any] | None = None) -> PutReport:
    (found,) = read(kind, *segments, fields=fields)
    assert isinstance(found, PutReport)
    return found


def oru(*lines: str, obr: str = OBR, fields: dict[str, Any] | None = None) -> PutReport:
    return report("ORU^R01", PID, ORC, obr, *lines, fields=fields)


def words(found: PutReport) -> list[tuple[str, str]]:
    return [(one.heading, one.text) for one in found.content.sections]


def test_one_text_with_escapes_is_parted_at_its_headings() -> None:
    text = r"HISTORY: Fall.\.br\FINDINGS:\.br\No \H\fracture\N\ \T\ no effusion \F\ none.\.br\\.br\IMPRESSION: Normal."
    found = oru(obx("FT", text))
    assert words(found) == [
        ("HISTORY", "Fall."),
        ("FINDINGS", "No fracture & no effusion | none."),
        ("IMPRESSION", "Normal."),
    ]
    assert (found.number, found.state, found.title) == ("F1", ReportState.FINAL, "Chest two views")
    assert (found.placer, found.filler) == (Identifier("P1", "RIS", ""), Identifier("F1", "PACS", ""))
    assert found.accession == Identifier("ACC1", "", "")
    assert (found.content.signer, found.content.author) == ("Ray^Rita^^Dr.", "Young^Yves")
    assert found.reported_at == "20261122101500"
    assert found.patient is not None
    assert found.patient.identifiers[0].value == "4711"


def test_one_obx_for_each_line_and_blank_lines_between_paragraphs() -> None:
    lines = ["BEFUND:", "Keine Fraktur.", "", "Kein Erguss.", "BEURTEILUNG:", "Unauff\u00e4llig."]
    found = oru(*(obx("TX", line) for line in lines))
    assert words(found) == [("BEFUND", "Keine Fraktur.\n\nKein Erguss."), ("BEURTEILUNG", "Unauff\u00e4llig.")]


def test_repetitions_are_lines() -> None:
    assert words(oru(obx("TX", "First line~Second line~~Third"))) == [("", "First line\nSecond line\n\nThird")]
    many = "~".join(f"line {number}" for number in range(1500))
    assert words(oru(obx("TX", many)))[0][1].endswith("line 1499")


@pytest.mark.parametrize("form", ["71020&{}^Chest", "{}", "X^{}^L"])
def test_suffixes_are_sections(form: str) -> None:
    lines = [obx("TX", "Clear.", form.format("GDT")), obx("TX", "Normal.", form.format("IMP"))]
    assert words(oru(*lines)) == [("Findings", "Clear."), ("Impression", "Normal.")]


def test_words_and_loinc_are_sections_and_an_addendum_is_one() -> None:
    found = oru(
        obx("TX", "Pain.", "11329-0^History^LN"),
        obx("TX", "Clear.", "FINDINGS^Findings"),
        obx("TX", "Normal.", "19005-8^Impression^LN"),
        obx("TX", "Seen again.", "&ADT^Addendum"),
    )
    assert words(found) == [("History", "Pain."), ("FINDINGS", "Clear."), ("Impression", "Normal.")]
    (added,) = found.content.addenda
    assert (added.text, added.by, added.at.strftime("%Y%m%d%H%M")) == ("Seen again.", "Ray^Rita^^Dr.", "202611221015")


def test_coded_and_measured_values_and_references_are_lines() -> None:
    found = oru(
        obx("TX", "Text."),
        obx("CE", "BR2^Benign^BI-RADS", "BIRADS^BI-RADS category"),
        obx("NM", "12.5", "DIA^Diameter", unit="mm^millimetre^UCUM"),
        obx("SN", "<^5", "PSA^PSA", unit="ng/ml"),
        obx("RP", "http://x/1^PACS^TEXT^PDF", "DOC^Document"),
        "NTE|1||As dictated",
        obx("ST", "1.2.3.4", "113014^DICOM Study^DCM"),
    )
    assert found.content.sections[0].text.split("\n") == [
        *("Text.", "BI-RADS category: Benign", "Diameter: 12.5 mm", "PSA: <5 ng/ml"),
        *("Document: http://x/1^PACS^TEXT^PDF", "As dictated"),
    ]
    assert found.study_uid == "1.2.3.4"


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (PDF_BYTES, PDF, ""),
        (rb"{\rtf1\ansi\ansicpg1252 Befund:\par Kein \'dcbel.\par}", RTF, "Befund=Kein \u00dcbel."),
        (CDA_BYTES, CDA, "Findings=Clear & dry.\nNo mass.|Impression=Normal."),
        (b"Plain words", "", "=Plain words"),
    ],
)
def test_documents_in_base64(data: bytes, kind: str, text: str) -> None:
    found = oru(obx("ED", f"APP^Application^X^Base64^{base64.b64encode(data).decode()}"))
    assert found.content.document_type == kind
    assert found.content.document == (data if kind else b"")
    assert "|".join(f"{heading}={said}" for heading, said in words(found)) == text


def test_a_document_in_pieces_beside_text_and_one_in_a_text() -> None:
    coded = base64.b64encode(PDF_BYTES).decode()
    pieces = [
        obx("ED", f"^AP^PDF^Base64^{coded[place : place + 100]}", "PDF^Report") for place in range(0, len(coded), 100)
    ]
    found = oru(obx("TX", "Short."), *pieces)
    assert (found.content.document, words(found)) == (PDF_BYTES, [("", "Short.")])
    assert oru(obx("ST", coded)).content.document == PDF_BYTES
    assert oru(obx("ED", f"^AP^PDF^Base64^{coded[:80]}\\.br\\{coded[80:]}")).content.document == PDF_BYTES
    in_cda = b'<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><component><nonXMLBody><text representation="B64">'
    in_cda += base64.b64encode(PDF_BYTES) + b"</text></nonXMLBody></component></ClinicalDocument>"
    assert oru(obx("ED", f"^TEXT^XML^Base64^{base64.b64encode(in_cda).decode()}")).content.document == PDF_BYTES


@pytest.mark.parametrize("written", [r"{\rtf1\ansi Seen:\par Normal.}", r"{\E\rtf1\E\ansi Seen:\E\par Normal.}"])
def test_rtf_stands_in_a_text_escaped_or_not(written: str) -> None:
    found = oru(obx("FT", written))
    assert (found.content.document_type, words(found)[0][1]) == (RTF, "Seen:\nNormal.")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("^AP^PDF^Base64^!!!not base64!!!", "is said to be base64, and is not"),
        ("^AP^PDF^Base64^QUJD", "is none that is known"),
        ("^AP^PDF^Hex^ZZ", "hexadecimal"),
        (f"^AP^XML^Base64^{base64.b64encode(b'<?xml version=' + b'1').decode()}", "XML document cannot be read"),
        (
            "^AP^XML^Base64^"
            + base64.b64encode(b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "x">]><ClinicalDocument/>').decode(),
            "document type",
        ),
    ],
)
def test_a_document_that_is_none_is_refused_with_the_reason(value: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why):
        oru(obx("ED", value))


@pytest.mark.parametrize(
    ("obr_25", "obx_11", "state"),
    [
        ("P", "P", ReportState.PRELIMINARY),
        ("R", "", ReportState.PRELIMINARY),
        ("F", "F", ReportState.FINAL),
        ("F", "C", ReportState.CORRECTED),
        ("", "F", ReportState.FINAL),
        ("", "P", ReportState.PRELIMINARY),
        ("C", "C", ReportState.CORRECTED),
        ("X", "X", ReportState.CANCELLED),
        ("", "D", ReportState.CANCELLED),
        ("prelim", "", ReportState.PRELIMINARY),
    ],
)
def test_states(obr_25: str, obx_11: str, state: ReportState) -> None:
    found = oru(obx("TX", "Words.", status=obx_11), obr=OBR.replace("|CT|F|", f"|CT|{obr_25}|"))
    assert found.state is state
    assert bool(found.content.signer) is state.is_signed


def test_a_state_that_nobody_knows_and_one_that_is_not_said_are_refused_and_no_report_yet_is_nothing() -> None:
    for status, why in (
        ("Q", "state 'Q' of the report is not known"),
        ("", "whether the report is preliminary or final"),
    ):
        with pytest.raises(InvalidRequestError, match=why):
            oru(obx("TX", "Words.", status=""), obr=OBR.replace("|CT|F|", f"|CT|{status}|"))
    (found,) = read("ORU^R01", PID, ORC, OBR.replace("|CT|F|", "|CT|S|"))
    assert isinstance(found, Nothing)
    fixed = {"facts": {"report_state": ["=final"]}}
    assert oru(obx("TX", "W", status=""), fields=fixed, obr=OBR.replace("|CT|F|", "|CT||")).state is ReportState.FINAL


@pytest.mark.parametrize("flag", ["AA", "HH", "LL", "A", ""])
def test_flags_are_critical_and_so_are_marks_of_the_mapping(flag: str) -> None:
    assert oru(obx("TX", "Words.", flag=flag)).is_critical is (flag in ("AA", "HH", "LL"))
    marked = {"facts": {"critical": ["OBX-8", "OBX-5"]}, "values": {"critical": {"CRITICAL RESULT*": "yes"}}}
    assert oru(obx("TX", r"Words.\.br\Critical result: told Dr. X"), fields=marked).is_critical


def test_several_obr_are_several_reports_and_one_dictation_is_of_all() -> None:
    second = OBR.replace("F1^PACS", "F2^PACS").replace("ACC1", "ACC2")
    some = read("ORU^R01", PID, ORC, OBR, obx("TX", "One."), ORC.replace("F1", "F2"), second, obx("TX", "Two."))
    assert [(one.number, words(one)[0][1]) for one in some if isinstance(one, PutReport)] == [
        ("F1", "One."),
        ("F2", "Two."),
    ]
    some = read("ORU^R01", PID, ORC, OBR, second, obx("TX", "Both."))
    assert [(one.number, words(one)[0][1]) for one in some if isinstance(one, PutReport)] == [
        ("F1", "Both."),
        ("F2", "Both."),
    ]
    (joined,) = read("ORU^R01", PID, ORC, OBR, obx("TX", "One."), OBR, obx("TX", "More."))
    assert isinstance(joined, PutReport)
    assert words(joined) == [("", "One."), ("", "More.")]


def test_a_message_of_two_patients_has_reports_of_both() -> None:
    other = PID.replace("4711", "4712")
    some = read("ORU^R01", PID, OBR, obx("TX", "One."), other, OBR.replace("F1", "F2"), obx("TX", "Two."))
    people = [one.patient.identifiers[0].value for one in some if isinstance(one, PutReport) and one.patient]
    assert people == ["4711", "4712"]


def txa(number: str = "DOC1", parent: str = "", state: str = "LA", availability: str = "AV") -> str:
    return f"TXA|1|RAD|TX|20261122100000|||||9^Ray^Rita|||{number}|{parent}|P1^RIS|ACC1^PACS||{state}||{availability}"


def test_documents_of_mdm_addenda_and_cancellations() -> None:
    event = "EVN|T02|202611221000"
    first = report("MDM^T02", event, PID, txa(), obx("TX", "Normal."))
    assert (first.number, first.state, first.content.author) == ("DOC1", ReportState.FINAL, "Ray^Rita")
    assert first.accession == Identifier("ACC1", "", "")
    added = report("MDM^T06", event, PID, txa("DOC2", "DOC1"), obx("TX", "Seen again."))
    assert (added.number, added.is_addendum) == ("DOC1", True)
    gone = report("MDM^T11", event, PID, txa(state="", availability="CA"))
    assert (gone.number, gone.state, gone.content.sections) == ("DOC1", ReportState.CANCELLED, ())
    assert report("MDM^T02", event, PID, txa(state="PA"), obx("TX", "N")).state is ReportState.PRELIMINARY
    (nothing,) = read("MDM^T01", event, PID, txa())
    assert isinstance(nothing, Nothing)


def test_unsolicited_point_of_care_results_are_read_too() -> None:
    assert report("ORU^R30", PID, ORC, OBR, obx("TX", "Normal.")).number == "F1"
    assert isinstance(read("OUL^R21", PID)[0], Nothing)


def test_interpreters_written_as_persons_and_german_states() -> None:
    obr = OBR.replace("7&Ray&Rita&&&Dr.", "7^Ray^Rita")
    assert oru(obx("TX", "W"), obr=obr).content.signer == "Ray^Rita"
    german = {"preset": "german"}
    found = oru(obx("TX", "Gut.", "&IMP"), obr=OBR.replace("|CT|F|", "|CT|vorl\u00e4ufig|"), fields=german)
    assert (found.state, found.content.sections[0]) == (ReportState.PRELIMINARY, ReportSection("Beurteilung", "Gut."))
    assert found.reported_at == "20261122101500+0100"


def test_an_order_follows_its_report_only_where_the_mapping_says_so() -> None:
    fields = {"values": {"order_after_report": {"final": "completed"}}}
    _, order = read("ORU^R01", PID, ORC, OBR, obx("TX", "W"), fields=fields)
    assert isinstance(order, PutOrder)
    assert (order.state, order.must_be) == (OrderState.COMPLETED, "known")


def test_a_message_without_a_report_or_its_number_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no OBR segment"):
        read("ORU^R01", PID)
    with pytest.raises(InvalidRequestError, match="does not say which report"):
        read("ORU^R01", PID, "OBR|1|||71020|||||||||||||||||||||F", obx("TX", "W"))


def test_the_preview_says_what_is_read_and_what_would_be_done() -> None:
    raw = message("ORU^R01", PID, ORC, OBR, obx("TX", "Clear.", "&IMP", flag="AA"))
    trial = try_mapping(raw, mapping_from_fields({}))
    assert trial.error == ""
    assert [str(one) for one in trial.changes] == [
        "The report F1 is made or gets a new version, which is final.",
        "It belongs to the order ACC1.",
        "A section: Impression (6 characters).",
        "It is marked as critical.",
    ]
    used = {one.fact: (one.path, one.used) for one in trial.facts}
    assert used["report_state"] == ("OBR-25", "final")
    assert used["section"] == ("OBX-3.1.2", "Impression")
    assert used["critical"] == ("OBX-8", "yes")
    assert used["parent_number"] == ("", "")
