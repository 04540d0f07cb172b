"""Palettes, plain and segmented, and YBR; against pydicom."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space

from fileroom.core.errors import InvalidObjectError
from fileroom.pixels.colour import palette_of, to_rgb
from pixel_objects import bundled, decoded, header


def with_palette(made: Dataset, descriptor: list[int], data: bytes, *, segmented: bool = False) -> Dataset:
    for offset in range(3):
        made.add_new(0x00281101 + offset, "US", descriptor)
        made.add_new((0x00281221 if segmented else 0x00281201) + offset, "OW", data)
    made.PhotometricInterpretation = "PALETTE COLOR"
    return made


def entries(made: Dataset) -> list[int]:
    palette = palette_of(made)
    assert palette is not None
    return palette.entries[:, 0].tolist()


def test_a_bundled_palette_image_equals_pydicom() -> None:
    source = bundled("examples_palette.dcm")
    palette = palette_of(source.header)
    assert palette is not None
    frame = decoded(source)
    expected = apply_color_lut(frame, source.header)
    assert np.array_equal(palette.apply(frame), expected)
    assert np.array_equal(palette.apply_8_bit(frame), (expected >> 8).astype(np.uint8))


def test_values_outside_a_palette_take_its_ends() -> None:
    made = with_palette(header(1, 4), [3, 100, 16], struct.pack("<3H", 256, 512, 65535))
    palette = palette_of(made)
    assert palette is not None
    assert palette.apply_8_bit(np.array([[0, 100, 101, 9999]], np.uint16))[0, :, 0].tolist() == [1, 1, 2, 255]


def test_eight_bit_entries_stand_two_in_a_word_or_one_in_each() -> None:
    assert entries(with_palette(header(1, 1), [4, 0, 8], b"\x01\x02\x03\x04")) == [1, 2, 3, 4]
    assert entries(with_palette(header(1, 1), [4, 0, 8], b"\x01\0\x02\0\x03\0\x04\0")) == [1, 2, 3, 4]


def test_eight_bit_values_declared_as_sixteen_are_not_black() -> None:
    made = with_palette(header(1, 1), [2, 0, 16], struct.pack("<2H", 0, 255))
    palette = palette_of(made)
    assert palette is not None
    assert palette.apply_8_bit(np.array([[1]], np.uint8))[0, 0].tolist() == [255, 255, 255]


def test_a_palette_may_begin_at_a_negative_value() -> None:
    made = with_palette(header(1, 1, signed=True), [3, 0xFFFF, 16], struct.pack("<3H", 10, 20, 65535))
    palette = palette_of(made)
    assert palette is not None
    assert palette.first_value == -1
    assert palette.apply(np.array([[-1, 0, 1]], np.int16))[0, :, 0].tolist() == [10, 20, 65535]


def test_segmented_palettes_equal_pydicom() -> None:
    words = [0, 3, 0, 4369, 8738, 1, 5, 60000, 0, 1, 7]
    made = with_palette(header(1, 9), [9, 0, 16], struct.pack(f"<{len(words)}H", *words), segmented=True)
    made.set_original_encoding(False, True)
    frame = np.arange(9, dtype=np.uint16).reshape(1, 9)
    palette = palette_of(made)
    assert palette is not None
    assert np.array_equal(palette.apply(frame), apply_color_lut(frame, made))


def test_indirect_segments_repeat_earlier_ones() -> None:
    words = [0, 2, 100, 200, 1, 2, 400, 2, 2, 0, 0]
    made = with_palette(header(1, 8), [8, 0, 16], struct.pack(f"<{len(words)}H", *words), segmented=True)
    assert entries(made) == [100, 200, 300, 400, 100, 200, 300, 400]
    by_bytes = [0, 1, 7, 0, 2, 100, 200, 2, 1, 6, 0]
    made = with_palette(header(1, 5), [5, 0, 16], struct.pack(f"<{len(by_bytes)}H", *by_bytes), segmented=True)
    assert entries(made) == [7, 100, 200, 100, 200]
    narrow = bytes([0, 2, 10, 20, 1, 2, 40, 2, 1, 4, 0, 0, 0, 0])
    made = with_palette(header(1, 6), [6, 0, 8], narrow, segmented=True)
    assert entries(made) == [10, 20, 30, 40, 40, 40]


@pytest.mark.parametrize("words", [[1, 3, 9, 0], [7, 1, 1, 1], [0, 1, 5, 2, 1, 0, 0, 2, 1, 6, 0]])
def test_segments_that_cannot_stand_there_are_refused(words: list[int]) -> None:
    made = with_palette(header(1, 5), [500, 0, 16], struct.pack(f"<{len(words)}H", *words), segmented=True)
    with pytest.raises(InvalidObjectError, match="segmented palette"):
        entries(made)


def test_a_repetition_without_end_stops_at_the_size_of_the_palette() -> None:
    words = [0, 2, 5, 6, 2, 60000, 0, 0, 1, 60000, 9]
    made = with_palette(header(1, 5), [500, 0, 16], struct.pack(f"<{len(words)}H", *words), segmented=True)
    with pytest.raises(InvalidObjectError, match="segmented palette"):
        entries(made)


def test_a_palette_without_data_is_refused() -> None:
    made = with_palette(header(1, 1), [2, 0, 16], b"\0\0\0\0")
    del made.RedPaletteColorLookupTableData
    with pytest.raises(InvalidObjectError, match="no data"):
        palette_of(made)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_ybr_equals_pydicom(photometric: str) -> None:
    samples = np.random.default_rng(2).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    expected = convert_color_space(samples, "YBR_FULL", "RGB")
    assert np.abs(to_rgb(samples, photometric).astype(int) - expected).max() <= 1


def test_partial_range_ybr_reaches_black_and_white() -> None:
    samples = np.array([[[16, 128, 128], [235, 128, 128]]], np.uint8)
    assert to_rgb(samples, "YBR_PARTIAL_422").tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_deep_ybr_is_converted_in_its_own_depth() -> None:
    samples = np.array([[[30000, 32768, 32768]]], np.uint16)
    assert to_rgb(samples, "YBR_FULL").tolist() == [[[30000, 30000, 30000]]]
