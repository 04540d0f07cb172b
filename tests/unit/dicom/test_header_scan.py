"""The scan against hand-made bytes, against pydicom, and against bytes that want to hurt."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_bytes import Node, data_sets, encode, header, mark, nested, sequence, text, without_unknown_sequences
from fileroom.core import limits
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import uids
from fileroom.dicom.header_scan import NeedMoreData, scan_header
from fileroom.dicom.part10 import parse_file_meta

EXPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN
IMPLICIT = uids.IMPLICIT_VR_LITTLE_ENDIAN
BIG = uids.EXPLICIT_VR_BIG_ENDIAN
ENCODINGS = {EXPLICIT: (True, "<"), IMPLICIT: (False, "<"), BIG: (True, ">")}

NAME, ROWS, REQUEST = 0x00100010, 0x00280010, 0x00400275
SMALL = [
    text(0x00080005, "CS", "ISO_IR 100"),
    text(NAME, "PN", "Müller^Jörg", "latin_1"),
    Node(ROWS, "US", struct.pack("<H", 512)),
    sequence(REQUEST, [text(0x00400009, "SH", "SPS1")], [text(0x00400009, "SH", "SPS2")], undefined=True),
]
PIXELS = header(0x7FE00010, "OW", 4) + b"\1\2\3\4"


def test_values_text_numbers_and_items_come_out():
    header_ = scan_header(encode(SMALL) + PIXELS, EXPLICIT, frozenset({NAME, ROWS, REQUEST}), complete=True)

    assert header_.text(NAME) == "Müller^Jörg"
    assert header_.integer(ROWS) == 512
    items = header_.items(REQUEST, frozenset({0x00400009}))
    assert [item.text(0x00400009) for item in items] == ["SPS1", "SPS2"]


def test_items_inherit_the_character_set():
    nodes = [SMALL[0], sequence(REQUEST, [text(0x00400007, "LO", "Schädel", "latin_1")])]

    found = scan_header(encode(nodes), EXPLICIT, frozenset({REQUEST}), complete=True)

    assert found.items(REQUEST, frozenset({0x00400007}))[0].text(0x00400007) == "Schädel"


def test_scan_stops_at_pixel_data_and_says_where():
    head = encode(SMALL)
    found = scan_header(head + PIXELS, EXPLICIT, frozenset(), complete=False)

    assert found.pixel_data is not None
    assert (found.pixel_data.offset, found.pixel_data.value_offset) == (len(head), len(head) + 12)
    assert (found.pixel_data.length, found.pixel_data.vr, found.end) == (4, "OW", len(head))


def test_encapsulated_pixel_data_has_no_length():
    data = encode(SMALL) + header(0x7FE00010, "OB", 0xFFFFFFFF)

    found = scan_header(data, uids.JPEG_BASELINE, frozenset(), complete=False)

    assert found.pixel_data is not None
    assert found.pixel_data.length is None


@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009])
def test_float_pixel_data_stops_the_scan_too(tag):
    found = scan_header(encode(SMALL) + header(tag, "OF", 8), EXPLICIT, frozenset(), complete=False)

    assert found.pixel_data is not None
    assert found.pixel_data.tag == tag


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_every_shorter_head_asks_for_more_and_then_agrees(syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode(SMALL, explicit=explicit, order=order) + header(0x7FE00010, "OW", 4, explicit=explicit, order=order)
    wanted = frozenset({NAME, REQUEST})
    whole = scan_header(data, syntax, wanted, complete=True)
    asked: list[tuple[int, int]] = []

    for size in range(len(data) - 1):
        try:
            found = scan_header(data[:size], syntax, wanted, complete=False)
        except NeedMoreData as need:
            asked.append((size, need.bytes_needed))
        else:
            assert found.values == whole.values
            assert size >= len(data) - 4  # only the unread length of OW may be missing
    assert all(size < needed <= len(data) + 12 for size, needed in asked)


def test_growing_by_what_is_asked_reaches_the_end():
    data = encode(SMALL) + PIXELS
    size = 0
    for _ in range(50):
        try:
            found = scan_header(data[:size], EXPLICIT, frozenset({NAME}), complete=False)
            break
        except NeedMoreData as need:
            size = need.bytes_needed
    assert found.text(NAME) == "Müller^Jörg"


def test_without_pixel_data_the_end_is_the_end_of_the_data_set():
    data = encode(SMALL)
    found = scan_header(data, EXPLICIT, frozenset(), complete=True)

    assert (found.pixel_data, found.end, found.truncated) == (None, len(data), False)


def test_data_set_that_ends_inside_an_element_is_truncated_and_keeps_what_came_before():
    data = encode(SMALL)
    found = scan_header(data[:-6], EXPLICIT, frozenset({NAME, REQUEST}), complete=True)

    assert found.truncated
    assert found.text(NAME) == "Müller^Jörg"
    assert REQUEST not in found.values


def test_zero_padding_behind_the_data_set_is_not_part_of_it():
    data = encode(SMALL)
    found = scan_header(data + bytes(64), EXPLICIT, frozenset(), complete=True)

    assert (found.end, found.truncated) == (len(data), False)


def test_implicit_bytes_under_an_explicit_syntax_are_read_as_they_are():
    data = encode(SMALL, explicit=False)

    found = scan_header(data, EXPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"
    assert not found.encoding.explicit_vr


def test_explicit_bytes_under_the_implicit_syntax_are_read_as_they_are():
    found = scan_header(encode(SMALL), IMPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"
    assert found.encoding.explicit_vr


def test_implicit_private_element_inside_an_explicit_stream_is_stepped_over():
    stray = header(0x00091001, "", 10, explicit=False) + b"0123456789"

    found = scan_header(encode(SMALL[:1]) + stray + encode(SMALL[1:]), EXPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"


@pytest.mark.parametrize("value", [b"", b"abcd"])
def test_unknown_vr_is_stepped_over_in_both_its_forms(value):
    short = struct.pack("<HH2sH", 0x0009, 0x1001, b"ZZ", len(value)) + value
    long = struct.pack("<HH2sHI", 0x0009, 0x1001, b"ZZ", 0, len(value)) + value

    for stray in (short, long):
        found = scan_header(encode(SMALL[:1]) + stray + encode(SMALL[1:]), EXPLICIT, frozenset({NAME}), complete=True)
        assert found.text(NAME) == "Müller^Jörg"


@pytest.mark.parametrize("window_bits", [-15, 15])
def test_deflated_data_set_is_inflated_first(window_bits):
    packer = zlib.compressobj(wbits=window_bits)
    data = packer.compress(encode(SMALL) + PIXELS) + packer.flush()

    found = scan_header(data, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, frozenset({NAME}), complete=True)

    assert found.inflated
    assert found.text(NAME) == "Müller^Jörg"


def test_half_a_deflated_header_asks_for_more():
    packer = zlib.compressobj(0, wbits=-15)
    data = packer.compress(encode(SMALL) + PIXELS) + packer.flush()

    with pytest.raises(NeedMoreData):
        scan_header(data[:40], uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, frozenset({NAME}), complete=False)


def test_deflated_bomb_is_inflated_only_up_to_the_limit(monkeypatch):
    monkeypatch.setattr("fileroom.dicom.header_scan.HEADER_BYTES_MAX", 64 * 1024)
    bomb = header(0x00091010, "OB", 50_000_000) + bytes(50_000_000)
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(encode(SMALL[:1]) + bomb) + packer.flush()

    found = scan_header(data, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, frozenset({NAME}), complete=False)

    assert found.limited


def test_bytes_that_are_not_deflated_are_refused():
    with pytest.raises(InvalidObjectError, match="not deflated"):
        scan_header(b"\xff" * 40, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, frozenset(), complete=True)


def test_header_past_the_limit_is_cut_at_an_element(monkeypatch):
    monkeypatch.setattr("fileroom.dicom.header_scan.HEADER_BYTES_MAX", 1000)
    first = encode(SMALL)
    data = first + header(0x00420011, "OB", 5000) + bytes(5000)

    found = scan_header(data, EXPLICIT, frozenset({NAME}), complete=False)

    assert (found.limited, found.end) == (True, len(first))


def test_memoryview_of_a_large_object_is_scanned_without_copying_it():
    data = encode(SMALL) + header(0x7FE00010, "OW", 3 * limits.MIB) + bytes(3 * limits.MIB)

    found = scan_header(memoryview(data), EXPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"
    assert found.pixel_data is not None


@pytest.mark.parametrize("explicit", [True, False])
def test_a_thousand_levels_are_stepped_over(explicit):
    deep = nested(1000, explicit=explicit)
    data = encode(SMALL[:1], explicit=explicit) + deep + encode(SMALL[1:], explicit=explicit)

    found = scan_header(data, EXPLICIT if explicit else IMPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"


def test_broken_nesting_is_an_invalid_object():
    data = header(0x00081140, "SQ", 0xFFFFFFFF) + header(0x00080100, "SH", 4) + b"abcd"

    with pytest.raises(InvalidObjectError, match="nesting"):
        scan_header(data, EXPLICIT, frozenset(), complete=True)


def test_an_item_that_was_not_closed_ends_with_its_sequence():
    inner = mark(0xE000, 0xFFFFFFFF) + encode([text(0x00080100, "SH", "CODE")])
    data = header(0x00081140, "SQ", 0xFFFFFFFF) + inner + mark(0xE0DD, 0) + encode(SMALL)

    found = scan_header(data, EXPLICIT, frozenset({NAME}), complete=True)

    assert found.text(NAME) == "Müller^Jörg"


@settings(max_examples=60, deadline=None)
@given(data_sets, st.sampled_from([EXPLICIT, IMPLICIT]))
def test_what_was_encoded_comes_out_at_every_depth(nodes, syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode(nodes, explicit=explicit, order=order)

    ours = scan_header(data, syntax, frozenset(node.tag for node in nodes), complete=True)

    assert (ours.end, ours.truncated) == (len(data), False)
    for node in nodes:
        if isinstance(node.value, bytes):
            assert ours.values[node.tag] == node.value
        else:
            _assert_same_items(ours, node)


@settings(max_examples=60, deadline=None)
@given(data_sets.map(without_unknown_sequences), st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
def test_scan_and_pydicom_agree(nodes, syntax):
    explicit, order = ENCODINGS[syntax]
    data = encode(nodes, explicit=explicit, order=order)
    theirs = pydicom.filereader.read_dataset(io.BytesIO(data), not explicit, order == "<")

    ours = scan_header(data, syntax, frozenset(node.tag for node in nodes), complete=True)

    assert ours.end == len(data)
    assert sorted(ours.values) == sorted(map(int, theirs.keys()))
    for node in nodes:
        raw = theirs.get_item(node.tag)
        if not node.undefined or isinstance(node.value, bytes):
            assert ours.values[node.tag] == (raw.value or b"")


def _assert_same_items(scanned, node):
    """What the encoder put in comes out again, item by item."""
    wanted = frozenset(child.tag for nodes in node.value for child in nodes)
    items = scanned.items(node.tag, wanted) if scanned.encoding.explicit_vr or node.value else []
    assert len(items) == len(node.value)
    for found, nodes in zip(items, node.value, strict=True):
        assert sorted(found.values) == [child.tag for child in nodes]
        for child in nodes:
            if isinstance(child.value, bytes):
                assert found.values[child.tag] == child.value
            else:
                _assert_same_items(found, child)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG]), st.booleans())
def test_any_bytes_end_in_a_result_or_a_named_error(data, syntax, complete):
    try:
        found = scan_header(data, syntax, frozenset({NAME, REQUEST}), complete=complete)
    except (InvalidObjectError, NeedMoreData):
        return
    assert found.end <= len(data)
    found.items(REQUEST, frozenset({NAME}))
    found.text(NAME)


@settings(max_examples=100, deadline=None)
@given(data_sets, st.data())
def test_flipped_bytes_never_break_the_scan(nodes, data):
    raw = bytearray(encode(nodes))
    for _ in range(3):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = scan_header(bytes(raw), EXPLICIT, frozenset(node.tag for node in nodes), complete=True)
    except InvalidObjectError:
        return
    for node in nodes:
        found.items(node.tag, frozenset({NAME}))
        found.integer(node.tag, "IS")
        found.long_text(node.tag)


def test_millions_of_empty_items_are_walked_in_linear_time():
    data = header(0x00081140, "SQ", 0xFFFFFFFF) + (mark(0xE000, 0)) * 300_000

    started = time.perf_counter()
    found = scan_header(data, EXPLICIT, frozenset(), complete=True)

    assert found.truncated
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "name",
    ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "rtplan.dcm", "JPEG2000.dcm", "image_dfl.dcm"],
)
def test_bundled_files_scan_as_pydicom_reads_them(name):
    path = get_testdata_file(name)
    raw = Path(path).read_bytes()
    meta = parse_file_meta(raw, complete=True)
    theirs = pydicom.dcmread(path, stop_before_pixels=True)
    tags = frozenset(map(int, theirs.keys()))

    ours = scan_header(raw[meta.data_set_offset :], meta.transfer_syntax, tags, complete=True)

    assert ours.values.keys() - {0x00080005} == tags - {0x00080005}
    assert ours.text(NAME) == str(theirs.PatientName)
    assert ours.text(0x00080018) == theirs.SOPInstanceUID
