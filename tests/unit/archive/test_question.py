"""A query in words, for people who read the audit trail."""

from __future__ import annotations

import pytest

from fileroom.archive.question import question_of
from fileroom.dicom.query import (
    AnyOf,
    EmptyValue,
    Key,
    Level,
    Matching,
    Query,
    Range,
    SequenceItem,
    SingleValue,
    Wildcard,
)

PATIENT_ID, STUDY_UID = 0x00100020, 0x0020000D


@pytest.mark.parametrize(
    ("tag", "matching", "words"),
    [
        (0x00100010, Wildcard("DOE*"), "PatientName=DOE*"),
        (0x00080020, Range("20260101", None), "StudyDate=20260101-"),
        (0x00080050, EmptyValue(), 'AccessionNumber=""'),
        (0x00080061, AnyOf(("CT", "MR")), "ModalitiesInStudy=CT\\MR"),
        (
            0x00400275,
            SequenceItem((Key(0x00400009, "SH", SingleValue("1")),)),
            "RequestAttributesSequence={ScheduledProcedureStepID=1}",
        ),
        (0x00091001, SingleValue("x"), "00091001=x"),
    ],
)
def test_keys_in_words(tag: int, matching: Matching, words: str) -> None:
    assert question_of(Query(Level.STUDY, keys=(Key(tag, "LO", matching),))).words == f"STUDY: {words}"


def test_a_question_without_keys_asks_for_everything() -> None:
    assert question_of(Query(Level.PATIENT)).words == "PATIENT: everything"


def test_patients_and_studies_that_are_named() -> None:
    keys = (Key(PATIENT_ID, "LO", AnyOf(("1", "2"))), Key(STUDY_UID, "UI", SingleValue("1.2")))
    question = question_of(Query(Level.SERIES, keys=keys))
    assert (question.patient_ids, question.study_uids) == (("1", "2"), ("1.2",))
    assert question_of(Query(Level.STUDY, keys=(Key(PATIENT_ID, "LO", Wildcard("1*")),))).patient_ids == ()


def test_a_long_question_is_cut() -> None:
    keys = (Key(STUDY_UID, "UI", AnyOf(tuple(f"1.2.{number}" for number in range(5000)))),)
    question = question_of(Query(Level.STUDY, keys=keys))
    assert question.words.endswith("and 4990 more")
    assert len(question_of(Query(Level.STUDY, keys=(Key(PATIENT_ID, "LO", SingleValue("x" * 5000)),))).words) <= 1000
