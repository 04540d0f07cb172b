"""Rendered images: what file comes out, how large, which part, and what lies on top."""

from __future__ import annotations

import dataclasses
import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from fileroom.core.errors import (
    InvalidObjectError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    UnsupportedError,
)
from fileroom.dicom import uids
from fileroom.dicom.display import Viewport, Window
from fileroom.pixels.cine import frame_time_of
from fileroom.pixels.render import render, render_source, thumbnail
from fileroom.pixels.request import GIF, JP2, JPEG, PNG, RenderRequest
from pixel_objects import bundled, color_header, decoded, header, native_file, ramp, source_of


def picture(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def as_png(frame: np.ndarray, made: Dataset, index: int = 0, **asked: object) -> np.ndarray:
    return picture(render(frame, made, RenderRequest(media_type=PNG, **asked), index=index))  # type: ignore[arg-type]


GRADIENT = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
PLAIN = header(6, 8, bits=8)


# --- files ---


@pytest.mark.parametrize("media_type", [JPEG, PNG, GIF, JP2])
@pytest.mark.parametrize("color", [False, True])
def test_every_media_type_shows_the_picture(media_type: str, color: bool) -> None:
    gray = ramp(60, 80, 0, 255, np.uint8)
    frame = np.stack([gray, gray[::-1], 255 - gray], axis=-1) if color else gray
    made = color_header(60, 80) if color else header(60, 80, bits=8)
    opened = Image.open(io.BytesIO(render(frame, made, RenderRequest(media_type=media_type))))
    assert opened.get_format_mimetype() == media_type
    shown = np.asarray(opened.convert("RGB" if color else "L"))
    assert np.abs(shown.astype(int) - frame).mean() < (12 if media_type == GIF and color else 4)


@pytest.mark.parametrize("media_type", [JPEG, JP2])
def test_quality_makes_files_smaller(media_type: str) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
    low, high = (
        render(frame, header(64, 64, bits=8), RenderRequest(media_type=media_type, quality=quality))
        for quality in (20, 95)
    )
    assert len(low) < len(high)


def test_a_colour_profile_goes_along() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    large = profile[:4].replace(profile[:4], struct.pack(">I", 200_000)) + profile[4:] + bytes(200_000 - len(profile))
    frame = np.full((8, 8, 3), 200, np.uint8)
    for stored in (profile, large):
        made = color_header(8, 8, ICCProfile=stored + b"\0" * (len(stored) % 2))
        for media_type in (JPEG, PNG):
            file = render(frame, made, RenderRequest(media_type=media_type))
            assert Image.open(io.BytesIO(file)).info["icc_profile"] == stored
            without = render(frame, made, RenderRequest(media_type=media_type, icc_profile=False))
            assert "icc_profile" not in Image.open(io.BytesIO(without)).info


def test_a_slide_has_its_profile_in_the_optical_path() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = Dataset()
    path.ICCProfile = profile
    file = render(np.zeros((4, 4, 3), np.uint8), color_header(4, 4, OpticalPathSequence=[path]), RenderRequest())
    assert Image.open(io.BytesIO(file)).info["icc_profile"] == profile


# --- tones ---


def test_a_palette_image_is_shown_in_its_colours() -> None:
    source = bundled("examples_palette.dcm")
    shown = picture(render_source(source, RenderRequest(media_type=PNG)))
    assert np.array_equal(shown, (apply_color_lut(decoded(source), source.header) >> 8).astype(np.uint8))


def test_a_supplemental_palette_colours_only_its_values() -> None:
    made = header(1, 3, bits=8, PixelPresentation="COLOR")
    for offset, value in enumerate((255, 0, 128)):
        made.add_new(0x00281101 + offset, "US", [56, 200, 8])
        made.add_new(0x00281201 + offset, "OW", bytes([value]) * 56)
    shown = as_png(np.array([[0, 100, 220]], np.uint8), made)
    assert shown.tolist() == [[[0, 0, 0], [100, 100, 100], [255, 0, 128]]]


def test_deep_colour_is_cut_to_eight_bits() -> None:
    frame = np.array([[[0, 0x7FFF, 0xFFFF]]], np.uint16)
    made = color_header(1, 1, BitsAllocated=16, BitsStored=16, HighBit=15)
    assert as_png(frame, made).tolist() == [[[0, 127, 255]]]
    made = color_header(1, 1, BitsAllocated=16, BitsStored=12, HighBit=11)
    assert as_png(np.array([[[0, 0x7FF, 0xFFF]]], np.uint16), made).tolist() == [[[0, 127, 255]]]


def test_an_asked_window_overrules_the_header() -> None:
    made = header(1, 2, WindowCenter="1000", WindowWidth="10")
    shown = as_png(np.array([[100, 200]], np.uint16), made, window=Window(150, 101))
    assert shown.tolist() == [[1, 255]]


# --- geometry ---


def test_without_viewport_the_image_keeps_its_size() -> None:
    assert np.array_equal(as_png(GRADIENT, PLAIN), GRADIENT)


@pytest.mark.parametrize(
    ("viewport", "size"),
    [((16, 16), (12, 16)), ((4, 100), (3, 4)), ((100, 3), (3, 4)), ((1, 1), (1, 1))],
)
def test_the_picture_fits_into_the_viewport_with_its_aspect(viewport: tuple[int, int], size: tuple[int, int]) -> None:
    assert as_png(GRADIENT, PLAIN, viewport=Viewport(*viewport)).shape == size


def test_a_source_rectangle_is_cut_out_and_mirrored() -> None:
    cut = as_png(GRADIENT, PLAIN, viewport=Viewport(4, 2, 2, 1, 4, 2))
    assert np.array_equal(cut, GRADIENT[1:3, 2:6])
    mirrored = as_png(GRADIENT, PLAIN, viewport=Viewport(4, 2, 2, 1, -4, 2))
    assert np.array_equal(mirrored, GRADIENT[1:3, 2:6][:, ::-1])
    upside_down = as_png(GRADIENT, PLAIN, viewport=Viewport(8, 6, 0, 0, None, -6))
    assert np.array_equal(upside_down, GRADIENT[::-1])
    to_the_edge = as_png(GRADIENT, PLAIN, viewport=Viewport(6, 5, 2, 1))
    assert np.array_equal(to_the_edge, GRADIENT[1:, 2:])
    less_than_a_pixel = as_png(GRADIENT, PLAIN, viewport=Viewport(1, 1, 7.6, 5.6, 0.2, 0.2))
    assert less_than_a_pixel.tolist() == [[GRADIENT[5, 7]]]


def test_a_source_rectangle_beside_the_image_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="outside the image"):
        as_png(GRADIENT, PLAIN, viewport=Viewport(4, 4, 8, 0, 2, 2))


@pytest.mark.parametrize(
    ("keyword", "values", "size"),
    [
        ("PixelAspectRatio", [2, 1], (12, 8)),
        ("PixelAspectRatio", [1, 2], (6, 16)),
        ("PixelSpacing", [0.5, 0.5], (6, 8)),
        ("PixelSpacing", [1.0, 0.5], (12, 8)),
        ("PixelSpacing", [0, 0.5], (6, 8)),
        ("PixelAspectRatio", [1, 9999], (6, 8)),
    ],
)
def test_oblong_pixels_become_square(keyword: str, values: list[float], size: tuple[int, int]) -> None:
    assert as_png(GRADIENT, header(6, 8, bits=8, **{keyword: values})).shape == size


def test_a_thumbnail_is_the_middle_frame_and_never_enlarged() -> None:
    frames = np.stack([np.full((300, 200), level, np.uint8) for level in (0, 100, 200)])
    source = source_of(native_file(header(300, 200, bits=8, NumberOfFrames="3"), frames.tobytes()))
    shown = picture(thumbnail(source))
    assert shown.shape == (128, 85)
    assert abs(int(shown.mean()) - 100) <= 2
    small = source_of(native_file(PLAIN, GRADIENT.tobytes()))
    assert picture(thumbnail(small, 256, media_type=PNG)).shape == (6, 8)


# --- on top ---


def overlay(made: Dataset, plane: np.ndarray, origin: list[int], group: int = 0x6000, **more: object) -> None:
    bits = np.packbits(plane.ravel().astype(np.uint8), bitorder="little").tobytes()
    made.add_new((group << 16) | 0x10, "US", plane.shape[-2])
    made.add_new((group << 16) | 0x11, "US", plane.shape[-1])
    made.add_new((group << 16) | 0x50, "SS", origin)
    made.add_new((group << 16) | 0x3000, "OW", bits + b"\0" * (len(bits) % 2))
    if plane.ndim == 3:
        made.add_new((group << 16) | 0x15, "IS", plane.shape[0])
        made.add_new((group << 16) | 0x51, "US", more["first_frame"])


def test_overlays_are_burned_in_only_on_request() -> None:
    made = header(6, 8, bits=8)
    overlay(made, np.ones((2, 3)), [2, 4])
    overlay(made, np.ones((2, 2)), [6, 8], group=0x601E)
    expected = GRADIENT.copy()
    expected[1:3, 3:6] = 255
    expected[5, 7] = 255
    assert np.array_equal(as_png(GRADIENT, made, burn_overlays=True), expected)
    assert np.array_equal(as_png(GRADIENT, made), GRADIENT)


def test_an_overlay_may_begin_outside_and_belong_to_some_frames() -> None:
    made = header(6, 8, bits=8, NumberOfFrames="4")
    planes = np.zeros((2, 3, 3))
    planes[1] = 1
    overlay(made, planes, [0, 0], first_frame=2)
    for index, is_burned in enumerate((False, False, True, False)):
        shown = as_png(GRADIENT, made, index, burn_overlays=True)
        assert (shown[:2, :2] == 255).all() == is_burned
        assert np.array_equal(shown[2:], GRADIENT[2:])


@pytest.mark.parametrize("cut", [0, 1])
def test_a_broken_overlay_is_left_out(cut: int) -> None:
    made = header(6, 8, bits=8)
    overlay(made, np.ones((60, 80)), [1, 1])
    made[0x60003000].value = made[0x60003000].value[: 10 * cut]
    assert np.array_equal(as_png(GRADIENT, made, burn_overlays=True), GRADIENT)


def test_shutters_cover_what_is_outside() -> None:
    frame = np.full((9, 9), 100, np.uint8)
    made = header(9, 9, bits=8, ShutterShape="RECTANGULAR", ShutterPresentationValue=0xFFFF)
    made.ShutterLeftVerticalEdge, made.ShutterRightVerticalEdge = "2", "8"
    made.ShutterUpperHorizontalEdge, made.ShutterLowerHorizontalEdge = "3", "7"
    shown = as_png(frame, made)
    assert (shown[2:7, 1:8] == 100).all()
    assert shown.astype(int).sum() == 35 * 100 + (81 - 35) * 255
    round_one = header(9, 9, bits=8, ShutterShape="CIRCULAR", CenterOfCircularShutter=[5, 5], RadiusOfCircularShutter=2)
    assert (as_png(frame, round_one) == 100).sum() == 13
    triangle = header(9, 9, bits=8, ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter=[1, 1, 9, 1, 9, 9])
    shown = as_png(frame, triangle)
    assert shown[7, 2] == 100
    assert shown[2, 7] == 0


# --- presentation states ---


def state(**more: object) -> Dataset:
    made = Dataset()
    made.SOPClassUID = uids.GRAYSCALE_PRESENTATION_STATE_STORAGE
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def test_a_presentation_state_replaces_the_header() -> None:
    made = header(1, 3, RescaleSlope=100, WindowCenter="5", WindowWidth="1", PhotometricInterpretation="MONOCHROME1")
    voi = Dataset()
    voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = "100", "100", "LINEAR_EXACT"
    frame = np.array([[50, 100, 150]], np.uint16)
    shown = as_png(frame, made, presentation_state=state(SoftcopyVOILUTSequence=[voi]))
    assert shown.tolist() == [[0, 128, 255]]
    inverse = state(SoftcopyVOILUTSequence=[voi], PresentationLUTShape="INVERSE")
    assert as_png(frame, made, presentation_state=inverse).tolist() == [[255, 128, 0]]
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 0, 12], [4095, 0, 4095]
    curved = state(SoftcopyVOILUTSequence=[voi], PresentationLUTSequence=[table])
    assert as_png(frame, made, presentation_state=curved).tolist() == [[255, 0, 255]]


def test_a_presentation_state_without_window_shows_the_whole_range() -> None:
    made = header(1, 3, stored=12, WindowCenter="5", WindowWidth="1")
    shown = as_png(np.array([[0, 2048, 4095]], np.uint16), made, presentation_state=state())
    assert shown.tolist() == [[0, 128, 255]]


def test_a_presentation_state_crops_then_turns_then_mirrors() -> None:
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [3, 2], [6, 3]
    part = GRADIENT[1:3, 2:6]
    for rotation, turned in ((0, part), (90, np.rot90(part, -1)), (180, part[::-1, ::-1]), (270, np.rot90(part))):
        for flip in ("N", "Y"):
            asked = state(DisplayedAreaSelectionSequence=[area], ImageRotation=rotation, ImageHorizontalFlip=flip)
            expected = turned[:, ::-1] if flip == "Y" else turned
            assert np.array_equal(as_png(GRADIENT, PLAIN, presentation_state=asked), expected)


def test_a_displayed_area_may_reach_past_the_image() -> None:
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [-1, 0], [9, 6]
    shown = as_png(GRADIENT, PLAIN, presentation_state=state(DisplayedAreaSelectionSequence=[area]))
    assert shown.shape == (7, 11)
    assert np.array_equal(shown[1:, 2:10], GRADIENT)
    assert not shown[0].any()
    assert not shown[:, 10].any()


def test_items_of_a_presentation_state_are_for_their_frames() -> None:
    def window(center: int, frames: list[int] | None) -> Dataset:
        item, reference = Dataset(), Dataset()
        item.WindowCenter, item.WindowWidth, item.VOILUTFunction = str(center), "100", "LINEAR_EXACT"
        reference.ReferencedSOPInstanceUID = "1.2.3.4"
        if frames:
            reference.ReferencedFrameNumber = frames
        item.ReferencedImageSequence = [reference]
        return item

    asked = state(SoftcopyVOILUTSequence=[window(50, [1, 3]), window(1000, None)])
    made = header(1, 1, NumberOfFrames="3")
    frame = np.array([[100]], np.uint16)
    assert [int(as_png(frame, made, index, presentation_state=asked)[0, 0]) for index in range(3)] == [255, 0, 255]


def test_a_presentation_state_for_other_images_is_refused() -> None:
    series, reference = Dataset(), Dataset()
    reference.ReferencedSOPInstanceUID = "9.9"
    series.ReferencedImageSequence = [reference]
    with pytest.raises(InvalidRequestError, match="does not refer to this image"):
        as_png(GRADIENT, PLAIN, presentation_state=state(ReferencedSeriesSequence=[series]))


# --- several frames ---


def movie(**more: object) -> bytes:
    frames = np.stack([np.roll(GRADIENT, index, axis=1) for index in range(4)])
    return native_file(header(6, 8, bits=8, NumberOfFrames="4", **more), frames.tobytes())


def test_a_gif_shows_all_frames_in_their_time() -> None:
    opened = Image.open(io.BytesIO(render_source(source_of(movie(FrameTime="40")), RenderRequest(media_type=GIF))))
    assert opened.n_frames == 4
    assert opened.info["duration"] == 40
    for index in range(4):
        opened.seek(index)
        assert np.array_equal(np.asarray(opened.convert("L")), np.roll(GRADIENT, index, axis=1))


def test_chosen_frames_are_shown_in_the_order_asked() -> None:
    file = render_source(source_of(movie()), RenderRequest(media_type=GIF, frame_numbers=(3, 1)))
    opened = Image.open(io.BytesIO(file))
    assert np.array_equal(np.asarray(opened.convert("L")), np.roll(GRADIENT, 2, axis=1))
    third = render_source(source_of(movie()), RenderRequest(media_type=PNG, frame_numbers=(3,)))
    assert np.array_equal(picture(third), np.roll(GRADIENT, 2, axis=1))


@pytest.mark.parametrize(
    ("more", "times"),
    [
        ({}, [100, 100, 100]),
        ({"FrameTime": "33.3"}, [33.3, 33.3, 33.3]),
        ({"FrameTime": "1"}, [1, 1, 1]),
        ({"FrameTime": "0"}, [100, 100, 100]),
        ({"FrameTime": "1e9"}, [65535, 65535, 65535]),
        ({"RecommendedDisplayFrameRate": 25, "CineRate": "10"}, [40, 40, 40]),
        ({"CineRate": "10"}, [100, 100, 100]),
        ({"FrameTimeVector": ["0", "50", "70"]}, [50, 70, 50]),
    ],
)
def test_frame_times(more: dict[str, object], times: list[float]) -> None:
    frame_time = frame_time_of(header(1, 1, **more))
    assert [frame_time(index) for index in range(3)] == times


def test_several_frames_need_an_animated_type() -> None:
    with pytest.raises(InvalidRequestError, match="holds one frame"):
        render_source(source_of(movie()), RenderRequest(frame_numbers=(1, 2)))


@pytest.mark.parametrize("asked", [0, 5, -1])
def test_a_frame_that_is_not_there_is_not_found(asked: int) -> None:
    with pytest.raises(NotFoundError, match="frames 1 to 4"):
        render_source(source_of(movie()), RenderRequest(frame_numbers=(asked,)))


# --- what is refused ---


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"media_type": "image/tiff"}, UnsupportedError),
        ({"quality": 0}, InvalidRequestError),
        ({"window": Window(0, 0)}, InvalidRequestError),
        ({"window": Window(float("nan"), 10)}, InvalidRequestError),
        ({"viewport": Viewport(0, 10)}, InvalidRequestError),
        ({"viewport": Viewport(100_000, 100_000)}, TooLargeError),
    ],
)
def test_impossible_requests_are_refused(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        render(GRADIENT, PLAIN, dataclasses.replace(RenderRequest(), **change))  # type: ignore[arg-type]


def test_a_palette_image_without_palette_is_refused() -> None:
    with pytest.raises(InvalidObjectError, match="no palette"):
        render(GRADIENT, header(6, 8, bits=8, PhotometricInterpretation="PALETTE COLOR"), RenderRequest())


def test_a_frame_of_another_size_than_the_header_says_is_refused() -> None:
    with pytest.raises(InvalidObjectError):
        render(GRADIENT, header(7, 8, bits=8), RenderRequest())


def test_enormous_images_are_refused_before_they_are_read() -> None:
    head = native_file(header(60_000, 60_000, bits=8), b"")[:-4] + struct.pack("<I", 0xEFFFFFFE)
    source = dataclasses.replace(source_of(head + b"\0"), bytes_total=2**33)
    with pytest.raises(TooLargeError):
        render_source(source, RenderRequest())
