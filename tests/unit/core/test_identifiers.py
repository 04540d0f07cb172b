"""AE titles and UIDs are checked once, at the edge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, UID, AETitle


@pytest.mark.parametrize("text", ["A", "CT 1", "0123456789ABCDEF", "a.b-c_d/e", "~!@#$%^&*()"])
def test_an_ae_title_is_printable_ascii(text: str) -> None:
    assert AETitle(text) == text


def test_blanks_around_an_ae_title_are_padding() -> None:
    assert AETitle("  CT1            ") == "CT1"


@pytest.mark.parametrize(
    "text", ["", " ", "                 ", "0123456789ABCDEFG", "A\\B", "A\nB", "Ä", "A\x7f", "\0"]
)
def test_what_is_no_ae_title_is_named(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not an AE title"):
        AETitle(text)


@pytest.mark.parametrize(
    "text", ["1", "1.2.3", "0", "1.02.3", "1" * 64, "2.25.329800735698586629295641978511506172918"]
)
def test_a_uid_is_digits_and_dots(text: str) -> None:
    assert UID(text) == text


@pytest.mark.parametrize("padding", ["\0", " ", "\0\0"])
def test_padding_behind_a_uid_is_taken_off(padding: str) -> None:
    assert UID("1.2.3" + padding) == "1.2.3"


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "1..2", "a", "1.2.a", "1" * 65, " 1", "1\n", "1.2\0.3", "../1", "１.２", "1.2\\1.3"]
)
def test_what_is_no_uid_is_named(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a UID"):
        UID(text)


@given(st.text(max_size=200))
def test_what_passes_can_be_part_of_nothing_else(text: str) -> None:
    try:
        uid = UID(text)
    except InvalidRequestError:
        return
    assert set(uid) <= set("0123456789.")
    assert 1 <= len(uid) <= 64


def test_our_own_names_are_valid() -> None:
    assert UID(IMPLEMENTATION_CLASS_UID) == IMPLEMENTATION_CLASS_UID
    assert 1 <= len(IMPLEMENTATION_VERSION_NAME) <= 16
    number = int(IMPLEMENTATION_CLASS_UID.removeprefix("2.25."))
    assert number < 2**128
