"""De-identification inside of a treatment: first of all, closed when it fails, with pixels blanked and a report."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from fileroom.admin.entries import Entry
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.dicom import uids
from fileroom.routing.deid_projects import put_project
from fileroom.routing.deid_reports import get_report, list_reports
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing
from fileroom.routing.treatment import Treated, compiled_treatment, treat
from fileroom.routing.treatment_fields import checked_treatment
from fileroom.transform.hops import hops_of
from stored_objects import make_file, store_file

OURS = "2.25.77"
US = "1.2.840.10008.5.1.4.1.1.6.1"


@pytest.fixture
async def keeping(archive: Archive, tmp_path: Path) -> Archive:
    """With a data folder of its own for the key, and a project."""
    settings = archive.settings.model_copy(update={"data": tmp_path / "data"})
    made = dataclasses.replace(archive, settings=settings)
    await put_project(made, "TRIAL", {"pseudonym": "TRIAL-{n:03}", "options": ["pixels"]})
    return made


async def treated(archive: Archive, file: bytes, fields: Mapping[str, Any]) -> Treated:
    outcome = await store_file(archive, file)
    (instance,) = await list_instances(archive, Selection(sop_uids=(outcome.sop_instance_uid,)))
    treatment = compiled_treatment(Entry(1, "T", checked_treatment("T", {"deid": "TRIAL", **fields})), OURS)
    (answer,) = await treat(archive, treatment, [StoredOutgoing(archive, 1, instance)], destination="RESEARCH")
    return answer


async def bytes_of(one: OutgoingObject, syntax: str | None = None) -> bytes:
    opened = await one.open(syntax, part10=True)
    return b"".join([piece async for piece in opened.chunks])


def ultrasound() -> tuple[bytes, np.ndarray]:
    dataset = pydicom.dcmread(io.BytesIO(make_file(SOPClassUID=US, Modality="US", Manufacturer="ACME")))
    dataset.Rows, dataset.Columns = 32, 48
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 4, 8
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 43, 31
    dataset.SequenceOfUltrasoundRegions = [region]
    pixels = np.random.default_rng(1).integers(1, 200, (32, 48)).astype(np.uint8)
    dataset.PixelData = pixels.tobytes()
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset)
    return out.getvalue(), pixels


async def test_no_identifier_leaves_and_steps_see_the_pseudonym(keeping: Archive) -> None:
    steps = [{"do": "copy", "from": "PatientID", "attribute": "ClinicalTrialSubjectID"}]
    answer = await treated(keeping, make_file(), {"steps": steps})
    assert not answer.quarantined
    data = await bytes_of(answer.made[0])
    assert b"DOE" not in data
    assert b"1.2.3.1" not in data
    made = pydicom.dcmread(io.BytesIO(data))
    assert made.PatientID == made.ClinicalTrialSubjectID == "TRIAL-001"
    assert made.PixelData == b"\1\2\3\4\5\6\7\x08"
    assert hops_of(made, OURS) == 1


@pytest.mark.parametrize("syntax", ["", uids.JPEG_LS_LOSSLESS])
async def test_blanked_pixels_are_proven_around_the_regions(keeping: Archive, syntax: str) -> None:
    file, pixels = ultrasound()
    answer = await treated(keeping, file, {"syntax": syntax})
    assert not answer.quarantined
    for asked in (None, uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS):
        found = pydicom.dcmread(io.BytesIO(await bytes_of(answer.made[0], asked))).pixel_array
        assert np.array_equal(found[8:32, 4:44], pixels[8:32, 4:44])
        assert not found[:8].any()


async def test_what_cannot_be_cleaned_waits_and_stands_in_the_report(keeping: Archive) -> None:
    pdf = make_file(
        pixels=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", Modality="DOC", EncapsulatedDocument=b"%PDF"
    )
    answer = await treated(keeping, pdf, {})
    assert answer.made == ()
    assert "could not be de-identified" in answer.quarantined
    (report,) = await list_reports(keeping)
    assert (report.destination, report.quarantined) == ("RESEARCH", 1)
    _, (row,) = await get_report(keeping, report.id)
    assert row.sop_instance_uid != "1.2.3.1.1.1"
    assert row.quarantined


async def test_step_that_fails_behind_it_quarantines_too(keeping: Archive) -> None:
    steps = [{"do": "copy", "from": "PatientID", "attribute": "StudyDate"}]
    answer = await treated(keeping, make_file(), {"steps": steps})
    assert answer.made == ()
    assert "Step 1" in answer.quarantined


async def test_treatment_whose_project_is_gone_lets_nothing_through(keeping: Archive) -> None:
    with pytest.raises(NotFoundError):
        await treated(keeping, make_file(), {"deid": "GONE"})
