"""Small images with the attributes that modalities write: enough for an archive, nothing for the eye."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset

from fileroom.simulate.plan import AUTHORITY, Story

SIZE_PX: Final = 64
SOP_CLASSES: Final = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
}
"""By modality."""


def make_images(story: Story, entry: Dataset | None, start: dt.datetime, step_uid: str) -> Iterator[Dataset]:
    """The images of a story in one series. `entry`: what the worklist said, None if it was not asked."""
    series_uid = f"{story.image_study_uid}.1"
    for number in range(1, story.images_made + 1):
        image = _identified(story, entry)
        image.SOPClassUID = SOP_CLASSES[story.procedure.modality]
        image.SOPInstanceUID = f"{series_uid}.{number}"
        image.SeriesInstanceUID, image.SeriesNumber, image.InstanceNumber = series_uid, 1, number
        image.StudyDate = image.SeriesDate = image.ContentDate = start.strftime("%Y%m%d")
        image.StudyTime = image.SeriesTime = image.ContentTime = start.strftime("%H%M%S")
        image.Modality, image.BodyPartExamined = story.procedure.modality, story.procedure.body_part
        image.Manufacturer, image.StationName = "Fileroom simulation", story.procedure.station_aet
        image.InstitutionName, image.SeriesDescription = "Simulated hospital", story.procedure.meaning
        image.ImageType = ["ORIGINAL", "PRIMARY"]
        if step_uid:
            image.ReferencedPerformedProcedureStepSequence = [reference(PERFORMED_STEP, step_uid)]
        _draw(image, story.number * 1000 + number)
        yield image


PERFORMED_STEP: Final = "1.2.840.10008.3.1.2.3.3"


def reference(sop_class: str, sop_instance: str) -> Dataset:
    """An item that refers to an object."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def _identified(story: Story, entry: Dataset | None) -> Dataset:
    """Patient and study: taken from the worklist entry, or as they were typed in."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    person = story.known_as
    if entry is None:
        image.PatientID, image.PatientName = person.patient_id, person.name
        image.IssuerOfPatientID = "" if person is story.second else AUTHORITY
        image.PatientBirthDate, image.PatientSex = person.birth_date, person.sex
        image.StudyInstanceUID, image.StudyID = story.image_study_uid, ""
        image.AccessionNumber = story.accession if story.twist == "late_order" else ""
        image.StudyDescription, image.ReferringPhysicianName = story.procedure.meaning, ""
        return image
    step = entry.ScheduledProcedureStepSequence[0]
    for keyword in (
        "PatientID",
        "IssuerOfPatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "AccessionNumber",
    ):
        setattr(image, keyword, entry.get(keyword, ""))
    image.StudyInstanceUID, image.StudyID = entry.StudyInstanceUID, entry.get("RequestedProcedureID", "")
    image.StudyDescription = entry.get("RequestedProcedureDescription", "")
    image.ReferringPhysicianName = entry.get("ReferringPhysicianName", "")
    request = Dataset()
    request.RequestedProcedureID = entry.get("RequestedProcedureID", "")
    request.ScheduledProcedureStepID = step.get("ScheduledProcedureStepID", "")
    request.AccessionNumber = entry.get("AccessionNumber", "")
    image.RequestAttributesSequence = [request]
    return image


def _draw(image: Dataset, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a picture, no secret
    rows: Any = np.arange(SIZE_PX)[:, None] * chance.randint(1, 5)
    columns: Any = np.arange(SIZE_PX)[None, :] * chance.randint(1, 5)
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows = image.Columns = SIZE_PX
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    if image.Modality == "CT":
        image.RescaleIntercept, image.RescaleSlope = "-1024", "1"
    image.add_new(0x7FE00010, "OW", ((rows + columns) % 4096).astype("<u2").tobytes())
