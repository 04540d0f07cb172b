"""Workitems for tests, as pydicom's data sets and as DICOM JSON."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.dicom.json_model import JsonObject

UID = "1.2.3.4.5"
TRANSACTION = "1.2.3.4.99"


def code(value: str, meaning: str = "", scheme: str = "99TEST") -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning or value
    return item


def workitem(**values: Any) -> Dataset:
    """A data set that makes a workitem; None leaves an attribute out."""
    request = Dataset()
    request.StudyInstanceUID, request.AccessionNumber, request.RequestedProcedureID = "1.2.1", "A1", "RP1"
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID = "Müller^Jörg", "P1"
    dataset.ProcedureStepState = "SCHEDULED"
    dataset.ScheduledProcedureStepPriority = "MEDIUM"
    dataset.ProcedureStepLabel, dataset.WorklistLabel = "Segment the liver", "Liver"
    dataset.ScheduledProcedureStepStartDateTime = "20261123090000"
    dataset.InputReadinessState = "READY"
    dataset.ScheduledWorkitemCodeSequence = Sequence([code("110004", "Image Processing", "DCM")])
    dataset.ScheduledStationNameCodeSequence = Sequence([code("ALGO1")])
    dataset.ReferencedRequestSequence = Sequence([request])
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def performed() -> Dataset:
    """A change that meets what a completed workitem needs."""
    item = Dataset()
    item.PerformedStationNameCodeSequence = Sequence([code("ALGO1")])
    item.PerformedProcedureStepStartDateTime = "20261123090100"
    item.PerformedProcedureStepEndDateTime = "20261123090500"
    item.PerformedWorkitemCodeSequence = Sequence([code("110004", "Image Processing", "DCM")])
    item.OutputInformationSequence = Sequence([])
    dataset = Dataset()
    dataset.UnifiedProcedureStepPerformedProcedureSequence = Sequence([item])
    return dataset


def progress(percent: str, words: str = "") -> Dataset:
    """A change that tells how far it is."""
    item = Dataset()
    item.ProcedureStepProgress, item.ProcedureStepProgressDescription = percent, words
    dataset = Dataset()
    dataset.ProcedureStepProgressInformationSequence = Sequence([item])
    return dataset


def json_of(dataset: Dataset) -> JsonObject:
    """As a web client sends it."""
    found = dataset.to_json_dict()
    found.pop("00080005", None)
    return dict(found)
