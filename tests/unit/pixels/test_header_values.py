"""Broken attributes count as absent, and spoil nothing that does not need them."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import uids
from fileroom.pixels.colour import palette_of
from fileroom.pixels.header_values import first_item, integer, items, number, numbers, text, value_of
from fileroom.pixels.render import render_source
from fileroom.pixels.request import PNG, RenderRequest
from fileroom.pixels.transcode import transcode_source
from fileroom.pixels.transcoded import data_set_chunks
from pixel_objects import header, native_file, source_of

BROKEN_WINDOW = b"\x28\x00\x50\x10US\x03\x00abc"
UNKNOWN_VR = b"\x29\x00\x10\x10ZZ\x02\x00ab"


def with_elements(raw: bytes) -> bytes:
    plain = native_file(header(4, 4, bits=8), bytes(range(16)))
    at = plain.index(b"\xe0\x7f\x10\x00")
    return plain[:at] + raw + plain[at:]


@pytest.mark.parametrize("raw", [BROKEN_WINDOW, UNKNOWN_VR])
def test_a_broken_attribute_does_not_hide_the_image(raw: bytes) -> None:
    source = source_of(with_elements(raw))
    assert value_of(source.header, 0x00281050) is None
    assert render_source(source, RenderRequest(media_type=PNG)).startswith(b"\x89PNG")


def test_a_header_that_cannot_be_written_again_is_an_invalid_object() -> None:
    with pytest.raises(InvalidObjectError, match="only be sent as it was stored"):
        list(data_set_chunks(transcode_source(source_of(with_elements(UNKNOWN_VR)), uids.EXPLICIT_VR_BIG_ENDIAN)))


def test_absent_empty_and_senseless_values_are_the_same() -> None:
    made = Dataset()
    made.add_new(0x00281052, "LO", "none")
    made.add_new(0x00281053, "DS", "")
    made.PresentationLUTShape = ""
    assert [number(made, word) for word in ("RescaleIntercept", "RescaleSlope", "WindowWidth")] == [None] * 3
    assert numbers(made, "RescaleIntercept") == []
    assert integer(made, "Rows", 7) == 7
    assert text(made, "PresentationLUTShape") == ""
    assert items(made, "RescaleIntercept") == []
    assert first_item(made, "ModalityLUTSequence") is None


def test_a_palette_without_entries_is_refused() -> None:
    made = header(1, 1)
    for offset in range(3):
        made.add_new(0x00281101 + offset, "US", [2, 0, 16])
        made.add_new(0x00281201 + offset, "OW", b"")
    with pytest.raises(InvalidObjectError, match=r"no entries|no data"):
        palette_of(made)


def test_values_of_several_kinds_are_read() -> None:
    made = header(3, 4, WindowCenter=["1.5", "2"], PixelSpacing=[0.5, 0.25])
    assert numbers(made, "WindowCenter") == [1.5, 2.0]
    assert number(made, "PixelSpacing", 1) == 0.25
    assert number(made, "PixelSpacing", 2) is None
    assert integer(made, "WindowCenter", 0) == 1
    assert np.isclose(number(made, "Rows") or 0, 3)
