"""Which part of a picture is shown, how large, and which way up (PS3.18 8.3.5.1.3, PS3.3 C.10.4, C.10.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.limits import RENDER_PIXELS_MAX
from fileroom.dicom.display import Viewport
from fileroom.pixels.header_values import numbers
from fileroom.pixels.presentation import PresentationState

Picture = NDArray[np.uint8]
"""(rows, columns) gray or (rows, columns, 3) RGB, 8 bit."""

_ASPECT_MAX = 16.0
"""Pixels that are more oblong than this are a mistake in the header."""
_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class _Box:
    """Pixels from 0; right and lower edge excluded. May reach past the picture, which is black there."""

    left: int
    top: int
    right: int
    bottom: int


def arrange(
    picture: Picture, header: Dataset, viewport: Viewport | None, state: PresentationState | None, *, enlarge: bool
) -> Picture:
    """Crop, turn, mirror and scale `picture`, with square pixels in the answer.

    Without viewport and state only oblong pixels change the size. Raises InvalidRequestError when the source rectangle
    misses the image, TooLargeError when the answer would pass RENDER_PIXELS_MAX.
    """
    box = _box(picture, viewport, state)
    aspect = _aspect(header, state)
    picture = _cropped(picture, box)
    if state is not None:
        picture = np.rot90(picture, -(state.rotation // 90))
        picture = picture[:, ::-1] if state.is_flipped else picture
        aspect = 1 / aspect if state.rotation in (90, 270) else aspect
    if viewport is not None:
        picture = picture[:, ::-1] if (viewport.source_width or 0) < 0 else picture
        picture = picture[::-1] if (viewport.source_height or 0) < 0 else picture
    size = _target_size(picture, aspect, viewport, enlarge=enlarge)
    if size == (picture.shape[1], picture.shape[0]):
        return np.ascontiguousarray(picture)
    return _resized(picture, size)


def _box(picture: Picture, viewport: Viewport | None, state: PresentationState | None) -> _Box:
    rows, columns = picture.shape[:2]
    whole = _Box(0, 0, columns, rows)
    if viewport is not None and _has_source(viewport):
        width = columns - viewport.source_x if viewport.source_width is None else abs(viewport.source_width)
        height = rows - viewport.source_y if viewport.source_height is None else abs(viewport.source_height)
        left, top = viewport.source_x, viewport.source_y
        if left >= columns or top >= rows or width <= 0 or height <= 0 or left + width <= 0 or top + height <= 0:
            raise InvalidRequestError(
                f"the source rectangle of the viewport lies outside the image of {columns} x {rows} pixels"
            )
        right, bottom = min(left + width, columns), min(top + height, rows)
        return _at_least_one(_Box(max(round(left), 0), max(round(top), 0), round(right), round(bottom)), whole)
    if state is not None and state.area is not None:
        area = _Box(*(round(edge) for edge in (state.area.left, state.area.top, state.area.right, state.area.bottom)))
        is_sane = area.right - area.left <= 4 * columns and area.bottom - area.top <= 4 * rows
        touches = area.left < columns and area.right > 0 and area.top < rows and area.bottom > 0
        return area if is_sane and touches else whole
    return whole


def _has_source(viewport: Viewport) -> bool:
    return bool(viewport.source_x or viewport.source_y or viewport.source_width or viewport.source_height)


def _at_least_one(box: _Box, whole: _Box) -> _Box:
    """A part of a pixel shows the pixel."""
    left, top = min(box.left, whole.right - 1), min(box.top, whole.bottom - 1)
    return _Box(left, top, max(box.right, left + 1), max(box.bottom, top + 1))


def _cropped(picture: Picture, box: _Box) -> Picture:
    rows, columns = picture.shape[:2]
    inner = picture[max(box.top, 0) : min(box.bottom, rows), max(box.left, 0) : min(box.right, columns)]
    if box.left >= 0 and box.top >= 0 and box.right <= columns and box.bottom <= rows:
        return inner
    _check_pixels(box.right - box.left, box.bottom - box.top)
    canvas = np.zeros((box.bottom - box.top, box.right - box.left, *picture.shape[2:]), np.uint8)
    top, left = max(-box.top, 0), max(-box.left, 0)
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return canvas


def _aspect(header: Dataset, state: PresentationState | None) -> float:
    """Height of a pixel divided by its width."""
    if state is not None and state.area is not None and state.area.aspect is not None:
        return _sane(state.area.aspect)
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        pair = numbers(header, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return _sane(pair[0] / pair[1])
    return 1.0


def _sane(aspect: float) -> float:
    return aspect if 1 / _ASPECT_MAX <= aspect <= _ASPECT_MAX and abs(aspect - 1) > _ASPECT_TOLERANCE else 1.0


def _target_size(picture: Picture, aspect: float, viewport: Viewport | None, *, enlarge: bool) -> tuple[int, int]:
    """(columns, rows) of the answer."""
    rows, columns = picture.shape[:2]
    width, height = (columns, rows * aspect) if aspect >= 1 else (columns / aspect, float(rows))
    if viewport is not None:
        scale = min(viewport.width / width, viewport.height / height)
        scale = scale if enlarge else min(scale, 1.0)
        width, height = width * scale, height * scale
    size = max(round(width), 1), max(round(height), 1)
    _check_pixels(*size)
    return size


def _check_pixels(width: int, height: int) -> None:
    if width * height > RENDER_PIXELS_MAX:
        raise TooLargeError(
            f"the rendered image would have {width} x {height} pixels; at most {RENDER_PIXELS_MAX} are rendered, "
            "ask for a smaller viewport"
        )


def _resized(picture: Picture, size: tuple[int, int]) -> Picture:
    image = Image.fromarray(np.ascontiguousarray(picture))
    shrinks = size[0] < picture.shape[1] or size[1] < picture.shape[0]
    method = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    resized: NDArray[Any] = np.asarray(image.resize(size, method, reducing_gap=2.0 if shrinks else None))
    return resized
