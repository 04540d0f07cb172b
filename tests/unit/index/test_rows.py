"""Whatever a header holds becomes a row that the database takes, and says the same."""

from __future__ import annotations

import random
import struct

import orjson
import pytest

from dicom_bytes import Node, encode, sequence, text
from fileroom.archive.services import Archive
from fileroom.core.limits import SEARCHED_TEXT_CHARS_MAX, TEXT_CHARS_MAX
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN
from fileroom.index.attributes import ATTRIBUTES, BY_KEYWORD, SCANNED_TAGS, Kind
from fileroom.index.rows import StoredFacts, build_row, name_keys, patient_identity, study_and_series_uids
from fileroom.index.write import Inserted, InstanceRow

FACTS = StoredFacts(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    sop_instance_uid="1.2.3",
    transfer_syntax_uid=EXPLICIT_VR_LITTLE_ENDIAN,
    storage_key="objects/1.2.3",
    file_bytes=1,
    dataset_offset=0,
    pixel_offset=None,
    digest=b"\x01",
    received_by="test",
    sender="",
)


def row_of(*nodes: Node, charset: str = "ISO_IR 192") -> InstanceRow:
    elements = [text(0x00080005, "CS", charset), *nodes]
    encoded = encode(sorted(elements, key=lambda node: node.tag))
    header = scan_header(encoded, EXPLICIT_VR_LITTLE_ENDIAN, SCANNED_TAGS, complete=True)
    return build_row(header, FACTS, "1.2", "1.2.1")


def columns(row: InstanceRow, level: str) -> dict[str, object]:
    entry: dict[str, dict[str, object]] = orjson.loads(row.json)
    return entry[level]


def element(keyword: str, value: str, codec: str = "utf-8") -> Node:
    attribute = BY_KEYWORD[keyword]
    return text(attribute.tag, attribute.vr, value, codec)


def raw(keyword: str, value: bytes) -> Node:
    attribute = BY_KEYWORD[keyword]
    return Node(attribute.tag, attribute.vr, value)


# --- what the columns say ---


def test_a_name_is_kept_as_received_beside_its_normal_forms() -> None:
    found = columns(row_of(element("PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう")), "patient")
    assert found["patient_name"] == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert found["patient_name_key"] == "yamada^tarou"
    assert found["patient_name_other_keys"] == "=山田^太郎=やまだ^たろう="


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("DOE^JOHN", ("doe^john", None)),
        ("Müller^Éva^^^", ("muller^eva", None)),
        ("=山田", ("", "=山田=")),
        ("A==B", ("a", "==b=")),
        ("A\\B", ("a\\b", None)),
        ("A=X\\B\\C==Y", ("a\\b\\c", "=x=\\\\==y=")),
    ],
)
def test_normal_forms_of_names(name: str, keys: tuple[str, str | None]) -> None:
    assert name_keys(name) == keys


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientID", " P1 ", "P1"),
        ("PatientID", "P\x001\x07", "P1"),
        ("PatientID", "   ", None),
        ("StudyDate", "2026.01.05", "20260105"),
        ("StudyDate", "20260105", "20260105"),
        ("StudyDate", "yesterday", "yesterday"),
        ("StudyTime", "10:30:00", "103000"),
        ("StudyTime", "103000.500000", "103000.5"),
        ("StudyTime", "10", "10"),
        ("StudyTime", "noon", "noon"),
        ("ImageType", "ORIGINAL \\PRIMARY ", "ORIGINAL\\PRIMARY"),
        ("PatientComments", "a\\ b", "a\\ b"),
        ("SeriesNumber", " 7 ", 7),
        ("SeriesNumber", "seven", None),
        ("SeriesNumber", "9" * 12, 999_999_999_999),
        ("SeriesNumber", "9" * 40, None),
        ("SeriesDescription", "x" * 5000, "x" * TEXT_CHARS_MAX),
        ("AccessionNumber", "x" * 5000, "x" * SEARCHED_TEXT_CHARS_MAX),
    ],
)
def test_values_are_clean(keyword: str, value: str, expected: object) -> None:
    attribute = BY_KEYWORD[keyword]
    level = attribute.level.name.lower()
    assert columns(row_of(element(keyword, value)), level)[attribute.column] == expected


def test_text_is_read_in_the_objects_own_character_set() -> None:
    found = columns(row_of(element("PatientName", "Müller", "latin-1"), charset="ISO_IR 100"), "patient")
    assert found["patient_name"] == "Müller"


def test_a_binary_number_that_is_too_short_is_left_out() -> None:
    assert columns(row_of(raw("Rows", b"\x01")), "instance")["rows"] is None
    assert columns(row_of(raw("Rows", struct.pack("<H", 512))), "instance")["rows"] == 512


def test_a_patient_is_told_by_id_and_issuer_and_without_an_id_by_the_study() -> None:
    assert patient_identity("P1", "", "1.2") == "id:P1|"
    assert patient_identity("P1", "X", "1.2") == "id:P1|X"
    assert patient_identity("", "X", "1.2") == "study:1.2"
    long = [patient_identity("P" * 300 + end, "", "1.2") for end in ("a", "b", "b")]
    assert long[0] != long[1] == long[2]
    assert all(len(identity) < 100 for identity in long)


def test_objects_without_a_patient_are_filed_under_uids_of_their_own() -> None:
    header = scan_header(b"", EXPLICIT_VR_LITTLE_ENDIAN, SCANNED_TAGS, complete=True)
    hanging_protocol = "1.2.840.10008.5.1.4.38.1"
    study, series = study_and_series_uids(header, hanging_protocol, "1.2.3")
    assert study.startswith("2.25.")
    assert len({study, series}) == 2
    assert (study, series) == study_and_series_uids(header, hanging_protocol, "1.2.3")
    assert study_and_series_uids(header, "1.2.840.10008.5.1.4.1.1.2", "1.2.3") == ("", "")


# --- what the database takes ---


def noise(length: int, alphabet: str, seed: int = 1) -> str:
    """Text that cannot be compressed."""
    return "".join(random.Random(seed).choices(alphabet, k=length))


IDEOGRAPHS = "".join(map(chr, range(0x4E00, 0x9F00)))
OTHERS = "".join(map(chr, range(0x20000, 0x20F00)))
"""Four bytes each in UTF-8."""

HOSTILE = {
    "long": noise(20_000, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
    "long ideographs": noise(20_000, IDEOGRAPHS),
    "long rare ideographs": noise(20_000, OTHERS),
    "long ligatures": "\ufdfa" * 2000,
    "control characters": "a\x00b\x01\x1b[31m\r\n\t",
    "backslashes": "\\\\\\",
    "equals": "=====",
    "carets": "^^^^^",
    "escapes": '\\u0000 \\x00 %00 "}, {"',
    "nothing but blanks": "      ",
    "right to left": "\u202eabc\u200f",
    "not characters": "\ufffe\uffff\U0010ffff",
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
async def test_the_database_takes_any_text_in_any_attribute(archive: Archive, value: str) -> None:
    nodes = [Node(a.tag, "UT", value.encode()) for a in ATTRIBUTES if a.kind not in (Kind.COMPUTED, Kind.SEQUENCE)]
    items = [Node(0x00080100, "SH", value.encode()[:60_000]), Node(0x00401001, "PN", value.encode()[:60_000])]
    nodes += [sequence(a.tag, items, items) for a in ATTRIBUTES if a.kind is Kind.SEQUENCE]
    assert await archive.writer.write(row_of(*nodes)) == Inserted()


async def test_the_database_takes_bytes_that_are_no_text(archive: Archive) -> None:
    for seed, charset in enumerate(("ISO_IR 192", "ISO 2022 IR 87", "\\ISO 2022 IR 149", "nonsense", "GB18030")):
        value = random.Random(seed).randbytes(300)
        nodes = [Node(a.tag, "UT", value) for a in ATTRIBUTES if a.kind not in (Kind.COMPUTED, Kind.SEQUENCE)]
        items = [Node(0x00080100, "SH", value), Node(0x00401001, "PN", value)]
        nodes += [sequence(a.tag, items) for a in ATTRIBUTES if a.kind is Kind.SEQUENCE]
        json = row_of(*nodes, charset=charset).json
        for taken, fresh in ((b'"objects/1.2.3"', b'"objects/%d"'), (b'"1.2.3"', b'"%d"')):
            json = json.replace(taken, fresh % seed)
        assert await archive.writer.write(InstanceRow("1.2", "1.2.1", str(seed), json)) == Inserted()
