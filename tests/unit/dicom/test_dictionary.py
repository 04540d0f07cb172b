"""VRs and keywords of tags, also of those that no table lists one by one."""

from __future__ import annotations

import pytest

from fileroom.dicom.dictionary import is_private_creator, keyword_of, tag_of, vr_of


@pytest.mark.parametrize(
    ("tag", "vr", "keyword"),
    [
        (0x00100010, "PN", "PatientName"),
        (0x60003000, "OW", "OverlayData"),
        (0x60023000, "OW", "OverlayData"),
        (0x00100000, "UL", ""),
        (0x00090010, "LO", ""),
        (0x00091001, "UN", ""),
        (0x00189999, "UN", ""),
        (0x00283006, "OW", "LUTData"),
    ],
)
def test_vr_and_keyword(tag, vr, keyword):
    assert (vr_of(tag), keyword_of(tag)) == (vr, keyword)


def test_choice_between_us_and_ss_follows_pixel_representation():
    assert vr_of(0x00280106) == "US"
    assert vr_of(0x00280106, signed=True) == "SS"


def test_private_elements_of_known_creators_have_a_vr():
    assert vr_of(0x00191023, "GEMS_ACQU_01") == "DS"
    assert vr_of(0x00191023, "NOBODY") == "UN"


def test_keywords_lead_back_to_tags():
    assert tag_of("PatientName") == 0x00100010
    assert tag_of("Nonsense") is None


def test_private_creators_are_told_from_private_elements():
    assert is_private_creator(0x00090010)
    assert not is_private_creator(0x00091001)
    assert not is_private_creator(0x00080010)
