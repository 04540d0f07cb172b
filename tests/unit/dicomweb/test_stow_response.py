"""Status and body of Store answers."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pytest
from pydicom.dataset import Dataset

from fileroom.core.identifiers import UID
from fileroom.dicomweb.stow_response import (
    Failed,
    FailureReason,
    Outcome,
    Stored,
    WarningReason,
    store_response_json,
    store_response_xml,
    store_status,
)

ROOT = "http://host/dicom-web"
CT = "1.2.840.10008.5.1.4.1.1.2"
GOOD = Stored(CT, UID("1.4"), UID("1.2"), UID("1.3"))
COERCED = Stored(CT, UID("1.5"), UID("1.2"), UID("1.3"), WarningReason.COERCED)
WRONG_STUDY = Failed(FailureReason.DATA_SET_MISMATCH, "belongs to study 1.9", CT, "1.6")
GARBAGE = Failed(FailureReason.CANNOT_UNDERSTAND, "not a DICOM object")
FULL = Failed(FailureReason.OUT_OF_RESOURCES, "no room", CT, "1.7")


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([GOOD], 200),
        ([GOOD, COERCED], 202),
        ([GOOD, GARBAGE], 202),
        ([GARBAGE], 400),
        ([GARBAGE, WRONG_STUDY], 409),
        ([WRONG_STUDY], 409),
        ([FULL], 503),
        ([FULL, GARBAGE], 409),
        ([Failed(FailureReason.NOT_AUTHORIZED, "", CT, "1.8")], 403),
        ([], 400),
    ],
)
def test_status_tells_what_became_of_the_instances(outcomes: list[Outcome], status: int) -> None:
    assert store_status(outcomes) == status


def test_json_lists_stored_failed_and_unread_instances() -> None:
    body = store_response_json([GOOD, COERCED, WRONG_STUDY, GARBAGE], ROOT).decode()
    found = Dataset.from_json(body)
    assert found.RetrieveURL == f"{ROOT}/studies/1.2"
    first, second = found.ReferencedSOPSequence
    assert first.RetrieveURL == f"{ROOT}/studies/1.2/series/1.3/instances/1.4"
    assert "WarningReason" not in first
    assert second.WarningReason == 0xB000
    (failed,) = found.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.6", 0xA900)
    assert failed.ErrorComment == "belongs to study 1.9"
    (other,) = found.OtherFailuresSequence
    assert other.FailureReason == 0xC000


def test_retrieve_url_of_several_studies_is_empty() -> None:
    found = Dataset.from_json(
        store_response_json([GOOD, Stored(CT, UID("1.5"), UID("1.8"), UID("1.9"))], ROOT).decode()
    )
    assert not found.RetrieveURL
    assert "FailedSOPSequence" not in found


def test_xml_is_a_native_dicom_model_of_the_same() -> None:
    outcomes = [GOOD, Failed(FailureReason.PROCESSING_FAILURE, "a < b & c", CT, "1.6")]
    root = ET.parse(io.BytesIO(store_response_xml(outcomes, ROOT))).getroot()
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    assert root.tag == space + "NativeDicomModel"
    tags = [child.get("tag") for child in root]
    assert tags == ["00081190", "00081198", "00081199"]
    comment = root.find(f".//{space}DicomAttribute[@keyword='ErrorComment']/{space}Value")
    assert comment is not None
    assert comment.text == "a < b & c"
