"""Objects of real devices and the demo studies: no identifier leaves, and dciodvfy finds no error that was not there before."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from fileroom.deid.errors import CannotCleanError
from fileroom.deid.file import deidentify_file
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import KeyedPseudonyms, Pseudonym, identity_of
from fileroom.demo.studies import study_keys, write_demo_studies
from fileroom.pixels.source import open_source, reader_of
from pixel_objects import needs_wg04, wg04_files

BASIC = Profile(frozenset({Option.PIXELS}))
ALL = Profile(frozenset(Option) - {Option.FULL_DATES, Option.VISUAL_FEATURES, Option.UIDS})
NAMING = (
    "PatientName",
    "PatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "PatientBirthDate",
    "ReferringPhysicianName",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first and the last object of some studies of every kind."""
    folder = tmp_path_factory.mktemp("demo")
    wanted = [key for key in study_keys() if key in ("ct-head", "dx-hand", "mg", "us-echo", "pt-chest", "xa-coronary")]
    write_demo_studies(folder, only=wanted)
    return [
        path
        for study in sorted(folder.iterdir())
        for path in sorted(study.iterdir())[:: max(len(list(study.iterdir())) - 1, 1)]
    ]


def errors(path: Path) -> Counter[str]:
    """What dciodvfy calls errors; nothing where it is not installed."""
    if shutil.which("dciodvfy") is None:
        return Counter()
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
    return Counter(line for line in found.stderr.splitlines() if line.startswith("Error"))


def check(path: Path, profile: Profile, scratch: Path) -> bool:
    """De-identify a file and look for what must not be there; False when it may not leave."""
    data = path.read_bytes()
    source = open_source(reader_of(data), len(data))
    known = KeyedPseudonyms(b"k" * 32, {identity_of(source.header): Pseudonym("S-1", "S-1", -77)})
    try:
        _, pieces = deidentify_file(source, profile, known)
    except CannotCleanError:
        return False
    made = scratch / "cleaned.dcm"
    made.write_bytes(b"".join(pieces))
    lower = made.read_bytes().lower()
    for keyword in NAMING:
        for part in str(source.header.get(keyword) or "").replace("^", " ").split():
            assert len(part) < 4 or part.lower().encode() not in lower, (path.name, keyword)
    assert errors(made) - errors(path) == Counter()
    return True


@pytest.mark.parametrize("profile", [BASIC, ALL], ids=["basic", "all options"])
def test_demo_studies_are_cleaned_and_stay_valid(demo: list[Path], profile: Profile, tmp_path: Path) -> None:
    left = [path.parent.name for path in demo if check(path, profile, tmp_path)]
    assert {"dx-hand", "mg", "pt-chest"} <= set(left)


@needs_wg04
def test_objects_of_real_devices_are_cleaned_and_stay_valid(tmp_path: Path) -> None:
    left = {path.name[:2] for path in wg04_files("UNC", "JLSL") if check(path, ALL, tmp_path)}
    assert {"CT", "MR"} <= left
    assert not left & {"US", "VL", "NM"}  # ultrasound without regions, pictures, secondary captures
