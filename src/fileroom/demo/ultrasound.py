"""A beating heart in ultrasound: speckle that moves with the walls, a sector, an ECG (US Multi-frame, PS3.3 A.7).

The echo is made where a probe makes it, in polar coordinates (depth x angle), and then converted to the screen. The
speckle belongs to the tissue: it is looked up where the tissue was at rest, so it moves and does not flicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import UltrasoundMultiFrameImageStorage

from fileroom.demo.canvas import Plane, smooth_noise
from fileroom.demo.encoding import set_colour_jpeg
from fileroom.demo.modules import Series, Study, sequence, start_object
from fileroom.demo.people import ECHO

FRAMES: Final = 60
FRAMES_PER_S: Final = 40.0
BEATS: Final = 2
ROWS: Final = 600
COLUMNS: Final = 800
DEPTH_MM: Final = 160.0
HALF_ANGLE_DEG: Final = 42.0
APEX_PX: Final = (400, 28)
PIXELS_PER_MM: Final = 3.35
CINE: Final = Series("cine", 1, "US", "Apical four chamber", ECHO, 0, "Adult echo")

_SAMPLES: Final = 420
_LINES: Final = 220


@dataclass(frozen=True, slots=True)
class _Heart:
    """Half axes and centres (mm; x across, y depth) of the chambers at one moment, `squeeze` from 0 to 1."""

    squeeze: float
    valve: float

    def blood(self, x: Plane, y: Plane) -> Plane:
        """Signed distance from the blood; negative inside a chamber."""
        s = self.squeeze
        left = _egg(x - 17, y - (72 - 3 * s), 18.0 - 6.5 * s, 40 - 5 * s, 0.006)
        right = _egg(x + 20, y - (78 - 2 * s), 13.0 - 4.5 * s, 33 - 4 * s, 0.010)
        left_atrium = _egg(x - 17, y - 127, 16.5 + 2.5 * s, 22 + 2 * s, 0.0)
        right_atrium = _egg(x + 20, y - 126, 15 + 2.5 * s, 20 + 2 * s, 0.0)
        return np.minimum(np.minimum(left, right), np.minimum(left_atrium, right_atrium))

    def valves(self, x: Plane, y: Plane) -> Plane:
        """Distance from the leaflets of both valves."""
        level = np.float32(104 - 4 * self.squeeze)
        lines = []
        for centre, width in ((17.0, 15.5), (-20.0, 13.5)):
            for side in (-1.0, 1.0):
                hinge = centre + side * width
                along = side * (hinge - x)  # 0 at the hinge, `width` at the middle
                drop = np.float32(11 * self.valve) * (np.clip(along, 0, width) / width) ** 0.7
                tilt = np.clip(along - (width - 5 * self.valve), 0, None) * 3
                lines.append(np.abs(y - (level - drop)) + tilt + np.clip(-along, 0, None) * 3)
        nearest: Plane = np.minimum(np.minimum(lines[0], lines[1]), np.minimum(lines[2], lines[3]))
        return nearest


def echo_cine(study: Study) -> Iterator[Dataset]:
    """One multi-frame object: two beats in 60 frames, 600 x 800, JPEG baseline."""
    ds = start_object(study, CINE, UltrasoundMultiFrameImageStorage, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "TEE" if "trans" in study.reason else "TTE", "0001"]
    ds.AcquisitionDateTime = ds.StudyDate + ds.StudyTime
    ds.NumberOfFrames = str(FRAMES)
    ds.FrameIncrementPointer = 0x00181063
    ds.FrameTime = f"{1000 / FRAMES_PER_S:.3f}"
    ds.CineRate = ds.RecommendedDisplayFrameRate = str(int(FRAMES_PER_S))
    ds.HeartRate = "80"
    ds.LossyImageCompression = "01"
    ds.PatientOrientation = ""
    ds.SequenceOfUltrasoundRegions = sequence(_region())
    ds.TransducerType, ds.TransducerData = "SECTOR_PHASED", ["S5-1"]
    ds.MechanicalIndex, ds.SoftTissueThermalIndex = "1.2", "0.8"
    set_colour_jpeg(ds, list(EchoPainter(study.seed, study.person.institution).frames()))
    yield ds


class EchoPainter:
    """Makes the frames of one loop."""

    def __init__(self, seed: int, title: str) -> None:
        rng = np.random.default_rng(seed)
        shape = (_SAMPLES, _LINES)
        # Coherent echoes of many scatterers: complex noise seen through a pulse that is short in depth, wide across.
        wave = [_stretched(rng, shape, 0.9, 1.7) for _ in range(2)]
        self._speckle = np.hypot(wave[0], wave[1]) * np.float32(0.8)
        self._grain = smooth_noise(rng, shape, 14)
        depth = np.linspace(0, DEPTH_MM, _SAMPLES, dtype=np.float32)[:, None]
        angle = np.radians(np.linspace(-HALF_ANGLE_DEG, HALF_ANGLE_DEG, _LINES, dtype=np.float32))[None, :]
        self._depth = np.broadcast_to(depth, shape)
        self._x, self._y = depth * np.sin(angle), depth * np.cos(angle)
        self._lookup, self._shares, self._sector = _scan_lines()
        self._background = _screen(title)
        self._noise = np.random.default_rng(seed + 5)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """60 frames, rows x columns x RGB."""
        for index in range(FRAMES):
            beat = index * BEATS / FRAMES % 1.0
            yield self._frame(index, _squeeze(beat), _valve(beat))

    def _frame(self, index: int, squeeze: float, valve: float) -> NDArray[np.uint8]:
        heart = _Heart(squeeze, valve)
        blood = heart.blood(self._x, self._y)
        wall = np.abs(blood - np.float32(5.5))
        echo = np.where(blood > 0, np.float32(0.045) + np.float32(0.22) * np.exp(-((wall / 9) ** 2)), np.float32(0.007))
        pericardium = np.abs(blood - np.float32(13 + 3 * squeeze))
        echo += np.float32(0.5) * np.exp(-((pericardium / 1.3) ** 2)) * (self._y > 40)
        echo += np.float32(0.30) * np.exp(-((np.minimum(np.abs(blood - 0.6), 8) / 0.9) ** 2))  # bright inner lining
        echo += np.float32(0.75) * np.exp(-((heart.valves(self._x, self._y) / 1.1) ** 2))
        echo *= 1 + np.float32(0.35) * self._grain
        echo *= 1 - np.float32(0.55) * (np.abs(self._x) / (np.abs(self._y) * 0.9 + 4)) ** 3
        echo += np.float32(0.5) * np.exp(-self._depth / 4)
        moved = self._moved_speckle(blood, squeeze)
        level = np.maximum(echo, 0.01) * moved
        # Logarithmic compression to 55 dB, as scanners show it.
        shown = np.clip(1 + np.log10(np.maximum(level, 1e-4)) * np.float32(20 / 52), 0, 1)
        shown += self._noise.normal(0, 0.012, shown.shape).astype(np.float32)
        return self._to_screen(np.clip(shown, 0, 1), index)

    def _moved_speckle(self, blood: Plane, squeeze: float) -> Plane:
        near = np.exp(-((np.clip(blood, 0, None) / 18) ** 2)) * np.float32(squeeze)
        rows = np.arange(_SAMPLES)[:, None] + (near * 9 * np.sign(self._y - 66)).astype(np.int32)
        columns = np.arange(_LINES)[None, :] + (near * 9 * np.sign(self._x - 17)).astype(np.int32)
        return self._speckle[rows % _SAMPLES, columns % _LINES]

    def _to_screen(self, shown: Plane, index: int) -> NDArray[np.uint8]:
        flat = shown.reshape(-1)
        values = sum(
            flat[self._lookup + step] * share
            for step, share in zip((0, 1, _LINES, _LINES + 1), self._shares, strict=True)
        )
        frame = self._background.copy()
        grey = (np.clip(values, 0, 1) ** 1.15 * 235).astype(np.uint8)
        # A warm tint, as many echo machines have.
        frame[self._sector] = np.stack([grey, (grey * 0.965).astype(np.uint8), (grey * 0.90).astype(np.uint8)], axis=1)
        _draw_ecg(frame, index)
        return frame


def _egg(x: Plane, y: Plane, a: float, b: float, taper: float) -> Plane:
    width = np.float32(a) * np.clip(1 + np.float32(taper) * y, 0.45, 1.35)
    radius = np.sqrt((x / width) ** 2 + (y / np.float32(b)) ** 2)
    distance: Plane = (radius - 1) * np.float32(min(a, b))
    return distance


def _squeeze(beat: float) -> float:
    """How contracted the ventricles are during a beat: a fast systole, a slow filling."""
    if beat < 0.36:
        return float(np.sin(np.pi * beat / 0.36 / 2) ** 2)
    return float(np.exp(-(((beat - 0.36) / 0.13) ** 1.5)))


def _valve(beat: float) -> float:
    """How far the valves between atria and ventricles are open: early filling, then the atrial kick."""
    early = np.exp(-(((beat - 0.55) / 0.09) ** 2))
    kick = 0.55 * np.exp(-(((beat - 0.90) / 0.05) ** 2))
    return float(early + kick)


def _stretched(rng: np.random.Generator, shape: tuple[int, int], down: float, across: float) -> Plane:
    spectrum = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    rows, columns = np.fft.fftfreq(shape[0])[:, None] * down, np.fft.rfftfreq(shape[1])[None, :] * across
    spectrum *= np.exp(-2 * np.pi**2 * (rows**2 + columns**2))
    noise = np.fft.irfft2(spectrum, s=shape).astype(np.float32)
    return noise / np.float32(noise.std())


def _scan_lines() -> tuple[NDArray[np.int64], list[Plane], NDArray[np.bool_]]:
    """For each pixel of the sector: index of the first of four polar samples, and their shares."""
    x = (np.arange(COLUMNS)[None, :] - APEX_PX[0]) / PIXELS_PER_MM
    y = (np.arange(ROWS)[:, None] - APEX_PX[1]) / PIXELS_PER_MM
    depth, angle = np.hypot(x, y), np.degrees(np.arctan2(x, np.maximum(y, 1e-6)))
    sector = (depth < DEPTH_MM) & (np.abs(angle) < HALF_ANGLE_DEG) & (y > 0)
    row = depth[sector] / DEPTH_MM * (_SAMPLES - 2)
    column = (angle[sector] + HALF_ANGLE_DEG) / (2 * HALF_ANGLE_DEG) * (_LINES - 2)
    r, c = row.astype(np.int64), column.astype(np.int64)
    dr, dc = (row - r).astype(np.float32), (column - c).astype(np.float32)
    shares = [(1 - dr) * (1 - dc), (1 - dr) * dc, dr * (1 - dc), dr * dc]
    return r * _LINES + c, shares, sector


def _screen(title: str) -> NDArray[np.uint8]:
    """What stands still: title, depth scale, grey bar, settings."""
    image = Image.new("RGB", (COLUMNS, ROWS))
    draw = ImageDraw.Draw(image)
    small, normal = ImageFont.load_default(12), ImageFont.load_default(15)
    draw.text((14, 10), title, fill=(210, 210, 200), font=normal)
    draw.text((14, 32), "Aria 9   S5-1", fill=(140, 140, 135), font=small)
    for line, text in enumerate(("FR 40 Hz", "16 cm", "2D  62%", "C 50", "P Low", "HGen")):
        draw.text((14, 80 + 18 * line), text, fill=(120, 150, 130), font=small)
    draw.text((700, 10), "MI 1.2  TIS 0.8", fill=(140, 140, 135), font=small)
    for row in range(140):
        draw.line([(772, 60 + row), (784, 60 + row)], fill=(235 - int(row * 1.67),) * 3)
    for depth in range(0, 161, 10):
        y = APEX_PX[1] + depth * PIXELS_PER_MM
        draw.line([(752, y), (760 if depth % 50 else 764, y)], fill=(150, 150, 150))
    draw.polygon([(400, 8), (393, 20), (407, 20)], outline=(90, 160, 220))
    draw.text((742, 560), "80 bpm", fill=(90, 220, 120), font=small)
    return np.array(image)


def _draw_ecg(frame: NDArray[np.uint8], index: int) -> None:
    """The trace at the bottom with a mark at the present moment."""
    x = np.arange(40, 720)
    beat = (x - 40) / 680 * BEATS % 1.0
    wave = (
        0.14 * np.exp(-(((beat - 0.88) / 0.025) ** 2))
        - 0.12 * np.exp(-(((beat - 0.975) / 0.008) ** 2))
        + 1.0 * np.exp(-((np.minimum(beat, 1 - beat) / 0.011) ** 2))
        - 0.2 * np.exp(-(((beat - 0.03) / 0.009) ** 2))
        + 0.26 * np.exp(-(((beat - 0.30) / 0.05) ** 2))
    )
    y = (586 - 34 * wave).astype(int)
    for a, b, column in zip(y[:-1], y[1:], x[:-1], strict=True):
        frame[min(a, b) : max(a, b) + 1, column] = (70, 210, 110)
    now = 40 + int(680 * index / FRAMES)
    frame[545:597, now : now + 2] = (220, 190, 60)


def _region() -> Dataset:
    """US Region Calibration (C.8.5.5): the sector, in centimetres."""
    ds = Dataset()
    ds.RegionSpatialFormat, ds.RegionDataType, ds.RegionFlags = 1, 1, 2
    ds.RegionLocationMinX0, ds.RegionLocationMinY0 = 30, APEX_PX[1]
    ds.RegionLocationMaxX1, ds.RegionLocationMaxY1 = COLUMNS - 30, int(APEX_PX[1] + DEPTH_MM * PIXELS_PER_MM)
    ds.ReferencePixelX0, ds.ReferencePixelY0 = APEX_PX[0] - 30, 0
    ds.PhysicalUnitsXDirection = ds.PhysicalUnitsYDirection = 3
    ds.ReferencePixelPhysicalValueX = ds.ReferencePixelPhysicalValueY = 0.0
    ds.PhysicalDeltaX = ds.PhysicalDeltaY = 0.1 / PIXELS_PER_MM
    ds.TransducerFrequency = 2500
    return ds
