"""The worklist question: keys as modalities ask them, what comes back, and who sees what."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError
from fileroom.dicom.identifier import decode_identifier, encode_answer
from fileroom.worklist.steps import answer_elements, find_steps, read_question
from fileroom.worklist.worklist_views import EVERYTHING, View
from worklist_rows import add_patient, add_step, add_step_of

EXPLICIT = "1.2.840.10008.1.2.1"


def identifier(step: dict[str, Any] | None = None, **keys: Any) -> Dataset:
    """An identifier; `step` are keys inside of the Scheduled Procedure Step Sequence."""
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    if step is not None:
        item = Dataset()
        for keyword, value in step.items():
            setattr(item, keyword, value)
        dataset.ScheduledProcedureStepSequence = Sequence([item])
    return dataset


async def found(
    archive: Archive, step: dict[str, Any] | None = None, *, caller: str = "CT1", view: View = EVERYTHING, **keys: Any
) -> list[str]:
    options = {name: keys.pop(name) for name in ("combined_datetime", "fuzzy_names") if name in keys}
    question = read_question(identifier(step, **keys), caller, **options)
    async with aclosing(find_steps(archive, question, view)) as steps:
        return [one.step_id async for one in steps]


async def answers(archive: Archive, question: Dataset, caller: str = "CT1") -> list[Dataset]:
    asked = read_question(question, caller)
    async with aclosing(find_steps(archive, asked)) as steps:
        encoded = [
            encode_answer(answer_elements(one, asked.asked, caller), EXPLICIT, b"ISO_IR 192") async for one in steps
        ]
    return [decode_identifier(one, EXPLICIT) for one in encoded]


@pytest.fixture
async def three(archive: Archive) -> Archive:
    """CT of Jane at half past eight, MR of Jörg at ten, US of a third the next day."""
    await add_step(archive, 1)
    await add_step(
        archive,
        2,
        patient_fields={"patient_name": "Müller^Jörg=山田^太郎", "sex": "M", "birth_date": "19601224"},
        order={"procedure_code": "MRHEAD", "referring_physician": "Öz^Ali", "priority": "STAT"},
        modality="MR",
        station_aets=["MR1", "MR2"],
        station_name="MR-ROOM",
        start_time="1000",
        performing_physician="Kim^Ann",
        protocol_codes=[
            {"value": "HEAD", "scheme": "99L", "meaning": "Head"},
            {"value": "T2", "scheme": "L", "meaning": ""},
        ],
    )
    await add_step(archive, 3, modality="US", station_aets=[], start_date="20261123", start_time="", location="ROOM3")
    return archive


@pytest.mark.parametrize(
    ("step", "steps"),
    [
        (None, "S1 S2 S3"),
        ({}, "S1 S2 S3"),
        ({"ScheduledStationAETitle": ""}, "S1 S2 S3"),
        ({"ScheduledStationAETitle": "CT1"}, "S1"),
        ({"ScheduledStationAETitle": "MR2 "}, "S2"),
        ({"ScheduledStationAETitle": "MR?"}, "S2"),
        ({"ScheduledStationAETitle": ["CT1", "MR1"]}, "S1 S2"),
        ({"ScheduledStationAETitle": "ct1"}, ""),
        ({"Modality": "MR"}, "S2"),
        ({"Modality": ["CT", "US"]}, "S1 S3"),
        ({"Modality": "*"}, "S1 S2 S3"),
        ({"ScheduledProcedureStepStartDate": "20261122"}, "S1 S2"),
        ({"ScheduledProcedureStepStartDate": "20261122-20261122"}, "S1 S2"),
        ({"ScheduledProcedureStepStartDate": "-20261122"}, "S1 S2"),
        ({"ScheduledProcedureStepStartDate": "20261123-"}, "S3"),
        ({"ScheduledProcedureStepStartDate": "20261122", "ScheduledProcedureStepStartTime": "09-"}, "S2"),
        ({"ScheduledProcedureStepStartTime": "0800-0900"}, "S1"),
        ({"ScheduledProcedureStepStartTime": "10"}, "S2"),
        # Only possible as one range of moments: from the evening on, until the morning after.
        (
            {"ScheduledProcedureStepStartDate": "20261121-20261122", "ScheduledProcedureStepStartTime": "2200-0900"},
            "S1",
        ),
        ({"ScheduledPerformingPhysicianName": "MILLER*"}, "S1 S3"),
        ({"ScheduledPerformingPhysicianName": "Kim^Ann"}, "S2"),
        ({"ScheduledProcedureStepID": "S3"}, "S3"),
        ({"ScheduledStationName": "MR*"}, "S2"),
        ({"ScheduledProcedureStepLocation": "ROOM3"}, "S3"),
        ({"ScheduledProcedureStepDescription": "CT*"}, "S1 S2 S3"),
        ({"AccessionNumber": "A2"}, "S2"),  # a key of the order inside of the sequence
    ],
)
async def test_keys_of_the_step(three: Archive, step: dict[str, Any] | None, steps: str) -> None:
    assert await found(three, step) == steps.split()


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ({"PatientName": "doe^jane"}, "S1 S3"),
        ({"PatientName": "MULLER*"}, "S2"),
        ({"PatientName": "*^J*"}, "S1 S2 S3"),
        ({"PatientName": "山田*"}, "S2"),
        ({"PatientName": ""}, "S1 S2 S3"),
        ({"PatientName": "jörg mül", "fuzzy_names": True}, "S2"),
        ({"PatientID": "P2"}, "S2"),
        ({"PatientID": "P*"}, "S1 S2 S3"),
        ({"IssuerOfPatientID": "HOSP", "PatientID": "P1"}, "S1"),
        ({"PatientBirthDate": "19601224"}, "S2"),
        ({"PatientBirthDate": "1960.12.24"}, "S2"),
        ({"PatientSex": "F"}, "S1 S3"),
        ({"AccessionNumber": "A1"}, "S1"),
        ({"AccessionNumber": "A[1"}, ""),
        ({"RequestedProcedureID": "RP1"}, "S1 S2 S3"),
        ({"RequestedProcedurePriority": "STAT"}, "S2"),
        ({"StudyInstanceUID": "1.2.2"}, "S2"),
        ({"StudyInstanceUID": ["1.2.2", "1.2.3"]}, "S2 S3"),
        ({"ReferringPhysicianName": "OZ*"}, "S2"),
        ({"PlacerOrderNumberImagingServiceRequest": "PL3"}, "S3"),
        ({"RequestingService": "PNEUMO"}, "S1 S2 S3"),
        # Keys of the sequence beside it.
        ({"Modality": "MR"}, "S2"),
        ({"ScheduledStationAETitle": "CT1"}, "S1"),
        ({"ScheduledProcedureStepStartDate": "20261123"}, "S3"),
        ({"AccessionNumber": '""'}, ""),
    ],
)
async def test_keys_of_order_and_patient(three: Archive, keys: dict[str, Any], steps: str) -> None:
    assert await found(three, {}, **keys) == steps.split()


def code(value: str, scheme: str = "") -> Sequence:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    return Sequence([item])


async def test_codes_and_references_are_matched_item_by_item(three: Archive) -> None:
    assert await found(three, {}, RequestedProcedureCodeSequence=code("MRHEAD")) == ["S2"]
    assert await found(three, {}, RequestedProcedureCodeSequence=code("MR*", "99L")) == ["S2"]
    assert await found(three, {"ScheduledProtocolCodeSequence": code("HEAD", "99L")}) == ["S2"]
    assert await found(three, {"ScheduledProtocolCodeSequence": code("HEAD", "L")}) == []
    reference = Dataset()
    reference.ReferencedSOPInstanceUID = "1.2.3"
    assert await found(three, {}, ReferencedStudySequence=Sequence([reference])) == ["S3"]
    assert await found(three, {}, ReferencedStudySequence=Sequence([Dataset()])) == ["S1", "S2", "S3"]


async def test_the_key_inside_of_the_sequence_goes_before_the_one_beside_it(three: Archive) -> None:
    assert await found(three, {"Modality": "CT"}, Modality="MR") == ["S1"]


async def test_combined_date_and_time_where_that_was_agreed(three: Archive) -> None:
    times = {"ScheduledProcedureStepStartDate": "20261122-20261123", "ScheduledProcedureStepStartTime": "09-10"}
    assert await found(three, times) == ["S2"]
    assert await found(three, times, combined_datetime=True) == ["S2", "S3"]


@pytest.mark.parametrize("date", ["20261399-", "tomorrow-", "1-2-3"])
async def test_a_range_that_is_none_is_refused(three: Archive, date: str) -> None:
    with pytest.raises(InvalidRequestError, match="ScheduledProcedureStepStartDate"):
        await found(three, {"ScheduledProcedureStepStartDate": date})


async def test_hostile_values_find_nothing_and_break_nothing(three: Archive) -> None:
    for text in ("'; DROP TABLE scheduled_step; --", "%", "_" * 5, "\\x", "a*" * 400):
        assert await found(three, {"ScheduledStationAETitle": text}, PatientID=text) == []
        assert await found(three, {}, PatientName=text[:60]) == []


# --- answers ---

TYPE_1_OF_STEP = (
    "ScheduledStationAETitle",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "Modality",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
)
TYPE_1 = ("RequestedProcedureID", "RequestedProcedureDescription", "StudyInstanceUID", "PatientName", "PatientID")


async def test_every_return_key_comes_back(three: Archive) -> None:
    keys = ("AccessionNumber", "RequestingPhysician", "ReferringPhysicianName", "AdmissionID", "CurrentPatientLocation")
    question = identifier({}, **dict.fromkeys((*TYPE_1, *keys, "PatientBirthDate", "PatientSex", "MedicalAlerts"), ""))
    for sequence in ("RequestedProcedureCodeSequence", "ReferencedStudySequence", "ReferencedPatientSequence"):
        setattr(question, sequence, Sequence([]))
    answer = (await answers(three, question))[1]
    assert {element.keyword for element in question} <= {element.keyword for element in answer}
    assert (answer.PatientName, answer.PatientID, answer.AccessionNumber) == ("Müller^Jörg=山田^太郎", "P2", "A2")
    assert (answer.StudyInstanceUID, answer.MedicalAlerts, answer.AdmissionID) == ("1.2.2", "MRSA", "")
    assert answer.RequestedProcedureCodeSequence[0].CodeValue == "MRHEAD"
    assert answer.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.2.2"
    assert len(answer.ReferencedPatientSequence) == 0
    [item] = answer.ScheduledProcedureStepSequence
    assert list(item.ScheduledStationAETitle) == ["MR1", "MR2"]
    assert (item.Modality, item.ScheduledProcedureStepID, item.RequestedContrastAgent) == ("MR", "S2", "Iomeprol")
    assert [one.CodeValue for one in item.ScheduledProtocolCodeSequence] == ["HEAD", "T2"]
    assert item.ScheduledProtocolCodeSequence[1].CodeMeaning == "T2"


async def test_type_1_is_never_empty_whatever_the_ris_did_not_say(archive: Archive) -> None:
    empty = (
        "accession_number",
        "placer_number",
        "filler_number",
        "procedure_id",
        "procedure_code",
        "procedure_meaning",
    )
    silent = dict.fromkeys(("modality", "start_date", "start_time", "description"), "")
    order = dict.fromkeys(empty, "")
    await add_step(
        archive, 1, patient_fields={"patient_name": ""}, order=order, station_aets=[], protocol_codes=[], **silent
    )
    [answer] = await answers(archive, identifier({}, **dict.fromkeys((*TYPE_1, "AccessionNumber"), "")))
    item = answer.ScheduledProcedureStepSequence[0]
    assert [keyword for keyword in TYPE_1_OF_STEP if not item.get(keyword)] == []
    assert [keyword for keyword in TYPE_1 if not answer.get(keyword)] == []
    assert item.ScheduledStationAETitle == "CT1"  # whoever asks


async def test_only_what_was_asked_for_comes_back(three: Archive) -> None:
    question = identifier({"ScheduledStationAETitle": "CT1", "Modality": ""}, PatientID="", EthnicGroup="")
    [answer] = await answers(three, question)
    assert [one.keyword for one in answer] == ["PatientID", "EthnicGroup", "ScheduledProcedureStepSequence"]
    assert [one.keyword for one in answer.ScheduledProcedureStepSequence[0]] == ["Modality", "ScheduledStationAETitle"]


async def test_what_the_ris_said_by_keyword_comes_back(archive: Archive) -> None:
    details = {"PatientWeight": "72.5", "Allergies": "penicillin", "PregnancyStatus": "4", "PatientAddress": "Street 1"}
    patient = await add_patient(archive, "P1", details=details)
    await add_step(archive, 1, patient=patient, order={"details": {"PatientState": "sedated"}})
    question = identifier({}, PatientWeight=None, Allergies="", PatientState="", PatientSize=None)
    question.PregnancyStatus = None
    [answer] = await answers(archive, question)
    assert (float(answer.PatientWeight), answer.Allergies, answer.PatientState) == (72.5, "penicillin", "sedated")
    assert answer.PregnancyStatus == 4
    assert answer.PatientSize is None


# --- who sees what ---


async def test_an_order_that_is_over_or_has_no_patient_is_on_no_worklist(archive: Archive) -> None:
    for number, state in enumerate(
        ("scheduled", "arrived", "in_progress", "completed", "cancelled", "discontinued"), 1
    ):
        await add_step(archive, number, state=state)
    await add_step(archive, 7, order={"state": "cancelled"})
    await add_step(archive, 8, order={"patient": None})
    assert await found(archive) == ["S1", "S2"]
    assert await found(archive, view=View(states=("in_progress", "completed"))) == ["S3", "S4"]


async def test_two_steps_of_one_order_are_two_answers(archive: Archive) -> None:
    await add_step(archive, 1)
    await add_step_of(archive, 1, "S1b", modality="MR")
    assert await found(archive) == ["S1", "S1b"]


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        (RowScope(modalities=("MR", "US")), "S2 S3"),
        (RowScope(patient_ids=("P1",)), "S1"),
        (RowScope(institutions=("city  HOSPITAL ",)), "S1 S2 S3"),
        (RowScope(institutions=("Other",)), ""),
        (RowScope(referring_physicians=("OZ^ALI",)), "S2"),
        (RowScope(own_uploads=True), ""),
    ],
)
async def test_a_row_scope_limits_the_worklist(three: Archive, rows: RowScope, steps: str) -> None:
    with acting_as(Access(ActorKind.NODE, "CT1@10.0.0.1", frozenset({Permission.ORDER_READ}), rows)):
        assert await found(three) == steps.split()


async def test_nobody_without_the_permission_is_answered(three: Archive) -> None:
    with acting_as(Access(ActorKind.NODE, "CT1@10.0.0.1")), pytest.raises(NotAllowedError):
        await found(three)
