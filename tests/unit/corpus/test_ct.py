"""The CT maker of the tests makes what it says: valid, distinct, repeatable slices."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest

from corpus.ct import BIG_FRAME_SIDE, SLICE_SPACING_MM, instance_uid, make_big_multiframe, make_ct_series


def test_series_is_one_study_of_distinct_slices_in_order() -> None:
    slices = [pydicom.dcmread(io.BytesIO(data)) for data in make_ct_series(None, 5, seed=7)]
    assert len({s.StudyInstanceUID for s in slices}) == len({s.SeriesInstanceUID for s in slices}) == 1
    assert [s.SOPInstanceUID for s in slices] == [instance_uid(7, n) for n in range(1, 6)]
    assert [s.file_meta.MediaStorageSOPInstanceUID for s in slices] == [s.SOPInstanceUID for s in slices]
    assert [int(s.InstanceNumber) for s in slices] == [1, 2, 3, 4, 5]
    assert [float(s.ImagePositionPatient[2]) for s in slices] == [n * SLICE_SPACING_MM for n in range(5)]
    assert len({s.PixelData for s in slices}) == 5
    assert slices[0].pixel_array.shape == (64, 64)


def test_same_arguments_give_same_bytes_and_another_seed_another_patient() -> None:
    assert make_ct_series(None, 2, seed=3) == make_ct_series(None, 2, seed=3)
    first, second = (pydicom.dcmread(io.BytesIO(make_ct_series(None, 1, seed=s)[0])) for s in (3, 4))
    assert first.PatientID != second.PatientID
    assert first.StudyInstanceUID != second.StudyInstanceUID


def test_series_in_a_folder_holds_the_same_bytes(tmp_path: Path) -> None:
    paths = make_ct_series(tmp_path / "ct", 3, size=128, seed=1)
    assert [path.read_bytes() for path in paths] == make_ct_series(None, 3, size=128, seed=1)


def test_big_multiframe_numbers_its_frames_and_stays_sparse(tmp_path: Path) -> None:
    path = tmp_path / "big.dcm"
    frames = make_big_multiframe(path, 64 * 1024 * 1024)
    assert frames == 32
    ds = pydicom.dcmread(path)
    assert ds.NumberOfFrames == frames
    frame_bytes = BIG_FRAME_SIDE * BIG_FRAME_SIDE * 2
    assert len(ds.PixelData) == frames * frame_bytes
    numbers = [int.from_bytes(ds.PixelData[n * frame_bytes :][:4], "little") for n in range(frames)]
    assert numbers == list(range(1, frames + 1))
    assert path.stat().st_blocks * 512 < 4 * 1024 * 1024


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_slices_are_valid_ct_images(tmp_path: Path) -> None:
    path = make_ct_series(tmp_path, 1)[0]
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "CTImage" in found.stderr
    assert [line for line in found.stderr.splitlines() if line.startswith("Error")] == []
