"""A day of mixed traffic: CT, MR, ultrasound, a report and a PDF of patients whose names stand wherever a device writes them.

What tells of a patient is known here word by word, so that a test can look for it in what has left the house.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from corpus.ct import make_ct_series, uid_of

CT: Final = "1.2.840.10008.5.1.4.1.1.2"
MR: Final = "1.2.840.10008.5.1.4.1.1.4"
US: Final = "1.2.840.10008.5.1.4.1.1.6.1"
SR: Final = "1.2.840.10008.5.1.4.1.1.88.33"
PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
US_ROWS: Final = 72
US_COLUMNS: Final = 96
US_REGION: Final = (8, 16, 87, 63)
"""Left, top, right, bottom: inclusive, as Region Location (PS3.3 C.8.5.5) has them."""
_CONSONANTS: Final = "bdfgklmnprtvz"
_VOWELS: Final = "aeiou"


@dataclass(frozen=True, slots=True)
class Patient:
    """Somebody who does not exist, with words that stand nowhere else."""

    number: int
    family: str
    given: str
    patient_id: str
    birth_date: str
    study_date: str
    doctor: str
    institution: str
    phone: str

    @property
    def accession(self) -> str:
        """Of all their studies."""
        return f"ACC{self.patient_id[2:]}"

    @property
    def words(self) -> tuple[str, ...]:
        """What must not be read anywhere in what has left, in lower case."""
        made = (self.family, self.given, self.patient_id, self.accession, self.doctor, self.institution, self.phone)
        return tuple(one.lower() for one in made)

    @property
    def dates(self) -> tuple[str, ...]:
        """Dates that must not stand in their own objects, in the ways in which people write them."""
        found = []
        for one in (self.birth_date, self.study_date):
            year, month, day = one[:4], one[4:6], one[6:]
            found += [one, f"{year}-{month}-{day}", f"{day}.{month}.{year}"]
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Sent:
    """One object as it was given to Fileroom. `by`: which sender, an AE title or `stow`."""

    path: Path
    modality: str
    sop_instance_uid: str
    study_instance_uid: str
    patient: Patient
    by: str


def make_patient(number: int) -> Patient:
    """The same number is the same patient."""
    rng = random.Random(f"patient {number}")

    def word(syllables: int) -> str:
        return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables)).capitalize()

    return Patient(
        number,
        word(5),
        word(4),
        f"PX{rng.randrange(10**9, 10**10)}",
        f"19{rng.randrange(20, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}",
        f"2024{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}",
        word(5),
        f"{word(4)} Klinik",
        f"+49 {rng.randrange(10**9, 10**10)}",
    )


def make_ct(folder: Path, patient: Patient, count: int, by: str) -> list[Sent]:
    """Slices of 64 x 64 in Explicit VR Little Endian."""
    return [_written(_slice(path, patient, CT, "CT"), path, patient, by) for path in _slices(folder, patient, count, 1)]


def make_mr(folder: Path, patient: Patient, count: int, by: str) -> list[Sent]:
    """The same as MR, in Implicit VR Little Endian."""
    paths = _slices(folder, patient, count, 2)
    return [_written(_slice(path, patient, MR, "MR"), path, patient, by, ImplicitVRLittleEndian) for path in paths]


def make_us(folder: Path, patient: Patient, count: int, by: str) -> list[Sent]:
    """Colour images with one region, and a burned-in line of text above it (as pixels that are not black)."""
    made = []
    for number in range(1, count + 1):
        ds = _named(Dataset(), patient, US, "US", number, seed=3)
        ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PlanarConfiguration = US_ROWS, US_COLUMNS, 3, 0
        ds.PhotometricInterpretation, ds.BitsAllocated, ds.BitsStored, ds.HighBit = "RGB", 8, 8, 7
        ds.PixelRepresentation, ds.ImageType = 0, ["ORIGINAL", "PRIMARY"]
        region = Dataset()
        region.RegionLocationMinX0, region.RegionLocationMinY0 = US_REGION[:2]
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = US_REGION[2:]
        ds.SequenceOfUltrasoundRegions = [region]
        rng = np.random.default_rng(patient.number * 100 + number)
        ds.PixelData = rng.integers(1, 255, (US_ROWS, US_COLUMNS, 3), np.uint8).tobytes()
        made.append(_written(ds, folder / f"us{number}.dcm", patient, by))
    return made


def make_report(folder: Path, patient: Patient, by: str) -> list[Sent]:
    """A report that names the patient in its text, the physician by a content item, and another UID by a reference."""
    ds = _named(Dataset(), patient, SR, "SR", 1, seed=1)
    ds.SeriesInstanceUID = uid_of("day-series", patient.number, 99)
    text = f"{patient.given} {patient.family} ({patient.patient_id}), born {patient.dates[2]}, was told of a nodule of 7 mm."
    items = [
        _content("TEXT", "121071", TextValue=text),
        _content("TEXT", "121071", TextValue=f"No effusion. See {patient.accession}, read by Dr. {patient.doctor}."),
        _content("PNAME", "121008", PersonName=f"{patient.doctor}^A"),
        _content("DATE", "111060", Date=patient.study_date),
        _content("UIDREF", "121012", UID=ds.StudyInstanceUID),
    ]
    ds.ContentSequence = [_content("CONTAINER", "121070", ContentSequence=items)]
    observer = Dataset()
    observer.VerifyingObserverName, observer.VerifyingOrganization = f"{patient.doctor}^A", patient.institution
    observer.VerificationDateTime = f"{patient.study_date}121500"
    ds.VerifyingObserverSequence = [observer]
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    return [_written(ds, folder / "report.dcm", patient, by)]


def make_pdf(folder: Path, patient: Patient, by: str) -> list[Sent]:
    """A letter: nothing can clean it."""
    ds = _named(Dataset(), patient, PDF, "DOC", 1, seed=5)
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    letter = f"%PDF-1.4 Dear {patient.given} {patient.family}, {patient.patient_id} %%EOF".encode()
    ds.EncapsulatedDocument = letter + b" " * (len(letter) % 2)
    ds.EncapsulatedDocumentLength, ds.DocumentTitle = len(letter), f"Letter to {patient.family}"
    ds.BurnedInAnnotation = "YES"
    return [_written(ds, folder / "letter.dcm", patient, by)]


def _slices(folder: Path, patient: Patient, count: int, seed: int) -> list[Path]:
    return make_ct_series(folder / f"s{seed}", count, 64, 6_000_000 + patient.number * 10 + seed)


def _slice(path: Path, patient: Patient, sop_class: str, modality: str) -> Dataset:
    ds = dcmread(path)
    uid, seed = ds.SOPInstanceUID, 1 if modality == "CT" else 2
    named = _named(ds, patient, sop_class, modality, int(ds.InstanceNumber), seed=seed)
    named.SOPInstanceUID = uid
    return named


def _named(ds: Dataset, patient: Patient, sop_class: str, modality: str, number: int, *, seed: int) -> Dataset:
    """The patient wherever devices write them: modules, sequences, private elements, free text."""
    name = f"{patient.family}^{patient.given}"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid_of("day-instance", patient.number * 10 + seed, number)
    ds.StudyInstanceUID = uid_of("day-study", patient.number, seed)
    ds.SeriesInstanceUID = uid_of("day-series", patient.number, seed)
    ds.Modality, ds.InstanceNumber, ds.SeriesNumber = modality, number, 1
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = name, patient.patient_id, patient.birth_date, "O"
    ds.AccessionNumber, ds.InstitutionName = patient.accession, patient.institution
    ds.ReferringPhysicianName = f"{patient.doctor}^A"
    ds.PatientTelephoneNumbers, ds.OtherPatientNames = patient.phone, name
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = patient.study_date
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101500"
    ds.StudyDescription = f"{modality} of {patient.given} {patient.family}"
    ds.SeriesDescription = f"series {patient.accession}"
    ds.ImageComments = f"{patient.family.upper()}_{patient.given.upper()} geb. {patient.dates[2]} Tel. {patient.phone}"
    ds.Manufacturer, ds.StationName = "ACME", f"{patient.institution.split()[0]}1"[:16]
    asked, step = Dataset(), Dataset()
    step.CodeValue, step.CodingSchemeDesignator, step.CodeMeaning = "X1", "99LOCAL", f"for {patient.family}"
    asked.AccessionNumber, asked.RequestedProcedureDescription = patient.accession, f"asked by {patient.doctor}"
    asked.ScheduledProtocolCodeSequence = [step]
    ds.RequestAttributesSequence = [asked]
    block = ds.private_block(0x0029, "ACME DAY 1.0", create=True)
    block.add_new(0x01, "LO", f"{patient.family}, {patient.given}")
    packed = f"\0{patient.patient_id}\0{patient.phone}\0".encode()
    block.add_new(0x02, "UN", packed + b"\0" * (len(packed) % 2))
    return ds


def _content(kind: str, code: str, **values: object) -> Dataset:
    item, name = Dataset(), Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = code, "DCM", "a concept"
    item.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _written(ds: Dataset, path: Path, patient: Patient, by: str, syntax: str = ExplicitVRLittleEndian) -> Sent:
    list(ds.iterall())  # Values still encoded would keep their encoding.
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = syntax
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"
    out = io.BytesIO()
    ds.save_as(out, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue())
    return Sent(path, str(ds.Modality), str(ds.SOPInstanceUID), str(ds.StudyInstanceUID), patient, by)
