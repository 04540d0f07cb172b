"""The JSON model both ways, against pydicom, and against metadata that is none."""

from __future__ import annotations

import io
import json
import logging
import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from dicom_bytes import Node, data_sets, encode, header, mark, nested, sequence, text
from dicom_models import models
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import json_model, uids
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.json_model import encoded_to_model, model_to_encoded
from fileroom.dicom.part10 import parse_file_meta

EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
IMPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN
BIG = uids.EXPLICIT_VR_BIG_ENDIAN


@pytest.fixture(autouse=True)
def _quiet_pydicom():
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)


def one(node: Node, *, charset: str = "ISO_IR 192", **options) -> dict:
    """The attribute that a single element becomes."""
    data = encode([text(0x00080005, "CS", charset), node])
    return encoded_to_model(data, EXPLICIT, **options)[f"{node.tag:08X}"]


def test_text_is_split_stripped_and_decoded():
    assert one(text(0x00081030, "LO", "Schädel \\ \\Hals", "utf-8")) == {"vr": "LO", "Value": ["Schädel", None, "Hals"]}
    assert one(text(0x00104000, "LT", "  a\\b\r\n ")) == {"vr": "LT", "Value": ["  a\\b\r\n"]}
    assert one(text(0x0020000D, "UI", "1.2.3")) == {"vr": "UI", "Value": ["1.2.3"]}


def test_names_are_split_into_groups():
    node = text(0x00100010, "PN", "Yamada^Tarou=山田^太郎\\=洪", "utf-8")

    assert one(node) == {
        "vr": "PN",
        "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}, {"Ideographic": "洪"}],
    }


@pytest.mark.parametrize(
    ("vr", "given_text", "values"),
    [
        ("DS", "1.50\\-2", [1.5, -2]),
        ("DS", "1e400", ["1e400"]),
        ("DS", "NaN", ["NaN"]),
        ("DS", "1_0", ["1_0"]),
        ("DS", "0.1234567890123456789", ["0.1234567890123456789"]),
        ("DS", "12,5", ["12,5"]),
        ("IS", "007\\ 12 ", [7, 12]),
        ("IS", "1.0", [1.0]),
        ("IS", "9007199254740993", ["9007199254740993"]),
        ("IS", "1\\\\2", [1, None, 2]),
    ],
)
def test_decimals_are_numbers_where_nothing_is_lost(vr, given_text, values):
    assert one(text(0x00200032, vr, given_text))["Value"] == values


def test_floats_that_json_does_not_know_are_text():
    node = Node(0x00189073, "FD", struct.pack("<3d", float("nan"), float("-inf"), 0.5))

    assert one(node)["Value"] == ["NaN", "-Infinity", 0.5]
    json.loads(json_model.encoded_to_json(encode([node]), EXPLICIT), parse_constant=pytest.fail)


def test_empty_attributes_have_only_a_vr():
    assert one(Node(0x00081030, "LO", b"")) == {"vr": "LO"}
    assert one(text(0x00081030, "LO", "   ")) == {"vr": "LO"}
    assert one(sequence(0x00081140)) == {"vr": "SQ"}
    assert one(sequence(0x00081140, [])) == {"vr": "SQ", "Value": [{}]}


def test_group_lengths_and_file_meta_are_left_out():
    nodes = [text(0x00020010, "UI", "1.2"), Node(0x00080000, "UL", bytes(4)), text(0x00081030, "LO", "A")]

    assert list(encoded_to_model(encode(nodes), EXPLICIT)) == ["00081030"]


def test_stray_delimiters_are_left_out():
    data = encode([text(0x00081030, "LO", "A")]) + mark(0xE00D, 0) + encode([text(0x00100020, "LO", "B")])

    assert list(encoded_to_model(data, EXPLICIT)) == ["00081030", "00100020"]


def test_character_set_of_the_model_is_utf_8():
    data = encode([text(0x00080005, "CS", "ISO_IR 100"), text(0x00081030, "LO", "Schädel", "latin_1")])

    model = encoded_to_model(data, EXPLICIT)

    assert model["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert model["00081030"]["Value"] == ["Schädel"]


def test_long_binary_values_become_references_with_their_path():
    overlay = Node(0x60003000, "OW", bytes(2000))
    data = encode([sequence(0x00081140, [text(0x00081030, "LO", "A")], [overlay]), overlay])

    model = encoded_to_model(data, EXPLICIT, bulk_uri=lambda path: "/".join(map(str, path)))

    assert model["60003000"] == {"vr": "OW", "BulkDataURI": str(0x60003000)}
    assert model["00081140"]["Value"][1]["60003000"]["BulkDataURI"] == f"{0x00081140}/1/{0x60003000}"


def test_without_a_callback_long_values_are_left_out_and_short_ones_are_inline():
    assert one(Node(0x60003000, "OW", bytes(2000))) == {"vr": "OW"}
    assert one(Node(0x60003000, "OW", b"\1\2")) == {"vr": "OW", "InlineBinary": "AQI="}


def test_pixel_data_behind_the_head_is_referred_to():
    data = encode([text(0x00081030, "LO", "A")])
    scanned = scan_header(data + header(0x7FE00010, "OW", 8), EXPLICIT, frozenset(), complete=False)

    model = encoded_to_model(data, EXPLICIT, bulk_uri=lambda path: f"{path[0]:X}", pixel_data=scanned.pixel_data)

    assert model["7FE00010"] == {"vr": "OW", "BulkDataURI": "7FE00010"}


def test_attributes_are_sorted_whatever_the_order_of_the_bytes():
    nodes = [text(0x00100010, "PN", "B"), text(0x00081030, "LO", "A")]

    assert list(encoded_to_model(encode(nodes), EXPLICIT)) == ["00081030", "00100010"]


def test_pixel_representation_decides_between_us_and_ss():
    signed = [Node(0x00280103, "US", struct.pack("<H", 1)), Node(0x00280106, "SS", struct.pack("<h", -5))]

    model = encoded_to_model(encode(signed, explicit=False), IMPLICIT)

    assert model["00280106"] == {"vr": "SS", "Value": [-5]}


def test_private_elements_of_known_creators_get_their_vr_in_implicit_vr():
    nodes = [text(0x00190010, "LO", "GEMS_ACQU_01"), Node(0x00191023, "DS", b"1.25")]

    assert encoded_to_model(encode(nodes, explicit=False), IMPLICIT)["00191023"] == {"vr": "DS", "Value": [1.25]}


def test_unknown_vr_of_a_known_tag_is_resolved():
    assert one(Node(0x00081030, "UN", b"Head")) == {"vr": "LO", "Value": ["Head"]}
    unknown = Node(0x00081140, "UN", [[text(0x00081030, "LO", "A")]], True, True)
    assert one(unknown) == {"vr": "SQ", "Value": [{"00081030": {"vr": "LO", "Value": ["A"]}}]}


def test_big_endian_values_are_turned():
    nodes = [Node(0x00280010, "US", b"\2\0"), Node(0x60003000, "OW", b"\1\2")]

    model = encoded_to_model(encode(nodes, order=">"), BIG)

    assert model["00280010"]["Value"] == [512]
    assert model["60003000"]["InlineBinary"] == "AgE="


def test_a_thousand_levels_are_cut_not_followed():
    model = encoded_to_model(nested(1000), EXPLICIT)

    assert json.dumps(model).count("00081140") < 100


def test_truncated_data_set_gives_what_came_before():
    data = encode([text(0x00081030, "LO", "A"), text(0x00100010, "PN", "B")])

    assert list(encoded_to_model(data[:-1], EXPLICIT)) == ["00081030"]


def test_items_of_a_scanned_sequence_become_json():
    nodes = [text(0x00080005, "CS", "ISO_IR 100"), sequence(0x00400275, [text(0x00400007, "LO", "Schädel", "latin_1")])]
    scanned = scan_header(encode(nodes), EXPLICIT, frozenset({0x00400275}), complete=True)

    items = json_model.items_to_json(
        scanned.values[0x00400275], scanned.encoding, scanned.vrs.get(0x00400275), scanned.charset
    )

    assert items == [{"00400007": {"vr": "LO", "Value": ["Schädel"]}}]


@settings(max_examples=100, deadline=None)
@given(models)
def test_model_to_bytes_and_back_is_the_same_model(model):
    assert _without_character_set(encoded_to_model(model_to_encoded(model).head, EXPLICIT)) == model


@settings(max_examples=60, deadline=None)
@given(models)
def test_pydicom_reads_the_same_from_our_bytes(model):
    data = model_to_encoded(model).head
    theirs = json_model.decode_dataset(data)

    assert _without_character_set(_in_our_dialect(theirs.to_json_dict(bulk_data_threshold=10**6))) == model
    for implicit in (False, True):
        written = DicomBytesIO()
        written.is_implicit_VR, written.is_little_endian = implicit, True
        write_dataset(written, json_model.decode_dataset(data))
        ours = encoded_to_model(written.getvalue(), IMPLICIT if implicit else EXPLICIT)
        assert _without_character_set(ours) == model


def _without_character_set(model: dict) -> dict:
    return {tag: entry for tag, entry in model.items() if tag != "00080005"}


def _in_our_dialect(model: dict) -> dict:
    """pydicom's model in ours: group lengths and empty name groups left out, empty items as empty objects."""
    plain = {tag: entry for tag, entry in model.items() if not tag.endswith("0000")}
    for entry in plain.values():
        if entry["vr"] == "PN" and "Value" in entry:
            entry["Value"] = [name and {group: part for group, part in name.items() if part} for name in entry["Value"]]
        if entry["vr"] == "SQ":
            entry["Value"] = [_in_our_dialect(item or {}) for item in entry.get("Value", [])]
            if not entry["Value"]:
                del entry["Value"]
    return plain


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "rtplan.dcm",
        "test-SR.dcm",
        "waveform_ecg.dcm",
    ],
)
def test_bundled_files_have_the_model_that_pydicom_makes(name):
    path = get_testdata_file(name)
    raw = Path(path).read_bytes()
    meta = parse_file_meta(raw, complete=True)
    scanned = scan_header(raw[meta.data_set_offset :], meta.transfer_syntax, frozenset(), complete=True)
    head = raw[meta.data_set_offset : meta.data_set_offset + scanned.end]
    theirs = pydicom.dcmread(path, stop_before_pixels=True).to_json_dict(bulk_data_threshold=10**6)

    ours = encoded_to_model(head, meta.transfer_syntax, inline_bytes_max=10**6)

    assert _without_character_set(ours) == _without_character_set(_in_our_dialect(theirs))


def test_dataset_to_json_and_back():
    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "Müller^Jörg"
    dataset.Rows = 512

    again = json_model.json_to_dataset(json_model.dataset_to_json(dataset))

    assert (again.PatientName, again.Rows) == ("Müller^Jörg", 512)


def test_bulk_data_is_fetched_by_its_path_and_pixel_data_is_left_to_the_caller():
    model = {
        "00081140": {"vr": "SQ", "Value": [{"60003000": {"vr": "OW", "BulkDataURI": "cid:1"}}]},
        "7FE00010": {"vr": "OB", "BulkDataURI": "cid:2"},
        "FFFCFFFC": {"vr": "OB", "InlineBinary": "AAA="},
    }
    asked = []

    def resolve(path, vr, uri):
        asked.append((path, vr, uri))
        return b"\1\2\3"

    encoded = model_to_encoded(model, resolve)

    assert asked == [((0x00081140, 0, 0x60003000), "OW", "cid:1")]
    assert encoded.pixel_data == json_model.BulkReference(0x7FE00010, "OB", "cid:2", None)
    assert encoded.head.endswith(b"\1\2\3\0")
    assert encoded.tail.startswith(b"\xfc\xff\xfc\xff")


def test_value_too_long_for_its_vr_is_written_as_un():
    encoded = model_to_encoded({"00200032": {"vr": "DS", "Value": [1.25] * 20000}}).head

    assert encoded[4:6] == b"UN"
    assert len(encoded_to_model(encoded, EXPLICIT)["00200032"]["Value"]) == 20000


def test_numbers_for_ds_fit_in_sixteen_characters():
    encoded = model_to_encoded({"00200032": {"vr": "DS", "Value": [-0.1234567890123456789, 1e-300]}}).head

    assert all(len(part) <= 16 for part in encoded[8:].split(b"\\"))


@pytest.mark.parametrize(
    "broken",
    [
        [],
        "text",
        {"PatientName": {"vr": "PN"}},
        {"00100010": "Doe"},
        {"00100010": {"Value": ["Doe"]}},
        {"00100010": {"vr": "ZZ", "Value": ["Doe"]}},
        {"0010001G": {"vr": "PN"}},
        {"00280010": {"vr": "US", "Value": [70000]}},
        {"00280010": {"vr": "US", "Value": ["x"]}},
        {"00280010": {"vr": "US", "Value": [[1]]}},
        {"00280010": {"vr": "US", "Value": 1}},
        {"00081140": {"vr": "SQ", "Value": ["x"]}},
        {"60003000": {"vr": "OW", "Value": [1]}},
        {"60003000": {"vr": "OW", "BulkDataURI": "cid:1"}},
        {"60003000": {"vr": "OW", "InlineBinary": "A"}},
        {"00200032": {"vr": "DS", "Value": [True]}},
        {"00080018": {"vr": "UI", "Value": ["\ud800"]}},
    ],
)
def test_metadata_that_is_none_is_refused(broken):
    with pytest.raises(InvalidObjectError):
        model_to_encoded(broken)


@pytest.mark.parametrize("broken", [b"", b"[1]", b"{", b'{"a": NaN}', b"[" * 100_000])
def test_text_that_is_no_json_object_is_refused(broken):
    with pytest.raises(InvalidObjectError):
        json_model.parse_json(broken)


def test_metadata_nested_too_deep_is_refused():
    model = {"00081030": {"vr": "LO"}}
    for _ in range(40):
        model = {"00081140": {"vr": "SQ", "Value": [model]}}

    with pytest.raises(InvalidObjectError, match="deeper"):
        model_to_encoded(model)


@settings(max_examples=100, deadline=None)
@given(data_sets, st.data())
def test_flipped_bytes_give_a_model_or_a_named_error(nodes, data):
    raw = bytearray(encode(nodes))
    for _ in range(3):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        json.loads(json_model.encoded_to_json(bytes(raw), EXPLICIT, bulk_uri=str))
    except InvalidObjectError:
        return


def test_any_bytes_have_a_model():
    assert encoded_to_model(b"", EXPLICIT) == {}
    assert encoded_to_model(io.BytesIO(bytes(100)).getvalue(), EXPLICIT) == {}
