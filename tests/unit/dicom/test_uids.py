"""The tables of UIDs: complete, consistent, and kind to what is not in them."""

from __future__ import annotations

import pydicom.uid
import pytest
from pydicom._uid_dict import UID_dictionary

from fileroom.dicom import uids


def test_every_transfer_syntax_that_pydicom_knows_is_in_the_table():
    never_data_sets = {"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2"}  # MIME and XML, retired before use
    registered = {uid for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"}

    assert registered - never_data_sets <= set(uids.TRANSFER_SYNTAXES)


@pytest.mark.parametrize("uid", list(uids.TRANSFER_SYNTAXES))
def test_encoding_flags_agree_with_pydicom(uid):
    theirs = pydicom.uid.UID(uid)
    if uid == uids.GE_IMPLICIT_VR_BIG_ENDIAN_PIXELS or theirs.name == uid or "Papyrus" in theirs.name:
        pytest.skip("private, or newer than pydicom")
    ours = uids.transfer_syntax(uid)

    assert (ours.explicit_vr, ours.little_endian) == (not theirs.is_implicit_VR, theirs.is_little_endian)
    if ours.family is uids.Family.NATIVE:
        assert ours.deflated == theirs.is_deflated


@pytest.mark.parametrize(
    ("uid", "family", "lossy", "media_type"),
    [
        (uids.JPEG_BASELINE, uids.Family.JPEG, True, "image/jpeg"),
        (uids.JPEG_LOSSLESS_SV1, uids.Family.JPEG, False, "image/jpeg"),
        (uids.JPEG_LS_LOSSLESS, uids.Family.JPEG_LS, False, "image/jls"),
        (uids.JPEG_2000, uids.Family.JPEG_2000, True, "image/jp2"),
        (uids.JPEG_2000_PART2_LOSSLESS, uids.Family.JPEG_2000, False, "image/jpx"),
        (uids.HTJ2K_LOSSLESS_RPCL, uids.Family.HTJ2K, False, "image/jphc"),
        (uids.JPEG_XL, uids.Family.JPEG_XL, True, "image/jxl"),
        (uids.RLE_LOSSLESS, uids.Family.RLE, False, "image/dicom-rle"),
        ("1.2.840.10008.1.2.4.102.1", uids.Family.MPEG4, True, "video/mp4"),
        (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.Family.NATIVE, False, "application/octet-stream"),
    ],
)
def test_rows_say_family_loss_and_media_type(uid, family, lossy, media_type):
    row = uids.transfer_syntax(uid)

    assert (row.family, row.lossy, row.media_type) == (family, lossy, media_type)


def test_unknown_syntax_is_taken_as_encapsulated_explicit_little_endian():
    row = uids.transfer_syntax("1.2.3.4")

    assert (row.explicit_vr, row.little_endian, row.encapsulated, row.family) == (True, True, True, uids.Family.UNKNOWN)


@pytest.mark.parametrize(
    "uid",
    [
        uids.CT_IMAGE_STORAGE,
        "1.2.840.10008.5.1.4.1.1.2.3",  # CT for processing, new in 2026
        "1.2.840.10008.5.1.4.1.1.66.8",  # height map
        "1.2.840.10008.5.1.4.1.1.6",  # retired ultrasound
        "1.2.840.10008.5.1.4.34.7",  # RT beams delivery instruction
        "1.2.840.10008.5.1.4.1.1.1.1",  # name ends in "For Presentation"
    ],
)
def test_storage_sop_classes_are_known(uid):
    assert uids.is_storage_sop_class(uid)
    assert uids.uid_name(uid) != uid


@pytest.mark.parametrize(
    "uid",
    [uids.STUDY_ROOT_FIND, uids.STORAGE_COMMITMENT_PUSH, uids.VERIFICATION, uids.MEDIA_STORAGE_DIRECTORY, "1.2.3"],
)
def test_other_classes_are_not_storage(uid):
    assert not uids.is_storage_sop_class(uid)


def test_service_constants_are_registered():
    names = [name for name in vars(uids) if name.endswith(("_FIND", "_MOVE", "_GET")) or name.startswith("UPS_")]

    assert len(names) >= 15
    assert all(getattr(uids, name) in UID_dictionary for name in names)


def test_uid_name_of_the_unknown_is_the_uid():
    assert uids.uid_name("1.2.3.4") == "1.2.3.4"
    assert uids.uid_name(uids.VERIFICATION) == "Verification SOP Class"
