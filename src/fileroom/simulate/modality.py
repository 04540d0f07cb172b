"""A simulated modality: asks its worklist, tells what it performs (MPPS), sends its images. All over DICOM."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.errors import PeerError, PeerRefusedError, told
from fileroom.core.identifiers import AETitle
from fileroom.dicom import uids
from fileroom.dicom.identifier import decode_identifier
from fileroom.dicom.json_model import encode_dataset
from fileroom.net.association_client import ClientAssociation, ProposedContext, connect
from fileroom.simulate.images import PERFORMED_STEP, SOP_CLASSES, make_images, reference
from fileroom.simulate.plan import Story, Twist

WORKLIST: Final = "1.2.840.10008.5.1.4.31"
_EXPLICIT: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN,)
_PENDING: Final = (0xFF00, 0xFF01)


@dataclass(frozen=True, slots=True)
class Archive:
    """The system under trial."""

    host: str
    port: int
    aet: str


async def examine(archive: Archive, story: Story, now: dt.datetime) -> int:
    """Make the images of a story; returns how many were kept. Raises PeerError when something is refused."""
    modality = story.procedure.modality
    classes = (WORKLIST, PERFORMED_STEP, SOP_CLASSES[modality])
    async with connect(
        archive.host,
        archive.port,
        calling_aet=AETitle(story.procedure.station_aet),
        called_aet=AETitle(archive.aet),
        contexts=[ProposedContext(one, _EXPLICIT) for one in classes],
    ) as association:
        entry = None
        if story.image_study_uid == story.study_uid:
            entry = await _ask_worklist(association, story, now)
            if entry is None:
                raise PeerError(
                    told(
                        "{accession} is not on the worklist of {aet}.",
                        accession=story.accession,
                        aet=story.procedure.station_aet,
                    )
                )
        step_uid = _step_uid(story) if entry is not None else ""
        images = list(make_images(story, entry, now, step_uid))
        if entry is not None:
            await _begin_step(association, story, entry, step_uid, now)
        for image in images:
            response = await association.store(
                image.SOPClassUID, image.SOPInstanceUID, _EXPLICIT[0], encode_dataset(image)
            )
            _require(response.status, "C-STORE")
        if entry is not None:
            await _end_step(association, story, step_uid, images, now)
    return len(images)


async def _ask_worklist(association: ClientAssociation, story: Story, now: dt.datetime) -> Dataset | None:
    """The entry of the story among those of this modality around today, as a technologist would pick it from the list."""
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"),
        *("StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription", "ReferringPhysicianName"),
    ):
        setattr(asked, keyword, "")
    step = Dataset()
    step.Modality, step.ScheduledStationAETitle = story.procedure.modality, story.procedure.station_aet
    days = (now - dt.timedelta(days=1), now + dt.timedelta(days=1))
    step.ScheduledProcedureStepStartDate = "-".join(day.strftime("%Y%m%d") for day in days)
    step.ScheduledProcedureStepStartTime = step.ScheduledProcedureStepID = step.ScheduledProcedureStepDescription = ""
    asked.ScheduledProcedureStepSequence = [step]
    found = None
    async with contextlib.aclosing(association.find(WORKLIST, encode_dataset(asked))) as responses:
        async for response in responses:
            if response.status in _PENDING and response.dataset:
                entry = decode_identifier(bytes(response.dataset), _EXPLICIT[0])
                if entry.get("AccessionNumber") == story.accession:
                    found = entry
            else:
                _require(response.status, "C-FIND of the worklist")
    return found


async def _begin_step(
    association: ClientAssociation, story: Story, entry: Dataset, step_uid: str, now: dt.datetime
) -> None:
    """N-CREATE: in progress (PS3.4 table F.7.2-1)."""
    step = Dataset()
    step.SpecificCharacterSet = "ISO_IR 192"
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.ReferencedStudySequence = entry.StudyInstanceUID, []
    scheduled.AccessionNumber, scheduled.RequestedProcedureID = (
        entry.AccessionNumber,
        entry.get("RequestedProcedureID", ""),
    )
    scheduled.RequestedProcedureDescription = entry.get("RequestedProcedureDescription", "")
    scheduled.ScheduledProcedureStepID = entry.ScheduledProcedureStepSequence[0].get("ScheduledProcedureStepID", "")
    scheduled.ScheduledProcedureStepDescription, scheduled.ScheduledProtocolCodeSequence = "", []
    step.ScheduledStepAttributesSequence = [scheduled]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(step, keyword, entry.get(keyword, ""))
    step.ReferencedPatientSequence = []
    step.PerformedProcedureStepID = f"P{story.number}"
    step.PerformedStationAETitle, step.PerformedStationName = story.procedure.station_aet, story.procedure.station_aet
    step.PerformedLocation, step.Modality, step.StudyID = "", story.procedure.modality, ""
    step.PerformedProcedureStepStartDate = now.strftime("%Y%m%d")
    step.PerformedProcedureStepStartTime = now.strftime("%H%M%S")
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedProcedureStepDescription, step.PerformedProcedureTypeDescription = story.procedure.meaning, ""
    step.ProcedureCodeSequence = []
    step.PerformedProcedureStepEndDate = step.PerformedProcedureStepEndTime = ""
    step.PerformedProtocolCodeSequence, step.PerformedSeriesSequence = [], []
    response = await association.n_create(PERFORMED_STEP, step_uid, encode_dataset(step))
    _require(response.status, "N-CREATE of the performed step")


async def _end_step(
    association: ClientAssociation, story: Story, step_uid: str, images: list[Dataset], now: dt.datetime
) -> None:
    """N-SET: completed or discontinued, with the images that were made."""
    series = Dataset()
    series.SeriesInstanceUID, series.SeriesDescription = images[0].SeriesInstanceUID, images[0].SeriesDescription
    series.ProtocolName, series.OperatorsName, series.PerformingPhysicianName = story.procedure.meaning, "", ""
    series.RetrieveAETitle = ""
    series.ReferencedImageSequence = [reference(one.SOPClassUID, one.SOPInstanceUID) for one in images]
    series.ReferencedNonImageCompositeSOPInstanceSequence = []
    end = Dataset()
    end.SpecificCharacterSet = "ISO_IR 192"
    end.PerformedProcedureStepStatus = "DISCONTINUED" if story.twist is Twist.DISCONTINUED else "COMPLETED"
    end.PerformedProcedureStepEndDate, end.PerformedProcedureStepEndTime = (
        now.strftime("%Y%m%d"),
        now.strftime("%H%M%S"),
    )
    end.PerformedSeriesSequence = [series]
    response = await association.n_set(PERFORMED_STEP, step_uid, encode_dataset(end))
    _require(response.status, "N-SET of the performed step")


def _step_uid(story: Story) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(story.study_uid.encode()).digest()[:15])}"


def _require(status: int, what: str) -> None:
    if status != 0 and status & 0xF000 != 0xB000:
        raise PeerRefusedError(told("{what} was answered with {status}.", what=what, status=f"{status:04X}H"))
