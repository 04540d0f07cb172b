"""Text moves to another character set and back, in nested items too."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom import uids
from fileroom.dicom.charset import character_set
from fileroom.pixels.transcoded import header_bytes
from fileroom.transform.charset import character_set_terms, converted, transliterated
from fileroom.transform.errors import CannotChangeError

_LATIN = st.text(st.characters(min_codepoint=0xC0, max_codepoint=0xFF), min_size=1, max_size=30)
_JAPANESE = st.text(st.sampled_from("山田太郎東京大学病院やまだたろう"), min_size=1, max_size=20)


def header(text: str) -> Dataset:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName = f"{text}^X"
    made.InstitutionName = text
    item = Dataset()
    item.RequestedProcedureDescription = text
    inner = Dataset()
    inner.CodeMeaning = text
    item.RequestedProcedureCodeSequence = [inner]
    made.RequestAttributesSequence = [item]
    return made


def reread(dataset: Dataset, *, implicit: bool) -> Dataset:
    syntax = uids.IMPLICIT_VR_LITTLE_ENDIAN if implicit else uids.EXPLICIT_VR_LITTLE_ENDIAN
    return read_dataset(io.BytesIO(header_bytes(dataset, syntax)), implicit, True)


def texts_of(dataset: Dataset) -> list[str]:
    item = dataset.RequestAttributesSequence[0]
    inner = item.RequestedProcedureCodeSequence[0]
    return [str(dataset.PatientName), dataset.InstitutionName, item.RequestedProcedureDescription, inner.CodeMeaning]


@given(
    st.one_of(st.tuples(_LATIN, st.just("ISO_IR 100")), st.tuples(_JAPANESE, st.just("ISO 2022 IR 87"))), st.booleans()
)
def test_text_survives_the_way_there_and_back(given_text: tuple[str, str], implicit: bool) -> None:
    text, terms = given_text
    source = reread(header(text), implicit=implicit)
    there = reread(converted(source, character_set_terms(terms)), implicit=implicit)
    assert texts_of(there) == texts_of(source)
    back = reread(converted(there, ("ISO_IR 192",)), implicit=implicit)
    assert texts_of(back) == texts_of(source)
    assert back.SpecificCharacterSet == "ISO_IR 192"
    assert texts_of(source)[1] == text


def test_what_the_set_does_not_have_is_named_with_its_attribute() -> None:
    with pytest.raises(CannotChangeError, match=r"ISO_IR 100 has no '山', which stands in .*InstitutionName"):
        converted(header("ä山"), ("ISO_IR 100",))


def test_what_the_set_does_not_have_is_written_in_other_letters_where_asked_for() -> None:
    made = reread(converted(header("Łódź Ž"), ("ISO_IR 100",), transliterate=True), implicit=False)
    assert made.InstitutionName == "Lódz Z"


@pytest.mark.parametrize(
    ("text", "plain"),
    [("Müller", "Mueller"), ("Ивано́в Щ", "Ivanov Shch"), ("Ωμέγα", "Omega"), ("Ørsted ß", "Oersted ss"), ("山", "?")],
)
def test_letters_in_the_default_repertoire(text: str, plain: str) -> None:
    found = transliterated(text, character_set(b""))
    assert found.replace("?", "") == plain.replace("?", "") or found == plain


@pytest.mark.parametrize("text", ["", "ISO_IR 999", "latin", "ISO_IR 100\\ISO_IR 100"])
def test_what_is_no_character_set_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is no character set"):
        character_set_terms(text)
