"""The modules that every object of a study shares (PS3.3 C.7): patient, study, series, equipment, SOP common, frame.

UIDs are hashes of the seed and of the object's name (PS3.5 B.2), so an object keeps its UID whichever subset is made,
and one object can refer to another without having seen it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from fileroom.demo.people import ISSUER, Device, Person


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        """The item of a code sequence."""
        ds = Dataset()
        ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = self.value, self.scheme, self.meaning
        return ds


@dataclass(frozen=True, slots=True)
class Study:
    """One study of one person."""

    key: str
    seed: int
    person: Person
    moment: dt.datetime
    number: int
    description: str
    body_part: str
    reason: str
    requested: Code

    @property
    def accession(self) -> str:
        """Accession number, as a hospital information system counts: year and running number."""
        return f"{self.moment:%y}{self.number:06d}"

    def uid(self, *names: object) -> str:
        """The UID of something in this study."""
        return uid_of(self.seed, self.key, *names)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: `key` names it within its study."""

    key: str
    number: int
    modality: str
    description: str
    device: Device
    minutes: int = 0
    """Minutes after the start of the study."""
    protocol: str = ""
    laterality: str | None = None
    patient_position: str | None = None


def uid_of(seed: int, *names: object) -> str:
    """A UID under 2.25, the same for the same seed and names."""
    text = "/".join(str(name) for name in ("fileroom-demo", seed, *names))
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=5).int}"


def instance_uid(study: Study, series: Series, number: int) -> str:
    """The SOP Instance UID of the object with this number in a series."""
    return study.uid(series.key, number)


def series_uid(study: Study, series: Series) -> str:
    """The Series Instance UID."""
    return study.uid(series.key)


def start_object(study: Study, series: Series, sop_class: str, number: int, seconds: float = 0.0) -> Dataset:
    """A data set with the modules common to all objects; `seconds` is the time since the series began."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.SourceApplicationEntityTitle = series.device.ae_title
    person = study.person
    ds.SpecificCharacterSet = list(person.character_set) if len(person.character_set) > 1 else person.character_set[0]
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = instance_uid(study, series, number)
    ds.InstanceNumber = str(number)
    ds.TimezoneOffsetFromUTC = "+0100"
    began = study.moment + dt.timedelta(minutes=series.minutes)
    made = began + dt.timedelta(seconds=seconds)
    ds.InstanceCreationDate, ds.InstanceCreationTime = da(made), tm(made)
    ds.ContentDate, ds.ContentTime = da(made), tm(made)
    _add_patient(ds, study)
    _add_study(ds, study)
    _add_series(ds, study, series, began)
    _add_equipment(ds, study, series.device)
    return ds


def add_frame_of_reference(ds: Dataset, study: Study, name: str = "frame") -> None:
    """Frame of Reference module (C.7.4.1)."""
    ds.FrameOfReferenceUID = study.uid(name)
    ds.PositionReferenceIndicator = ""


def sequence(*items: Dataset) -> Sequence:
    """A sequence of these items."""
    return Sequence(list(items))


def reference(sop_class: str, instance: str) -> Dataset:
    """An item that refers to an object (PS3.3 10.3)."""
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = sop_class, instance
    return ds


def da(moment: dt.datetime) -> str:
    """A moment as VR DA."""
    return f"{moment:%Y%m%d}"


def tm(moment: dt.datetime) -> str:
    """A moment as VR TM, to the millisecond."""
    return f"{moment:%H%M%S}.{moment.microsecond // 1000:03d}"


def ds_text(value: float) -> str:
    """A number as VR DS: at most 16 characters."""
    return f"{value:.6f}".rstrip("0").rstrip(".") if value else "0"


def _add_patient(ds: Dataset, study: Study) -> None:
    person = study.person
    ds.PatientName = person.name
    ds.PatientID = person.patient_id
    ds.IssuerOfPatientID = ISSUER
    ds.PatientBirthDate = f"{person.birth:%Y%m%d}"
    ds.PatientSex = person.sex
    day = study.moment.date()
    years = day.year - person.birth.year - ((day.month, day.day) < (person.birth.month, person.birth.day))
    ds.PatientAge = f"{years:03d}Y"
    ds.PatientSize, ds.PatientWeight = ds_text(person.height_m), ds_text(person.weight_kg)


def _add_study(ds: Dataset, study: Study) -> None:
    ds.StudyInstanceUID = study.uid()
    ds.StudyDate, ds.StudyTime = da(study.moment), tm(study.moment)
    ds.AccessionNumber = study.accession
    ds.StudyID = f"S{study.number}"
    ds.StudyDescription = study.description
    ds.ReferringPhysicianName = study.person.referrer
    ds.ReasonForVisit = study.reason
    ds.ProcedureCodeSequence = sequence(study.requested.item())


def _add_series(ds: Dataset, study: Study, series: Series, began: dt.datetime) -> None:
    ds.Modality = series.modality
    ds.SeriesInstanceUID = series_uid(study, series)
    ds.SeriesNumber = str(series.number)
    ds.SeriesDescription = series.description
    ds.SeriesDate, ds.SeriesTime = da(began), tm(began)
    if series.protocol:
        ds.ProtocolName = series.protocol
    if series.laterality is not None:
        ds.Laterality = series.laterality
    if series.patient_position is not None:
        ds.PatientPosition = series.patient_position
    ds.BodyPartExamined = study.body_part
    ds.OperatorsName = "Technician^Taylor"
    ds.PerformedProcedureStepStartDate, ds.PerformedProcedureStepStartTime = da(study.moment), tm(study.moment)
    ds.PerformedProcedureStepID = f"PPS{study.number}"
    ds.PerformedProcedureStepDescription = study.description
    asked = Dataset()
    asked.RequestedProcedureID = f"RP{study.number}"
    asked.AccessionNumber = study.accession
    asked.RequestedProcedureDescription = study.description
    asked.ReasonForTheRequestedProcedure = study.reason
    asked.ScheduledProcedureStepID = f"SPS{study.number}"
    asked.ScheduledProcedureStepDescription = study.description
    asked.RequestedProcedureCodeSequence = sequence(study.requested.item())
    ds.RequestAttributesSequence = sequence(asked)


def _add_equipment(ds: Dataset, study: Study, device: Device) -> None:
    ds.Manufacturer = device.manufacturer
    ds.ManufacturerModelName = device.model
    ds.DeviceSerialNumber = device.serial
    ds.SoftwareVersions = device.software
    ds.StationName = device.station
    ds.InstitutionName = study.person.institution
    ds.InstitutionalDepartmentName = device.department
