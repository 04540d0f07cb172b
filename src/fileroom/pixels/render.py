"""An image or film as people see it (PS3.18 8.3.5, PS3.4 N.2): one frame or several as JPEG, PNG, GIF, JPEG 2000 or MP4.

The way of a frame: decoded values -> 8 bit gray or RGB (`grayscale`, `colour`) -> shutter and overlays (`masks`) ->
cropped, turned and scaled (`geometry`) -> written on (`annotations`) -> a file (`image_files`, `film`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, InvalidRequestError, NotFoundError, TooLargeError, UnsupportedError
from fileroom.core.limits import FILM_FRAMES_MAX, FRAMES_MAX, RENDER_FRAMES_MAX, RENDER_PIXELS_MAX
from fileroom.dicom.display import Viewport
from fileroom.pixels.annotations import annotate
from fileroom.pixels.cine import frame_time_of
from fileroom.pixels.colour import palette_of
from fileroom.pixels.decode import decode_pixels
from fileroom.pixels.film import FilmFrame, encode_film, film_frames
from fileroom.pixels.frames import FrameTable, frame_bytes, frame_table
from fileroom.pixels.geometry import Picture, arrange
from fileroom.pixels.grayscale import chain_of
from fileroom.pixels.header_values import first_item, integer, text, value_of
from fileroom.pixels.image_files import encode_animation, encode_image
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.masks import overlay_mask, shutter_of
from fileroom.pixels.presentation import PresentationState, presentation_state
from fileroom.pixels.request import GIF, JPEG, MOVING, MP4, RenderRequest
from fileroom.pixels.source import PixelSource

Array = NDArray[Any]

THUMBNAIL_SIDE_PX: Final = 128
_FRAMES_MAX: Final = {GIF: RENDER_FRAMES_MAX, MP4: FILM_FRAMES_MAX}


def render_source(source: PixelSource, request: RenderRequest, table: FrameTable | None = None) -> bytes:
    """Decode and render the asked frames of a stored object; several only as GIF or MP4.

    `table` spares finding the frames again. Raises NotFoundError for a frame that is not there, UnsupportedError for
    unknown media types, InvalidRequestError, InvalidObjectError, TooLargeError.
    """
    request.check()
    table = table or frame_table(source)
    if table.is_video:
        return _render_film(source, table, request)
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
    frame_time = frame_time_of(header)
    pictures = (
        (picture_of(frame, header, pixel, request, index), frame_time(index, None))
        for frame, index in zip(frames, indexes, strict=True)
    )
    return _file_of(pictures, header, request)


def thumbnail(source: PixelSource, side_px: int = THUMBNAIL_SIDE_PX, *, media_type: str = JPEG) -> bytes:
    """The middle frame, at most `side_px` wide and high, never enlarged. Raises like `render_source`."""
    table = frame_table(source)
    count = min(max(integer(source.header, "NumberOfFrames", 1), 1), FRAMES_MAX) if table.is_video else table.count
    request = RenderRequest(
        media_type=media_type,
        frame_numbers=(count // 2 + 1,),
        viewport=Viewport(side_px, side_px),
        icc_profile=False,
        enlarge=False,
    )
    if table.is_video:
        return _render_film(source, table, request, or_last=True)
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
    picture = arrange(picture, header, request.viewport, state, enlarge=request.enlarge)
    return annotate(picture, header, request, index) if request.annotations else picture


# --- files ---


def _render_film(source: PixelSource, table: FrameTable, request: RenderRequest, *, or_last: bool = False) -> bytes:
    """The same for video. The stream tells the size and the number of frames, headers of films are often wrong."""
    frame_time = frame_time_of(source.header)
    wanted = [number - 1 for number in request.frame_numbers]
    if not wanted and request.media_type not in MOVING:
        wanted = [0]
    _check_number_of(wanted, request)
    if any(index < 0 for index in wanted):
        raise NotFoundError("frames count from 1")
    frames_max = _FRAMES_MAX.get(request.media_type, 1)
    frames = film_frames(table, source.read, wanted, frames_max=frames_max, or_last=or_last)

    def rendered(frame: FilmFrame) -> tuple[Picture, float]:
        rows, columns = frame.rgb.shape[:2]
        pixel = ImagePixel(rows, columns, 3, bits_allocated=8, bits_stored=8, high_bit=7, photometric="RGB")
        picture = picture_of(frame.rgb, source.header, pixel, request, frame.index)
        return picture, frame_time(frame.index, frame.shown_ms)

    return _file_of((rendered(frame) for frame in frames), source.header, request)


def _file_of(pictures: Iterator[tuple[Picture, float]], header: Dataset, request: RenderRequest) -> bytes:
    """Pictures, each with its milliseconds, as a file of the media type; of several only moving types take more than one."""
    if request.media_type == MP4:
        return encode_film(pictures, request.quality)
    if request.media_type == GIF:
        return encode_animation(pictures)
    profile = _icc_profile(header) if request.icc_profile else None
    return encode_image(next(pictures)[0], request.media_type, request.quality, profile)


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
        numbers_asked = range(1, count + 1) if request.media_type in MOVING else (1,)
    _check_number_of(numbers_asked, request)
    for asked in numbers_asked:
        if not 1 <= asked <= count:
            raise NotFoundError(f"frame {asked} was asked for, but the object has frames 1 to {count}")
    return [asked - 1 for asked in numbers_asked]


def _check_number_of(frames: Sequence[int], request: RenderRequest) -> None:
    if len(frames) > 1 and request.media_type not in MOVING:
        raise InvalidRequestError(f"{request.media_type} holds one frame; ask for one, or for image/gif or video/mp4")
    most = _FRAMES_MAX.get(request.media_type, 1)
    if len(frames) > most:
        raise TooLargeError(f"{len(frames)} frames were asked for; {request.media_type} is made of at most {most}")


def _check_pixels(pixel: ImagePixel) -> None:
    if pixel.pixels > RENDER_PIXELS_MAX:
        raise TooLargeError(f"a frame of {pixel.rows} x {pixel.columns} pixels is not rendered, only sent as stored")


def _keyword_of(frame: Array) -> str | None:
    if frame.dtype.kind != "f":
        return None
    return "FloatPixelData" if frame.dtype.itemsize == 4 else "DoubleFloatPixelData"
