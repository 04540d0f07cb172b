"""Stored values to grays: modality LUT, VOI LUT, presentation, padding; against pydicom's own arithmetic."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from fileroom.dicom.display import VoiFunction, Window
from fileroom.pixels.grayscale import chain_of, lut_of, padding_of, window_step
from fileroom.pixels.image_pixel import image_pixel
from pixel_objects import bundled, decoded, header, needs_wg04, ramp, source_of, wg04_files


def grays(frame: np.ndarray, made: Dataset, index: int = 0, window: Window | None = None) -> np.ndarray:
    keyword = "FloatPixelData" if frame.dtype.kind == "f" else None
    pixel = image_pixel(made, pixel_keyword=keyword)
    return chain_of(made, pixel, index, window=window).apply(frame, pixel)


def reference(frame: np.ndarray, made: Dataset) -> np.ndarray:
    """What pydicom makes of the frame, scaled to 8 bits by the range it documents."""
    values = apply_modality_lut(frame, made)
    seen = apply_voi_lut(values, made).astype(np.float64)
    slope, intercept = float(made.get("RescaleSlope", 1)), float(made.get("RescaleIntercept", 0))
    low, high = image_pixel(made).value_range
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return np.clip((seen - ends[0]) / (ends[1] - ends[0]), 0, 1) * 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2.5, -1024), (0.5, 100)])
def test_windows_equal_pydicom(function: str, signed: bool, slope: float, intercept: float) -> None:
    low, high = (-2048, 2047) if signed else (0, 4095)
    frame = ramp(40, 50, low, high, np.int16 if signed else np.uint16)
    made = header(40, 50, stored=12, signed=signed, RescaleSlope=slope, RescaleIntercept=intercept)
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = "300", "700", function
    assert np.abs(grays(frame, made) - reference(frame, made)).max() <= 1.0


@needs_wg04
@pytest.mark.parametrize(
    "path", [p for p in wg04_files("UNC") if p.name[:2] in ("CT", "MR", "NM")], ids=lambda p: p.stem
)
def test_real_images_with_windows_equal_pydicom(path: Path) -> None:
    source = source_of(path.read_bytes())
    if "WindowCenter" in source.header:
        frame = decoded(source)
        assert np.abs(grays(frame, source.header) - reference(frame, source.header)).max() <= 1.0


def test_the_first_of_several_windows_counts_unless_one_is_asked_for() -> None:
    frame = np.array([[0, 50, 100]], np.uint16)
    made = header(1, 3, WindowCenter=["50.5", "1000"], WindowWidth=["101", "10"])
    assert grays(frame, made).tolist() == [[0, 128, 255]]
    assert grays(frame, made, window=Window(150, 100, VoiFunction.LINEAR_EXACT)).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("center", "width"), [("100", "0"), ("100", "-5"), ("", "100"), ("1e400", "5")])
def test_an_impossible_window_is_replaced_by_an_automatic_one(center: str, width: str) -> None:
    frame = ramp(30, 30, 100, 200, np.uint16)
    made = header(30, 30)
    made.add_new(0x00281050, "LO", center)
    made.add_new(0x00281051, "LO", width)
    found = grays(frame, made)
    assert (found.min(), found.max()) == (0, 255)


def test_a_window_of_width_one_is_a_threshold() -> None:
    step = window_step(Window(10, 1))
    assert step(np.array([9.0, 9.5, 9.6, 11.0])).tolist() == [0, 0, 1, 1]


def test_a_voi_table_is_looked_up_and_scaled_by_its_bits() -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 10, 12]
    item.LUTData = [0, 1000, 2000, 4095]
    made = header(1, 6, VOILUTSequence=[item], WindowCenter="1", WindowWidth="1")
    frame = np.array([[0, 10, 11, 12, 13, 500]], np.uint16)
    assert grays(frame, made).tolist() == [[0, 0, 62, 125, 255, 255]]


def test_a_modality_table_comes_before_the_window() -> None:
    item = Dataset()
    item.LUTDescriptor = [3, 0, 16]
    item.LUTData = [0, 500, 1000]
    made = header(1, 3, bits=8, ModalityLUTSequence=[item], WindowCenter="500", WindowWidth="1000")
    made.VOILUTFunction = "LINEAR_EXACT"
    assert grays(np.array([[0, 1, 2]], np.uint8), made).tolist() == [[0, 128, 255]]


def test_a_table_descriptor_has_its_traps() -> None:
    item = Dataset()
    item.add_new(0x00283002, "US", [0, 0xFFFE, 16])
    item.add_new(0x00283006, "OW", struct.pack("<65536H", *range(65536)))
    table = lut_of(item, signed=True)
    assert table is not None
    assert (table.first, len(table.values)) == (-2, 65536)
    unsigned = lut_of(item, signed=False)
    assert unsigned is not None
    assert unsigned.first == 0xFFFE
    packed = Dataset()
    packed.add_new(0x00283002, "US", [4, 0, 8])
    packed.add_new(0x00283006, "OW", b"\x00\x10\x20\x30")
    bytewise = lut_of(packed, signed=False)
    assert bytewise is not None
    assert bytewise.values.tolist() == [0, 16, 32, 48]


@pytest.mark.parametrize("change", [{"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}])
def test_inverse_images_show_small_values_white(change: dict[str, str]) -> None:
    made = header(1, 2, bits=8, **change)
    assert grays(np.array([[0, 255]], np.uint8), made).tolist() == [[255, 0]]


def test_padding_is_never_bright_and_does_not_widen_the_window() -> None:
    frame = ramp(50, 50, 0, 1000, np.int16)
    frame[:10] = -2000
    made = header(50, 50, signed=True, PixelPaddingValue=-2000)
    with_padding = grays(frame, made)
    assert (with_padding[:10] == 0).all()
    assert with_padding[20:].mean() > 100
    made.PhotometricInterpretation = "MONOCHROME1"
    assert (grays(frame, made)[:10] == 0).all()


def test_padding_may_be_a_range_and_have_the_wrong_sign() -> None:
    made = header(1, 1, signed=True)
    made.add_new(0x00280120, "US", 0x8000)
    made.add_new(0x00280121, "US", 0xFC18)
    assert padding_of(made, image_pixel(made)) == (-32768, -1000)


def test_eight_bit_images_without_window_keep_their_values() -> None:
    frame = np.array([[0, 7, 200]], np.uint8)
    assert np.array_equal(grays(frame, header(1, 3, bits=8)), frame)


def test_one_bit_images_are_black_and_white() -> None:
    assert grays(np.array([[0, 1]], np.uint8), header(1, 2, bits=1)).tolist() == [[0, 255]]


def test_a_single_outlier_does_not_darken_an_image_without_window() -> None:
    frame = ramp(200, 200, 100, 1100, np.uint16)
    frame[5, 5] = 65535
    assert grays(frame, header(200, 200)).mean() > 100


@pytest.mark.parametrize("kind", [np.uint32, np.int32, np.float32, np.float64])
def test_deep_and_floating_pixels_are_shown(kind: type) -> None:
    frame = np.linspace(0, 2_000_000, 64).reshape(8, 8).astype(kind)
    made = header(8, 8, bits=frame.itemsize * 8, signed=np.dtype(kind).kind == "i")
    made.RescaleSlope, made.RescaleIntercept = "0.001", "0"
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = "1000", "2000", "LINEAR_EXACT"
    assert np.abs(grays(frame, made) - np.linspace(0, 255, 64).reshape(8, 8)).max() <= 1


def test_numbers_that_are_none_are_black() -> None:
    frame = np.array([[np.nan, np.inf, -np.inf, 1.0, 2.0]])
    found = grays(frame, header(1, 5, bits=64))
    assert found[0, 0] == 0
    assert found.tolist()[0][2:] == [0, 0, 255]


def test_frames_of_enhanced_objects_have_their_own_rescale_and_window() -> None:
    def groups(slope: float, center: float) -> Dataset:
        transformation, voi, frame = Dataset(), Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, 0
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = center, 100, "LINEAR_EXACT"
        frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [transformation], [voi]
        return frame

    made = header(1, 2, NumberOfFrames="2", PerFrameFunctionalGroupsSequence=[groups(1, 50), groups(2, 50)])
    made.SharedFunctionalGroupsSequence = [groups(1000, 0)]
    frame = np.array([[0, 50]], np.uint16)
    assert grays(frame, made, 0).tolist() == [[0, 128]]
    assert grays(frame, made, 1).tolist() == [[0, 255]]
    del made.PerFrameFunctionalGroupsSequence
    assert grays(frame, made, 1).tolist() == [[128, 255]]


def test_bundled_ct_is_neither_black_nor_white() -> None:
    source = bundled("CT_small.dcm")
    found = grays(decoded(source), source.header)
    assert 60 < found.mean() < 200
    assert found.std() > 20


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 16),
    st.booleans(),
    st.floats(-1e6, 1e6),
    st.floats(1, 1e6),
    st.sampled_from(list(VoiFunction)),
    st.floats(-100, 100),
)
def test_the_table_gives_what_the_arithmetic_gives(
    stored: int, signed: bool, center: float, width: float, function: VoiFunction, slope: float
) -> None:
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    frame = ramp(7, 9, low, high, np.int16 if signed else np.uint16)
    made = header(7, 9, stored=stored, signed=signed)
    made.RescaleSlope, made.RescaleIntercept = str(round(slope, 3)), "3"
    pixel = image_pixel(made)
    chain = chain_of(made, pixel, 0, window=Window(center, width, function))
    assert np.array_equal(chain.apply(frame, pixel), chain.apply(frame.astype(np.int64), pixel))
