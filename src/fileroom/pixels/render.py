"""An image as people see it (PS3.18 8.3.5, PS3.4 N.2): one frame or several as JPEG, PNG, GIF or JPEG 2000.

The way of a frame: decoded values -> 8 bit gray or RGB (`grayscale`, `colour`) -> shutter and overlays (`masks`) ->
cropped, turned and scaled (`geometry`) -> a file (`image_files`). What has no pixels, and video, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, InvalidRequestError, NotFoundError, TooLargeError, UnsupportedError
from fileroom.core.limits import RENDER_FRAMES_MAX, RENDER_PIXELS_MAX
from fileroom.pixels.colour import palette_of
from fileroom.pixels.decode import decode_pixels
from fileroom.pixels.frames import FrameTable, frame_bytes, frame_table
from fileroom.pixels.geometry import Picture, arrange
from fileroom.pixels.grayscale import chain_of
from fileroom.pixels.header_values import first_item, number, numbers, text, value_of
from fileroom.pixels.image_files import encode_animation, encode_image
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.masks import overlay_mask, shutter_of
from fileroom.pixels.presentation import PresentationState, presentation_state
from fileroom.pixels.request import GIF, JPEG, RenderRequest, Viewport
from fileroom.pixels.source import PixelSource

Array = NDArray[Any]

THUMBNAIL_SIDE_PX: Final = 128
FRAME_TIME_DEFAULT_MS: Final = 100
FRAME_TIME_MIN_MS: Final = 20
"""Browsers slow down animations that want to be faster."""


def render_source(source: PixelSource, request: RenderRequest, table: FrameTable | None = None) -> bytes:
    """Decode and render the asked frames of a stored object; several only as `image/gif`.

    `table` spares finding the frames again. Raises NotFoundError for a frame that is not there, UnsupportedError for
    video and unknown media types, InvalidRequestError, InvalidObjectError, TooLargeError.
    """
    request.check()
    table = table or frame_table(source)
    _check_is_decodable(table)
    indexes = _indexes(request, table.count)
    pixel = image_pixel(source.header, pixel_keyword=source.pixel_keyword)
    _check_pixels(pixel)

    def arrays() -> Iterator[Array]:
        for index in indexes:
            yield decode_pixels(pixel, source.transfer_syntax, frame_bytes(table, index, source.read))

    return render_frames(arrays(), indexes, source.header, pixel, request)


def render(frame: Array, header: Dataset, request: RenderRequest, *, index: int = 0) -> bytes:
    """Render one decoded frame (see `decode.decode_frame`), which is frame `index` (from 0) of its object."""
    request.check()
    pixel = image_pixel(header, pixel_keyword=_keyword_of(frame))
    return render_frames(iter([frame]), [index], header, pixel, request)


def render_frames(
    frames: Iterable[Array], indexes: Sequence[int], header: Dataset, pixel: ImagePixel, request: RenderRequest
) -> bytes:
    """Render decoded frames; one at a time is in memory in full depth."""
    pictures = (picture_of(frame, header, pixel, request, index) for frame, index in zip(frames, indexes, strict=True))
    if request.media_type == GIF and len(indexes) > 1:
        return encode_animation(pictures, frame_times_ms(header, indexes))
    profile = _icc_profile(header) if request.icc_profile else None
    return encode_image(next(pictures), request.media_type, request.quality, profile)


def thumbnail(source: PixelSource, side_px: int = THUMBNAIL_SIDE_PX, *, media_type: str = JPEG) -> bytes:
    """The middle frame, at most `side_px` wide and high, never enlarged. Raises like `render_source`."""
    table = frame_table(source)
    request = RenderRequest(
        media_type=media_type,
        frame_numbers=(table.count // 2 + 1,),
        viewport=Viewport(side_px, side_px),
        icc_profile=False,
        enlarge=False,
    )
    return render_source(source, request, table)


def picture_of(frame: Array, header: Dataset, pixel: ImagePixel, request: RenderRequest, index: int) -> Picture:
    """The picture before it becomes a file: 8 bit, (rows, columns) or (rows, columns, 3)."""
    if frame.shape[:2] != (pixel.rows, pixel.columns):
        raise InvalidObjectError(
            f"the frame has {frame.shape[0]} x {frame.shape[1]} pixels, the header says {pixel.rows} x {pixel.columns}"
        )
    state = None
    if request.presentation_state is not None:
        state = presentation_state(request.presentation_state, header, pixel, index)
    picture = _toned(frame, header, pixel, request, index, state)
    picture = _covered(picture, header, request, index, state)
    return arrange(picture, header, request.viewport, state, enlarge=request.enlarge)


def frame_times_ms(header: Dataset, indexes: Sequence[int]) -> list[int]:
    """How long each of the frames `indexes` is shown (PS3.3 C.7.6.5): Frame Time Vector, Frame Time, a rate, or 100 ms."""
    vector = numbers(header, "FrameTimeVector")
    if len(vector) > 1:
        times = [vector[(index + 1) % len(vector)] or vector[1] for index in indexes]
    else:
        rate = number(header, "RecommendedDisplayFrameRate") or number(header, "CineRate")
        fallback = 1000.0 / rate if rate and rate > 0 else float(FRAME_TIME_DEFAULT_MS)
        times = [number(header, "FrameTime") or fallback] * len(indexes)
    return [min(max(round(time), FRAME_TIME_MIN_MS), 65_535) for time in times]


# --- tones ---


def _toned(
    frame: Array,
    header: Dataset,
    pixel: ImagePixel,
    request: RenderRequest,
    index: int,
    state: PresentationState | None,
) -> Picture:
    """8 bit gray or RGB. Windows are for grayscale only."""
    if pixel.is_color:
        return _color_8_bit(frame, pixel)
    if pixel.photometric == "PALETTE COLOR":
        palette = palette_of(header)
        if palette is None:
            raise InvalidObjectError("the image is PALETTE COLOR but has no palette; the object must be corrected")
        return palette.apply_8_bit(frame)
    grayscale = state.grayscale if state is not None else None
    gray = chain_of(header, pixel, index, window=request.window, state=grayscale).apply(frame, pixel)
    return _with_supplemental_color(gray, frame, header) if state is None else gray


def _color_8_bit(frame: Array, pixel: ImagePixel) -> Picture:
    if pixel.float_bits or frame.dtype.kind != "u":
        raise UnsupportedError("signed or floating point colour images are not rendered")
    shift = pixel.bits_stored - 8
    if shift > 0:
        return (frame >> shift).astype(np.uint8)
    return frame if shift == 0 and frame.dtype == np.uint8 else (frame << -shift).astype(np.uint8)


def _with_supplemental_color(gray: Picture, stored: Array, header: Dataset) -> Picture:
    """Values from the palette's first on are coloured (PS3.3 C.8.16.2.1.1.1, Supplemental Palette Color LUT)."""
    if text(header, "PixelPresentation") not in ("COLOR", "MIXED") or stored.dtype.kind == "f":
        return gray
    palette = palette_of(header)
    if palette is None:
        return gray
    colored = stored >= palette.first_value
    picture = np.repeat(gray[..., None], 3, axis=2)
    picture[colored] = palette.apply_8_bit(stored[colored])
    return picture


# --- what lies on top ---


def _covered(
    picture: Picture, header: Dataset, request: RenderRequest, index: int, state: PresentationState | None
) -> Picture:
    shape = (picture.shape[0], picture.shape[1])
    shutter = state.shutter if state is not None else shutter_of(header, shape)
    masks = [overlay_mask(header, index, shape)] if request.burn_overlays else []
    if request.presentation_state is not None:
        masks.append(overlay_mask(request.presentation_state, index, shape, only_active=True))
    overlays = [mask for mask in masks if mask is not None]
    if shutter is None and not overlays:
        return picture
    picture = picture.copy()
    if shutter is not None:
        picture[shutter.covered] = shutter.rgb if picture.ndim == 3 else round(255 * shutter.gray)
    for mask in overlays:
        picture[mask] = 255
    return picture


def _icc_profile(header: Dataset) -> bytes | None:
    """Of the image, or of the optical path of a slide (PS3.3 C.11.15)."""
    for holder in (header, first_item(header, "OpticalPathSequence")):
        profile = value_of(holder, "ICCProfile") if holder is not None else None
        if isinstance(profile, bytes) and len(profile) > 128:
            return profile[: int.from_bytes(profile[:4], "big")]
    return None


# --- checks ---


def _indexes(request: RenderRequest, count: int) -> Sequence[int]:
    numbers_asked: Sequence[int] = request.frame_numbers
    if not numbers_asked:
        numbers_asked = range(1, count + 1) if request.media_type == GIF else (1,)
    if len(numbers_asked) > 1 and request.media_type != GIF:
        raise InvalidRequestError(f"{request.media_type} holds one frame; ask for one, or for image/gif")
    if len(numbers_asked) > RENDER_FRAMES_MAX:
        raise TooLargeError(f"{len(numbers_asked)} frames were asked for; at most {RENDER_FRAMES_MAX} are animated")
    for asked in numbers_asked:
        if not 1 <= asked <= count:
            raise NotFoundError(f"frame {asked} was asked for, but the object has frames 1 to {count}")
    return [asked - 1 for asked in numbers_asked]


def _check_is_decodable(table: FrameTable) -> None:
    if table.is_video:
        raise UnsupportedError("video is not rendered; ask for the stored stream")


def _check_pixels(pixel: ImagePixel) -> None:
    if pixel.pixels > RENDER_PIXELS_MAX:
        raise TooLargeError(f"a frame of {pixel.rows} x {pixel.columns} pixels is not rendered, only sent as stored")


def _keyword_of(frame: Array) -> str | None:
    if frame.dtype.kind != "f":
        return None
    return "FloatPixelData" if frame.dtype.itemsize == 4 else "DoubleFloatPixelData"
