"""A hand with a broken fifth metacarpal, and the same hand healed (DX Image, PS3.3 A.26)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, JPEG2000Lossless

from fileroom.demo.bones import Bone, add_bone, soft_part
from fileroom.demo.canvas import Grid, Plane, cloud_noise, grain
from fileroom.demo.encoding import set_pixels
from fileroom.demo.modules import Code, Series, Study, ds_text, sequence, start_object
from fileroom.demo.people import DX_ROOM

PIXEL_MM: Final = 0.16
GRID: Final = Grid(1800, 1240, -104.0, -212.0, PIXEL_MM, PIXEL_MM)
HAND: Final = Series("pa", 1, "DX", "Right hand PA", DX_ROOM, 0, "Hand PA")

_RAYS: Final = (
    # knots of each finger, from the base of the metacarpal to the tip, y upwards; half widths of the shafts
    (((-23, 16), (-47, 48), (-63, 78), (-72, 101)), (4.4, 3.9, 3.0)),
    (((-14, 29), (-23, 91), (-29, 134), (-32, 159), (-34, 178)), (3.9, 3.9, 3.0, 2.2)),
    (((-3, 31), (-4, 95), (-5, 142), (-5, 172), (-5, 193)), (4.0, 4.0, 3.1, 2.3)),
    (((6, 30), (14, 88), (20, 131), (24, 159), (27, 179)), (3.4, 3.7, 2.9, 2.1)),
    (((14, 27), (31, 78), (41, 111), (48, 130), (52, 147)), (3.5, 3.2, 2.5, 1.9)),
)
_CARPALS: Final = (
    (-14, 9, 7.0, 8.6), (-2, 6, 6.8, 7.6), (8.5, 7, 6.0, 7.2), (13, 11, 4.4, 5.0), (-20.5, 20, 6.2, 7.6),
    (-12, 22, 5.0, 6.2), (-2.5, 20, 6.4, 9.6), (8, 20, 6.4, 8.8),
)  # fmt: skip


def hand_dx(study: Study, broken: bool) -> Iterator[Dataset]:
    """One PA view of the right hand, 1800 x 1240, JPEG 2000 lossless."""
    rng = np.random.default_rng(study.person.birth.year)
    bone, flesh = _shadow(rng, broken)
    shown = _developed(bone, flesh)
    shown += np.float32(11) * grain(np.random.default_rng(study.seed + broken), shown.shape, 0.7)
    _stamp(shown)
    ds = start_object(study, HAND, DigitalXRayImageStorageForPresentation, 1)
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.DerivationDescription = "Edge enhancement"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = ds.ContentDate, ds.ContentTime, "1"
    ds.ImageLaterality = "R"
    ds.AnatomicRegionSequence = sequence(Code("85562004", "SCT", "Hand").item())
    ds.ViewPosition = "PA"
    ds.ViewCodeSequence = sequence(Code("399348003", "SCT", "postero-anterior").item())
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = sequence()
    ds.PatientOrientation = ["L", "F"]
    ds.PositionerType, ds.DetectorType, ds.FieldOfViewShape = "COLUMN", "DIRECT", "RECTANGLE"
    ds.DetectorConfiguration, ds.DetectorID = "AREA", "D-0417"
    ds.ImagerPixelSpacing = [ds_text(PIXEL_MM)] * 2
    ds.PixelSpacing = [ds_text(PIXEL_MM)] * 2
    ds.PixelSpacingCalibrationType, ds.PixelSpacingCalibrationDescription = "GEOMETRY", "Hand on the detector"
    ds.KVP, ds.ExposureTime, ds.XRayTubeCurrent, ds.DistanceSourceToDetector = "52", "12", "200", "1100"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape, ds.BurnedInAnnotation, ds.LossyImageCompression = "IDENTITY", "NO", "00"
    ds.AcquisitionContextSequence = sequence()
    ds.WindowCenter, ds.WindowWidth = "2048", "3900"
    ds.PhotometricInterpretation = "MONOCHROME2"
    set_pixels(ds, np.clip(shown, 0, 4095).astype(np.uint16), bits_stored=12, syntax=JPEG2000Lossless)
    yield ds


def _shadow(rng: np.random.Generator, broken: bool) -> tuple[Plane, Plane]:
    """Thickness in mm of bone and of flesh."""
    shape = (GRID.rows, GRID.columns)
    bone, flesh = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    texture = cloud_noise(rng, shape, 0.9)
    for part in _bones(broken):
        add_bone(bone, GRID, part, texture)
    for knots, widths in _RAYS:
        for start, end, width in zip(knots[1:-1], knots[2:], widths[1:], strict=True):
            soft_part(flesh, GRID, _bone(start, end, width, 1.0), 5.0)
        soft_part(flesh, GRID, _bone(knots[0], knots[1], widths[0], 1.0), 10.5)
    for x in (-14.0, 0.0, 12.0):
        soft_part(flesh, GRID, Bone((x, 60.0), (x * 1.05, -14.0), 11.0, 11.0, 11.0), 5.0)
    return bone, flesh


def _bones(broken: bool) -> list[Bone]:
    parts = [
        Bone((-11.5, 12.5), (-15.5, 112.0), 6.2, 11.4, 7.0, 2.0),  # radius
        Bone((13.5, 10.5), (12.0, 112.0), 4.4, 6.4, 5.2, 1.8),  # ulna
        Bone((18.0, 4.0), (17.5, 8.0), 2.0, 1.8, 2.0, 0.7),
    ]
    for x, y, a, b in _CARPALS:
        half = max(0.2, abs(b - a))
        parts.append(Bone((x, -(y - half)), (x, -(y + half)), min(a, b), min(a, b) * 0.96, min(a, b) * 0.96, 0.9))
    for number, (knots, widths) in enumerate(_RAYS):
        for place, (start, end, width) in enumerate(zip(knots[:-1], knots[1:], widths, strict=True)):
            if number == 4 and place == 0 and broken:
                # A break of the neck: the head is tilted towards the palm and a gap shows.
                parts.append(Bone((14.0, -29.0), (25.0, -62.0), 3.5, 5.4, 3.5, 1.4))
                parts.append(Bone((27.4, -63.2), (33.5, -73.0), 3.4, 3.3, 5.0, 1.1))
            else:
                parts.append(_bone(start, end, width, 1.4 if place == 0 else 1.1, gap=2.2))
    return parts


def _bone(start: tuple[float, float], end: tuple[float, float], width: float, shell: float, gap: float = 0.0) -> Bone:
    """A finger bone between two joints; `gap` leaves room for the cartilage."""
    (x0, y0), (x1, y1) = start, end
    length = float(np.hypot(x1 - x0, y1 - y0))
    cut = (gap / 2 + width * 1.05) / length
    begin = (x0 + (x1 - x0) * cut, -(y0 + (y1 - y0) * cut))
    finish = (x1 - (x1 - x0) * cut, -(y1 - (y1 - y0) * cut))
    return Bone(begin, finish, width, width * 1.55, width * 1.34, shell)


def _developed(bone: Plane, flesh: Plane) -> Plane:
    """Brightness from thickness, as a logarithmic detector and its look-up table give it."""
    path = flesh * np.float32(0.027) + bone * np.float32(0.098)
    bare = np.clip(flesh / 3, 0, 1)
    brightness = np.float32(4095) / (1 + np.exp(-(path - np.float32(1.02)) * np.float32(2.9)))
    shown: Plane = np.float32(70) + brightness * bare
    return shown


def _stamp(shown: Plane) -> None:
    patch = Image.new("L", (100, 100))
    ImageDraw.Draw(patch).text((50, 50), "R", fill=255, font=ImageFont.load_default(72), anchor="mm")
    corner = shown[60:160, 60:160]
    corner += (3900 - corner) * (np.asarray(patch, dtype=np.float32) / 255)
