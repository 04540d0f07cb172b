"""What people type into the study list's fields, as matching keys."""

from __future__ import annotations

import datetime as dt

import pytest

from fileroom.dicom.query import AnyOf, Matching, Range, SingleValue, Wildcard
from fileroom.web.console.study_question import read_question

TODAY = dt.date(2026, 3, 1)
WORDS = {"heute": "today", "gestern": "yesterday"}


def matching_of(field: str, text: str) -> Matching:
    question = read_question([(field, text)], TODAY, WORDS)
    assert question.problems == {}
    return question.keys[0].matching


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", SingleValue("20260301")),
        ("Heute", SingleValue("20260301")),
        ("yesterday", SingleValue("20260228")),
        ("7d", Range("20260223", None)),
        ("2026-02-03", SingleValue("20260203")),
        ("3.2.2026", SingleValue("20260203")),
        ("20260203", SingleValue("20260203")),
        ("2025", Range("20250101", "20251231")),
        ("2026-01-01..2026-01-31", Range("20260101", "20260131")),
        ("1.1.2026..", Range("20260101", None)),
        ("..20260131", Range(None, "20260131")),
        ("20260101-20260131", Range("20260101", "20260131")),
    ],
)
def test_dates_as_people_write_them(text: str, expected: Matching) -> None:
    assert matching_of("StudyDate", text) == expected


@pytest.mark.parametrize("text", ["soon", "2026-02-30", "31.2.2026", "2026-13-01..2026-14-01", "99999d9", "1-2-3"])
def test_what_is_no_date_is_told_and_matches_nothing(text: str) -> None:
    question = read_question([("StudyDate", text)], TODAY, WORDS)
    assert set(question.problems) == {"StudyDate"}
    assert question.keys == ()


def test_words_of_a_name_match_in_any_order_but_wildcards_are_dicoms() -> None:
    question = read_question([("PatientName", "jane doe")], TODAY, WORDS)
    assert question.fuzzy_names
    assert question.keys[0].matching == SingleValue("jane doe")
    assert matching_of("PatientName", "Doe, J") == Wildcard("Doe^J*")
    assert matching_of("PatientName", "*oe^J?ne") == Wildcard("*oe^J?ne*")


def test_ids_match_by_their_beginning_and_whole_in_quotation_marks() -> None:
    assert matching_of("PatientID", "ab1") == AnyOf(("ab1*", "AB1*"))
    assert matching_of("PatientID", "AB1") == Wildcard("AB1*")
    assert matching_of("PatientID", "A?1") == Wildcard("A?1")
    assert matching_of("AccessionNumber", '"A1"') == SingleValue("A1")


def test_several_modalities_are_any_of_them() -> None:
    assert matching_of("ModalitiesInStudy", "ct, mr") == AnyOf(("CT", "MR"))


def test_what_is_not_asked_is_no_key() -> None:
    question = read_question(
        [("PatientName", " "), ("PatientID", "*"), ("other", "x"), ("status", "odd")], TODAY, WORDS
    )
    assert question.is_empty
    assert question.keys == ()


@pytest.mark.parametrize("text", ["a\0b", "'; DROP TABLE study; --", "%_\\", "x" * 5000, "\\" * 50, '"', '""', "=^=^*"])
def test_odd_text_is_a_question_or_a_problem_never_an_error(text: str) -> None:
    for field in ("PatientName", "PatientID", "StudyDate", "ModalitiesInStudy", "StudyDescription", "PatientSex"):
        read_question([(field, text)], TODAY, WORDS)
