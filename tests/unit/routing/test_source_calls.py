"""A question as C-FIND identifier and as QIDO-RS, and what of a stranger's answer is believed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom.identifier import decode_identifier, encode_answer
from fileroom.dicom.query import AnyOf, Key, Level, Query, Range, SequenceItem, SingleValue, Wildcard
from fileroom.routing.source_calls import checked_model, identifier_of, search_parameters, text_of
from fileroom.routing.sources import check_source

QUERY = Query(
    Level.STUDY,
    keys=(
        Key(0x00100010, "PN", Wildcard("MÜLLER*")),
        Key(0x0020000D, "UI", AnyOf(("1.2", "1.3"))),
        Key(0x00080020, "DA", Range("20260101", None)),
        Key(0x00400275, "SQ", SequenceItem((Key(0x00400009, "SH", SingleValue("S1")),))),
    ),
    return_tags=((0x00100020,), (0x00080052,), (0x00080061,)),
)


def test_a_query_becomes_an_identifier() -> None:
    encoded = encode_answer(identifier_of(QUERY), "1.2.840.10008.1.2.1", b"ISO_IR 192")
    identifier = decode_identifier(encoded, "1.2.840.10008.1.2.1")
    assert str(identifier.PatientName) == "MÜLLER*"
    assert list(identifier.StudyInstanceUID) == ["1.2", "1.3"]
    assert identifier.StudyDate == "20260101-"
    assert identifier.RequestAttributesSequence[0].ScheduledProcedureStepID == "S1"
    assert identifier.PatientID in ("", None)
    assert "ModalitiesInStudy" in identifier


def test_a_query_becomes_parameters() -> None:
    parameters = search_parameters(QUERY, 7)
    assert ("00100010", "MÜLLER*") in parameters
    assert ("0020000D", "1.2,1.3") in parameters
    assert ("00400275.00400009", "S1") in parameters
    assert ("includefield", "00080061") in parameters
    assert parameters[-1] == ("limit", "7")


def test_of_a_strangers_json_only_what_is_well_formed_is_kept() -> None:
    found = checked_model(
        {
            "00100010": {"vr": "PN", "Value": ["Old^Style"]},
            "00100020": {"vr": "LO", "Value": [{"odd": 1}, "P1", True]},
            "00081190": "no element",
            "no tag": {"vr": "LO", "Value": ["x"]},
            "7FE00010": {"vr": "OW", "InlineBinary": "AAAA"},
            "00400275": {"vr": "SQ", "Value": ["no item", {"00400009": {"vr": "SH", "Value": ["S1"]}}]},
        }
    )
    assert text_of(found, 0x00100010) == "Old^Style"
    assert text_of(found, 0x00100020) == "P1"
    assert set(found) == {"00100010", "00100020", "7FE00010", "00400275"}
    assert text_of(found["00400275"]["Value"][1], 0x00400009) == "S1"


JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_nothing_a_stranger_sends_raises(value: Any) -> None:
    model = checked_model({"00100010": {"vr": "PN", "Value": value}, "00400275": {"vr": "SQ", "Value": value}})
    text_of(model, 0x00100010)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "either"),
        ({"node": "A", "dicomweb": "https://a.example"}, "either"),
        ({"dicomweb": "ftp://a.example"}, "address"),
        ({"dicomweb": "https://me:secret@a.example"}, "address"),
        ({"node": "A", "method": "push"}, "method"),
        ({"node": "A", "timeout_s": 0}, "timeout_s"),
        ({"node": "A", "timeout_s": True}, "timeout_s"),
        ({"node": "A", "federate": "yes"}, "federate"),
        ({"node": "A", "budget": {"euros": 3}}, "budget"),
        ({"node": "A", "colour": "red"}, "colour"),
        ({"dicomweb": "https://a.example", "worklist": True}, "worklist"),
    ],
)
def test_a_source_that_cannot_work_is_refused_with_the_reason(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        check_source("A", fields)


def test_the_normal_form_of_a_source_is_stable() -> None:
    once = check_source("A", {"dicomweb": "https://a.example/dicom-web/", "token": "t"})
    assert once["dicomweb"] == "https://a.example/dicom-web"
    assert check_source("A", once) == once
