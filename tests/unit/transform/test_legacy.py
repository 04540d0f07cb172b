"""Multi-frame objects as single frames, against a program that joins them, and a checker of the standard's modules."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.legacy import (
    LegacyConvertedEnhancedCTImage,
    LegacyConvertedEnhancedMRImage,
    LegacyConvertedEnhancedPETImage,
)
from pydicom.dataset import Dataset, FileMetaDataset

from corpus.ct import make_ct_series
from fileroom.transform.errors import CannotChangeError
from fileroom.transform.legacy import single_frames
from fileroom.transform.split_merge import Merge, Split, checked_split, merge_series, split_series

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_MR = {"ScanningSequence": "SE", "SequenceVariant": "NONE", "ScanOptions": None, "MRAcquisitionType": "2D"}
_MR |= {"EchoTime": "9.5", "RepetitionTime": "500", "EchoTrainLength": "1"}
_PET = {"Units": "BQML", "CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"], "DecayCorrection": "START"}
_PET |= {"CollimatorType": "NONE", "NumberOfSlices": 4, "FrameReferenceTime": "0", "ActualFrameDuration": "60000"}
_PET |= {"CorrectedImage": ["DECY", "ATTN"], "ImageIndex": 1, "EnergyWindowRangeSequence": []}
KINDS = {
    "CT": ("2", LegacyConvertedEnhancedCTImage, {}),
    "MR": ("4", LegacyConvertedEnhancedMRImage, _MR),
    "PT": ("128", LegacyConvertedEnhancedPETImage, _PET),
}


def sources(modality: str) -> list[Dataset]:
    number, _, attributes = KINDS[modality]
    found = [pydicom.dcmread(io.BytesIO(file)) for file in make_ct_series(None, 4)]
    for one in found:
        one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = _STORAGE + number
        one.Modality = modality
        for keyword, value in attributes.items():
            setattr(one, keyword, value)
    return found


def errors_of(path: Path, dataset: Dataset) -> list[str]:
    """What dciodvfy finds; nothing where that program is not installed: the rest of the test does without."""
    if shutil.which("dciodvfy") is None:
        return []
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.save_as(path, enforce_file_format=True)
    ended = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (ended.stdout + ended.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("modality", list(KINDS))
def test_frames_that_were_joined_come_apart_as_they_were(modality: str, tmp_path: Path) -> None:
    singles = sources(modality)
    allowed = {line for one in singles[:1] for line in errors_of(tmp_path / "source.dcm", one)}
    join = KINDS[modality][1]
    whole = join(singles, "1.2.3.4", 1, "1.2.3.4.5", 1)
    pixels = whole.pixel_array
    frames = list(single_frames(whole, "2.25.1", "T"))
    assert len(frames) == len(singles)
    by_position = {tuple(map(float, one.ImagePositionPatient)): one for one in singles}
    for frame in frames:
        made = frame.dataset
        source = by_position[tuple(map(float, made.ImagePositionPatient))]
        for keyword in ("SOPClassUID", "PixelSpacing", "SliceThickness", "PatientPosition", *KINDS[modality][2]):
            if source.get(keyword) not in (None, [], "") and keyword != "ImageIndex":
                assert made[keyword].value == source[keyword].value, keyword
        assert made.SourceImageSequence[0].ReferencedFrameNumber == frame.index + 1
        made.add_new(0x7FE00010, "OW", pixels[frame.index].tobytes())
        assert np.array_equal(pixels[frame.index], source.pixel_array)
        assert set(errors_of(tmp_path / "made.dcm", made)) <= allowed
    again = next(single_frames(whole, "2.25.1", "T")).dataset
    assert again.SOPInstanceUID == frames[0].dataset.SOPInstanceUID != whole.SOPInstanceUID


def test_enhanced_mr_says_its_sequence_in_the_old_words() -> None:
    whole = Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID, whole.SeriesInstanceUID = _STORAGE + "4.1", "1.2", "1.1"
    whole.NumberOfFrames = 1
    whole.EchoPulseSequence, whole.InversionRecovery, whole.SteadyStatePulseSequence = (
        "GRADIENT",
        "YES",
        "FREE_PRECESSION",
    )
    group = Dataset()
    for sequence, values in {
        "MREchoSequence": {"EffectiveEchoTime": 4.25},
        "MRFOVGeometrySequence": {"InPlanePhaseEncodingDirection": "COLUMN"},
        "MRImageFrameTypeSequence": {
            "FrameType": ["ORIGINAL", "PRIMARY", "M", "NONE"],
            "ComplexImageComponent": "MAGNITUDE",
        },
        "FrameContentSequence": {"FrameAcquisitionDateTime": "20260102030405.5", "FrameComments": "hello"},
    }.items():
        item = Dataset()
        for keyword, value in values.items():
            setattr(item, keyword, value)
        setattr(group, sequence, [item])
    whole.PerFrameFunctionalGroupsSequence = [group]
    (frame,) = single_frames(whole, "2.25.1", "T")
    made = frame.dataset
    assert (list(made.ScanningSequence), made.SequenceVariant) == (["GR", "IR"], "SS")
    assert (made.EchoTime, made.InPlanePhaseEncodingDirection, list(made.ImageType)[2]) == (4.25, "COL", "M")
    assert (made.AcquisitionDate, made.AcquisitionTime, made.ImageComments) == ("20260102", "030405.5", "hello")
    assert "ComplexImageComponent" not in made


def test_what_has_no_single_form_says_so() -> None:
    whole = Dataset()
    whole.SOPClassUID = _STORAGE + "12.1.1"
    with pytest.raises(CannotChangeError, match="Enhanced XA Image Storage has no form of single frames"):
        single_frames(whole, "2.25.1", "T")


def image(**values: Any) -> Dataset:
    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = "1.1", "1.2", "1.3"
    made.Modality, made.SeriesNumber, made.InstanceNumber, made.Rows = "MR", 3, 7, 2
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        ({"by": "echo"}, {"EchoNumbers": 1}, {"EchoNumbers": 2}),
        ({"by": "echo"}, {"EchoTime": "4.5"}, {"EchoTime": "9"}),
        ({"by": "attribute", "attribute": "ImageComments"}, {"ImageComments": "a"}, {"ImageComments": "b"}),
        (
            {"by": "orientation"},
            {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
        ),
        ({"by": "frames"}, {}, {"NumberOfFrames": 8}),
        ({"by": "count", "count": 5}, {"InstanceNumber": 5}, {"InstanceNumber": 6}),
    ],
)
def test_series_is_split(fields: dict[str, Any], first: dict[str, Any], second: dict[str, Any]) -> None:
    how = checked_split(fields)
    assert isinstance(how, Split)
    one, other, again = (split_series(image(**values), how, "2.25.1", "T") for values in (first, second, first))
    assert one.SeriesInstanceUID == again.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID == again.SOPInstanceUID != "1.3"
    assert one.SeriesNumber != other.SeriesNumber


def test_what_a_series_is_not_told_apart_by_stays() -> None:
    source = image()
    assert split_series(source, Split("echo"), "2.25.1", "T") is source
    assert merge_series(source, Merge("frame of reference"), "2.25.1", "T") is source


def test_merged_series_keep_the_order_of_their_images() -> None:
    made = [
        merge_series(image(SeriesNumber=s, InstanceNumber=i), Merge("study"), "2.25.1", "T")
        for s, i in ((1, 9), (2, 1))
    ]
    assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID
    assert made[0].InstanceNumber < made[1].InstanceNumber
    with pytest.raises(CannotChangeError, match="image 20000"):
        merge_series(image(InstanceNumber=20000), Merge("study"), "2.25.1", "T")
