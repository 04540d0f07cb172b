"""Mammograms: both breasts in two views (Digital Mammography X-Ray Image, PS3.3 A.27)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import DigitalMammographyXRayImageStorageForPresentation, JPEGLSLossless

from fileroom.demo.canvas import Grid, Plane, cloud_noise, grain, smooth_noise
from fileroom.demo.encoding import set_pixels
from fileroom.demo.modules import Code, Series, Study, ds_text, sequence, start_object
from fileroom.demo.people import MAMMOGRAPH

ROWS: Final = 2294
COLUMNS: Final = 1914
PIXEL_MM: Final = 0.094
VIEWS: Final = (("R", "CC"), ("L", "CC"), ("R", "MLO"), ("L", "MLO"))
_COARSE: Final = 2
_GRID: Final = Grid(ROWS // _COARSE, COLUMNS // _COARSE, 0.0, -ROWS * PIXEL_MM / 2, PIXEL_MM * 2, PIXEL_MM * 2)
"""The left breast: chest wall at the left edge of the image, x grows to the nipple."""
_VIEW_CODES: Final = {
    "CC": Code("399162004", "SCT", "cranio-caudal"),
    "MLO": Code("399368009", "SCT", "medio-lateral oblique"),
}
_LESION_MM: Final = (38.0, -16.0)


def mammograms(study: Study, lesion: bool) -> Iterator[Dataset]:
    """RCC, LCC, RMLO, LMLO, 2294 x 1914, 12 of 16 bit, JPEG-LS lossless. The lesion is in the left breast."""
    for number, (side, view) in enumerate(VIEWS, start=1):
        rng = np.random.default_rng([study.person.birth.year, number])
        image = _breast(rng, view, lesion and side == "L")
        noise = np.random.default_rng([study.seed, number, lesion])
        image = image + np.float32(9) * grain(noise, image.shape, 0.6)
        if side == "R":
            image = image[:, ::-1]
        image = np.ascontiguousarray(image)
        _stamp(image, f"{side} {view}", right=side == "L")
        yield _data_set(study, number, side, view, image)


def _breast(rng: np.random.Generator, view: str, lesion: bool) -> Plane:
    """Brightness 0 to 4095 of a left breast, from a drawing at half the resolution."""
    shape = (_GRID.rows, _GRID.columns)
    clouds, fine = cloud_noise(rng, shape, 1.55), cloud_noise(rng, shape, 0.9)
    ridges = 1 - np.abs(cloud_noise(rng, shape, 1.9))
    fibres = np.zeros(shape, dtype=np.float32)
    for scale, width, strength in ((26, 0.055, 0.34), (15, 0.07, 0.24), (9, 0.09, 0.14)):
        strand = smooth_noise(rng, shape, scale) / np.float32(width)
        fibres += np.float32(strength) * np.exp(-np.minimum(strand * strand, 30))
    inside, nipple = _outline(view, smooth_noise(rng, shape, 60))
    thick = np.sqrt(np.clip(np.minimum(inside / 13, 1), 0, None)) * (inside > 0)
    away = np.hypot(_GRID.x - nipple[0], (_GRID.y - nipple[1]) * np.float32(0.8))
    gland = np.exp(-(((away - 40) / 34) ** 2)) * np.clip(inside / 14, 0, 1)
    ducts = np.clip(ridges - np.float32(0.55), 0, None) * np.exp(-away / 45)
    density = gland * np.clip(np.float32(0.75) + np.float32(0.55) * clouds, 0, 2.4)
    density += (np.float32(0.9) * np.clip(ridges - np.float32(0.5), 0, None) + fibres) * np.clip(inside / 10, 0, 1)
    density += np.float32(0.8) * ducts + np.float32(0.05) * fine
    density += np.float32(1.5) * np.exp(-(((inside - 1.0) / 0.8) ** 2))  # skin
    density += np.float32(1.6) * np.exp(-((away / 4.2) ** 2))
    if lesion:
        _add_lesion(density, rng)
    if view == "MLO":
        _add_pectoral(density, fine)
    image = thick * (np.float32(1050) + np.float32(800) * np.clip(density, -0.5, 3.4))
    tall = Image.fromarray(image.astype(np.float32)).resize((COLUMNS, ROWS), Image.Resampling.BICUBIC)
    return np.asarray(tall, dtype=np.float32) + np.float32(40)


def _outline(view: str, wobble: Plane) -> tuple[Plane, tuple[float, float]]:
    """Distance in mm from the skin (positive inside), and where the nipple is."""
    x, y = _GRID.x, _GRID.y
    if view == "CC":
        nipple = (98.0, 2.0)
        radius = np.sqrt((x / 96) ** 2 + ((y - 2) / 88) ** 2)
        bulge = np.float32(4.5) * np.exp(-(((y - 2) / 6) ** 2))
        return (1 - radius) * 90 + bulge + np.float32(0.9) * wobble, nipple
    nipple = (104.0, 22.0)
    sag = np.where(y < 22, np.float32(122), np.float32(66))
    radius = np.sqrt((x / np.float32(102)) ** 2 + ((y - 22) / sag) ** 2)
    axilla = np.float32(58) + np.float32(0.0042) * (y + 108) ** 2
    bulge = np.float32(4.5) * np.exp(-(((y - 22) / 6) ** 2))
    body = np.maximum((1 - radius) * 84 + bulge, np.where(y < -30, axilla - x, np.float32(-99)))
    return body + np.float32(0.9) * wobble, nipple


def _add_pectoral(density: Plane, fine: Plane) -> None:
    edge = np.float32(46) - np.float32(0.42) * (_GRID.y + 108)
    edge = edge - np.float32(0.0016) * (_GRID.y + 20) ** 2
    muscle = np.clip((edge - _GRID.x) / 3 + np.float32(0.5), 0, 1)
    density += (np.float32(1.35) + np.float32(0.12) * fine - density * np.float32(0.6)) * muscle


def _add_lesion(density: Plane, rng: np.random.Generator) -> None:
    """A spiculated mass of 11 mm with a cluster of fine calcifications."""
    dx, dy = _GRID.x - np.float32(_LESION_MM[0]), _GRID.y - np.float32(_LESION_MM[1])
    away, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    rugged = np.float32(0.8) * np.sin(3 * angle + 1) + np.float32(0.5) * np.sin(7 * angle)
    density += np.float32(1.3) / (1 + np.exp(np.clip((away - 5.5 - rugged) / 0.9, -20, 20)))
    rays = np.clip(np.sin(angle * 9 + 1.1) + np.float32(0.6) * np.sin(angle * 23), 0.4, None) - np.float32(0.4)
    density += np.float32(0.38) * rays * np.exp(-np.clip(away - 5, 0, None) / 4)
    for _ in range(16):
        x, y = rng.normal(_LESION_MM, 3.4)
        spot = np.hypot(_GRID.x - np.float32(x), _GRID.y - np.float32(y))
        density += np.float32(rng.uniform(0.8, 1.5)) * np.exp(-((spot / np.float32(rng.uniform(0.2, 0.33))) ** 2))


def _stamp(image: Plane, text: str, right: bool) -> None:
    patch = Image.new("L", (420, 110))
    ImageDraw.Draw(patch).text((210, 55), text, fill=255, font=ImageFont.load_default(80), anchor="mm")
    left = COLUMNS - 460 if right else 40
    corner = image[60:170, left : left + 420]
    corner += (3700 - corner) * (np.asarray(patch, dtype=np.float32) / 255)


def _data_set(study: Study, number: int, side: str, view: str, image: Plane) -> Dataset:
    series = Series(f"{side}{view}".lower(), number, "MG", f"{side} {view}", MAMMOGRAPH, number * 2, f"{side} {view}")
    ds = start_object(study, series, DigitalMammographyXRayImageStorageForPresentation, 1)
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.DerivationDescription = "Tissue equalization"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = ds.ContentDate, ds.ContentTime, "1"
    ds.ImageLaterality, ds.ViewPosition, ds.OrganExposed = side, view, "BREAST"
    ds.AnatomicRegionSequence = sequence(Code("76752008", "SCT", "Breast").item())
    ds.ViewCodeSequence = sequence(_VIEW_CODES[view].item())
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = sequence()
    ds.PatientOrientation = [
        "P" if side == "R" else "A",
        ("L" if side == "R" else "R") if view == "CC" else "FL" if side == "R" else "FR",
    ]
    ds.PositionerType, ds.DetectorType, ds.DetectorID = "MAMMOGRAPHIC", "DIRECT", "MD-0098"
    ds.DetectorConfiguration, ds.FieldOfViewShape = "AREA", "RECTANGLE"
    ds.ImagerPixelSpacing = [ds_text(PIXEL_MM)] * 2
    ds.KVP, ds.Exposure, ds.ExposureTime, ds.XRayTubeCurrent = "29", "82", "1020", "80"
    ds.AnodeTargetMaterial, ds.FilterMaterial, ds.FilterType = "TUNGSTEN", "RHODIUM", "FLAT"
    ds.CompressionForce, ds.BodyPartThickness, ds.OrganDose = "96", "54", "0.0142"
    ds.PositionerPrimaryAngle, ds.BreastImplantPresent, ds.PartialView = "0" if view == "CC" else "45", "NO", "NO"
    ds.DistanceSourceToDetector, ds.DistanceSourceToPatient, ds.EstimatedRadiographicMagnificationFactor = (
        "650",
        "630",
        "1.03",
    )
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape, ds.BurnedInAnnotation, ds.LossyImageCompression = "IDENTITY", "NO", "00"
    ds.AcquisitionContextSequence = sequence()
    ds.WindowCenter, ds.WindowWidth = "2000", "3600"
    ds.PhotometricInterpretation = "MONOCHROME2"
    set_pixels(ds, np.clip(image, 0, 4095).astype(np.uint16), bits_stored=12, syntax=JPEGLSLossless)
    return ds
