"""What every object that is made of a report begins with: patient, study, series and equipment (PS3.3 A.35.1, A.45.1).

Texts are those that the study is shown with. A value that does not fit its VR is left empty rather than the report unmade.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.identifiers import IMPLEMENTATION_VERSION_NAME
from fileroom.dicom.charset import clean
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.reports.headings import Concept
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.subject import Subject

MANUFACTURER: Final = "Fileroom"
SERIES_NUMBERS: Final = {"sr": 9801, "pdf": 9802}
"""Above what modalities give, so that the images come first."""
_FORMS: Final = {
    "DA": re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"),
    "TM": re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?"),
    "AS": re.compile(r"[0-9]{3}[DWMY]"),
    "CS": re.compile(r"[A-Z0-9 _]{0,16}"),
}
_LIMITS: Final = {"PN": 64, "LO": 64, "SH": 16, "ST": 1024}


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An object that an earlier version was made into."""

    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Made:
    """The object that is made: its UIDs, when, and what it takes the place of. `made_at` has an offset."""

    kind: str
    """`sr` or `pdf`."""
    sop_instance_uid: str
    series_instance_uid: str
    made_at: dt.datetime
    language: str = "en"
    """RFC 5646, of the report's words."""
    predecessor: Predecessor | None = None


def begin_document(version: ReportVersion, subject: Subject, made: Made, sop_class: str) -> Dataset:
    """The modules that SR documents and encapsulated documents share."""
    dataset = Dataset()
    day, time = _day_and_time(made.made_at)
    for keyword, value in (
        ("SpecificCharacterSet", "ISO_IR 192"),
        ("SOPClassUID", sop_class),
        ("SOPInstanceUID", made.sop_instance_uid),
        ("InstanceCreationDate", day),
        ("InstanceCreationTime", time),
        ("TimezoneOffsetFromUTC", f"{made.made_at:%z}"[:5]),
        ("PatientName", subject.patient_name),
        ("PatientID", subject.patient_id),
        ("PatientBirthDate", subject.birth_date),
        ("PatientSex", subject.sex),
        ("StudyInstanceUID", subject.study_instance_uid),
        ("StudyDate", subject.study_date),
        ("StudyTime", subject.study_time),
        ("ReferringPhysicianName", subject.referring_physician),
        ("StudyID", subject.study_id),
        ("AccessionNumber", subject.accession_number),
        ("Modality", "SR" if made.kind == "sr" else "DOC"),
        ("SeriesInstanceUID", made.series_instance_uid),
        ("SeriesNumber", SERIES_NUMBERS[made.kind]),
        ("SeriesDescription", "Report" if made.kind == "sr" else "Report (PDF)"),
        ("SeriesDate", day),
        ("SeriesTime", time),
        ("Manufacturer", MANUFACTURER),
        ("ManufacturerModelName", MANUFACTURER),
        ("SoftwareVersions", IMPLEMENTATION_VERSION_NAME),
        ("InstanceNumber", version.version),
        ("ContentDate", day),
        ("ContentTime", time),
    ):
        put(dataset, keyword, value)
    for keyword, text in (
        ("IssuerOfPatientID", subject.patient_issuer),
        ("PatientAge", subject.age),
        ("StudyDescription", subject.description),
        ("InstitutionName", subject.institution),
    ):
        if text:
            put(dataset, keyword, text)
    return dataset


def title_of(report: ReportRow, subject: Subject) -> str:
    """What the report is called."""
    return report.title or subject.description or "Report"


def put(dataset: Dataset, keyword: str, value: object) -> None:
    """Set an element; a text is cleaned and cut to what its VR holds, and left empty where it is none of that VR."""
    if isinstance(value, str):
        value = fitting(keyword, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            setattr(dataset, keyword, value)
        except (ValueError, TypeError, UserWarning):
            setattr(dataset, keyword, None)


def fitting(keyword: str, text: str) -> str:
    """One value of one line."""
    tag = tag_of(keyword)
    vr = "" if tag is None else vr_of(tag)
    chars_max = _LIMITS.get(vr)
    cleaned = clean(text)
    if vr in _FORMS:
        return cleaned if _FORMS[vr].fullmatch(cleaned) else ""
    if chars_max is None:
        return cleaned
    if vr == "PN":
        return "=".join(part[:chars_max] for part in cleaned.replace("\\", " ").split("=")[:3])
    return cleaned.replace("\\", "/")[:chars_max].strip()


def coded(concept: Concept) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue = concept.value
    item.CodingSchemeDesignator = concept.scheme
    item.CodeMeaning = concept.meaning
    return item


def date_time(moment: dt.datetime) -> str:
    """DT with its offset."""
    return f"{moment:%Y%m%d%H%M%S%z}"[:19]


def _day_and_time(moment: dt.datetime) -> tuple[str, str]:
    return f"{moment:%Y%m%d}", f"{moment:%H%M%S}"
