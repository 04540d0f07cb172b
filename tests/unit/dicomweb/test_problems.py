"""Warning headers and error bodies."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.dicomweb.problems import more_results_warning, problem_json, warning_headers


def test_warning_has_the_code_the_service_and_a_quoted_sentence() -> None:
    assert warning_headers(['"odd" is ignored'], "http://host/dicom-web") == [
        '299 http://host/dicom-web "\\"odd\\" is ignored"'
    ]


def test_warnings_past_twenty_are_only_counted() -> None:
    found = warning_headers([f"warning {number}" for number in range(30)], "s")
    assert len(found) == 20
    assert "11 more" in found[-1]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=30))
def test_any_sentence_fits_into_a_header(text: str) -> None:
    (header,) = warning_headers([text], "s")
    assert header.isascii()
    assert header.isprintable()


def test_more_results_are_told_with_or_without_their_number() -> None:
    assert "7 additional" in more_results_warning(7)
    assert "additional results" in more_results_warning(None)


def test_problem_has_status_title_and_detail() -> None:
    found = json.loads(problem_json(406, "nothing of text/html \ud800"))
    assert (found["status"], found["title"]) == (406, "Not Acceptable")
    assert found["detail"].startswith("nothing of text/html")
    assert json.loads(problem_json(799, ""))["title"] == "Error"
