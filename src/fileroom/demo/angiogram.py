"""A coronary angiogram: contrast medium runs into a beating left coronary artery (XA Image, PS3.3 A.14)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, XRayAngiographicImageStorage

from fileroom.demo.canvas import Grid, Plane, Points, ball_chain, cloud_noise, smooth_noise, smooth_path, splat
from fileroom.demo.encoding import set_pixels
from fileroom.demo.modules import Series, Study, ds_text, start_object
from fileroom.demo.people import ANGIO

FRAMES: Final = 48
FRAMES_PER_S: Final = 15.0
SIDE: Final = 512
PIXEL_MM: Final = 0.278
GRID: Final = Grid.centred(SIDE, SIDE, PIXEL_MM, PIXEL_MM)
RUN: Final = Series("run", 1, "XA", "Left coronary, RAO 30 CAU 20", ANGIO, 0, "Coronary 15 f/s")
_FLOW_MM_PER_FRAME: Final = 11.0
_FIRST_CONTRAST_FRAME: Final = 5
_LAST_CONTRAST_FRAME: Final = 33
_RADII_MM: Final = ((0.2, 0.45), (0.45, 0.75), (0.75, 1.15), (1.15, 2.5))

_TREE: Final = (
    # knots (x, y, distance from the ostium, radius); y grows downwards in the image
    [(-34, -38, 0, 2.2), (-24, -37, 10, 2.2), (-16, -33, 19, 2.0)],
    [(-16, -33, 19, 1.8), (2, -38, 38, 1.7), (20, -30, 58, 1.55), (30, -14, 77, 0.55), (33, -6, 86, 1.35),
     (40, 14, 107, 1.15), (44, 34, 127, 0.85), (41, 52, 146, 0.5)],
    [(-16, -33, 19, 1.7), (-14, -18, 34, 1.55), (-18, 2, 54, 1.35), (-10, 24, 77, 1.05), (2, 42, 99, 0.7), (8, 54, 112, 0.4)],
    [(2, -38, 38, 1.1), (22, -48, 60, 0.9), (42, -44, 80, 0.65), (56, -30, 100, 0.4)],
    [(20, -30, 58, 1.0), (42, -22, 81, 0.8), (56, -2, 105, 0.55), (60, 18, 125, 0.35)],
    [(-14, -18, 34, 1.1), (2, -6, 54, 0.9), (10, 14, 76, 0.65), (20, 30, 95, 0.4)],
    [(-18, 2, 54, 1.0), (-36, 16, 77, 0.8), (-42, 36, 98, 0.5), (-38, 50, 113, 0.35)],
    [(33, -6, 86, 0.7), (24, 8, 103, 0.55), (22, 24, 119, 0.35)],
    [(40, 14, 107, 0.7), (54, 28, 127, 0.5), (60, 44, 144, 0.3)],
)  # fmt: skip
_CATHETER: Final = [
    (-120, -140, 0, 1.05),
    (-84, -92, 0, 1.05),
    (-66, -52, 0, 1.05),
    (-50, -34, 0, 1.05),
    (-36, -38, 0, 0.9),
]


def coronary_run(study: Study) -> Iterator[Dataset]:
    """One run of 48 frames, 512 x 512, 8 bit, JPEG-LS lossless."""
    ds = start_object(study, RUN, XRayAngiographicImageStorage, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = ds.ContentDate, ds.ContentTime, "1"
    ds.NumberOfFrames = str(FRAMES)
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = ds_text(1000 / FRAMES_PER_S)
    ds.CineRate = ds.RecommendedDisplayFrameRate = str(int(FRAMES_PER_S))
    ds.PixelIntensityRelationship = "LIN"
    ds.KVP, ds.ExposureTime, ds.XRayTubeCurrent, ds.RadiationSetting = "78", "6", "620", "GR"
    ds.PositionerMotion, ds.PositionerPrimaryAngle, ds.PositionerSecondaryAngle = "STATIC", "-30", "-20"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient = "1100", "760"
    ds.ImagerPixelSpacing = [ds_text(0.4)] * 2
    ds.PatientOrientation = ["L", "F"]
    ds.ContrastBolusAgent = "Iodine 350 mg/ml"
    ds.LossyImageCompression = "00"
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.WindowCenter, ds.WindowWidth = "128", "256"
    set_pixels(ds, np.stack(list(_frames(study.seed))), bits_stored=8, syntax=JPEGLSLossless)
    yield ds


def _frames(seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    ground = _ground(rng)
    vessels = _vessels(rng)
    catheter = ball_chain(smooth_path([(float(x), float(y), 0.0, float(r)) for x, y, _, r in _CATHETER]), 0.4)
    grains = [smooth_noise(rng, (SIDE, SIDE), 0.6) for _ in range(4)]
    for frame in range(FRAMES):
        beat = np.sin(2 * np.pi * frame * 72 / 60 / FRAMES_PER_S) ** 2
        shadow = ground + _drawn(catheter, np.ones(len(catheter), dtype=np.float32), 0.10)
        strength = _contrast(vessels[:, 4], frame)
        lit = strength > 0.05
        shadow += _drawn(_moved(vessels[lit, :4], float(beat)), strength[lit], 0.36)
        noise = np.roll(grains[frame % 4], (frame * 37 % SIDE, frame * 91 % SIDE), axis=(0, 1))
        image = 255 * np.exp(-shadow) + noise * np.float32(4.6)
        yield np.clip(image, 0, 255).astype(np.uint8)


def _vessels(rng: np.random.Generator) -> NDArray[np.float32]:
    """Points of the tree: x, y, 0, radius, distance from the ostium."""
    chains = []
    for knots in _TREE:
        bent = [
            (float(x + rng.normal(0, 0.8)) if i > 0 else float(x), float(y), float(s), float(r))
            for i, (x, y, s, r) in enumerate(knots)
        ]
        flat = smooth_path([(x, y, s, r) for x, y, s, r in bent], 3)
        points = ball_chain(flat, 0.35)
        chains.append(np.column_stack([points[:, 0], points[:, 1], np.zeros(len(points)), points[:, 3], points[:, 2]]))
    return np.concatenate(chains).astype(np.float32)


def _contrast(distance: Plane, frame: int) -> Plane:
    """How much medium is at this distance from the ostium: it runs in, stays, and is washed out."""
    arrived = (frame - _FIRST_CONTRAST_FRAME) * _FLOW_MM_PER_FRAME - distance
    washed = (frame - _LAST_CONTRAST_FRAME) * _FLOW_MM_PER_FRAME - distance
    inflow = np.clip(arrived / 24, 0, 1)
    outflow = np.exp(-np.clip(washed, 0, None) / 45)
    medium: Plane = (inflow * outflow).astype(np.float32)
    return medium


def _moved(points: Points, beat: float) -> Points:
    """The heart draws together and turns a little."""
    share, turn = 1 - 0.075 * beat, np.radians(3.5) * beat
    moved = points.copy()
    x, y = points[:, 0], points[:, 1]
    moved[:, 0] = share * (x * np.cos(turn) - y * np.sin(turn))
    moved[:, 1] = share * (x * np.sin(turn) + y * np.cos(turn)) - np.float32(2.0 * beat)
    return moved


def _drawn(points: Points, strength: Plane, absorption_per_mm: float) -> Plane:
    """Absorption of vessels: proportional to their thickness and to the medium in them."""
    shadow = np.zeros((SIDE, SIDE), dtype=np.float32)
    for low, high in _RADII_MM:
        group = (points[:, 3] >= low) & (points[:, 3] < high)
        if group.any():
            coverage = np.zeros_like(shadow)
            splat(coverage, GRID, points[group], 0.0)
            level = np.float32(absorption_per_mm * (low + min(high, 1.9)) * strength[group].mean())
            shadow = np.maximum(shadow, coverage * level)
    return shadow


def _ground(rng: np.random.Generator) -> Plane:
    """What does not move: spine, ribs, diaphragm, lung, all unsharp; dark corners of the round field."""
    x, y = GRID.x, GRID.y
    shadow = np.float32(0.62) + np.float32(0.05) * cloud_noise(rng, (SIDE, SIDE), 1.8)
    shadow += np.float32(0.30) / (1 + np.exp(np.clip(-(x + 44 + 0.06 * y) / 5, -30, 30)) ** 0.5)
    spine = np.exp(-(((x - 52) / 15) ** 4)) * (1 + np.float32(0.18) * np.sin(y / 5.2))
    shadow += np.float32(0.16) * spine
    for rib in range(-3, 4):
        line = y - (rib * 23 + 0.0021 * (x + 20) ** 2 - 0.25 * x)
        shadow += np.float32(0.075) * (np.exp(-(((line - 4) / 2.0) ** 2)) + np.exp(-(((line + 4) / 2.0) ** 2)))
    dome = y - (46 - np.float32(0.006) * (x + 30) ** 2 * -1)
    shadow += np.float32(0.34) / (1 + np.exp(np.clip(-dome / 3, -30, 30)))
    corner = np.hypot(x, y) - np.float32(78)
    shadow += np.float32(3.5) * np.clip(corner / 3, 0, 1)
    return shadow.astype(np.float32)
