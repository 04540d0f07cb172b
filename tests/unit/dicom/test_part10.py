"""File meta: ours, everybody's, and files that have none."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dicom_bytes import Node, encode, text
from fileroom.core import identifiers
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import part10, uids
from fileroom.dicom.header_scan import NeedMoreData

DATA_SET = encode([text(0x00080016, "UI", uids.CT_IMAGE_STORAGE), text(0x00080018, "UI", "1.2.3")])


def _build(**aets: str) -> bytes:
    return part10.build_file_meta(uids.CT_IMAGE_STORAGE, "1.2.3", uids.EXPLICIT_VR_LITTLE_ENDIAN, **aets)


def test_what_we_build_we_can_read():
    meta = part10.parse_file_meta(_build(source_aet="SCANNER") + DATA_SET, complete=True)

    assert (meta.sop_class_uid, meta.sop_instance_uid) == (uids.CT_IMAGE_STORAGE, "1.2.3")
    assert (meta.transfer_syntax, meta.source_aet) == (uids.EXPLICIT_VR_LITTLE_ENDIAN, "SCANNER")
    assert (meta.data_set_offset, meta.guessed) == (len(_build(source_aet="SCANNER")), False)


def test_what_we_build_pydicom_can_read():
    built = _build(source_aet="A", sending_aet="BB", receiving_aet="CCC") + DATA_SET

    meta = pydicom.dcmread(io.BytesIO(built)).file_meta

    assert meta.ImplementationClassUID == identifiers.IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == identifiers.IMPLEMENTATION_VERSION_NAME
    assert (meta.SourceApplicationEntityTitle, meta.SendingApplicationEntityTitle) == ("A", "BB")
    assert meta.ReceivingApplicationEntityTitle == "CCC"
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.FileMetaInformationGroupLength == len(built) - 144 - len(DATA_SET)


def test_implementation_class_uid_is_a_uid_of_the_uuid_kind():
    assert pydicom.uid.UID(identifiers.IMPLEMENTATION_CLASS_UID).is_valid
    assert int(identifiers.IMPLEMENTATION_CLASS_UID.removeprefix("2.25.")) < 2**128


def test_short_heads_ask_for_more():
    built = _build() + DATA_SET
    for size in range(len(built) - len(DATA_SET) + 8):
        with pytest.raises(NeedMoreData):
            part10.parse_file_meta(built[:size])
    assert part10.parse_file_meta(built[:-4]).sop_instance_uid == "1.2.3"


def test_file_that_ends_inside_its_meta_is_refused():
    with pytest.raises(InvalidObjectError, match="truncated"):
        part10.parse_file_meta(_build()[:200], complete=True)


@pytest.mark.parametrize("drop", [0, 128, 132])
def test_files_without_preamble_or_prefix_are_read(drop):
    meta = part10.parse_file_meta((_build() + DATA_SET)[drop:], complete=True)

    assert meta.sop_instance_uid == "1.2.3"
    assert meta.data_set_offset == len(_build()) - drop


@pytest.mark.parametrize(
    ("explicit", "order", "syntax"),
    [
        (True, "<", uids.EXPLICIT_VR_LITTLE_ENDIAN),
        (False, "<", uids.IMPLICIT_VR_LITTLE_ENDIAN),
        (True, ">", uids.EXPLICIT_VR_BIG_ENDIAN),
    ],
)
def test_bare_data_set_tells_its_syntax(explicit, order, syntax):
    nodes = [text(0x00080005, "CS", "ISO_IR 100"), text(0x00080018, "UI", "1.2.3" * 30)]

    meta = part10.parse_file_meta(encode(nodes, explicit=explicit, order=order), complete=True)

    assert (meta.transfer_syntax, meta.guessed, meta.data_set_offset) == (syntax, True, 0)


def test_group_2_in_the_data_set_does_not_change_the_meta():
    meta = _build()
    strange = encode([text(0x00020010, "UI", uids.IMPLICIT_VR_LITTLE_ENDIAN)]) + DATA_SET

    found = part10.parse_file_meta(meta + strange, complete=True)

    assert (found.transfer_syntax, found.data_set_offset) == (uids.EXPLICIT_VR_LITTLE_ENDIAN, len(meta))


@pytest.mark.parametrize("length", [0, 40, 4000, 0xFFFFFFF0])
def test_a_wrong_group_length_is_not_trusted(length):
    meta = _build()
    wrong = meta[:140] + length.to_bytes(4, "little") + meta[144:]

    found = part10.parse_file_meta(wrong + DATA_SET, complete=True)

    assert (found.transfer_syntax, found.data_set_offset) == (uids.EXPLICIT_VR_LITTLE_ENDIAN, len(meta))


def test_acr_nema_object_is_read_as_implicit_vr():
    nodes = [Node(0x00080000, "UL", b"\x20\0\0\0"), text(0x00080010, "CS", "ACR-NEMA 2.0")]

    meta = part10.parse_file_meta(encode(nodes, explicit=False) + bytes(200), complete=True)

    assert meta.transfer_syntax == uids.IMPLICIT_VR_LITTLE_ENDIAN


def test_meta_without_transfer_syntax_is_completed_from_the_data_set():
    group_2 = encode([text(0x00020002, "UI", uids.CT_IMAGE_STORAGE)])

    meta = part10.parse_file_meta(bytes(128) + b"DICM" + group_2 + DATA_SET, complete=True)

    assert (meta.transfer_syntax, meta.guessed) == (uids.EXPLICIT_VR_LITTLE_ENDIAN, True)


def test_meta_in_implicit_vr_is_understood():
    group_2 = encode([text(0x00020010, "UI", uids.IMPLICIT_VR_LITTLE_ENDIAN)], explicit=False)

    meta = part10.parse_file_meta(bytes(128) + b"DICM" + group_2 + encode([], explicit=False), complete=True)

    assert meta.transfer_syntax == uids.IMPLICIT_VR_LITTLE_ENDIAN


@pytest.mark.parametrize("junk", [b"", b"%PDF-1.7" * 40, b"PK\3\4" + bytes(300), bytes(400), b"\x89PNG\r\n\x1a\n" * 30])
def test_other_files_are_refused(junk):
    with pytest.raises(InvalidObjectError, match="not a DICOM object"):
        part10.parse_file_meta(junk, complete=True)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "no_meta_group_length.dcm", "rtstruct.dcm", "ExplVR_BigEndNoMeta.dcm"]
)
def test_bundled_files_are_understood(name):
    path = get_testdata_file(name)
    raw = Path(path).read_bytes()

    meta = part10.parse_file_meta(raw, complete=True)

    theirs = pydicom.dcmread(path, force=True)
    assert meta.sop_instance_uid == theirs.file_meta.get("MediaStorageSOPInstanceUID", "")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_any_bytes_end_in_a_result_or_a_named_error(junk, prefixed, complete):
    head = bytes(128) + b"DICM\2\0" + junk if prefixed else junk
    try:
        meta = part10.parse_file_meta(head, complete=complete)
    except (InvalidObjectError, NeedMoreData):
        return
    assert 0 <= meta.data_set_offset <= len(head)
