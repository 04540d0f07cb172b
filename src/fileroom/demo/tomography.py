"""Sectional images: CT of chest and head, MR of the brain, PET of the chest (PS3.3 A.3, A.4, A.21)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RLELossless,
)

from fileroom.demo.canvas import Canvas, Grid, Plane, smooth_noise
from fileroom.demo.chest import ChestPhantom, ChestSetup, uptake_plane
from fileroom.demo.encoding import set_pixels
from fileroom.demo.head import HeadPhantom, HeadSetup
from fileroom.demo.modules import (
    Series,
    Study,
    add_frame_of_reference,
    da,
    ds_text,
    sequence,
    start_object,
    tm,
)
from fileroom.demo.people import CT_SCANNER, MR_SCANNER, PET_SCANNER

CHEST_SLICES: Final = 120
CHEST_SPACING_MM: Final = 2.5
CHEST_TOP_MM: Final = 272.5
CHEST_GRID: Final = Grid.centred(512, 512, 0.74, 0.74)
CHEST_SCOUT: Final = Series("scout", 1, "CT", "Topogram", CT_SCANNER, 0, "Thorax", patient_position="HFS")
CHEST_AXIAL: Final = Series("axial", 2, "CT", "Thorax venous 2.5 mm", CT_SCANNER, 4, "Thorax", patient_position="HFS")
HEAD_SLICES: Final = 48
HEAD_SPACING_MM: Final = 2.75
HEAD_BOTTOM_MM: Final = -7.0
HEAD_GRID: Final = Grid.centred(512, 512, 0.45, 0.45)
HEAD_AXIAL: Final = Series("axial", 2, "CT", "Head 2.75 mm", CT_SCANNER, 2, "Head native", patient_position="HFS")
BRAIN_SLICES: Final = 24
BRAIN_SPACING_MM: Final = 5.0
BRAIN_GRID: Final = Grid.centred(256, 256, 0.9, 0.9)
PET_SLICES: Final = 60
PET_GRID: Final = Grid.centred(144, 144, 2.8, 2.8)
PET_SERIES: Final = Series("pet", 3, "PT", "FDG chest, corrected", PET_SCANNER, 12, "FDG chest")

_T1: Final = Series("t1", 2, "MR", "T1 SE transversal", MR_SCANNER, 4, "Head", patient_position="HFS")
_T2: Final = Series("t2", 3, "MR", "T2 TSE transversal", MR_SCANNER, 9, "Head", patient_position="HFS")
_FLAIR: Final = Series("flair", 4, "MR", "FLAIR transversal", MR_SCANNER, 14, "Head", patient_position="HFS")


def chest_ct(study: Study, nodule_scale: float = 1.0) -> Iterator[Dataset]:
    """120 axial slices from the apex down, then the scout view made from their sums: 121 objects."""
    phantom = ChestPhantom(ChestSetup(study.seed, nodule_scale), CHEST_GRID)
    noise = QuantumNoise(study.seed, CHEST_GRID, deviation=11.0)
    frontal = []
    for number in range(1, CHEST_SLICES + 1):
        z = chest_slice_z(number)
        plane = phantom.plane(z)
        paint_table(plane, CHEST_GRID, 138.0)
        frontal.append((np.clip(plane, -1000, None) + 1000).sum(axis=0))
        ds = _ct_slice(study, CHEST_AXIAL, number, CHEST_GRID, z, CHEST_SPACING_MM)
        _add_ct_technique(ds, kernel="Bf42", exposure_mas=78, fov_mm=379)
        ds.ContrastBolusAgent = "Iodine 370 mg/ml"
        ds.ContrastBolusRoute = "INTRAVENOUS"
        ds.WindowCenter, ds.WindowWidth = ["40", "-550"], ["400", "1500"]
        ds.WindowCenterWidthExplanation = ["MEDIASTINUM", "LUNG"]
        set_pixels(ds, stored_hu(plane + noise.at(number)), bits_stored=12)
        yield ds
    yield _scout(study, np.array(frontal))


def chest_slice_z(number: int) -> float:
    """Height in mm of the slice with this instance number."""
    return CHEST_TOP_MM - (number - 1) * CHEST_SPACING_MM


def head_ct(study: Study, bleed: bool, syntax: str = JPEGLSLossless) -> Iterator[Dataset]:
    """48 axial slices from the base up, with a haemorrhage or without."""
    phantom = HeadPhantom(HeadSetup(study.person.birth.year, bleed=bleed, ventricle_scale=1.25), HEAD_GRID)
    noise = QuantumNoise(study.seed + bleed, HEAD_GRID, deviation=2.6)
    for number in range(1, HEAD_SLICES + 1):
        z = HEAD_BOTTOM_MM + (number - 1) * HEAD_SPACING_MM
        plane = phantom.plane(z)[0]
        paint_table(plane, HEAD_GRID, 112.0, narrow=True)
        ds = _ct_slice(study, HEAD_AXIAL, number, HEAD_GRID, z, HEAD_SPACING_MM)
        _add_ct_technique(ds, kernel="Hr40", exposure_mas=280, fov_mm=230)
        ds.WindowCenter, ds.WindowWidth = ["38", "600"], ["85", "2800"]
        ds.WindowCenterWidthExplanation = ["BRAIN", "BONE"]
        set_pixels(ds, stored_hu(plane + noise.at(number)), bits_stored=12, syntax=syntax)
        yield ds


def brain_mr(study: Study) -> Iterator[Dataset]:
    """Three series of 24 slices: T1, T2 and FLAIR of one anatomy."""
    setup = HeadSetup(study.seed + 7, plaques=True)
    rng = np.random.default_rng(study.seed)
    shape = (BRAIN_GRID.rows, BRAIN_GRID.columns)
    coil = 1 + np.float32(0.07) * smooth_noise(rng, shape, 45)
    contrasts = (
        (_T1, "T1", ("SE", 560, 12, None), ExplicitVRLittleEndian, (480, 900)),
        (_T2, "T2", ("SE", 4200, 98, None), RLELossless, (480, 1000)),
        (_FLAIR, "FLAIR", (["SE", "IR"], 9000, 110, 2500), ImplicitVRLittleEndian, (420, 850)),
    )
    for series, contrast, timing, syntax, window in contrasts:
        phantom = HeadPhantom(setup, BRAIN_GRID, (contrast,))
        for number in range(1, BRAIN_SLICES + 1):
            z = HEAD_BOTTOM_MM + 2 + (number - 1) * BRAIN_SPACING_MM
            real, imaginary = (rng.normal(0, 14, shape).astype(np.float32) for _ in range(2))
            signal = np.hypot(phantom.plane(z)[0] * coil + real, imaginary)
            ds = _mr_slice(study, series, number, z, timing)
            ds.WindowCenter, ds.WindowWidth = str(window[0]), str(window[1])
            set_pixels(ds, np.clip(signal, 0, 4095).astype(np.uint16), bits_stored=12, syntax=syntax)
            yield ds


def chest_pet(study: Study) -> Iterator[Dataset]:
    """60 slices of tracer uptake in the frame of reference of the chest CT of the same study seed."""
    phantom = ChestPhantom(ChestSetup(study.seed), PET_GRID)
    rng = np.random.default_rng(study.seed)
    for number in range(1, PET_SLICES + 1):
        z = CHEST_TOP_MM - (number - 1) * 2 * CHEST_SPACING_MM
        uptake = _blurred(uptake_plane(phantom, z), 1.1)
        grain = smooth_noise(rng, uptake.shape, 0.9)
        uptake = np.clip(uptake + grain * np.sqrt(np.clip(uptake, 0.02, None)) * np.float32(0.16), 0, None)
        yield _pet_slice(study, number, z, uptake)


class QuantumNoise:
    """The grain of CT: a few correlated noise fields that are shifted from slice to slice; stronger in the middle."""

    __slots__ = ("_fields", "_rng", "_strength")

    def __init__(self, seed: int, grid: Grid, deviation: float, fields: int = 3) -> None:
        self._rng = np.random.default_rng(seed + 1000)
        shape = (grid.rows, grid.columns)
        self._fields = [smooth_noise(self._rng, shape, 0.62) for _ in range(fields)]
        reach = (grid.columns * grid.column_mm) / 2
        radius = (grid.x**2 + grid.y**2) / np.float32(reach**2)
        self._strength = (
            np.float32(deviation) * (np.float32(1.25) - np.float32(0.55) * np.clip(radius, 0, 1.2))
        ).astype(np.float32)

    def at(self, number: int) -> Plane:
        """The noise of one slice, in HU."""
        field = self._fields[number % len(self._fields)]
        shift = tuple(int(v) for v in self._rng.integers(0, field.shape[0], 2))
        return np.roll(field, shift, axis=(0, 1)) * self._strength


def stored_hu(hu: Plane) -> NDArray[np.uint16]:
    """Hounsfield units as stored values for a rescale intercept of -1024."""
    stored: NDArray[np.uint16] = np.clip(np.rint(hu + np.float32(1024)), 0, 4095).astype(np.uint16)
    return stored


def paint_table(plane: Plane, grid: Grid, y_mm: float, narrow: bool = False) -> None:
    """Lay the shell of the patient table (or the head rest) under the body, where there is air."""
    canvas = Canvas(grid, 0.0, (0.0,))
    width = 118.0 if narrow else 205.0
    bow = (canvas.x / np.float32(width)) ** 2 * np.float32(-46 if narrow else -34)
    for depth, thick, hu in ((0.0, 2.2, -620.0), (16.0, 2.0, -660.0), (8.0, 6.0, -955.0)):
        distance = np.abs(canvas.y - np.float32(y_mm + depth) - bow) - np.float32(thick)
        coverage = canvas.inside(np.maximum(distance, np.abs(canvas.x) - np.float32(width)))
        coverage = coverage * (plane < -900)
        plane += (np.float32(hu) - plane) * coverage


# --- data sets ---


def _ct_slice(study: Study, series: Series, number: int, grid: Grid, z: float, thickness: float) -> Dataset:
    ds = start_object(study, series, CTImageStorage, number, seconds=number * 0.05)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.AcquisitionNumber = "1"
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    _add_plane(ds, study, grid, z, thickness)
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    return ds


def _add_plane(ds: Dataset, study: Study, grid: Grid, z: float, thickness: float) -> None:
    """Image Plane module (C.7.6.2) and Frame of Reference."""
    add_frame_of_reference(ds, study)
    ds.ImagePositionPatient = [ds_text(grid.left_mm), ds_text(grid.top_mm), ds_text(z)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.PixelSpacing = [ds_text(grid.row_mm), ds_text(grid.column_mm)]
    ds.SliceThickness = ds_text(thickness)
    ds.SliceLocation = ds_text(z)


def _add_ct_technique(ds: Dataset, kernel: str, exposure_mas: int, fov_mm: int) -> None:
    ds.ScanOptions = "HELIX"
    ds.KVP = "120"
    ds.DataCollectionDiameter, ds.ReconstructionDiameter = "500", str(fov_mm)
    ds.GantryDetectorTilt, ds.TableHeight, ds.RotationDirection = "0", "152", "CW"
    ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure = "500", str(exposure_mas * 2), str(exposure_mas)
    ds.FilterType, ds.FocalSpots = "FLAT", "0.9"
    ds.ConvolutionKernel = kernel
    ds.CTDIvol = 5.4 if fov_mm > 300 else 38.2
    ds.SpacingBetweenSlices = ds.SliceThickness


def _scout(study: Study, frontal: Plane) -> Dataset:
    """The frontal sum of the slices as a localizer, rows of 1 mm."""
    ds = start_object(study, CHEST_SCOUT, CTImageStorage, 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    ds.AcquisitionNumber = "1"
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    add_frame_of_reference(ds, study)
    ds.ImagePositionPatient = [ds_text(CHEST_GRID.left_mm), "0", ds_text(CHEST_TOP_MM)]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    ds.PixelSpacing = ["0.74", "0.74"]
    ds.SliceThickness, ds.KVP = "0.6", "120"
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    rows = np.arange(0, (CHEST_SLICES - 1) * CHEST_SPACING_MM, 0.74)
    at = rows / CHEST_SPACING_MM
    low = np.minimum(at.astype(int), CHEST_SLICES - 2)
    share = (at - low)[:, None]
    share = share * share * (3 - 2 * share)
    thick = frontal[low] * (1 - share) + frontal[low + 1] * share
    water_mm = thick * (CHEST_GRID.row_mm / 1000)
    values = 400 + 5.0 * water_mm
    values += np.random.default_rng(study.seed).normal(0, 8, values.shape)
    ds.WindowCenter, ds.WindowWidth = "250", "1100"
    set_pixels(ds, np.clip(values, 0, 4095).astype(np.uint16), bits_stored=12)
    return ds


def _mr_slice(
    study: Study, series: Series, number: int, z: float, timing: tuple[str | list[str], int, int, int | None]
) -> Dataset:
    ds = start_object(study, series, MRImageStorage, number, seconds=number * 2.0)
    sequence_name, repetition, echo, inversion = timing
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.AcquisitionNumber = "1"
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    _add_plane(ds, study, BRAIN_GRID, z, 4.0)
    ds.SpacingBetweenSlices = ds_text(BRAIN_SPACING_MM)
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = sequence_name, "SK", ""
    ds.MRAcquisitionType = "2D"
    ds.RepetitionTime, ds.EchoTime = str(repetition), str(echo)
    if inversion:
        ds.InversionTime = str(inversion)
    ds.EchoTrainLength, ds.NumberOfAverages, ds.EchoNumbers = "1" if repetition < 1000 else "16", "1", "1"
    ds.MagneticFieldStrength, ds.ImagingFrequency, ds.ImagedNucleus = "3", "123.25", "1H"
    ds.FlipAngle, ds.PixelBandwidth, ds.PercentSampling, ds.PercentPhaseFieldOfView = "90", "220", "100", "100"
    ds.InPlanePhaseEncodingDirection, ds.ReceiveCoilName, ds.SAR = "ROW", "Head 32", "0.41"
    ds.PhotometricInterpretation = "MONOCHROME2"
    return ds


def _pet_slice(study: Study, number: int, z: float, uptake: Plane) -> Dataset:
    ds = start_object(study, PET_SERIES, PositronEmissionTomographyImageStorage, number)
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    _add_plane(ds, study, PET_GRID, z, 2 * CHEST_SPACING_MM)
    ds.ImageIndex = number
    ds.Units, ds.CountsSource = "BQML", "EMISSION"
    ds.SeriesType = ["STATIC", "IMAGE"]
    ds.NumberOfSlices = PET_SLICES
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    ds.RandomsCorrectionMethod, ds.AttenuationCorrectionMethod = "DLYD", "CT"
    ds.ScatterCorrectionMethod, ds.ReconstructionMethod = "Model based", "OSEM 3i21s"
    ds.DecayCorrection, ds.DecayFactor, ds.CollimatorType = "START", "1", "NONE"
    ds.FrameReferenceTime, ds.ActualFrameDuration = "60000", "120000"
    ds.RadiopharmaceuticalInformationSequence = sequence(_tracer(study))
    ds.PatientOrientationCodeSequence = sequence(_code("102538003", "SCT", "recumbent", "40199007", "supine"))
    ds.PatientGantryRelationshipCodeSequence = sequence(_code("102540008", "SCT", "headfirst"))
    # Activity per ml that gives this SUV in this patient, an hour after 280 MBq.
    becquerels = uptake * np.float32(280e6 * 0.685 / (study.person.weight_kg * 1000))
    slope = float(becquerels.max()) / 32000 or 1.0
    ds.RescaleIntercept, ds.RescaleSlope = "0", ds_text(slope)
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 32000
    ds.WindowCenter, ds.WindowWidth = "9500", "19000"
    ds.PhotometricInterpretation = "MONOCHROME2"
    set_pixels(ds, np.rint(becquerels / slope).astype(np.uint16), bits_stored=16)
    return ds


def _tracer(study: Study) -> Dataset:
    ds = Dataset()
    ds.Radiopharmaceutical = "Fludeoxyglucose F18"
    ds.RadiopharmaceuticalStartTime = tm(study.moment)
    ds.RadiopharmaceuticalStartDateTime = da(study.moment) + tm(study.moment)
    ds.RadionuclideTotalDose, ds.RadionuclideHalfLife, ds.RadionuclidePositronFraction = "280000000", "6586.2", "0.967"
    ds.RadionuclideCodeSequence = sequence(_code("77004003", "SCT", "^18^Fluorine"))
    ds.RadiopharmaceuticalCodeSequence = sequence(_code("35321007", "SCT", "Fluorodeoxyglucose F^18^"))
    return ds


def _code(value: str, scheme: str, meaning: str, modifier: str = "", modifier_meaning: str = "") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    if modifier:
        inner = Dataset()
        inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = modifier, scheme, modifier_meaning
        item.PatientOrientationModifierCodeSequence = sequence(inner)
    return item


def _blurred(plane: Plane, sigma_px: float) -> Plane:
    frequency = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None, :])
    gain = np.exp(-2 * (np.pi * frequency * sigma_px) ** 2)
    return np.fft.irfft2(np.fft.rfft2(plane) * gain, s=plane.shape).astype(np.float32)
