"""What lies on top of an image: overlay planes (PS3.3 C.9.2) and display shutters (C.7.6.11).

Both are given as boolean arrays of the size of the image, so that burning them in is one assignment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.limits import OVERLAY_GROUPS_MAX, SHUTTER_VERTICES_MAX
from fileroom.pixels.header_values import integer, number, numbers, value_of

Mask = NDArray[np.bool_]

_FIRST_GROUP: Final = 0x6000
_ROWS, _COLUMNS, _FRAMES, _TYPE, _ORIGIN, _FRAME_ORIGIN, _DATA = 0x10, 0x11, 0x15, 0x40, 0x50, 0x51, 0x3000
_ACTIVATION_LAYER: Final = 0x1001


def overlay_mask(header: Dataset, index: int, shape: tuple[int, int], *, only_active: bool = False) -> Mask | None:
    """All overlay planes of frame `index` (from 0) together; None when there are none that touch the image.

    `only_active`: only planes with an activation layer, as presentation states want it (PS3.3 C.11.7). Planes in unused
    bits of the pixels (retired in 2004) are not found.
    """
    found: Mask | None = None
    for group in range(_FIRST_GROUP, _FIRST_GROUP + 2 * OVERLAY_GROUPS_MAX, 2):
        if only_active and not str(_value(header, group, _ACTIVATION_LAYER) or "").strip():
            continue
        plane = _plane(header, group, index)
        if plane is None:
            continue
        if found is None:
            found = np.zeros(shape, np.bool_)
        _place(found, plane, _pair(header, group, _ORIGIN, (1, 1)))
    return found if found is not None and found.any() else None


@dataclass(frozen=True, slots=True)
class Shutter:
    """What to cover, and with what: `gray` is 0 to 1, `rgb` 0 to 255 each, for grayscale and colour images."""

    covered: Mask
    gray: float
    rgb: tuple[int, int, int]


def shutter_of(source: Dataset, shape: tuple[int, int]) -> Shutter | None:
    """The rectangular, circular and polygonal shutters of an image or presentation state; None when it has none.

    Everything outside any of its shapes is covered (PS3.3 C.7.6.11.1).
    """
    shapes = value_of(source, "ShutterShape")
    if shapes is None:
        return None
    names = {str(one).strip().upper() for one in ([shapes] if isinstance(shapes, str) else shapes)}
    open_areas = [area for name, area in _shutter_areas(source, shape) if name in names]
    if not open_areas:
        return None
    covered = ~np.logical_and.reduce(open_areas)
    return Shutter(covered, (number(source, "ShutterPresentationValue") or 0.0) / 65535, _shutter_color(source))


# --- overlays ---


def _plane(header: Dataset, group: int, index: int) -> Mask | None:
    data = _value(header, group, _DATA)
    rows, columns = _integer(header, group, _ROWS, 0), _integer(header, group, _COLUMNS, 0)
    if not isinstance(data, bytes) or rows < 1 or columns < 1:
        return None
    frames = max(_integer(header, group, _FRAMES, 1), 1)
    frame = index - (_integer(header, group, _FRAME_ORIGIN, 1) - 1) if frames > 1 else 0
    bits = rows * columns
    if not 0 <= frame < frames or (frame + 1) * bits > 8 * len(data):
        return None
    first = frame * bits
    raw = np.frombuffer(data, np.uint8)[first // 8 : (first + bits + 7) // 8]
    unpacked = np.unpackbits(raw, bitorder="little")[first % 8 : first % 8 + bits]
    return unpacked.astype(np.bool_).reshape(rows, columns)


def _place(target: Mask, plane: Mask, origin: tuple[int, int]) -> None:
    """Lay `plane` on `target`; the origin counts from 1 and may lie outside (PS3.3 C.9.2.1.1)."""
    top, left = origin[0] - 1, origin[1] - 1
    row0, column0 = max(top, 0), max(left, 0)
    row1 = min(top + plane.shape[0], target.shape[0])
    column1 = min(left + plane.shape[1], target.shape[1])
    if row0 < row1 and column0 < column1:
        target[row0:row1, column0:column1] |= plane[row0 - top : row1 - top, column0 - left : column1 - left]


def _value(header: Dataset, group: int, element: int) -> Any:
    return value_of(header, (group << 16) | element)


def _integer(header: Dataset, group: int, element: int, default: int) -> int:
    return integer(header, (group << 16) | element, default)


def _pair(header: Dataset, group: int, element: int, default: tuple[int, int]) -> tuple[int, int]:
    try:
        first, second = _value(header, group, element)
        return int(first), int(second)
    except (TypeError, ValueError):
        return default


# --- shutters ---


def _shutter_areas(source: Dataset, shape: tuple[int, int]) -> Iterator[tuple[str, Mask]]:
    """(name, what stays visible) of each shutter that is described completely; coordinates count from 1."""
    rows = np.arange(1, shape[0] + 1)[:, None]
    columns = np.arange(1, shape[1] + 1)[None, :]
    edges = [number(source, f"Shutter{edge}Edge") for edge in ("UpperHorizontal", "LowerHorizontal")]
    sides = [number(source, f"Shutter{edge}Edge") for edge in ("LeftVertical", "RightVertical")]
    if None not in edges and None not in sides:
        inside_rows = (rows >= (edges[0] or 0)) & (rows <= (edges[1] or 0))
        yield "RECTANGULAR", inside_rows & (columns >= (sides[0] or 0)) & (columns <= (sides[1] or 0))
    center, radius = numbers(source, "CenterOfCircularShutter"), number(source, "RadiusOfCircularShutter")
    if len(center) == 2 and radius is not None:
        yield "CIRCULAR", (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2
    vertices = numbers(source, "VerticesOfThePolygonalShutter")
    if 6 <= len(vertices) <= 2 * SHUTTER_VERTICES_MAX and len(vertices) % 2 == 0:
        yield "POLYGONAL", _inside_polygon(rows, columns, list(zip(vertices[::2], vertices[1::2], strict=True)))


def _inside_polygon(rows: NDArray[Any], columns: NDArray[Any], vertices: list[tuple[float, float]]) -> Mask:
    """Even-odd rule, by pixel centers; vertices are (row, column)."""
    inside = np.zeros((rows.shape[0], columns.shape[1]), np.bool_)
    previous = vertices[-1]
    for vertex in vertices:
        (row0, column0), (row1, column1) = previous, vertex
        if not math.isclose(row0, row1):
            crosses = (rows > min(row0, row1)) & (rows <= max(row0, row1))
            at = column0 + (rows - row0) * (column1 - column0) / (row1 - row0)
            inside ^= crosses & (columns < at)
        previous = vertex
    return inside


def _shutter_color(source: Dataset) -> tuple[int, int, int]:
    lab = numbers(source, "ShutterPresentationColorCIELabValue")
    if len(lab) != 3:
        level = round((number(source, "ShutterPresentationValue") or 0.0) / 257)
        return level, level, level
    return cielab_to_rgb(lab[0], lab[1], lab[2])


def cielab_to_rgb(lightness: float, a: float, b: float) -> tuple[int, int, int]:
    """sRGB of a PCS value encoded in 16 bits (PS3.3 C.10.7.1.1), D50 white."""
    star = lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128
    y = (star[0] + 16) / 116
    cubes = [value**3 if value > 6 / 29 else 3 * (6 / 29) ** 2 * (value - 4 / 29) for value in (y + star[1] / 500, y)]
    z = y - star[2] / 200
    cubes.append(z**3 if z > 6 / 29 else 3 * (6 / 29) ** 2 * (z - 4 / 29))
    x, luminance, depth = cubes[0] * 0.9642, cubes[1], cubes[2] * 0.8249
    linear = (
        3.1338561 * x - 1.6168667 * luminance - 0.4906146 * depth,
        -0.9787684 * x + 1.9161415 * luminance + 0.0334540 * depth,
        0.0719453 * x - 0.2289914 * luminance + 1.4052427 * depth,
    )
    red, green, blue = (_gamma(value) for value in linear)
    return red, green, blue


def _gamma(value: float) -> int:
    value = min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))
