"""Bones seen through: tubes with a dense shell and knobs at their ends, drawn as thickness along the ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fileroom.demo.canvas import Grid, Plane

MARROW_SHARE: Final = 0.38
"""Absorption of the inside of a bone, as a share of that of its shell."""


@dataclass(frozen=True, slots=True)
class Bone:
    """A bone from `start` to `end` (x, y in mm), `shaft_mm` thick in the middle, knobs of `start_mm` and `end_mm`
    (all half widths), a shell of `shell_mm`."""

    start: tuple[float, float]
    end: tuple[float, float]
    shaft_mm: float
    start_mm: float
    end_mm: float
    shell_mm: float = 1.3

    def reach(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the rectangle that holds it."""
        wide = max(self.shaft_mm, self.start_mm, self.end_mm) + 1
        (x0, y0), (x1, y1) = self.start, self.end
        return min(x0, x1) - wide, min(y0, y1) - wide, max(x0, x1) + wide, max(y0, y1) + wide


def add_bone(thickness: Plane, grid: Grid, bone: Bone, texture: Plane | None = None) -> None:
    """Add the bone to `thickness` (mm of solid bone along the ray)."""
    left, top, right, bottom = bone.reach()
    rows = _span(top, bottom, grid.top_mm, grid.row_mm, grid.rows)
    columns = _span(left, right, grid.left_mm, grid.column_mm, grid.columns)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    along, across, length = _along_and_across(grid.x[:, columns], grid.y[rows], bone)
    width = _half_width(along, length, bone)
    outer = width * width - across * across
    inner = np.clip(width - np.float32(bone.shell_mm) * _shell_share(along, length), 0, None)
    inner = inner * inner - across * across
    solid = 2 * np.sqrt(np.clip(outer, 0, None))
    hollow = 2 * np.sqrt(np.clip(inner, 0, None))
    drawn = solid - np.float32(1 - MARROW_SHARE) * hollow
    if texture is not None:
        drawn = drawn * (1 + np.float32(0.10) * texture[rows, columns])
    thickness[rows, columns] = np.maximum(thickness[rows, columns], drawn)


def soft_part(thickness: Plane, grid: Grid, bone: Bone, swell_mm: float) -> None:
    """Lay flesh of `swell_mm` around a bone: the thickness of the whole part where it is largest."""
    fat = Bone(
        bone.start, bone.end, bone.shaft_mm + swell_mm, bone.start_mm + swell_mm * 0.8, bone.end_mm + swell_mm * 0.8
    )
    left, top, right, bottom = fat.reach()
    rows = _span(top, bottom, grid.top_mm, grid.row_mm, grid.rows)
    columns = _span(left, right, grid.left_mm, grid.column_mm, grid.columns)
    along, across, length = _along_and_across(grid.x[:, columns], grid.y[rows], fat)
    width = _half_width(along, length, fat)
    drawn = 2 * np.sqrt(np.clip(width * width - across * across, 0, None))
    part = thickness[rows, columns]
    # A soft maximum: neighbouring parts flow into one another.
    thickness[rows, columns] = (part**4 + drawn**4) ** np.float32(0.25)


def _along_and_across(x: Plane, y: Plane, bone: Bone) -> tuple[Plane, Plane, float]:
    (x0, y0), (x1, y1) = bone.start, bone.end
    length = float(np.hypot(x1 - x0, y1 - y0)) or 1e-3
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    dx, dy = x - np.float32(x0), y - np.float32(y0)
    along = dx * np.float32(ux) + dy * np.float32(uy)
    beyond = along - np.clip(along, 0, length)
    across = np.hypot(dx * np.float32(uy) - dy * np.float32(ux), beyond)
    return along, across, length


def _half_width(along: Plane, length: float, bone: Bone) -> Plane:
    fall = np.float32(max(2.0, 0.20 * length))
    start = np.float32(bone.start_mm - bone.shaft_mm) * np.exp(-((np.clip(along, 0, None) / fall) ** 2))
    end = np.float32(bone.end_mm - bone.shaft_mm) * np.exp(-((np.clip(length - along, 0, None) / fall) ** 2))
    half: Plane = np.float32(bone.shaft_mm) + start + end
    return half


def _shell_share(along: Plane, length: float) -> Plane:
    """The shell is thick in the shaft and thin at the joints."""
    middle = np.clip(along / np.float32(length), 0, 1)
    share: Plane = np.float32(0.35) + np.float32(2.6) * middle * (1 - middle)
    return share


def _span(low: float, high: float, first: float, step: float, count: int) -> slice:
    return slice(max(0, int((low - first) / step)), min(count, int((high - first) / step) + 2))
