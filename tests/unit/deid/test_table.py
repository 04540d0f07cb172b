"""Every row of PS3.15 Table E.1-1 is honoured, with each option alone and with all that go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.deid.deidentify import deidentify
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import KeyedPseudonyms, Pseudonym, identity_of
from fileroom.deid.table import CURVE, EDITION, OVERLAY_COMMENTS, OVERLAY_DATA, PRIVATE, TABLE

SHIFT = -10
COLUMNS = [option for option in Option if option not in (Option.PIXELS, Option.VISUAL_FEATURES)]
CHOICES = [frozenset(), *({one} for one in COLUMNS), frozenset(COLUMNS) - {Option.FULL_DATES}]
CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
PLAIN: dict[str, Any] = {
    "DA": "20200215", "DT": "20200215101112.5", "TM": "101112", "PN": "FRANZ^GERDA", "AS": "044Y", "IS": "7", "DS": "7.5",
    "UI": "1.2.826.0.1.77", "CS": "WORD", "AE": "STORE", "UR": "http://example.org/x",
    "OB": b"\1\2", "OW": b"\1\2", "UN": b"\1\2", "US": 7, "FD": 7.0, "FL": 7.0, "SS": 7, "SL": 7, "UL": 7, "AT": 0x00080008,
}  # fmt: skip


def pseudonyms(header: Dataset) -> KeyedPseudonyms:
    return KeyedPseudonyms(b"k" * 32, {identity_of(header): Pseudonym("S-1", "S-1", SHIFT)})


def holder(sop_class: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.StudyInstanceUID = "1.2.3.4"
    dataset.PatientID = "ID0815"
    dataset.set_original_encoding(False, True, "iso8859")
    return dataset


def element(tag: int) -> DataElement:
    name = TABLE[tag].name
    vr = "SQ" if name.endswith("Sequence") else "LO"
    if dictionary_has_tag(tag):
        vr = dictionary_VR(tag)
    if vr == "SQ":
        inner = Dataset()
        inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1234", "DCM", "something"
        return DataElement(tag, vr, Sequence([inner]))
    vr = vr.split(" or ")[0]
    return DataElement(tag, vr, PLAIN.get(vr, "plain words"))


def allowed(code: str) -> set[str]:
    return set(code.rstrip("*").split("/"))


def outcome(before: DataElement, after: DataElement | None) -> str:
    """What has become of an attribute, as a code of the table."""
    if after is None:
        return "X"
    if after.VR == "SQ":
        return "Z" if not after.value else "kept or dummy"
    if after.value in (None, ""):
        return "Z"
    if after.value == before.value:
        return "K"
    if before.VR in ("DA", "DT") and str(after.value).startswith("20200205"):
        return "C"
    return "U" if before.VR == "UI" else "D"


ROWS = [
    row
    for row in TABLE.values()
    if row.tag not in (CURVE, OVERLAY_COMMENTS, OVERLAY_DATA, PRIVATE) and row.tag >> 16 > 2
]


@pytest.mark.parametrize("options", CHOICES, ids=lambda one: "+".join(sorted(one)) or "basic")
@pytest.mark.parametrize("sop_class", [CT, ENHANCED_CT], ids=["ct", "enhanced"])
def test_every_row_is_honoured(options: frozenset[Option], sop_class: str) -> None:
    wrong = []
    for row in ROWS:
        header = holder(sop_class)
        before = element(row.tag)
        header[row.tag] = before
        made = deidentify(header, Profile(frozenset(options)), pseudonyms(header)).dataset
        became = outcome(before, made.get(row.tag))
        said = {row.options[one] for one in options if one in row.options}
        if row.tag == 0x00700006 and Option.GRAPHICS in options:
            said.add("C")  # text on graphics that are kept (E.3.3); edition 2026c adds the row without saying so
        expected = {"C", "K"} if "C" in said else {"K"} if "K" in said else allowed(row.basic)
        if "C" in said and before.VR in ("OB", "UN"):
            expected |= allowed(row.basic)
        if "D" in expected and row.tag in (0x00100020, 0x00120040):
            expected = {"D"}  # the pseudonym
        if row.tag == 0x00100010:
            expected = {"D"}
        if before.VR == "UI" and "D" in expected:
            expected |= {"U"}  # a dummy UID is a new one
        if before.VR == "SQ" and expected & {"K", "C", "D", "U"}:
            expected |= {"kept or dummy"}
        if became not in expected:
            wrong.append((f"{row.tag:08X}", row.name, row.basic, said, became))
    assert not wrong


def test_table_is_whole() -> None:
    rows = [row for row in TABLE.values() if row.edition == EDITION]
    assert len(rows) == 631
    assert {option for row in rows for option in row.options} == set(COLUMNS)


def test_type_1_attributes_of_enhanced_objects_stay_as_dummies() -> None:
    """Device Serial Number (X/Z/D) is type 3 in CT images and type 1 in enhanced ones (PS3.3 C.7.5.2)."""
    for sop_class, expected in ((CT, None), (ENHANCED_CT, "REMOVED")):
        header = holder(sop_class)
        header.DeviceSerialNumber = "SN-77123"
        made = deidentify(header, Profile(), pseudonyms(header)).dataset
        assert made.get("DeviceSerialNumber") == expected


def test_groups_of_curves_and_overlays_and_private_ones_go() -> None:
    header = holder(CT)
    header.add_new(0x50020010, "US", 2)
    header.add_new(0x50023000, "OW", b"\1\2")
    for group in (0x6000, 0x6002):
        header.add_new(group << 16 | 0x0010, "US", 8)
        header.add_new(group << 16 | 0x0040, "CS", "G")
        header.add_new(group << 16 | 0x3000, "OW", b"\1\2")
        header.add_new(group << 16 | 0x4000, "LT", "seen by DOE")
    header.add_new(0x00090010, "LO", "ACME 1.0")
    header.add_new(0x00091001, "LO", "anything")
    header.add_new(0xFFFCFFFC, "OB", b"\0\0")
    made = deidentify(header, Profile(), pseudonyms(header)).dataset
    assert not [tag for tag in made._dict if tag.group & 1 or tag.group >> 8 in (0x50, 0x60, 0xFF)]


def test_regions_drawn_as_overlays_stay_with_clean_graphics_and_drawings_do_not() -> None:
    header = holder(CT)
    for group, kind in ((0x6000, "G"), (0x6002, "R")):
        header.add_new(group << 16 | 0x0040, "CS", kind)
        header.add_new(group << 16 | 0x3000, "OW", b"\1\2")
    made = deidentify(header, Profile(frozenset({Option.GRAPHICS})), pseudonyms(header)).dataset
    assert 0x60023000 in made
    assert 0x60003000 not in made
