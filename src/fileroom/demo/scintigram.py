"""A bone scan of the whole body, from the front and from the back (NM Image, PS3.3 A.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from fileroom.demo.bones import Bone, add_bone
from fileroom.demo.canvas import Grid, Plane
from fileroom.demo.encoding import set_pixels
from fileroom.demo.modules import Code, Series, Study, da, ds_text, sequence, start_object, tm
from fileroom.demo.people import GAMMA_CAMERA

ROWS: Final = 1024
COLUMNS: Final = 256
PIXEL_MM: Final = 1.95
GRID: Final = Grid(ROWS, COLUMNS, -COLUMNS * PIXEL_MM / 2, -90.0, PIXEL_MM, PIXEL_MM)
WHOLE_BODY: Final = Series("wb", 1, "NM", "Bone scan, whole body", GAMMA_CAMERA, 0, "Whole body")

_LIMBS: Final = (
    # one side of the skeleton: x outwards, y downwards from the top of the head, in mm; half widths; uptake
    (((22, 330), (112, 318)), 6, 9, 11, 0.9),  # clavicle
    (((150, 352), (178, 640)), 10, 20, 15, 0.8),  # humerus
    (((182, 662), (206, 900)), 8, 13, 12, 0.7),
    (((208, 925), (216, 1010)), 16, 17, 10, 0.5),
    (((98, 905), (80, 1290)), 13, 24, 24, 0.9),  # femur
    (((78, 1325), (76, 1690)), 11, 24, 13, 0.85),
    (((92, 1335), (92, 1685)), 5, 8, 9, 0.5),
    (((78, 1715), (92, 1800)), 17, 19, 10, 0.8),
    (((60, 412), (112, 520)), 13, 16, 12, 0.55),  # shoulder blade
)


def bone_scan(study: Study, lesions: int) -> Iterator[Dataset]:
    """Two frames of 1024 x 256, 16 bit: anterior and posterior; `lesions` hot spots in ribs and spine."""
    rng = np.random.default_rng(study.person.birth.year)
    spots = [(float(rng.uniform(-95, 95)), float(rng.uniform(380, 820)), float(rng.uniform(7, 13))) for _ in range(9)]
    counts = np.random.default_rng([study.seed, lesions])
    frames = [counts.poisson(_expected(front, spots[:lesions])) for front in (True, False)]
    ds = start_object(study, WHOLE_BODY, NuclearMedicineImageStorage, 1)
    _describe(ds, study)
    pixels = np.clip(np.stack(frames), 0, 65535).astype(np.uint16)
    ds.WindowCenter, ds.WindowWidth = "32", "64"
    ds.PhotometricInterpretation = "MONOCHROME2"
    set_pixels(ds, pixels, bits_stored=16)
    yield ds


def _expected(front: bool, spots: list[tuple[float, float, float]]) -> Plane:
    """Expected counts per pixel. The view from the back is mirrored and sees the spine better."""
    bone = np.zeros((ROWS, COLUMNS), dtype=np.float32)
    for side in (-1.0, 1.0):
        for ((x0, y0), (x1, y1)), shaft, start, end, uptake in _LIMBS:
            part = np.zeros_like(bone)
            add_bone(part, GRID, Bone((side * x0, y0), (side * x1, y1), shaft, start, end, 30))
            bone = np.maximum(bone, part * np.float32(uptake))
        _add_pelvis(bone, side)
    _add_trunk(bone, front)
    soft = _body()
    x, y = GRID.x, GRID.y
    expected = soft * np.float32(3.4) + bone * np.float32(0.62 if front else 0.72)
    bladder = np.exp(-((x / 26) ** 2) - ((y - 905) / 22) ** 2)
    expected += np.float32(95 if front else 40) * bladder
    for side in (-1, 1):
        kidney = np.exp(-(((x - side * 62) / 19) ** 2) - ((y - 668) / 34) ** 2)
        expected += np.float32(9 if front else 24) * kidney
    for sx, sy, size in spots:
        expected += np.float32(70) * np.exp(-(((x - np.float32(sx)) / size) ** 2) - ((y - np.float32(sy)) / size) ** 2)
    expected = _blurred(expected, 2.1)
    return expected if front else expected[:, ::-1]


def _add_pelvis(bone: Plane, side: float) -> None:
    x, y = GRID.x * side, GRID.y
    wing = np.hypot((x - 84) / 60, (y - 812) / 62)
    ring = np.exp(-(((wing - 0.82) / 0.22) ** 2)) * (x > 8) * 17
    joint = np.exp(-(((x - 34) / 9) ** 2) - ((y - 800) / 34) ** 2) * 26
    hip = np.exp(-(((x - 96) / 20) ** 2) - ((y - 900) / 20) ** 2) * 22
    np.maximum(bone, ring + joint + hip, out=bone)


def _add_trunk(bone: Plane, front: bool) -> None:
    """Skull, spine, ribs and, from the front, the sternum."""
    x, y = GRID.x, GRID.y
    skull = np.hypot(x / 74, (y - 88) / 96)
    np.maximum(bone, 20 * np.exp(-(((skull - 0.88) / 0.16) ** 2)) + 9 * (skull < 0.9), out=bone)
    face = np.exp(-((x / 44) ** 2) - ((y - 165) / 40) ** 2)
    np.maximum(bone, 24 * face, out=bone)
    level = (y - 235) / 27
    spine = np.exp(-((x / (15 + 5 * (y > 560))) ** 4)) * (y > 235) * (y < 800)
    np.maximum(bone, spine * (24 + 6 * np.cos(2 * np.pi * level)) * (0.62 if front else 1.0), out=bone)
    reach = np.clip(1 - ((y - 465) / 190) ** 2, 0, None) ** 0.35 * 148
    arch = np.abs(x) / np.maximum(reach, 1)
    fall = 52 * arch**2 * (1 if front else 0.7)
    phase = (y - 330 - fall) / 29.5
    stripe = np.exp(-(((phase - np.rint(phase)) * 29.5 / 6.0) ** 2)) * (np.abs(phase - 4.8) < 5.4)
    edge = 1 + 1.1 * np.clip((arch - 0.72) / 0.28, 0, 1)
    np.maximum(bone, stripe * (arch < 1) * (arch > 0.08) * 12 * edge, out=bone)
    if front:
        sternum = np.exp(-((x / 15) ** 4) - ((y - 430) / 95) ** 6)
        np.maximum(bone, sternum * 25, out=bone)


def _body() -> Plane:
    """Soft tissue: a faint outline."""
    body = np.zeros((ROWS, COLUMNS), dtype=np.float32)
    for side in (-1.0, 1.0):
        for (start, end), swell in (
            (((side * 150, 340), (side * 190, 650)), 38), (((side * 185, 650), (side * 214, 1000)), 28),
            (((side * 92, 900), (side * 80, 1300)), 68), (((side * 80, 1300), (side * 84, 1780)), 44),
        ):  # fmt: skip
            add_bone(body, GRID, Bone(start, end, swell, swell, swell * 0.8, 60))
    for start, end, half in (((0, 60), (0, 170), 80), ((0, 230), (0, 330), 55), ((0, 400), (0, 830), 150)):
        add_bone(body, GRID, Bone(start, end, half, half, half, 200))
    soft: Plane = np.sqrt(body / np.float32(300))
    return soft


def _blurred(plane: Plane, sigma_px: float) -> Plane:
    frequency = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None, :])
    spectrum = np.fft.rfft2(plane) * np.exp(-2 * (np.pi * frequency * sigma_px) ** 2)
    return np.clip(np.fft.irfft2(spectrum, s=plane.shape), 0, None).astype(np.float32)


def _describe(ds: Dataset, study: Study) -> None:
    """The NM modules (C.8.4) and the frames' vectors."""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    ds.AcquisitionDate, ds.AcquisitionTime, ds.AcquisitionNumber = ds.ContentDate, ds.ContentTime, "1"
    ds.NumberOfFrames = "2"
    ds.FrameIncrementPointer = [0x00540010, 0x00540020]
    ds.EnergyWindowVector, ds.NumberOfEnergyWindows = [1, 1], 1
    ds.DetectorVector, ds.NumberOfDetectors = [1, 2], 2
    ds.PixelSpacing = [ds_text(PIXEL_MM)] * 2
    ds.CountsAccumulated = "1450000"
    ds.ActualFrameDuration = "900000"
    ds.WholeBodyTechnique, ds.ScanVelocity, ds.ScanLength = "1PS", "2.2", "1997"
    ds.AcquisitionTerminationCondition = "TIME"
    ds.LossyImageCompression = "00"
    ds.PatientOrientationCodeSequence = sequence(Code("102538003", "SCT", "recumbent").item())
    modifier = Code("40199007", "SCT", "supine").item()
    ds.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = sequence(modifier)
    ds.PatientGantryRelationshipCodeSequence = sequence(Code("102540008", "SCT", "headfirst").item())
    window, limits = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "126", "154"
    window.EnergyWindowName, window.EnergyWindowRangeSequence = "Tc-99m", sequence(limits)
    ds.EnergyWindowInformationSequence = sequence(window)
    ds.RadiopharmaceuticalInformationSequence = sequence(_tracer(study))
    ds.DetectorInformationSequence = sequence(_detector(True), _detector(False))


def _tracer(study: Study) -> Dataset:
    tracer = Dataset()
    tracer.RadionuclideCodeSequence = sequence(Code("72454000", "SCT", "^99m^Technetium").item())
    tracer.Radiopharmaceutical, tracer.RadionuclideTotalDose = "Tc-99m oxidronate", "620"
    tracer.RadiopharmaceuticalStartTime = tm(study.moment)
    tracer.RadiopharmaceuticalStartDateTime = da(study.moment) + tm(study.moment)
    return tracer


def _detector(front: bool) -> Dataset:
    detector = Dataset()
    detector.CollimatorGridName, detector.CollimatorType = "LEHR", "PARA"
    detector.FieldOfViewShape, detector.FieldOfViewDimensions = "RECTANGLE", ["540", "400"]
    detector.FocalDistance, detector.ZoomFactor = "0", ["1", "1"]
    view = Code("255549009", "SCT", "Anterior") if front else Code("255551008", "SCT", "Posterior")
    detector.ViewCodeSequence = sequence(view.item())
    detector.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"] if front else ["-1", "0", "0", "0", "0", "-1"]
    detector.ImagePositionPatient = ["-250", "-150", "0"] if front else ["250", "150", "0"]
    return detector
