"""pydicom's bundled files in the archive, with their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file

from fileroom.archive.services import Archive
from stored_objects import store_file

ROOT = "/dicom-web"


@dataclass(frozen=True)
class Bundled:
    """A stored file: its bytes, its data set as pydicom reads it, and where DICOMweb has it."""

    file: bytes
    data: pydicom.Dataset
    study: str
    series: str
    instance: str


async def store_bundled(archive: Archive, name: str) -> Bundled:
    """Store one of pydicom's own files."""
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    file = Path(str(path)).read_bytes()
    data = pydicom.dcmread(str(path))
    await store_file(archive, file)
    study = f"{ROOT}/studies/{data.StudyInstanceUID}"
    series = f"{study}/series/{data.SeriesInstanceUID}"
    return Bundled(file, data, study, series, f"{series}/instances/{data.SOPInstanceUID}")
