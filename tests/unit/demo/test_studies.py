"""The demo studies: repeatable, valid, many-tongued, and of the size that was promised."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from fileroom.demo import people
from fileroom.demo.modules import uid_of
from fileroom.demo.studies import PLANS, DemoReport, study_keys, write_demo_studies

QUICK = ("nm-bone", "dx-hand", "us-echo", "xa-coronary")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    return write_demo_studies(tmp_path_factory.mktemp("demo"), only=QUICK)


def test_report_counts_what_was_written(quick: DemoReport) -> None:
    files = list(quick.folder.rglob("*.dcm"))
    assert quick.instances == len(files) == sum(plan.instances for plan in PLANS if plan.key in QUICK)
    assert quick.bytes_written == sum(path.stat().st_size for path in files)
    assert (quick.patients, quick.studies, quick.series) == (3, 4, 5)


def test_same_seed_gives_same_bytes_and_another_seed_other_uids(quick: DemoReport, tmp_path: Path) -> None:
    write_demo_studies(tmp_path / "again", only=["nm-bone"])
    write_demo_studies(tmp_path / "other", seed=2, only=["nm-bone"])
    first, again, other = (
        root / "nm-bone" / "0001.dcm" for root in (quick.folder, tmp_path / "again", tmp_path / "other")
    )
    assert first.read_bytes() == again.read_bytes()
    assert pydicom.dcmread(first).SOPInstanceUID != pydicom.dcmread(other).SOPInstanceUID


def test_progress_counts_every_object_up_to_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_demo_studies(tmp_path, progress=lambda done, total: seen.append((done, total)), only=["nm-bone", "dx-hand"])
    assert seen == [(1, 2), (2, 2)]


def test_unknown_study_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no demo study is called ct-knee"):
        write_demo_studies(tmp_path, only=["ct-knee"])
    assert list(tmp_path.iterdir()) == []


def test_plans_have_distinct_keys_and_most_patients_have_priors() -> None:
    assert len(set(study_keys())) == len(PLANS)
    studies = Counter(plan.person.key for plan in PLANS)
    assert set(studies) == {person.key for person in people.PEOPLE}
    assert sum(count > 1 for count in studies.values()) >= 5


def test_uids_are_short_enough_and_follow_from_seed_and_name() -> None:
    uids = {uid_of(seed, "study", number) for seed in range(5) for number in range(50)}
    assert len(uids) == 250
    assert max(map(len, uids)) <= 64
    assert all(uid.startswith("2.25.") for uid in uids)
    assert uid_of(1, "a") == uid_of(1, "a")


@pytest.mark.parametrize("person", people.PEOPLE, ids=lambda person: person.key)
def test_every_name_survives_its_character_set(person: people.Person, tmp_path: Path) -> None:
    ds = pydicom.Dataset()
    ds.SpecificCharacterSet = list(person.character_set)
    ds.PatientName, ds.ReferringPhysicianName = person.name, person.referrer
    ds.save_as(tmp_path / "name.dcm", implicit_vr=False, little_endian=True)
    read = pydicom.dcmread(tmp_path / "name.dcm", force=True)
    read.decode()
    assert str(read.PatientName).rstrip("=") == person.name.rstrip("=")
    assert str(read.ReferringPhysicianName).rstrip("=") == person.referrer.rstrip("=")


def test_pixels_of_every_compressed_object_decode(quick: DemoReport) -> None:
    for path in quick.folder.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        if "PixelData" not in ds:
            continue
        pixels = ds.pixel_array
        assert pixels.std() > 1
        assert pixels.shape[-2:] == (ds.Rows, ds.Columns) or pixels.shape[-1] == 3


def test_echo_moves_from_frame_to_frame(quick: DemoReport) -> None:
    frames = pydicom.dcmread(quick.folder / "us-echo" / "0001.dcm").pixel_array
    change = abs(frames[0].astype(int) - frames[10].astype(int)).mean()
    assert frames.shape == (60, 600, 800, 3)
    assert change > 3


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_objects_are_valid_for_an_independent_validator(quick: DemoReport, tmp_path: Path) -> None:
    for path in quick.folder.rglob("*.dcm"):
        assert iod_errors(path, tmp_path) == []


def iod_errors(path: Path, scratch: Path) -> list[str]:
    """What dciodvfy calls errors. It cannot read deflated objects; those are inflated first."""
    ds = pydicom.dcmread(path)
    if ds.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = scratch / "inflated.dcm"
        ds.save_as(path, enforce_file_format=True)
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
    return [f"{path.name}: {line}" for line in found.stderr.splitlines() if line.startswith("Error")]
