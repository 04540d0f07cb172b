"""Projection images of the chest: the phantom added up along the ray (CR Image IOD, PS3.3 A.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, JPEGLSLossless

from fileroom.demo.canvas import Grid, Plane, grain, splat
from fileroom.demo.chest import NODULE_CENTRE_MM, NODULE_RADIUS_MM, ChestPhantom, ChestSetup
from fileroom.demo.encoding import set_pixels
from fileroom.demo.modules import Series, Study, ds_text, start_object
from fileroom.demo.people import CR_READER

PLATE_ROWS: Final = 2140
PLATE_COLUMNS: Final = 1760
PLATE_PIXEL_MM: Final = 0.2
_TOP_MM: Final = 318.0
_COARSE: Final = Grid.centred(62, 400, 4.0, 1.0)
_STEP_MM: Final = 1.8
PA: Final = Series("pa", 1, "CR", "Chest PA", CR_READER, 0, "Chest PA")
LATERAL: Final = Series("lat", 2, "CR", "Chest lateral", CR_READER, 3, "Chest lateral")


@dataclass(frozen=True, slots=True)
class ChestShadow:
    """Water-equivalent thickness in mm along the ray, rows from the top of the chest down."""

    frontal: Plane
    lateral: Plane


def chest_cr(study: Study, nodule_scale: float, with_lateral: bool = True) -> Iterator[Dataset]:
    """A PA view and, if asked for, a lateral one; 1760 x 2140, MONOCHROME1, JPEG-LS lossless."""
    phantom = ChestPhantom(ChestSetup(study.person.birth.year, nodule_scale=0, for_radiograph=True), _COARSE)
    shadow = cast_shadow(phantom)
    frontal = _on_plate(shadow.frontal, _COARSE.column_mm)
    vessels = phantom.vessels
    _add_vessels(frontal, vessels)
    if nodule_scale:
        _add_nodule(frontal, nodule_scale)
    yield _radiograph(study, PA, 1, frontal, "PA", ["R", "F"])
    if with_lateral:
        yield _radiograph(study, LATERAL, 1, _on_plate(shadow.lateral, _COARSE.row_mm), "LL", ["A", "F"])


def cast_shadow(phantom: ChestPhantom) -> ChestShadow:
    """Add the phantom up from front to back and from side to side."""
    rows = int(PLATE_ROWS * PLATE_PIXEL_MM / _STEP_MM) + 2
    frontal = np.empty((rows, _COARSE.columns), dtype=np.float32)
    lateral = np.empty((rows, _COARSE.rows), dtype=np.float32)
    for row in range(rows):
        density = np.clip(phantom.plane(_TOP_MM - row * _STEP_MM) / 1000 + 1, 0, None)
        density += np.float32(0.9) * np.clip(density - np.float32(1.12), 0, None)  # bone absorbs more than it weighs
        frontal[row] = density.sum(axis=0) * np.float32(_COARSE.row_mm)
        # Arms are raised for the lateral view: only the trunk counts.
        trunk = np.abs(_COARSE.x[0]) < 165
        lateral[row] = density[:, trunk].sum(axis=1) * np.float32(_COARSE.column_mm)
    return ChestShadow(frontal, lateral)


def _on_plate(shadow: Plane, column_mm: float) -> Plane:
    """Enlarge a coarse shadow to the pixels of the plate."""
    width, height = (
        round(shadow.shape[1] * column_mm / PLATE_PIXEL_MM),
        round(shadow.shape[0] * _STEP_MM / PLATE_PIXEL_MM),
    )
    fine = np.asarray(Image.fromarray(shadow).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    fine = fine[:PLATE_ROWS]
    spare = fine.shape[1] - PLATE_COLUMNS
    if spare >= 0:
        return fine[:, spare // 2 : spare // 2 + PLATE_COLUMNS].copy()
    plate = np.zeros((PLATE_ROWS, PLATE_COLUMNS), dtype=np.float32)
    plate[:, -spare // 2 : -spare // 2 + fine.shape[1]] = fine
    return plate


def _plate_grid(coarser: int = 1) -> Grid:
    pixel = PLATE_PIXEL_MM * coarser
    rows, columns = PLATE_ROWS // coarser, PLATE_COLUMNS // coarser
    return Grid(rows, columns, -(columns - 1) / 2 * pixel, -_TOP_MM, pixel, pixel)


def _add_vessels(plate: Plane, vessels: Plane) -> None:
    """Draw the lung vessels on pixels of half the resolution, where the coarse shadow has left them out."""
    grid = _plate_grid(2)
    shadow = np.zeros((grid.rows, grid.columns), dtype=np.float32)
    flat = np.stack([vessels[:, 0], -vessels[:, 2], np.zeros(len(vessels)), vessels[:, 3]], axis=1).astype(np.float32)
    for low, high in ((0.2, 0.5), (0.5, 0.8), (0.8, 1.3), (1.3, 2.0), (2.0, 5.0)):
        group = flat[(flat[:, 3] >= low) & (flat[:, 3] < high)]
        coverage = np.zeros_like(shadow)
        splat(coverage, grid, group, 0.0)
        shadow += coverage * np.float32(low + high)
    plate += np.asarray(
        Image.fromarray(shadow).resize((PLATE_COLUMNS, PLATE_ROWS), Image.Resampling.BICUBIC), dtype=np.float32
    )


def _add_nodule(plate: Plane, scale: float) -> None:
    grid = _plate_grid()
    dx, dy = grid.x - np.float32(NODULE_CENTRE_MM[0]), grid.y + np.float32(NODULE_CENTRE_MM[2])
    square = np.float32((NODULE_RADIUS_MM * scale) ** 2) - dx * dx - dy * dy
    plate += 2 * np.sqrt(np.clip(square, 0, None))


def _radiograph(
    study: Study, series: Series, number: int, thickness: Plane, view: str, orientation: list[str]
) -> Dataset:
    rng = np.random.default_rng(study.seed + series.number)
    shown = _developed(thickness) + np.float32(9.0) * grain(rng, thickness.shape, 0.6)
    _stamp(shown, "R" if view == "PA" else "L")
    ds = start_object(study, series, ComputedRadiographyImageStorage, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    ds.AcquisitionNumber = "1"
    ds.ViewPosition = view
    ds.PatientOrientation = orientation
    ds.ImagerPixelSpacing = [ds_text(PLATE_PIXEL_MM)] * 2
    ds.PixelSpacing = [ds_text(PLATE_PIXEL_MM)] * 2
    ds.KVP, ds.DistanceSourceToDetector, ds.ExposureTime, ds.XRayTubeCurrent = "125", "1800", "8", "250"
    ds.PlateType, ds.Sensitivity, ds.RelativeXRayExposure = "Storage phosphor", "210", "1450"
    ds.PhotometricInterpretation = "MONOCHROME1"
    ds.WindowCenter, ds.WindowWidth = "2048", "3400"
    set_pixels(ds, np.clip(4095 - shown, 0, 4095).astype(np.uint16), bits_stored=12, syntax=JPEGLSLossless)
    return ds


def _developed(thickness: Plane) -> Plane:
    """Brightness 0 to 4095 from thickness: large differences are flattened, as readers do, small ones are kept."""
    small = Image.fromarray(thickness).resize((PLATE_COLUMNS // 16, PLATE_ROWS // 16), Image.Resampling.BOX)
    wide: Plane = np.asarray(small, dtype=np.float32)
    for axis in (0, 1):
        for _ in range(3):
            padded = np.pad(wide, [(6, 6) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            total = np.cumsum(padded, axis=axis, dtype=np.float32)
            wide = (
                np.take(total, range(12, total.shape[axis]), axis) - np.take(total, range(wide.shape[axis]), axis)
            ) / 12
    blurred = np.asarray(
        Image.fromarray(wide).resize((PLATE_COLUMNS, PLATE_ROWS), Image.Resampling.BICUBIC), dtype=np.float32
    )
    bare = np.clip(thickness / 12, 0, 1)
    level = np.float32(0.42) * blurred + np.float32(1.0) * (thickness - blurred)
    brightness = np.float32(620) + level * np.float32(16.0)
    return 4095 / (1 + np.exp(-(brightness - 2000) / 780)) * bare + 20


def _stamp(shown: Plane, letter: str) -> None:
    """The lead letter of the side."""
    patch = Image.new("L", (120, 120))
    ImageDraw.Draw(patch).text((60, 60), letter, fill=255, font=ImageFont.load_default(90), anchor="mm")
    ink = np.asarray(patch, dtype=np.float32) / 255
    corner = shown[60:180, 60:180]
    corner += (3950 - corner) * ink * np.float32(0.92)
