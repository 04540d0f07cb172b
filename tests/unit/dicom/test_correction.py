"""Corrections over encoded headers: what is asked changes, everything else keeps its bytes."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_bytes import Node, data_sets, encode, sequence, text
from fileroom.core.errors import InvalidObjectError, InvalidRequestError
from fileroom.dicom import uids
from fileroom.dicom.correction import ALL_ITEMS, AttributeCorrection, Modification, correct_header, to_utf_8
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.json_model import encoded_to_model
from fileroom.dicom.part10 import parse_file_meta
from fileroom.dicom.walk import EXPLICIT_LE

EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
IMPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN
BIG = uids.EXPLICIT_VR_BIG_ENDIAN
DEFLATED = uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
ENCODINGS = {EXPLICIT: (True, "<"), IMPLICIT: (False, "<"), BIG: (True, ">")}

NAME, PATIENT_ID, REQUEST, STEP_ID = 0x00100010, 0x00100020, 0x00400275, 0x00400009
PRIVATE = Node(0x00091001, "UN", b"\1\2\3\4")
HEADER = [
    text(0x00080005, "CS", "ISO_IR 100"),
    text(0x00080020, "DA", "20200101"),
    PRIVATE,
    text(NAME, "PN", "Müller^Jörg", "latin_1"),
    text(PATIENT_ID, "LO", "4711"),
    sequence(REQUEST, [text(STEP_ID, "SH", "SPS1")], [text(STEP_ID, "SH", "SPS2")], undefined=True),
]
WHEN = Modification("20260101120000", "FILEROOM", source_of_previous_values="CT1")


def fix(path, vr, *values) -> AttributeCorrection:
    return AttributeCorrection(path if isinstance(path, tuple) else (path,), vr, values)


def remove(*path) -> AttributeCorrection:
    return AttributeCorrection(path, "LO", None)


def model_after(corrections, nodes=HEADER, **options) -> dict:
    return encoded_to_model(correct_header(encode(nodes), EXPLICIT, corrections, **options), EXPLICIT)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_value_is_replaced_and_all_else_keeps_its_bytes(syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode(HEADER, explicit=explicit, order=order)
    expected = [*HEADER]
    expected[4] = text(PATIENT_ID, "LO", "0815-7")

    corrected = correct_header(data, syntax, [fix(PATIENT_ID, "LO", "0815-7")])

    assert corrected == encode(expected, explicit=explicit, order=order)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_value_inside_an_item_is_replaced_and_lengths_follow(syntax):
    explicit, order = ENCODINGS[syntax]
    for undefined in (True, False):
        items = [[text(STEP_ID, "SH", "A")], [text(STEP_ID, "SH", "B")]]
        data = encode([sequence(REQUEST, *items, undefined=undefined)], explicit=explicit, order=order)
        items[1] = [text(0x00400007, "LO", "Skull"), text(STEP_ID, "SH", "LONGER")]

        corrected = correct_header(
            data, syntax, [fix((REQUEST, 1, STEP_ID), "SH", "LONGER"), fix((REQUEST, 1, 0x00400007), "LO", "Skull")]
        )

        assert corrected == encode([sequence(REQUEST, *items, undefined=undefined)], explicit=explicit, order=order)


def test_all_items_are_corrected_at_once():
    model = model_after([fix((REQUEST, ALL_ITEMS, STEP_ID), "SH", "X")])

    assert [item["00400009"]["Value"] for item in model["00400275"]["Value"]] == [["X"], ["X"]]


def test_absent_attribute_is_added_in_the_order_of_tags():
    corrected = correct_header(encode(HEADER), EXPLICIT, [fix(0x00080050, "SH", "ACC1"), fix(0x00401001, "SH", "RP")])

    assert list(encoded_to_model(corrected, EXPLICIT))[2:] == [
        "00080050",
        "00091001",
        "00100010",
        "00100020",
        "00400275",
        "00401001",
    ]


def test_attribute_is_emptied_or_removed():
    assert model_after([AttributeCorrection((PATIENT_ID,), "LO", ())])["00100020"] == {"vr": "LO"}
    assert "00100020" not in model_after([remove(PATIENT_ID)])
    assert model_after([remove(0x00101001)]) == model_after([])


def test_item_and_sequence_are_added_where_there_was_none():
    model = model_after([fix((REQUEST, 2, STEP_ID), "SH", "SPS3"), fix((0x00081140, 0, 0x00081155), "UI", "1.2.3")])

    assert model["00400275"]["Value"][2] == {"00400009": {"vr": "SH", "Value": ["SPS3"]}}
    assert model["00081140"]["Value"] == [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]


def test_whole_sequence_is_replaced():
    item = {"00080100": {"vr": "SH", "Value": ["T-1"]}}

    assert model_after([fix(REQUEST, "SQ", item)])["00400275"] == {"vr": "SQ", "Value": [item]}


def test_binary_and_numeric_values_are_encoded():
    model = model_after([fix(0x00280010, "US", 512), AttributeCorrection((0x00420011,), "OB", b"\1\2\3")])

    assert model["00280010"]["Value"] == [512]
    assert model["00420011"]["InlineBinary"] == "AQIDAA=="


def test_later_correction_of_the_same_attribute_wins():
    assert model_after([fix(PATIENT_ID, "LO", "A"), fix(PATIENT_ID, "LO", "B")])["00100020"]["Value"] == ["B"]


def test_text_is_written_in_the_character_set_of_the_header():
    corrected = correct_header(encode(HEADER), EXPLICIT, [fix(NAME, "PN", "Größe")])

    assert "Größe".encode("latin_1") in corrected


def test_text_that_does_not_fit_moves_the_whole_header_to_utf_8():
    inner = sequence(REQUEST, [text(0x00080005, "CS", "ISO_IR 144"), text(0x00400007, "LO", "Люк", "iso8859_5")])
    nodes = [*HEADER[:-1], text(0x00204000, "LT", "straße", "latin_1"), inner]

    corrected = correct_header(encode(nodes), EXPLICIT, [fix(PATIENT_ID, "LO", "山田")])

    scanned = scan_header(
        corrected, EXPLICIT, frozenset({NAME, PATIENT_ID, REQUEST, 0x00204000, 0x00091001}), complete=True
    )
    assert scanned.charset.terms == ("ISO_IR 192",)
    assert (scanned.text(NAME), scanned.text(PATIENT_ID)) == ("Müller^Jörg", "山田")
    assert scanned.long_text(0x00204000) == "straße"
    assert scanned.values[0x00091001] == PRIVATE.value
    assert scanned.items(REQUEST, frozenset({0x00400007}))[0].text(0x00400007) == "Люк"


def test_header_without_character_set_gets_one_when_it_must():
    corrected = correct_header(encode([text(PATIENT_ID, "LO", "A")]), EXPLICIT, [fix(NAME, "PN", "Müller")])

    assert scan_header(corrected, EXPLICIT, frozenset({NAME}), complete=True).text(NAME) == "Müller"


def test_escape_sequences_are_gone_in_utf_8():
    nodes = [text(0x00080005, "CS", "\\ISO 2022 IR 87"), Node(NAME, "PN", b"\x1b$B;3ED\x1b(B")]

    moved = to_utf_8(encode(nodes), EXPLICIT_LE)

    assert "山田".encode() in moved
    assert b"\x1b" not in moved


def test_group_length_of_a_changed_group_goes_others_stay():
    nodes = [
        Node(0x00080000, "UL", struct.pack("<I", 18)),
        text(0x00080020, "DA", "20200101"),
        Node(0x00100000, "UL", struct.pack("<I", 12)),
        text(PATIENT_ID, "LO", "4711"),
    ]

    corrected = correct_header(encode(nodes), EXPLICIT, [fix(PATIENT_ID, "LO", "A")])

    assert corrected == encode([*nodes[:2], text(PATIENT_ID, "LO", "A")])


def test_original_attributes_tell_what_was_there_before():
    corrections = [fix(PATIENT_ID, "LO", "NEW"), fix(0x00080050, "SH", "ACC"), fix((REQUEST, 0, STEP_ID), "SH", "N")]

    original = model_after(corrections, modification=WHEN)["04000561"]["Value"]

    assert len(original) == 1
    assert original[0]["04000562"]["Value"] == ["20260101120000"]
    assert original[0]["04000563"]["Value"] == ["FILEROOM"]
    assert original[0]["04000564"]["Value"] == ["CT1"]
    assert original[0]["04000565"]["Value"] == ["CORRECT"]
    previous = original[0]["04000550"]["Value"][0]
    assert previous["00100020"]["Value"] == ["4711"]
    assert previous["00080050"] == {"vr": "SH"}
    assert previous["00400275"]["Value"][0]["00400009"]["Value"] == ["SPS1"]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_second_modification_is_added_behind_the_first(syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode(HEADER, explicit=explicit, order=order)
    for number in ("A", "B"):
        data = correct_header(data, syntax, [fix(PATIENT_ID, "LO", number)], modification=WHEN)

    items = encoded_to_model(data, syntax)["04000561"]["Value"]

    assert [item["04000550"]["Value"][0]["00100020"]["Value"] for item in items] == [["4711"], ["A"]]


def test_deflated_data_set_is_corrected_and_deflated_again():
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(encode(HEADER)) + packer.flush()

    corrected = correct_header(data, DEFLATED, [fix(PATIENT_ID, "LO", "NEW")])

    assert scan_header(corrected, DEFLATED, frozenset({PATIENT_ID}), complete=True).text(PATIENT_ID) == "NEW"


def test_no_correction_gives_the_same_bytes():
    data = encode(HEADER)

    assert correct_header(data, EXPLICIT, [], modification=WHEN) is data


@pytest.mark.parametrize(
    "correction",
    [
        fix((), "LO", "x"),
        fix((REQUEST, 0), "LO", "x"),
        fix(0x7FE00010, "OW", "x"),
        fix(0x00020010, "UI", "1.2"),
        fix(0x00080005, "CS", "ISO_IR 192"),
        fix(0x00100000, "UL", 1),
        fix((REQUEST, 5, STEP_ID), "SH", "x"),
        fix(0x00280010, "US", "many"),
        fix(PATIENT_ID, "ZZ", "x"),
    ],
)
def test_corrections_that_cannot_be_made_are_refused(correction):
    with pytest.raises(InvalidRequestError):
        correct_header(encode(HEADER), EXPLICIT, [correction])


def test_truncated_header_is_not_corrected():
    with pytest.raises(InvalidObjectError, match="truncated"):
        correct_header(encode(HEADER)[:-3], EXPLICIT, [fix(PATIENT_ID, "LO", "x")])


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm"])
def test_bundled_files_change_in_one_attribute_only(name):
    raw = Path(get_testdata_file(name)).read_bytes()
    meta = parse_file_meta(raw, complete=True)
    data_set = raw[meta.data_set_offset :]
    head = data_set[: scan_header(data_set, meta.transfer_syntax, frozenset(), complete=True).end]
    before = encoded_to_model(head, meta.transfer_syntax)

    after = encoded_to_model(
        correct_header(head, meta.transfer_syntax, [fix(PATIENT_ID, "LO", "NEW")]), meta.transfer_syntax
    )

    assert {tag for tag in before | after if before.get(tag) != after.get(tag)} == {"00100020"}


@settings(max_examples=60, deadline=None)
@given(data_sets, st.sampled_from([EXPLICIT, IMPLICIT]))
def test_correcting_and_removing_again_gives_the_old_bytes(nodes, syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode([node for node in nodes if node.tag >> 16 != 0x0010], explicit=explicit, order=order)

    there = correct_header(data, syntax, [fix(PATIENT_ID, "LO", "A")])
    back = correct_header(there, syntax, [remove(PATIENT_ID)])

    assert len(there) > len(data)
    assert back == data
