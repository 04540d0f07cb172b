"""A slide as a scanner sends it: VL Whole Slide Microscopy Image objects (PS3.3 A.32.8), one for each magnification."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit

WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
SLIDE_STUDY: Final = "1.2.826.0.1.88"
TILE: Final = 256
_SLIDE_MM: Final = 10.0


def write_slide(folder: Path, sizes: tuple[int, ...] = (1024, 512)) -> list[Path]:
    """Write a slide of 10 x 10 mm with coloured cells; `sizes` are pixels of an edge, the largest first."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, size in enumerate(sizes, 1):
        path = folder / f"slide{number}.dcm"
        _level(number, size).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _level(number: int, size: int) -> Dataset:
    uid = f"{SLIDE_STUDY}.1.{number}"
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        JPEGBaseline8Bit,
        WHOLE_SLIDE,
        uid,
    )
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"] if number == 1 else ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    tiles = _tiles(size)
    slide = _item(
        SOPClassUID=WHOLE_SLIDE,
        SOPInstanceUID=uid,
        StudyInstanceUID=SLIDE_STUDY,
        SeriesInstanceUID=f"{SLIDE_STUDY}.1",
        FrameOfReferenceUID=f"{SLIDE_STUDY}.2",
        Modality="SM",
        PatientName="Slide^Test",
        PatientID="SLIDE1",
        StudyDate="20261120",
        StudyTime="100000",
        StudyDescription="Histology",
        SeriesDescription="HE",
        SeriesNumber=1,
        InstanceNumber=number,
        ImageType=kind,
        ContentDate="20261120",
        ContentTime="100000",
        Rows=TILE,
        Columns=TILE,
        NumberOfFrames=len(tiles),
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        PixelRepresentation=0,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        LossyImageCompression="01",
        TotalPixelMatrixColumns=size,
        TotalPixelMatrixRows=size,
        TotalPixelMatrixFocalPlanes=1,
        DimensionOrganizationType="TILED_FULL",
        NumberOfOpticalPaths=1,
        VolumetricProperties="VOLUME",
        ImagedVolumeWidth=_SLIDE_MM,
        ImagedVolumeHeight=_SLIDE_MM,
        ImagedVolumeDepth=1,
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        TotalPixelMatrixOriginSequence=[_item(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)],
        OpticalPathSequence=[
            _item(
                OpticalPathIdentifier="1",
                IlluminationTypeCodeSequence=[_code("111744", "DCM", "Brightfield illumination")],
            )
        ],
        ContainerIdentifier="C1",
        SpecimenDescriptionSequence=[_item(SpecimenIdentifier="S1", SpecimenUID=f"{SLIDE_STUDY}.3")],
        SharedFunctionalGroupsSequence=[
            _item(
                PixelMeasuresSequence=[_item(PixelSpacing=[_SLIDE_MM / size] * 2, SliceThickness=0.001)],
                WholeSlideMicroscopyImageFrameTypeSequence=[_item(FrameType=kind)],
                OpticalPathIdentificationSequence=[_item(OpticalPathIdentifier="1")],
            )
        ],
        PixelData=encapsulate(tiles),
    )
    slide["PixelData"].VR, slide["PixelData"].is_undefined_length = "OB", True
    slide.file_meta = meta
    return slide


def _tiles(size: int) -> list[bytes]:
    """JPEG tiles, row by row, of a picture that looks the same at every size."""
    chance = np.random.default_rng(7)
    picture = Image.new("RGB", (size, size), (240, 225, 235))
    draw = ImageDraw.Draw(picture)
    for _ in range(300):
        x, y, r = (float(value) * size for value in (*chance.random(2), chance.uniform(0.005, 0.02)))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(level) for level in chance.integers(90, 200, 3)))
    tiles = []
    for top in range(0, size, TILE):
        for left in range(0, size, TILE):
            buffer = io.BytesIO()
            picture.crop((left, top, left + TILE, top + TILE)).save(buffer, "JPEG", quality=85)
            tiles.append(buffer.getvalue())
    return tiles


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, Sequence(value) if keyword.endswith("Sequence") else value)  # type: ignore[arg-type]
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
