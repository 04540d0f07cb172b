"""Big endian elements turned where they stand: the same bytes as when they are written little endian at once."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.elements import UNDEFINED, Coder
from corpus.odd_structure import nest
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom.big_endian import to_little_endian

BIG, LITTLE, IMPLICIT = Coder(big=True), Coder(), Coder(explicit=False)


def words(coder: Coder, code: str, *values: float) -> bytes:
    return struct.pack(f"{coder.order}{len(values)}{code}", *values)


def every_vr(coder: Coder) -> bytes:
    """One element of each kind, every kind of sequence, and a value of unknown VR."""
    content = b"".join(
        (
            coder.element(0x00080008, "CS", b"ORIGINAL"),
            coder.element(0x00090010, "LO", b"SOMEBODY"),
            coder.element(0x00091001, "OL", words(coder, "I", 1, 2)),
            coder.element(0x00091002, "OV", words(coder, "Q", 1, 2)),
            coder.element(0x00091003, "SV", words(coder, "q", -1)),
            coder.element(0x00091004, "UV", words(coder, "Q", 3)),
            coder.element(0x00091005, "UN", b"\1\2\3\4"),
            coder.element(0x00091006, "OB", b"\1\2\3\4"),
            coder.element(0x00189073, "FD", words(coder, "d", 0.5, 2.0)),
            coder.element(0x00280008, "IS", b"2 "),
            coder.element(0x00280009, "AT", words(coder, "H", 0x0018, 0x1063)),
            coder.element(0x00280010, "US", words(coder, "H", 512)),
            coder.element(0x00280106, "SS", words(coder, "h", -2)),
            coder.element(0x00281201, "OW", words(coder, "H", 1, 2, 3)),
            coder.element(0x00701000, "FL", words(coder, "f", 1.5)),
            coder.element(0x00720078, "UL", words(coder, "I", 70000)),
            coder.element(0x00720074, "SL", words(coder, "i", -70000)),
        )
    )
    unknown = coder.element(0x00091007, "UN", b"", length=UNDEFINED) + IMPLICIT.item(
        IMPLICIT.element(0x00280010, "US", b"\1\0")
    )
    sequences = [
        coder.sequence(0x00081115, [content, content], undefined=undefined, items_undefined=items)
        for undefined in (False, True)
        for items in (False, True)
    ]
    empty = coder.sequence(0x00081140, [])
    return content + unknown + IMPLICIT.mark(0xFFFEE0DD, 0) + b"".join(sequences) + empty


def test_every_vr_and_every_kind_of_sequence() -> None:
    assert to_little_endian(every_vr(BIG)) == every_vr(LITTLE)


@pytest.mark.parametrize("undefined", [False, True])
def test_a_thousand_levels_are_no_different_from_two(undefined: bool) -> None:
    assert to_little_endian(nest(BIG, 1000, undefined)) == nest(LITTLE, 1000, undefined)


def test_an_incomplete_word_and_a_sequence_without_items_stay() -> None:
    odd = BIG.element(0x00281201, "OW", b"\1\2\3", pad=False)
    assert to_little_endian(odd)[-3:] == b"\2\1\3"
    rubbish = BIG.element(0x00081115, "SQ", b"not an item.")
    assert to_little_endian(rubbish)[-12:] == b"not an item."


def test_lengths_that_contradict_each_other_are_refused() -> None:
    inner = BIG.element(0x00081150, "UI", b"1.2.3\0", length=60)
    for broken in (inner, BIG.sequence(0x00081115, [inner]), BIG.sequence(0x00081115, [inner]) + bytes(80)):
        with pytest.raises(InvalidObjectError, match="as it is stored"):
            to_little_endian(broken)


@given(st.binary(max_size=200))
def test_any_bytes_keep_their_length_or_are_refused(data: bytes) -> None:
    try:
        assert len(to_little_endian(data)) == len(data)
    except InvalidObjectError:
        pass
