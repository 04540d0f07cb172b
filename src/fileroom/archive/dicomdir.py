"""The directory of a medium (PS3.3 Annex F, PS3.10 8.6): DICOMDIR records of files, made by pydicom.

Records need attributes that many objects lack. What is missing is made up in the directory, never in the object. An object
that no record can be made of is left out of the file-set, and named.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.fileset import FileSet
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

from fileroom.core.limits import MIB
from fileroom.pixels.header_values import BROKEN

_DICOMDIR: Final = "DICOMDIR"
_DATES: Final = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
_DATE_UNKNOWN: Final = "19000101"
_MADE_UP: Final = {
    "StudyTime": "000000",
    "StudyID": "UNKNOWN",
    "Modality": "OT",
    "SeriesNumber": 0,
    "InstanceNumber": 0,
    "ContentTime": "000000",
    "ContentLabel": "UNNAMED",
    "PresentationCreationTime": "000000",
    "CompletionFlag": "PARTIAL",
    "VerificationFlag": "UNVERIFIED",
    "DoseSummationType": "PLAN",
    "StructureSetLabel": "UNNAMED",
    "MIMETypeOfEncapsulatedDocument": "application/octet-stream",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "NumberOfFrames": 1,
    "Rows": 0,
    "Columns": 0,
    "DataPointRows": 0,
    "DataPointColumns": 0,
}
"""Type 1 attributes of records (PS3.3 F.5) and what stands for them where an object has none."""
_LAST_GROUP_OF_OTHERS: Final = 0x0004
"""Commands, file meta information and directories have groups of their own, which no object should have."""
_MADE_UP_DATES: Final = ("StudyDate", "ContentDate", "PresentationCreationDate", "InstanceCreationDate")
_LEFT_OUT_WHEN_EMPTY: Final = (
    "ReferencedSeriesSequence",
    "BlendingSequence",
    "ContentSequence",
    "ReferencedImageEvidenceSequence",
    "VerificationDateTime",
    "HL7InstanceIdentifier",
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object that a medium cannot have, and why."""

    sop_instance_uid: str
    reason: str


def make_file_set(folder: Path, objects: Mapping[Path, str]) -> list[LeftOut]:
    """Move the files to where a medium has them below `folder`, and write its DICOMDIR last.

    `objects` are files, on the file system of `folder`, and their SOP Instance UIDs. Returns those that cannot stand in a
    DICOMDIR; their files stay where they are. When none can, nothing is written.
    """
    left_out: list[LeftOut] = []
    added: dict[str, Path] = {}
    # What pydicom says about odd values names patients.
    with warnings.catch_warnings(), _file_set() as file_set:
        warnings.simplefilter("ignore")
        for path, uid in objects.items():
            try:
                added[_add_record(file_set, path)] = path
            except (RecursionError, OSError, *BROKEN) as error:  # pydicom's words for what it cannot read or write
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # The disk's own word: it is full, or away.
                _take_out(file_set, uid)
                left_out.append(LeftOut(uid, f"it cannot stand in a DICOMDIR: {error}"))
        if not added:
            return left_out
        file_set.write(folder)  # headers only; the files themselves follow
        unfinished = folder / f"{_DICOMDIR}.part"
        (folder / _DICOMDIR).rename(unfinished)
        for instance in file_set:
            added[instance.SOPInstanceUID].replace(instance.path)
        unfinished.rename(folder / _DICOMDIR)
    return left_out


@contextmanager
def _file_set() -> Iterator[FileSet]:
    """One whose temporary folder is not left to the garbage collector."""
    file_set = FileSet()
    try:
        yield file_set
    finally:
        file_set._stage["t"].cleanup()


def _add_record(file_set: FileSet, path: Path) -> str:
    """The SOP Instance UID of the file, whose header is now in the file-set."""
    header = pydicom.dcmread(path, stop_before_pixels=True, defer_size=MIB)
    uid = str(header.SOPInstanceUID)
    for tag in list(header.keys()):
        # One broken attribute must not keep an object from the medium: it is only missing in the directory.
        if not _can_be_written(header, tag):
            del header[tag]
    _make_up(header)
    file_set.add(header)
    return uid


def _take_out(file_set: FileSet, uid: str) -> None:
    """An object may have failed after its record was made: it must not stand there without its file."""
    for instance in [instance for instance in file_set if instance.SOPInstanceUID == uid]:
        file_set.remove(instance)


def _can_be_written(header: Dataset, tag: BaseTag) -> bool:
    if tag.group <= _LAST_GROUP_OF_OTHERS:
        return False
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    try:
        element = header[tag]
        # Made anew, for pydicom looks at what it is given more closely than at what it reads.
        write_dataset(stream, Dataset({tag: DataElement(tag, element.VR, element.value)}))
    except (RecursionError, *BROKEN):
        return False
    return str(element.VR) != "UN"  # pydicom's way to say that a value is none of its VR


def _make_up(header: Dataset) -> None:
    for keyword in _LEFT_OUT_WHEN_EMPTY:
        if keyword in header and not header[keyword].VM:
            delattr(header, keyword)
    dates = (str(header.get(keyword) or "") for keyword in _DATES)
    day = next((date for date in dates if date), _DATE_UNKNOWN)
    # Patients without an ID must not become one patient. Palettes and templates belong to no study.
    study = header.get("StudyInstanceUID") or header.SOPInstanceUID
    missing = _MADE_UP | dict.fromkeys(_MADE_UP_DATES, day) | {"PatientID": f"UNKNOWN {study}"[:64]}
    for keyword, value in missing.items():
        if keyword not in header or not header[keyword].VM:
            setattr(header, keyword, value)
    if "ConceptNameCodeSequence" not in header or not header.ConceptNameCodeSequence:
        header.ConceptNameCodeSequence = [_no_title()]


def _no_title() -> Dataset:
    """The title of a document that has none (DCM 121144, Document Title)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "121144", "DCM", "Document Title"
    return code
