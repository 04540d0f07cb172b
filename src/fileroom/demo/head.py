"""A head as one model of tissues: skull, brain with folds, ventricles, eyes, and what may be wrong in it.

Each tissue has one value per contrast (`CONTRASTS`), so the CT and the three MR series show the same anatomy in
their own way. z = 0 lies at the level of the orbits and the ears, the vertex at about 122 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fileroom.demo.canvas import Canvas, DriftingNoise, Grid, Plane, ellipse_distance

VERTEX_MM: Final = 122.0
CONTRASTS: Final = ("CT", "T1", "T2", "FLAIR")
"""Channels of a tissue: Hounsfield units, then signal of three MR sequences."""

AIR: Final = (-1000.0, 8.0, 8.0, 8.0)
SKIN: Final = (45.0, 330.0, 260.0, 260.0)
FAT: Final = (-98.0, 960.0, 560.0, 520.0)
MUSCLE: Final = (56.0, 290.0, 150.0, 190.0)
BONE: Final = (1380.0, 40.0, 30.0, 30.0)
DIPLOE: Final = (720.0, 520.0, 260.0, 230.0)
CSF: Final = (7.0, 120.0, 1000.0, 75.0)
GREY: Final = (38.5, 440.0, 500.0, 560.0)
WHITE: Final = (29.0, 640.0, 350.0, 430.0)
DEEP_GREY: Final = (38.0, 480.0, 430.0, 490.0)
FALX: Final = (52.0, 250.0, 160.0, 200.0)
VITREOUS: Final = (10.0, 130.0, 1020.0, 100.0)
LENS: Final = (75.0, 400.0, 180.0, 240.0)
CALCIUM: Final = (150.0, 200.0, 150.0, 180.0)
BLOOD: Final = (66.0, 470.0, 260.0, 380.0)
OEDEMA: Final = (20.0, 360.0, 700.0, 840.0)
PLAQUE: Final = (26.0, 400.0, 760.0, 900.0)


@dataclass(frozen=True, slots=True)
class HeadSetup:
    """What varies between two heads or two visits."""

    seed: int
    bleed: bool = False
    """A haemorrhage in the left basal ganglia."""
    plaques: bool = False
    """Bright spots of demyelination around the ventricles."""
    ventricle_scale: float = 1.0


class HeadPhantom:
    """The head of one patient on one grid; `plane(z)` gives the chosen contrasts without noise."""

    def __init__(self, setup: HeadSetup, grid: Grid, contrasts: tuple[str, ...] = ("CT",)) -> None:
        rng = np.random.default_rng(setup.seed)
        self.setup = setup
        self.grid = grid
        self._channels = [CONTRASTS.index(name) for name in contrasts]
        shape, pixel = (grid.rows, grid.columns), min(grid.row_mm, grid.column_mm)
        self._folds = DriftingNoise(rng, shape, 3.6 / pixel, 9, fields=6)
        self._warp = DriftingNoise(rng, shape, 15 / pixel, 35)
        self._cells = DriftingNoise(rng, shape, 1.6 / pixel, 3)
        self._spots = [
            (float(side * rng.uniform(18, 34)), float(rng.uniform(-38, 46)), float(rng.uniform(42, 84)),
             float(rng.uniform(2.0, 3.4)), float(rng.uniform(3.5, 7.5)), float(rng.uniform(-40, 40)))
            for side in (-1, 1) for _ in range(8)
        ]  # fmt: skip

    def plane(self, z: float) -> list[Plane]:
        """One plane per contrast at height `z` mm, rows x columns of the grid."""
        brush = _Brush(Canvas(self.grid, z, self._pick(AIR)), self._channels)
        warp = self._warp.at(z)
        skin = _shell(brush.canvas, z, 79.0, 99.0, 92.0) + 0.7 * warp
        brush.lay(skin, SKIN)
        brush.lay(skin + 1.8, FAT)
        if z < 22:
            _paint_face(brush, z, self._cells.at(z))
        self._paint_skull(brush, z, skin)
        inner = np.maximum(skin + np.float32(13.0), (_floor(brush.canvas) - np.float32(z)) * np.float32(0.8))
        brush.lay(inner, CSF)
        self._paint_brain(brush, z, inner, warp)
        if z < 30:
            _paint_base(brush, z, self._cells.at(z), warp)
        return brush.canvas.planes

    def _pick(self, tissue: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(tissue[channel] for channel in self._channels)

    def _paint_skull(self, brush: _Brush, z: float, skin: Plane) -> None:
        marrow = np.clip((brush.canvas.y * brush.canvas.y) / 4000, 0, 1)
        below = _floor(brush.canvas) - np.float32(z + 5)
        outer, thick = np.maximum(skin + np.float32(6.0), below), np.float32(5.6) + np.float32(1.6) * marrow
        brush.lay(np.maximum(outer, -(outer + thick)), BONE)
        brush.lay(np.maximum(outer + np.float32(1.9), -(outer + thick - np.float32(1.9))), DIPLOE, soft_mm=1.4)
        if 14 < z < 42:  # frontal sinuses
            for side in (-1, 1):
                brush.ball((side * 9.0, -88.0, 26.0), (8.0, 4.2, 12.0), AIR)

    def _paint_brain(self, brush: _Brush, z: float, inner: Plane, warp: Plane) -> None:
        folds = np.abs(self._folds.at(z)) * np.float32(4.3)
        brain = inner + np.float32(1.6)
        _paint_hemispheres(brush, z, brain, folds, warp)
        _paint_deep(brush, z, self.setup.ventricle_scale, warp)
        if z < 40:
            _paint_below_tentorium(brush, z, inner, self._cells.at(z))
        if self.setup.plaques:
            for x, y, height, a, b, turn in self._spots:
                brush.ball((x, y, height), (b, a, 4.0), PLAQUE, turn_deg=turn, soft_mm=2.5)
        if self.setup.bleed:
            _paint_bleed(brush, z, warp)


class _Brush:
    """Paints tissues by name on the channels that are wanted."""

    def __init__(self, canvas: Canvas, channels: list[int]) -> None:
        self.canvas = canvas
        self._channels = channels

    def lay(self, distance: Plane, tissue: tuple[float, ...], soft_mm: float | None = None, share: float = 1.0) -> None:
        """Lay a tissue where the signed distance is negative; `share` below 1 lets the ground shine through."""
        coverage = self.canvas.inside(distance, soft_mm)
        self.canvas.paint(coverage * np.float32(share), tuple(tissue[channel] for channel in self._channels))

    def ball(
        self,
        centre: tuple[float, float, float],
        axes: tuple[float, float, float],
        tissue: tuple[float, ...],
        turn_deg: float = 0.0,
        lean: tuple[float, float] = (0.0, 0.0),
        soft_mm: float | None = None,
    ) -> None:
        """Lay an ellipsoid."""
        values = tuple(tissue[channel] for channel in self._channels)
        self.canvas.ellipsoid(centre, axes, values, turn_deg=turn_deg, lean=lean, soft_mm=soft_mm)


def _shell(canvas: Canvas, z: float, a: float, b: float, c: float) -> Plane:
    """Distance from an egg around the head: it closes at the vertex and stays wide towards the neck."""
    height = (z - 30) / c if z > 30 else (z - 30) / (c * 2.2)
    narrow = np.float32(1) + np.float32(0.00055) * (
        np.sqrt(canvas.y * canvas.y + 900) - canvas.y
    )  # the forehead is narrower
    return ellipse_distance(canvas.x * narrow, canvas.y, a, b, 0.0, height)


def _floor(canvas: Canvas) -> Plane:
    """Height of the floor of the skull: high above the orbits, low in the middle and at the back."""
    front = -canvas.y - np.float32(26) - np.float32(0.006) * canvas.x * canvas.x
    return np.float32(-14) + np.float32(30) / (1 + np.exp(np.clip(-front / 3, -30, 30)))


# --- hemispheres ---


def _paint_hemispheres(brush: _Brush, z: float, brain: Plane, folds: Plane, warp: Plane) -> None:
    """Cortex along the surface and along the sulci, white matter in between, the falx in the middle."""
    canvas = brush.canvas
    depth = -brain
    midline = np.abs(canvas.x + np.float32(0.8) * warp)
    callosum = np.hypot(np.clip(np.abs(canvas.y - 2) - 26, 0, None), np.float32(max(0.0, z - 66, 24 - z) * 1.2))
    split = np.where(callosum > 1, midline, np.float32(30)) + np.float32(0) * depth
    edge = np.minimum(depth, split)
    reach = np.clip((np.float32(21) - edge) / np.float32(7), 0, 1)
    sulcus = folds - np.float32(1.0) * np.clip((np.float32(19) - edge) / np.float32(13), 0, 1)
    cortex = np.minimum(edge, folds - np.float32(0.9) + np.float32(8) * (1 - reach)) - np.float32(3.0)
    brush.lay(brain, WHITE)
    brush.lay(np.maximum(brain, cortex), GREY, soft_mm=1.6)
    brush.lay(np.maximum(brain + np.float32(0.5), np.maximum(sulcus, edge - np.float32(18))), CSF, soft_mm=1.5)
    brush.lay(np.maximum(brain - np.float32(1.0), split - np.float32(1.3)), CSF, soft_mm=1.4)
    if z > 30:
        brush.lay(np.maximum(brain - np.float32(1.6), split - np.float32(0.35)), FALX, soft_mm=1.2, share=0.8)
    if 22 < z < 58:  # Sylvian fissure, insula behind it
        for side in (-1, 1):
            along = canvas.y + np.float32(12)
            across = side * canvas.x - np.float32(47) + np.float32(0.010) * along * along
            fissure = np.maximum(np.abs(across + 2 * warp) - np.float32(1.7), np.abs(along) - np.float32(26))
            brush.lay(np.maximum(fissure - np.float32(3.0), brain), GREY, soft_mm=1.6)
            brush.lay(np.maximum(fissure, brain), CSF, soft_mm=1.5)


def _paint_deep(brush: _Brush, z: float, scale: float, warp: Plane) -> None:
    """Basal ganglia, thalamus, ventricles with choroid plexus, pineal gland."""
    for side in (-1, 1):
        brush.ball((side * 26.0, -4.0, 42.0), (6.5, 17.0, 13.0), DEEP_GREY, turn_deg=side * -14)
        brush.ball((side * 20.0, 0.0, 40.0), (4.0, 10.0, 9.0), WHITE, turn_deg=side * -20)
        brush.ball((side * 17.5, 1.0, 39.0), (3.5, 8.0, 8.0), DEEP_GREY, turn_deg=side * -24)
        brush.ball((side * 10.5, 15.0, 43.0), (8.5, 14.0, 11.0), DEEP_GREY, turn_deg=side * -16)
        brush.ball((side * 13.5, -21.0, 47.0), (5.2, 9.0, 12.0), DEEP_GREY, turn_deg=side * -12)
    wide = scale
    for side in (-1, 1):
        brush.ball((side * 8.2, -25.0, 51.0), (4.4 * wide, 14.0, 13.0), CSF, side * -14)
        brush.ball((side * 11.0, 6.0, 62.0), (5.4 * wide, 29.0, 9.5), CSF, side * -7)
        brush.ball((side * 21.0, 36.0, 50.0), (6.0 * wide, 19.0, 12.0), CSF, side * -20)
        brush.ball((side * 33.0, 10.0, 19.0), (2.2 * wide, 12.0, 6.0), CSF, side * -28)
        brush.ball((side * 20.5, 34.0, 49.0), (2.2, 6.0, 5.0), GREY, side * -20)
        brush.ball((side * 20.5, 35.0, 49.0), (1.4, 2.6, 3.0), CALCIUM, side * -20)
    brush.ball((0.0, 4.0, 36.0), (2.0 * wide, 13.0, 12.0), CSF)
    brush.ball((0.0, 24.0, 40.0), (2.0, 2.4, 3.2), CALCIUM)
    if z < 34:
        brush.ball((0.0, 27.0, 30.0), (13.0, 4.0, 9.0), CSF)
    _ = warp


def _paint_bleed(brush: _Brush, z: float, warp: Plane) -> None:
    rise = (z - 44) / 15
    if abs(rise) > 1.6:
        return
    core = ellipse_distance(brush.canvas.x - 29, brush.canvas.y - 1, 11.5, 19.0, -16.0, abs(rise)) + 2.6 * warp
    brush.lay(core - np.float32(5.5), OEDEMA, soft_mm=5, share=0.75)
    brush.lay(core, BLOOD, soft_mm=1.8)
    brush.ball((21.0, 33.0, 45.0), (3.4, 8.0, 5.0), BLOOD, turn_deg=-20)


# --- base of the skull and face ---


def _paint_below_tentorium(brush: _Brush, z: float, inner: Plane, cells: Plane) -> None:
    canvas = brush.canvas
    height = (z - 2) / 26
    if abs(height) >= 1:
        return
    lobes = ellipse_distance(canvas.x, canvas.y - 52, 50.0, 31.0, 0.0, height)
    brush.lay(np.maximum(lobes - 2.4, inner + 0.6), CSF)
    brush.lay(np.maximum(lobes, inner + 1.4), GREY)
    folia = np.abs(np.sin(canvas.y * 0.85 + 0.012 * canvas.x * canvas.x + 1.4 * cells))
    brush.lay(np.maximum(np.maximum(lobes + 1.5, inner + 3), np.float32(0.25) - folia), WHITE, soft_mm=1.6, share=0.55)
    for side in (-1, 1):
        brush.ball((side * 17.0, 52.0, 4.0), (12.0, 14.0, 14.0), WHITE, soft_mm=6)
    brush.ball((0.0, 17.0, 16.0), (27.0, 17.0, 9.0), CSF)
    brush.ball((0.0, 24.0, 2.0), (14.5, 13.0, 34.0), WHITE)
    brush.ball((0.0, 41.0, 3.0), (7.5, 4.2, 11.0), CSF)


def _paint_base(brush: _Brush, z: float, cells: Plane, warp: Plane) -> None:
    """Petrous bones with air cells, sella, floor of the anterior fossa."""
    canvas = brush.canvas
    for side in (-1, 1):
        brush.ball((side * 41.0, 22.0, 0.0), (31.0, 8.0, 13.0), BONE, turn_deg=side * -28)
        mastoid = ellipse_distance(canvas.x - side * 62, canvas.y - 30, 13.0, 14.0, 0.0, abs(z) / 14)
        brush.lay(np.maximum(mastoid - 2, -np.ones_like(mastoid) * 4), BONE)
        brush.lay(np.maximum(mastoid, (np.float32(0.15) - cells) * 3), AIR, soft_mm=1.2)
        brush.ball((side * 36.0, 19.0, 2.0), (2.6, 2.0, 4.0), FAT, soft_mm=1.0)
    if z < 16:
        brush.ball((0.0, -14.0, 2.0), (17.0, 15.0, 12.0), BONE)
        brush.ball((0.0, -16.0, 0.0), (13.0, 11.0, 10.0), AIR)
        wing = np.abs(canvas.y + 28 + np.float32(0.007) * canvas.x * canvas.x) - np.float32(2.4)
        brush.lay(np.maximum(wing, np.abs(canvas.x) - np.float32(60)), BONE, share=float(np.clip((18 - z) / 8, 0, 1)))
    _ = warp


def _paint_face(brush: _Brush, z: float, cells: Plane) -> None:
    """Muscles of mastication, orbits with eyes, nose."""
    fade = float(np.clip((20 - z) / 6, 0, 1))
    canvas = brush.canvas
    for side in (-1, 1):
        brush.ball((side * 63.0, -34.0, -4.0), (8.0, 24.0, 22.0), MUSCLE, turn_deg=side * -10)
        brush.ball((side * 31.0, -54.0, -2.0), (20.5, 27.0, 19.0), BONE, turn_deg=side * 14)
        brush.ball((side * 31.5, -57.0, -2.0), (17.5, 28.0, 17.0), FAT, turn_deg=side * 14)
        for offset in (-11.5, 11.5):
            brush.ball((side * 29.0 + offset, -54.0, -2.0), (2.2, 17.0, 5.0), MUSCLE, turn_deg=side * 14 - offset)
        brush.ball((side * 25.0, -48.0, -2.0), (2.4, 20.0, 3.0), WHITE, turn_deg=side * 18)
        brush.ball((side * 32.0, -72.0, -2.0), (12.6, 12.6, 12.6), FALX)
        brush.ball((side * 32.0, -72.0, -2.0), (11.6, 11.6, 11.6), VITREOUS)
        brush.ball((side * 32.3, -81.0, -2.0), (4.6, 2.3, 4.6), LENS)
    ethmoid = ellipse_distance(canvas.x, canvas.y + 62, 12.0, 26.0)
    brush.lay(ethmoid, BONE, share=fade)
    brush.lay(np.maximum(ethmoid + 1.5, np.float32(0.5) - np.abs(cells) * 2), AIR, soft_mm=1.2, share=fade)
    brush.ball((0.0, -95.0, -14.0), (9.0, 13.0, 22.0), SKIN)
