"""Steps change attributes, check their values, and what was before is kept in the object."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom import uids
from fileroom.pixels.transcoded import header_bytes
from fileroom.transform.changes import apply_steps, changes_between, record_changes
from fileroom.transform.charset import text_fits
from fileroom.transform.errors import CannotChangeError
from fileroom.transform.hops import hops_of
from fileroom.transform.paths import attribute_path
from fileroom.transform.patterns import compiled_pattern
from fileroom.transform.step_kinds import STEP_KINDS
from fileroom.transform.steps import Context, Step, compiled_steps

OURS = "2.25.42"
SYNTAXES = {True: uids.IMPLICIT_VR_LITTLE_ENDIAN, False: uids.EXPLICIT_VR_LITTLE_ENDIAN}


def steps_of(*steps: dict[str, Any]) -> tuple[Step, ...]:
    return compiled_steps(list(steps), STEP_KINDS, lambda when: lambda dataset: when in dataset)


def header(**values: Any) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientID = "123"
    made.PatientName = "Müller^Jörg"
    made.StudyInstanceUID = "1.2.3"
    item = Dataset()
    item.AccessionNumber = "A1"
    item.ReferencedSOPInstanceUID = "1.2.9"
    made.RequestAttributesSequence = [item]
    made.private_block(0x0029, "ACME", create=True).add_new(0x10, "LO", "secret")
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def encoded(dataset: Dataset, *, implicit: bool) -> Dataset:
    """As it is when it was read from a file."""
    raw = header_bytes(dataset, SYNTAXES[implicit])
    return read_dataset(io.BytesIO(raw), implicit, True)


def apply(dataset: Dataset, *steps: dict[str, Any], order: dict[str, str] | None = None) -> Dataset:
    return apply_steps(dataset, steps_of(*steps), Context(OURS, scope="T", order=order or {}))


@pytest.mark.parametrize(
    ("step", "keyword", "value"),
    [
        ({"do": "set", "attribute": "PatientID", "value": "X"}, "PatientID", "X"),
        ({"do": "set", "attribute": "ImageType", "value": ["DERIVED", "PRIMARY"]}, "ImageType", ["DERIVED", "PRIMARY"]),
        ({"do": "empty", "attribute": "PatientID"}, "PatientID", None),
        ({"do": "copy", "from": "PatientID", "attribute": "AccessionNumber"}, "AccessionNumber", "123"),
        ({"do": "map", "attribute": "PatientID", "table": {"123": "Z"}}, "PatientID", "Z"),
        ({"do": "map", "attribute": "PatientID", "table": {"9": "Z"}, "default": "D"}, "PatientID", "D"),
        ({"do": "map", "attribute": "PatientID", "table": {"9": "Z"}}, "PatientID", "123"),
        ({"do": "map", "from": "PatientID", "attribute": "StudyID", "table": {"123": "S"}}, "StudyID", "S"),
        ({"do": "replace", "attribute": "PatientID", "pattern": r"^(\d)(\d+)$", "with": r"\2-\1"}, "PatientID", "23-1"),
        ({"do": "prefix", "attribute": "PatientID", "value": "N-"}, "PatientID", "N-123"),
        ({"do": "suffix", "attribute": "PatientID", "value": "-N"}, "PatientID", "123-N"),
        ({"do": "case", "attribute": "PatientName", "to": "upper"}, "PatientName", "MÜLLER^JÖRG"),
        ({"do": "order", "attribute": "AccessionNumber"}, "AccessionNumber", "FROM-ORDER"),
        ({"do": "set", "attribute": "(0010,0020)", "value": "T"}, "PatientID", "T"),
    ],
)
def test_step_gives(step: dict[str, Any], keyword: str, value: Any) -> None:
    for implicit in (True, False):
        made = apply(encoded(header(), implicit=implicit), step, order={"AccessionNumber": "FROM-ORDER"})
        read = encoded(text_fits(made), implicit=implicit)
        found = read[keyword].value
        assert (found or None) == value if value is None else found == value


def test_steps_reach_into_items_and_private_blocks_and_the_source_stays() -> None:
    source = encoded(header(), implicit=False)
    made = apply(
        source,
        {"do": "set", "attribute": "RequestAttributesSequence[*].AccessionNumber", "value": "B2"},
        {"do": "set", "attribute": "RequestAttributesSequence[1].AccessionNumber", "value": "C3"},
        {"do": "set", "attribute": '(0029,10,"ACME")', "value": "open"},
        {"do": "set", "attribute": '(0029,11,"OTHER")', "value": "new"},
    )
    assert [item.AccessionNumber for item in made.RequestAttributesSequence] == ["B2", "C3"]
    assert made.private_block(0x0029, "ACME")[0x10].value == "open"
    assert made.private_block(0x0029, "OTHER")[0x11].value == "new"
    assert source.RequestAttributesSequence[0].AccessionNumber == "A1"
    assert len(source.RequestAttributesSequence) == 1


def test_new_uids_are_the_same_wherever_the_old_one_stands() -> None:
    first = apply(header(SOPInstanceUID="1.2.9"), {"do": "new_uids"})
    again = apply(header(SOPInstanceUID="1.2.9"), {"do": "new_uids"})
    assert first.SOPInstanceUID == again.SOPInstanceUID == first.RequestAttributesSequence[0].ReferencedSOPInstanceUID
    assert first.SOPInstanceUID != "1.2.9"
    other = apply_steps(header(), steps_of({"do": "new_uids"}), Context(OURS, scope="other"))
    assert other.StudyInstanceUID != first.StudyInstanceUID


def test_condition_decides() -> None:
    step = {"do": "set", "attribute": "PatientID", "value": "X"}
    assert apply(header(), {**step, "when": "PatientName"}).PatientID == "X"
    assert apply(header(), {**step, "when": "PatientWeight"}).PatientID == "123"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            {"do": "set", "attribute": "PatientBirthDate", "value": "tomorrow"},
            r"Step 1 \(set PatientBirthDate\).*'tomorrow'",
        ),
        ({"do": "set", "attribute": "SeriesNumber", "value": "one"}, r"SeriesNumber.*VR IS"),
        ({"do": "set", "attribute": "AccessionNumber", "value": "x" * 17}, r"AccessionNumber.*VR SH"),
        ({"do": "map", "attribute": "PatientID", "table": {"1": "2"}, "otherwise": "fail"}, "'123'.*no line"),
        ({"do": "order", "attribute": "StudyID", "otherwise": "fail"}, "no order with StudyID"),
        ({"do": "set", "attribute": "RequestAttributesSequence[5].StudyID", "value": "1"}, "has 1 items"),
        ({"do": "trim", "attribute": "RequestAttributesSequence"}, "VR SQ is no text"),
    ],
)
def test_step_that_cannot_be_applied_says_which_attribute_and_value(step: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotChangeError, match=message):
        apply(header(), step)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"do": "sett"}, "do must be one of set"),
        ({"do": "set", "attribute": "PatientId", "value": "1"}, "no attribute PatientId"),
        ({"do": "set", "attribute": "PatientID", "value": "1", "values": []}, "no field values"),
        ({"do": "set", "attribute": "PixelData", "value": "1"}, "cannot be changed"),
        ({"do": "set", "attribute": "Rows", "value": "1"}, "how the object is made"),
        ({"do": "remove", "attribute": "SOPInstanceUID"}, "can be without"),
        ({"do": "replace", "attribute": "PatientID", "pattern": "(a+)+$"}, "repetition"),
        ({"do": "replace", "attribute": "PatientID", "pattern": "(a"}, "no pattern"),
        ({"do": "replace", "attribute": "PatientID", "pattern": "a", "with": r"\1"}, "cannot replace"),
        ({"do": "set", "attribute": '(0010,10,"X")', "value": "1"}, "odd groups"),
    ],
)
def test_wrong_step_is_refused_when_it_is_entered(step: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"Step 1.*{message}"):
        steps_of(step)


@pytest.mark.parametrize("pattern", ["(a|a)*b", "(a*)*", "(?=a)", r"(a)\1", ".*.*.*.*.*x", "(a{2,9}){3}"])
def test_pattern_that_could_run_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequestError):
        compiled_pattern(pattern)


@pytest.mark.parametrize(
    "text",
    ["PatientID", "RequestAttributesSequence[0].AccessionNumber", '(0029,10,"SIEMENS CSA HEADER")', "(0009,1001)"],
)
def test_path_is_written_as_it_was_read(text: str) -> None:
    assert str(attribute_path(text)) == text


@given(st.text(max_size=60))
def test_any_text_is_a_path_or_a_clear_error(text: str) -> None:
    try:
        assert attribute_path(text).parts
    except InvalidRequestError:
        pass


_CHANGES = st.dictionaries(
    st.sampled_from(["PatientID", "AccessionNumber", "StudyID", "InstitutionName", "PatientName"]),
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], exclude_characters="\\=^"),
        min_size=1,
        max_size=16,
    ),
    min_size=1,
)


@given(_CHANGES, st.booleans())
def test_original_attributes_hold_exactly_what_was_changed(changes: dict[str, str], implicit: bool) -> None:
    source = encoded(header(), implicit=implicit)
    steps = [{"do": "set", "attribute": keyword, "value": value} for keyword, value in changes.items()]
    made = text_fits(apply(source, *steps))
    was_changed = record_changes(source, made, Context(OURS, moment="20260101120000"))
    read = encoded(text_fits(made), implicit=implicit)
    for keyword, value in changes.items():
        assert str(read[keyword].value) == value
    really = {keyword for keyword, value in changes.items() if str(source.get(keyword, "")) != value}
    assert was_changed == bool(really)
    if not really:
        return
    (note,) = read.OriginalAttributesSequence
    (previous,) = note.ModifiedAttributesSequence
    assert {element.keyword for element in previous} - {"SpecificCharacterSet"} == really
    for keyword in really:
        assert str(previous[keyword].value or "") == str(source.get(keyword, ""))
    assert hops_of(read, OURS) == 1
    assert not changes_between(source, encoded(header(), implicit=implicit))


def test_changes_are_noted_behind_those_of_others() -> None:
    source = header()
    first = apply(source, {"do": "set", "attribute": "PatientID", "value": "X"})
    record_changes(source, first, Context("2.25.1"))
    second = apply(first, {"do": "set", "attribute": "PatientID", "value": "Y"})
    record_changes(first, second, Context("2.25.2"))
    assert [one.ModifiedAttributesSequence[0].PatientID for one in second.OriginalAttributesSequence] == ["123", "X"]
    assert (hops_of(second, "2.25.1"), hops_of(second, "2.25.2")) == (1, 1)
    assert len(first.OriginalAttributesSequence) == 1
