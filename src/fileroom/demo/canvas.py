"""What the phantoms are painted with: shapes with soft edges laid over one another, tubes, and smooth noise.

A phantom is never a volume in memory. A `Canvas` is one plane of it, in millimetres of the patient; each organ is
painted over what lies there with a coverage between 0 and 1, so that edges look as they do when a pixel holds two
tissues. A canvas may have several channels: one tissue then leaves another value in each (T1, T2 and FLAIR of one
plane).

Axes are those of DICOM (PS3.3 C.7.6.2.1.1): x grows to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
"""Rows x columns; 32 bit wherever it is large."""
Points = NDArray[np.floating[Any]]
"""N x 4: x, y, z and radius, in mm."""

SPLAT_RADII_PX: Final = (1, 2, 3, 5, 8, 12, 18, 26, 40)
"""Half widths of the square patches that points of a tube are drawn in; each point takes the smallest that fits."""


GRAIN_TILE_PX: Final = 540
"""Side of the tile of fine grain."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the pixels of a plane lie: centre of the first pixel and spacing, in mm."""

    rows: int
    columns: int
    left_mm: float
    top_mm: float
    row_mm: float
    column_mm: float

    @classmethod
    def centred(cls, rows: int, columns: int, row_mm: float, column_mm: float, y_mm: float = 0.0) -> Grid:
        """A grid whose middle is at x = 0 and y = `y_mm`."""
        return cls(rows, columns, -(columns - 1) / 2 * column_mm, y_mm - (rows - 1) / 2 * row_mm, row_mm, column_mm)

    @property
    def x(self) -> Plane:
        """Centres of the columns, 1 x columns."""
        return (self.left_mm + self.column_mm * np.arange(self.columns, dtype=np.float32))[None, :]

    @property
    def y(self) -> Plane:
        """Centres of the rows, rows x 1."""
        return (self.top_mm + self.row_mm * np.arange(self.rows, dtype=np.float32))[:, None]


class Canvas:
    """A plane of `channels` values that soft shapes are painted on."""

    __slots__ = ("grid", "planes", "soft_mm", "x", "y", "z")

    def __init__(self, grid: Grid, z: float, background: tuple[float, ...], soft_mm: float | None = None) -> None:
        self.grid = grid
        self.z = z
        self.x, self.y = grid.x, grid.y
        self.soft_mm = soft_mm or max(grid.row_mm, grid.column_mm)
        self.planes: list[Plane] = [np.full((grid.rows, grid.columns), value, dtype=np.float32) for value in background]

    def inside(self, distance_mm: Plane, soft_mm: float | None = None) -> Plane:
        """Coverage from a signed distance that is negative inside: 1 well inside, 0 well outside."""
        coverage: Plane = np.clip(0.5 - distance_mm / (soft_mm or self.soft_mm), 0, 1, dtype=np.float32)
        return coverage

    def paint(self, coverage: Plane, values: tuple[float, ...]) -> None:
        """Lay one tissue over the whole plane."""
        for plane, value in zip(self.planes, values, strict=True):
            plane += (np.float32(value) - plane) * coverage

    def paint_plane(self, coverage: Plane, values: Plane, channel: int = 0) -> None:
        """Lay a tissue whose value differs from pixel to pixel over one channel."""
        self.planes[channel] += (values - self.planes[channel]) * coverage

    def ellipsoid(
        self,
        centre: tuple[float, float, float],
        axes: tuple[float, float, float],
        values: tuple[float, ...],
        *,
        turn_deg: float = 0.0,
        lean: tuple[float, float] = (0.0, 0.0),
        soft_mm: float | None = None,
    ) -> None:
        """Paint an ellipsoid turned in the plane by `turn_deg`; `lean` moves its centre by (x, y) per mm of z.

        Only the rectangle that it covers is touched.
        """
        rise = self.z - centre[2]
        height = rise / axes[2]
        soft = soft_mm or self.soft_mm
        if abs(height) > 1 + soft / min(axes):
            return
        cx, cy = centre[0] + lean[0] * rise, centre[1] + lean[1] * rise
        reach = max(axes[0], axes[1]) + 2 * soft
        rows = _window(self.grid.top_mm, self.grid.row_mm, self.grid.rows, cy, reach)
        columns = _window(self.grid.left_mm, self.grid.column_mm, self.grid.columns, cx, reach)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        distance = ellipse_distance(
            self.x[:, columns] - np.float32(cx), self.y[rows] - np.float32(cy), axes[0], axes[1], turn_deg, height
        )
        coverage = self.inside(distance, soft)
        for plane, value in zip(self.planes, values, strict=True):
            part = plane[rows, columns]
            part += (np.float32(value) - part) * coverage

    def tube_coverage(self, points: Points, swell_mm: float = 0.0) -> Plane:
        """Coverage of a union of balls: a chain of them is a vessel or a bone."""
        coverage = np.zeros((self.grid.rows, self.grid.columns), dtype=np.float32)
        splat(coverage, self.grid, points, self.z, swell_mm)
        return coverage


def ellipse_distance(x: Plane, y: Plane, a: float, b: float, turn_deg: float = 0.0, height: float = 0.0) -> Plane:
    """Signed distance in mm (first order) of points from an ellipse of half axes a, b.

    `height` is the distance from the centre plane of an ellipsoid, as a fraction of its third half axis.
    """
    if turn_deg:
        cos, sin = np.float32(np.cos(np.radians(turn_deg))), np.float32(np.sin(np.radians(turn_deg)))
        x, y = x * cos + y * sin, y * cos - x * sin
    u, v = x / np.float32(a), y / np.float32(b)
    squares = u * u + v * v
    radius = np.sqrt(squares + np.float32(height * height))
    slope = np.sqrt(squares / np.float32(min(a, b) * max(a, b)) + np.float32(1e-6))
    distance: Plane = (radius - 1) * radius / np.maximum(slope, np.float32(1e-3))
    return distance


def splat(coverage: Plane, grid: Grid, points: Points, z: float, swell_mm: float = 0.0) -> None:
    """Raise `coverage` to that of the balls `points` in the plane `z`; balls overlap without adding up."""
    radius = points[:, 3] + np.float32(swell_mm)
    rise = points[:, 2] - np.float32(z)
    soft = np.float32(max(grid.row_mm, grid.column_mm))
    near = np.abs(rise) < radius + soft
    points, radius, rise = points[near], radius[near], rise[near]
    row = (points[:, 1] - np.float32(grid.top_mm)) / np.float32(grid.row_mm)
    column = (points[:, 0] - np.float32(grid.left_mm)) / np.float32(grid.column_mm)
    half = np.ceil((radius + soft) / min(grid.row_mm, grid.column_mm)).astype(np.int32)
    smallest = 0
    for largest in SPLAT_RADII_PX:
        group = (half > smallest) & (half <= largest)
        smallest = largest
        if group.any():
            _splat_group(coverage, grid, row[group], column[group], radius[group], rise[group], largest)


def _splat_group(
    coverage: Plane,
    grid: Grid,
    row: Plane,
    column: Plane,
    radius: Plane,
    rise: Plane,
    half: int,
) -> None:
    steps = np.arange(-half, half + 1, dtype=np.int32)
    rows = np.rint(row).astype(np.int32)[:, None] + steps
    columns = np.rint(column).astype(np.int32)[:, None] + steps
    dy = (rows - row[:, None]) * np.float32(grid.row_mm)
    dx = (columns - column[:, None]) * np.float32(grid.column_mm)
    square = (dy * dy)[:, :, None] + (dx * dx)[:, None, :] + (rise * rise)[:, None, None]
    soft = np.float32(max(grid.row_mm, grid.column_mm))
    weight = np.clip((radius[:, None, None] - np.sqrt(square)) / soft + np.float32(0.5), 0, 1)
    on = ((rows >= 0) & (rows < grid.rows))[:, :, None] & ((columns >= 0) & (columns < grid.columns))[:, None, :]
    on &= weight > 0
    flat = (rows * grid.columns)[:, :, None] + columns[:, None, :]
    np.maximum.at(coverage.reshape(-1), flat[on], weight[on])


def _window(first_mm: float, step_mm: float, count: int, centre_mm: float, reach_mm: float) -> slice:
    start = int(np.floor((centre_mm - reach_mm - first_mm) / step_mm))
    stop = int(np.ceil((centre_mm + reach_mm - first_mm) / step_mm)) + 1
    return slice(max(0, start), min(count, max(0, stop)))


def ball_chain(path: list[tuple[float, float, float, float]], step_mm: float = 1.0) -> Points:
    """Balls along straight pieces between (x, y, z, radius) knots: `step_mm` apart, thick ones up to 0.3 radii."""
    knots = np.asarray(path, dtype=np.float32)
    pieces = [knots[:1]]
    for start, end in itertools.pairwise(knots):
        step = max(step_mm, 0.3 * float(min(start[3], end[3])))
        count = max(1, int(np.linalg.norm(end[:3] - start[:3]) / step))
        share = (np.arange(1, count + 1, dtype=np.float32) / count)[:, None]
        pieces.append(start + (end - start) * share)
    return np.concatenate(pieces).astype(np.float32)


def smooth_path(
    path: list[tuple[float, float, float, float]], rounds: int = 3
) -> list[tuple[float, float, float, float]]:
    """The same knots with rounded corners (Chaikin's corner cutting)."""
    knots = np.asarray(path, dtype=np.float64)
    for _ in range(rounds):
        near, far = 0.75 * knots[:-1] + 0.25 * knots[1:], 0.25 * knots[:-1] + 0.75 * knots[1:]
        cut = np.empty((2 * len(near), 4))
        cut[0::2], cut[1::2] = near, far
        knots = np.concatenate([knots[:1], cut, knots[-1:]])
    return [(float(x), float(y), float(z), float(r)) for x, y, z, r in knots]


# --- noise ---


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Plane:
    """Gaussian noise of mean 0 and deviation 1, blurred to spots of about `scale_px`; its edges fit together."""
    return _shaped_noise(rng, shape, lambda f: np.exp(-2 * (np.pi * f * scale_px) ** 2))


def grain(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Plane:
    """Smooth noise for large images: one tile of it, repeated, which nobody can see in fine grain."""
    tile = smooth_noise(rng, (GRAIN_TILE_PX, GRAIN_TILE_PX), scale_px)
    repeats = [-(-size // GRAIN_TILE_PX) for size in shape]
    return np.tile(tile, repeats)[: shape[0], : shape[1]]


def cloud_noise(rng: np.random.Generator, shape: tuple[int, int], steepness: float = 1.6) -> Plane:
    """Noise whose amplitude falls as frequency to the power of `steepness`: clouds, glands, marrow."""
    return _shaped_noise(rng, shape, lambda f: 1 / np.maximum(f, 1.0 / max(shape)) ** steepness)


def _shaped_noise(rng: np.random.Generator, shape: tuple[int, int], gain: Callable[[Plane], Plane]) -> Plane:
    rows, columns = (_next_smooth(size) for size in shape)
    spectrum = np.fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32))
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :])
    spectrum *= gain(frequency)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(rows, columns))[: shape[0], : shape[1]].astype(np.float32)
    return noise / np.float32(noise.std())


def _next_smooth(size: int) -> int:
    """The next number with no prime factor above 5: transforms of other sizes are several times slower."""
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


class DriftingNoise:
    """Planes of smooth noise that change slowly with z, so that a shape warped by them stays one piece."""

    __slots__ = ("_fields", "_phases", "_rates")

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, int], scale_px: float, scale_z_mm: float, fields: int = 4
    ) -> None:
        self._fields = [smooth_noise(rng, shape, scale_px) for _ in range(fields)]
        self._phases = rng.uniform(0, 2 * np.pi, fields)
        self._rates = rng.uniform(0.6, 1.4, fields) / scale_z_mm

    def at(self, z: float) -> Plane:
        """The plane at height z (mm), mean 0, deviation about 1."""
        weights = np.cos(z * self._rates + self._phases) * np.sqrt(2 / len(self._fields))
        plane = np.zeros_like(self._fields[0])
        for field, weight in zip(self._fields, weights, strict=True):
            plane += field * np.float32(weight)
        return plane
