"""A chest in Hounsfield units: body wall, ribs, spine, lungs with vessels, heart, upper abdomen and a nodule.

Drawn plane by plane on a `Canvas`; z = 0 lies at the lowest tip of the lungs, z = 250 mm at their apex. The CT series
shows its planes, the radiographs and the scout view add it up along a ray, the PET shows what takes up tracer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fileroom.demo.canvas import (
    Canvas,
    DriftingNoise,
    Grid,
    Plane,
    Points,
    ball_chain,
    cloud_noise,
    ellipse_distance,
    smooth_path,
)

AIR, LUNG, FAT, FLUID, MUSCLE, BLOOD = -1000.0, -868.0, -104.0, 8.0, 58.0, 168.0
"""Hounsfield units of the main tissues, about 60 s after contrast medium."""
NODULE_CENTRE_MM: Final = (-72.0, 2.0, 176.0)
NODULE_RADIUS_MM: Final = 8.5
RIB_SPACING_MM: Final = 25.0
VERTEBRA_SPACING_MM: Final = 24.0
LUNG_FLOOR_MM: Final = 0.0
LUNG_APEX_MM: Final = 252.0

_CAGE_Z: Final = (-90, -40, 0, 60, 120, 170, 205, 232, 250, 262)
_CAGE_A: Final = (130, 134, 136, 137, 131, 119, 100, 74, 46, 20)
_CAGE_B: Final = (92, 94, 95, 96, 90, 80, 68, 52, 36, 16)
_CAGE_Y: Final = (0, 0, 0, 0, 2, 5, 10, 17, 24, 28)
_BODY_Z: Final = (-120, -40, 40, 110, 170, 215, 245, 268, 285, 300, 330, 400)
_BODY_A: Final = (160, 163, 166, 172, 178, 182, 184, 172, 135, 90, 62, 58)
_BODY_B: Final = (118, 120, 121, 119, 113, 106, 98, 88, 78, 70, 63, 62)
_BODY_Y: Final = (0, 0, 0, 0, 2, 5, 9, 14, 18, 20, 20, 18)
_FAT_MM: Final = 13.0
_DOMES: Final = ((-62.0, -6.0, 96.0), (66.0, -2.0, 82.0), (6.0, -18.0, 84.0))
"""Tops of the diaphragm: right, left, and below the heart (x, y, z)."""


@dataclass(frozen=True, slots=True)
class ChestSetup:
    """What varies between two chests or two visits."""

    seed: int
    nodule_scale: float = 1.0
    """Size of the nodule; 0 for none."""
    for_radiograph: bool = False
    """Arms beside the body, and no lung vessels: the radiograph draws them itself, sharper than its rays."""


class ChestPhantom:
    """The chest of one patient on one grid; `plane(z)` gives Hounsfield units without noise."""

    def __init__(self, setup: ChestSetup, grid: Grid) -> None:
        rng = np.random.default_rng(setup.seed)
        self.setup = setup
        self.grid = grid
        self.vessels = np.concatenate([_lung_vessels(rng, side) for side in (-1, 1)])
        shape, pixel = (grid.rows, grid.columns), min(grid.row_mm, grid.column_mm)
        self._warp = DriftingNoise(rng, shape, 26 / pixel, 60)
        self._streaks = DriftingNoise(rng, shape, 2.2 / pixel, 14)
        self._texture = DriftingNoise(rng, shape, 1.1 / pixel, 4)
        self._marrow = cloud_noise(rng, shape, 0.8)

    def plane(self, z: float) -> Plane:
        """Hounsfield units at height `z` mm, rows x columns of the grid."""
        canvas = Canvas(self.grid, z, (AIR,))
        warp, streaks, texture = self._warp.at(z), self._streaks.at(z), self._texture.at(z)
        body = _body_distance(canvas, z) + 2.2 * warp
        cage = cage_distance(canvas.x, canvas.y, z) + 1.2 * warp
        if self.setup.for_radiograph:
            _paint_arms(canvas, z)
        canvas.paint(canvas.inside(body), (MUSCLE,))
        canvas.paint(canvas.inside(body + 2.0), (FAT,))
        _paint_wall(canvas, z, body, cage, streaks)
        _paint_lungs(canvas, z, cage, warp, texture)
        if not self.setup.for_radiograph:
            canvas.paint(canvas.tube_coverage(self.vessels), (70.0,))
        _paint_abdomen(canvas, z, cage, warp, texture)
        _paint_mediastinum(canvas, z, cage, warp)
        _paint_heart(canvas, z)
        _paint_tubes(canvas)
        _paint_ribs(canvas, z, cage, self._marrow)
        _paint_spine(canvas, z, self._marrow)
        _paint_girdle(canvas)
        if self.setup.nodule_scale:
            paint_nodule(canvas, self.setup.nodule_scale)
        return canvas.planes[0]


def cage_distance(x: Plane, y: Plane, z: float) -> Plane:
    """Signed distance in mm from the inner side of the rib cage; negative inside."""
    a, b, cy = (float(np.interp(z, _CAGE_Z, table)) for table in (_CAGE_A, _CAGE_B, _CAGE_Y))
    return _barrel_distance(x, y - np.float32(cy), a, b)


def nodule_coverage(canvas: Canvas, scale: float = 1.0) -> Plane:
    """Where the nodule lies in this plane: a ball with lobes and fine spikes."""
    dx, dy = canvas.x - np.float32(NODULE_CENTRE_MM[0]), canvas.y - np.float32(NODULE_CENTRE_MM[1])
    dz = canvas.z - NODULE_CENTRE_MM[2]
    angle = np.arctan2(dy, dx)
    lobes = 1 + 0.10 * np.sin(3 * angle + 0.25 * dz) + 0.07 * np.sin(5 * angle + 1.3) + 0.05 * np.sin(11 * angle + dz)
    distance = np.sqrt(dx * dx + dy * dy + np.float32(dz * dz)) - (NODULE_RADIUS_MM * scale * lobes).astype(np.float32)
    return canvas.inside(distance)


def paint_nodule(canvas: Canvas, scale: float) -> None:
    """Lay the nodule over the lung, where the plane meets it."""
    if abs(canvas.z - NODULE_CENTRE_MM[2]) < NODULE_RADIUS_MM * scale * 1.3 + canvas.soft_mm:
        canvas.paint(nodule_coverage(canvas, scale), (62.0,))


def uptake_plane(phantom: ChestPhantom, z: float) -> Plane:
    """Tracer uptake (FDG, standardised uptake value) at height `z`, before the blur of the camera."""
    hu = phantom.plane(z)
    canvas = Canvas(phantom.grid, z, (0.0,))
    canvas.planes[0][...] = np.interp(hu, (-1000, -870, -110, 40, 170, 700), (0, 0.35, 0.3, 0.9, 1.7, 1.4))
    _paint_heart_uptake(canvas)
    if phantom.setup.nodule_scale:
        canvas.paint(nodule_coverage(canvas, phantom.setup.nodule_scale * 1.15), (11.0,))
    return canvas.planes[0]


# --- body wall ---


def _barrel_distance(x: Plane, y: Plane, a: float, b: float) -> Plane:
    """Distance from a section between an ellipse and a box, as bodies are."""
    u, v = (x / np.float32(a)) ** 2, (y / np.float32(b)) ** 2
    round_, boxy = np.sqrt(u + v), np.sqrt(np.sqrt(u * u + v * v))
    radius = np.float32(0.5) * (round_ + boxy)
    # The local radius turns the relative distance into mm; it lies between the half axes.
    length = np.sqrt(x * x + y * y) / np.maximum(radius, np.float32(1e-3))
    distance: Plane = (radius - 1) * np.clip(length, min(a, b), max(a, b))
    return distance


def _body_distance(canvas: Canvas, z: float) -> Plane:
    a, b, cy = (float(np.interp(z, _BODY_Z, table)) for table in (_BODY_A, _BODY_B, _BODY_Y))
    return _barrel_distance(canvas.x, canvas.y - np.float32(cy), a, b)


def _paint_arms(canvas: Canvas, z: float) -> None:
    for side in (-1, 1):
        if z < 258:
            canvas.ellipsoid((side * 206.0, 10.0, z), (42.0, 46.0, 30.0), (FAT,))
            canvas.ellipsoid((side * 206.0, 10.0, z), (36.0, 39.0, 30.0), (MUSCLE,))


def _paint_wall(canvas: Canvas, z: float, body: Plane, cage: Plane, streaks: Plane) -> None:
    """Muscle between fat and ribs, with thin streaks of fat; thicker at the back and at the sides."""
    back = np.clip((canvas.y + 40) / 60, 0, 1)
    muscle_mm = np.float32(7.0) + np.float32(16.0) * back + np.float32(np.interp(z, (190, 225), (0, 90)))
    sheet = np.maximum(body + np.float32(_FAT_MM), cage - muscle_mm - np.float32(9))
    coverage = canvas.inside(sheet, 2.5)
    canvas.paint_plane(coverage, MUSCLE - 70 * np.clip(streaks - np.float32(1.1), 0, 1.2))


# --- lungs ---


def _diaphragm(canvas: Canvas) -> Plane:
    """Height of the diaphragm over each pixel."""
    heights = []
    for x, y, top in _DOMES:
        across, along = canvas.x - np.float32(x), canvas.y - np.float32(y)
        outward = np.where(across * np.sign(x) > 0, np.float32(0.0185), np.float32(0.009))
        backward = np.where(along > 0, np.float32(0.0125), np.float32(0.006))
        heights.append(np.float32(top) - outward * across * across - backward * along * along)
    highest: Plane = np.maximum(np.maximum(heights[0], heights[1]), heights[2])
    return highest


def _paint_lungs(canvas: Canvas, z: float, cage: Plane, warp: Plane, texture: Plane) -> None:
    if not LUNG_FLOOR_MM - 5 < z < LUNG_APEX_MM + 5:
        return
    dome = _diaphragm(canvas)
    lung = np.maximum(cage + np.float32(7), (dome + 2 * warp - np.float32(z)) * np.float32(0.75))
    # Blood sinks: the lung is denser at the back; small vessels that are not drawn make it grainy.
    values = LUNG + np.float32(0.32) * (canvas.y + 40) + 13 * texture
    canvas.paint_plane(canvas.inside(lung, 1.6), values)
    fissure = np.abs(np.float32(z - 132) + np.float32(0.85) * (canvas.y - 10) + 3 * warp)
    canvas.paint_plane(
        canvas.inside(np.maximum(fissure - np.float32(0.7), lung + 3), 2.0) * np.float32(0.35), np.full_like(cage, -650)
    )


def _lung_vessels(rng: np.random.Generator, side: int) -> Points:
    """The arteries and veins of one lung: trees that fork from the hilum until they are too thin to see."""
    hilum = np.array([side * 34.0, 14.0, 142.0 + 5 * (side > 0)])
    chains: list[Points] = []
    for up, out, back in (
        (1.0, 0.35, -0.05), (0.8, 0.55, 0.45), (0.55, 0.6, -0.6), (0.1, 0.9, -0.5), (0.0, 0.85, 0.55),
        (-0.55, 0.7, -0.35), (-0.7, 0.6, 0.5), (-0.95, 0.45, 0.15), (-0.8, 0.35, 0.7),
    ):  # fmt: skip
        direction = np.array([side * out, back, up]) + rng.normal(0, 0.08, 3)
        radius = float(rng.uniform(3.4, 4.8))
        _grow(rng, chains, hilum.copy(), direction / np.linalg.norm(direction), radius, side)
    return np.concatenate(chains)


def _grow(
    rng: np.random.Generator, chains: list[Points], start: Plane, direction: Plane, radius: float, side: int
) -> None:
    """Draw one branch and its two children; stops at the pleura or when thinner than 0.35 mm."""
    stack = [(start, direction, radius)]
    while stack:
        start, direction, radius = stack.pop()
        length = float(rng.uniform(4.5, 8.0)) * radius**0.7 + 3.5
        middle = start + direction * length * 0.5
        for spread in (0.12, 0.5, 0.9):
            bent = direction + rng.normal(0, spread, 3)
            end = middle + bent / np.linalg.norm(bent) * length * 0.5
            if _in_lung(end, side):
                break
        else:
            continue
        knots = [(*start, radius), (*middle, radius * 0.93), (*end, radius * 0.86)]
        chains.append(ball_chain(knots, step_mm=max(0.5, radius * 0.5)))
        if radius < 0.35:
            continue
        axis = rng.normal(0, 1, 3)
        axis -= axis @ bent * bent / (bent @ bent)
        axis /= np.linalg.norm(axis)
        for sign, share in ((1, rng.uniform(0.84, 0.98)), (-1, rng.uniform(0.66, 0.92))):
            turned = bent / np.linalg.norm(bent) + sign * axis * rng.uniform(0.3, 0.62)
            stack.append((end, turned / np.linalg.norm(turned), radius * 0.86 * share))


def _in_lung(point: Plane, side: int) -> bool:
    x, y, z = (float(v) for v in point)
    if x * side < 14 or not 6 < z < LUNG_APEX_MM - 6:
        return False
    a, b, cy = (float(np.interp(z, _CAGE_Z, table)) - 12 for table in (_CAGE_A, _CAGE_B, _CAGE_Y))
    if (x / a) ** 2 + ((y - cy - 12) / b) ** 2 > 0.95:
        return False
    top_x, top_y, top = _DOMES[0 if side < 0 else 1]
    floor = top - 0.0185 * (x - top_x) ** 2 - 0.0125 * (y - top_y) ** 2
    return z > floor + 4


# --- below the diaphragm ---


def _paint_abdomen(canvas: Canvas, z: float, cage: Plane, warp: Plane, texture: Plane) -> None:
    if z > 104:
        return
    below = np.maximum((np.float32(z) - _diaphragm(canvas) - 2 * warp) * np.float32(0.75), cage + np.float32(4))
    canvas.paint(canvas.inside(below, 2.0), (MUSCLE,))
    canvas.paint(canvas.inside(below + np.float32(3.5), 2.0), (FAT,))
    left_edge = np.float32(34 - 0.35 * (90 - z)) - np.float32(0.25) * canvas.y
    liver = np.maximum(below + np.float32(4.5), canvas.x - left_edge + 4 * warp)
    canvas.paint_plane(canvas.inside(liver, 1.6), 112 + 3 * texture)
    for x, y, turn in ((-40, 8, 25), (-70, -20, -30), (-78, 22, 40), (-15, -24, 80)):
        canvas.ellipsoid((x, y, 62.0), (15.0, 3.2, 26.0), (165.0,), turn_deg=turn, lean=(0.25, 0.2))
    canvas.ellipsoid((86.0, 42.0, 30.0), (36.0, 26.0, 48.0), (122.0,), turn_deg=-35)
    canvas.ellipsoid((62.0, -28.0, 38.0), (46.0, 38.0, 40.0), (70.0,), turn_deg=12)
    canvas.ellipsoid((62.0, -28.0, 38.0), (42.0, 34.0, 37.0), (18.0,), turn_deg=12)
    canvas.ellipsoid((60.0, -46.0, 48.0), (30.0, 17.0, 24.0), (AIR,), turn_deg=12)


# --- mediastinum and heart ---


def _paint_mediastinum(canvas: Canvas, z: float, cage: Plane, warp: Plane) -> None:
    """The fat between the lungs, from the sternum to the spine."""
    if z < 40:
        return
    half = float(np.interp(z, (40, 70, 120, 150, 190, 230, 262), (10, 14, 15, 20, 19, 20, 28)))
    waist = (
        np.float32(half)
        + np.float32(9) * np.clip((canvas.y - 5) / 60, 0, 1)
        - np.float32(8) * np.clip((-canvas.y - 20) / 50, 0, 1)
    )
    column = np.maximum(np.abs(canvas.x - 3) - waist + 3 * warp, cage + np.float32(2))
    canvas.paint(canvas.inside(column, 2.5), (FAT + 10,))


def _paint_heart(canvas: Canvas, z: float) -> None:
    if not 28 < z < 150:
        return
    lean = (-0.22, 0.28)
    fat, muscle = (FAT + 12,), (104.0,)
    canvas.ellipsoid((15.0, -26.0, 88.0), (67.0, 52.0, 47.0), fat, turn_deg=28, lean=lean)
    canvas.ellipsoid((15.0, -26.0, 88.0), (63.0, 47.0, 43.5), muscle, turn_deg=28, lean=lean)
    canvas.ellipsoid((-30.0, -22.0, 95.0), (19.0, 26.0, 33.0), (BLOOD - 8,), turn_deg=8)  # right atrium
    canvas.ellipsoid((4.0, -50.0, 86.0), (31.0, 15.0, 30.0), (BLOOD - 4,), turn_deg=34, lean=lean)  # right ventricle
    canvas.ellipsoid((41.0, -26.0, 82.0), (29.0, 15.5, 27.0), (BLOOD + 4,), turn_deg=36, lean=lean)  # left ventricle
    canvas.ellipsoid((7.0, 13.0, 110.0), (31.0, 16.0, 22.0), (BLOOD,), turn_deg=4)  # left atrium
    canvas.ellipsoid((30.0, -12.0, 70.0), (4.0, 4.5, 14.0), (112.0,), turn_deg=20)  # papillary muscle


def _paint_heart_uptake(canvas: Canvas) -> None:
    lean = (-0.22, 0.28)
    canvas.ellipsoid((41.0, -26.0, 82.0), (39.0, 25.0, 36.0), (6.5,), turn_deg=36, lean=lean)
    canvas.ellipsoid((41.0, -26.0, 82.0), (29.0, 15.5, 27.0), (1.8,), turn_deg=36, lean=lean)


_GREAT_VESSELS: Final = (
    # ascending aorta, arch, descending aorta
    [(-6, -14, 104, 14), (-14, -16, 130, 15), (-17, -14, 160, 15), (-12, -8, 184, 14),
     (2, 8, 196, 13.5), (14, 28, 192, 13), (22, 42, 176, 12.5), (25, 48, 140, 12), (24, 50, 90, 11.5), (14, 46, 30, 11),
     (8, 44, -90, 10.5)],
    [(12, -34, 108, 13.5), (18, -28, 132, 14.5), (20, -10, 150, 13.5), (34, 8, 154, 10.5), (48, 20, 148, 7)],
    [(20, -10, 150, 13), (2, 2, 150, 11.5), (-22, 6, 148, 11), (-40, 12, 146, 8), (-52, 16, 138, 5.5)],
    [(-28, -12, 108, 10), (-30, -10, 150, 10), (-29, -10, 190, 9.5), (-24, -16, 212, 8),
     (-30, -14, 236, 7), (-26, 2, 290, 6)],
    [(-24, -16, 212, 7), (6, -26, 214, 6.5), (26, -18, 224, 6.5), (30, 0, 290, 6)],
    [(-10, -2, 196, 6.5), (-20, 6, 226, 5.5), (-26, 10, 300, 4)],
    [(2, 8, 198, 5), (12, 12, 226, 4.5), (24, 10, 300, 3.8)],
    [(12, 22, 196, 5.5), (24, 26, 226, 5), (40, 20, 246, 4.5)],
    [(20, 10, 118, 7), (42, 16, 116, 5.5), (56, 20, 110, 4)],
    [(-12, 14, 116, 7), (-36, 16, 112, 5.5), (-52, 20, 106, 4)],
    [(-20, 8, 96, 10.5), (-20, 12, 60, 11), (-20, 20, -90, 11)],
)  # fmt: skip
_AIRWAYS: Final = (
    [(2, 22, 330, 8.5), (1, 22, 240, 8.5), (-2, 24, 172, 8.5)],
    [(-2, 24, 174, 8), (-18, 27, 158, 6.8), (-36, 26, 148, 5), (-56, 16, 146, 3), (-70, 8, 158, 1.8)],
    [(-2, 24, 174, 8), (18, 28, 156, 6), (38, 30, 144, 5), (54, 26, 138, 3), (68, 18, 142, 1.8)],
    [(-30, 27, 152, 4.5), (-40, 34, 124, 3.6), (-54, 44, 96, 2.2)],
    [(34, 30, 147, 4.5), (44, 38, 118, 3.6), (58, 46, 92, 2.2)],
)
_OESOPHAGUS: Final = [(6, 40, 330, 6), (5, 42, 180, 7), (4, 40, 120, 7), (16, 30, 70, 7), (30, 10, 48, 8)]


def _chains(paths: tuple[list[tuple[float, float, float, float]], ...]) -> Points:
    return np.concatenate([ball_chain(smooth_path([*path], 2), 1.5) for path in paths])


_GREAT_VESSEL_BALLS: Final = _chains(
    tuple([(float(a), float(b), float(c), float(d)) for a, b, c, d in p] for p in _GREAT_VESSELS)
)
_AIRWAY_BALLS: Final = _chains(tuple([(float(a), float(b), float(c), float(d)) for a, b, c, d in p] for p in _AIRWAYS))
_OESOPHAGUS_BALLS: Final = _chains(([(float(a), float(b), float(c), float(d)) for a, b, c, d in _OESOPHAGUS],))


def _paint_tubes(canvas: Canvas) -> None:
    canvas.paint(canvas.tube_coverage(_OESOPHAGUS_BALLS), (44.0,))
    canvas.paint(canvas.tube_coverage(_GREAT_VESSEL_BALLS, 1.2), (62.0,))
    canvas.paint(canvas.tube_coverage(_GREAT_VESSEL_BALLS), (BLOOD,))
    canvas.paint(canvas.tube_coverage(_AIRWAY_BALLS, 1.3), (20.0,))
    canvas.paint(canvas.tube_coverage(_AIRWAY_BALLS), (AIR + 10,))


# --- bones ---


def _paint_ribs(canvas: Canvas, z: float, cage: Plane, marrow: Plane) -> None:
    """All ribs at once: hoops on the cage that fall from the spine to the front, one every 25 mm."""
    if not -60 < z < 256:
        return
    cy = float(np.interp(z, _CAGE_Z, _CAGE_Y))
    front = np.arctan2(np.abs(canvas.x), canvas.y - np.float32(cy) + np.float32(4)) / np.float32(np.pi)
    fall = (
        np.float32(78) * np.sin(np.float32(1.35) * front) ** 1.25 - np.float32(14) * np.clip(front - 0.72, 0, 1) / 0.28
    )
    phase = (np.float32(z - 258) + fall) / np.float32(RIB_SPACING_MM)
    number = np.rint(phase)
    rise = (phase - number) * np.float32(RIB_SPACING_MM)
    depth = cage - np.float32(1.0)
    radius = np.sqrt((rise / np.float32(6.2)) ** 2 + (depth / np.float32(4.3)) ** 2)
    distance = (radius - 1) * np.float32(4.6)
    # In front the ribs end in cartilage; the lowest two stay short; above the first there is none.
    length = np.where(number < -8.5, np.float32(0.30), np.float32(0.83))
    present = (number <= 0.5) & (number >= -11.5) & (front > np.float32(0.07))
    bone = canvas.inside(distance) * present
    inner = canvas.inside(distance + np.float32(1.5))
    value = np.where(front < length, np.float32(760), np.float32(105))
    canvas.paint_plane(bone, value)
    canvas.paint_plane(inner * present * (front < length), 230 + 45 * marrow)
    if 86 < z < 246:
        top = -float(np.interp(z, _CAGE_Z, _CAGE_B)) + cy
        half = float(np.interp(z, (86, 110, 190, 225, 246), (8, 15, 13, 22, 26)))
        canvas.ellipsoid((0.0, top - 1, z), (half, 6.2, 40.0), (640.0,))
        canvas.ellipsoid((0.0, top - 1, z), (half - 1.6, 4.6, 40.0), (190.0,))


def _paint_spine(canvas: Canvas, z: float, marrow: Plane) -> None:
    """Vertebra by vertebra: body with a dense rim, disc, arch around the canal, processes, cord."""
    phase = (z + 400) % VERTEBRA_SPACING_MM
    level = float(np.interp(z, (0, 250, 330), (54, 60, 50)))
    width = float(np.interp(z, (0, 250, 330), (19.5, 14.5, 12)))
    depth = width * 0.82
    disc = phase < 4.5
    waist = 1 - 0.08 * np.sin(np.pi * max(0.0, phase - 4.5) / (VERTEBRA_SPACING_MM - 4.5))
    if disc:
        canvas.ellipsoid((0, level, z), (width, depth, 9.0), (95.0,))
    else:
        edge = 1.0 if 6.0 < phase < VERTEBRA_SPACING_MM - 1.5 else 4.0
        canvas.ellipsoid((0, level, z), (width * waist, depth * waist, 60.0), (430.0,))
        inner = Canvas.inside(
            canvas, _turned_distance(canvas, 0, level, (width - 1.4 * edge) * waist, (depth - 1.4 * edge) * waist)
        )
        canvas.paint_plane(inner, 175 + 36 * marrow)
    back = level + depth
    if phase > 7:
        for side in (-1, 1):
            canvas.ellipsoid((side * 11.5, back + 6, z), (4.2, 9.5, 40.0), (560.0,), turn_deg=side * 12)
            canvas.ellipsoid((side * 24.0, back + 15, z), (13.0, 3.6, 40.0), (330.0,), turn_deg=side * 28)
    canvas.ellipsoid((0, back + 16, z), (12.0, 4.6, 60.0), (470.0,))
    canvas.ellipsoid((0, back + 26, z), (3.2, 13.0, 60.0), (420.0,))
    canvas.ellipsoid((0, back + 26, z), (1.8, 10.5, 60.0), (250.0,))
    canvas.ellipsoid((0, back + 6.5, z), (9.0, 7.6, 60.0), (-12.0,))
    canvas.ellipsoid((0, back + 6.5, z), (7.6, 6.4, 60.0), (FLUID + 6,))
    canvas.ellipsoid((0, back + 6.5, z), (4.9, 3.9, 60.0), (42.0,))


def _turned_distance(canvas: Canvas, x: float, y: float, a: float, b: float) -> Plane:
    return ellipse_distance(canvas.x - np.float32(x), canvas.y - np.float32(y), max(a, 1.0), max(b, 1.0))


def _girdle_balls() -> Points:
    """Clavicles, shoulder blades and upper arms, both sides."""
    parts: list[Points] = []
    for side in (-1.0, 1.0):
        clavicle = [(18, -50, 236, 7), (50, -48, 246, 5), (95, -24, 258, 5), (140, 2, 262, 6)]
        parts.append(ball_chain(smooth_path([(side * x, y, z, r) for x, y, z, r in clavicle]), 1.5))
        for share in np.linspace(0, 1, 34):
            low, high = np.array([76, 84, 128]), np.array([84, 74, 240])
            inner = low + (high - low) * share
            outer = np.array([108, 72, 128]) + (np.array([146, 30, 240]) - np.array([108, 72, 128])) * share
            plate = [(side * inner[0], inner[1], inner[2], 2.6), (side * outer[0], outer[1], outer[2], 3.4)]
            parts.append(ball_chain(plate, 1.8))
        spine = [(86, 82, 214, 4), (118, 72, 232, 4.5), (152, 36, 250, 6)]
        parts.append(ball_chain([(side * x, y, z, r) for x, y, z, r in spine], 1.5))
        parts.append(ball_chain([(side * 164, 16, 232, 21), (side * 166, 16, 238, 21)], 2))
    return np.concatenate(parts)


_GIRDLE: Final = _girdle_balls()


def _paint_girdle(canvas: Canvas) -> None:
    if canvas.z < 118:
        return
    canvas.paint(canvas.tube_coverage(_GIRDLE), (720.0,))
    canvas.paint(canvas.tube_coverage(_GIRDLE, -2.0), (230.0,))
