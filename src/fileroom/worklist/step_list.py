"""The worklist for people: what a modality, or everybody, would be answered, as lines."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.worklist.step_rows import Step
from fileroom.worklist.steps import find_steps, read_question
from fileroom.worklist.worklist_views import EVERYTHING, RESULTS_MAX, read_view

LINES_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class WorklistLine:
    """A scheduled step. Dates, times and names in DICOM's forms."""

    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    procedure_id: str
    procedure: str
    step_id: str
    description: str
    modality: str
    station_aets: tuple[str, ...]
    location: str
    start_date: str
    start_time: str
    priority: str
    state: str
    study_instance_uid: str


async def list_worklist(
    archive: Archive, *, caller: str = "", modality: str = "", date: str = "", limit: int = LINES_MAX
) -> list[WorklistLine]:
    """The steps that `caller` (an AE title; empty: everybody) sees, in the order of their start.

    `modality` and `date` (DA or a range) narrow it, as keys of a question. Raises InvalidRequestError, NotAllowedError,
    DatabaseError.
    """
    require(Permission.ORDER_READ)
    view = await read_view(archive.pool, caller) if caller else EVERYTHING
    item, identifier = Dataset(), Dataset()
    item.Modality, item.ScheduledProcedureStepStartDate = modality, date
    identifier.ScheduledProcedureStepSequence = Items([item])
    question = read_question(identifier, caller)
    view = replace(view, results_max=min(view.results_max, limit, RESULTS_MAX))
    found: list[WorklistLine] = []
    async with aclosing(find_steps(archive, question, view)) as steps:
        async for step in steps:
            found.append(_line(step))
            if len(found) == view.results_max:
                break
    return found


def _line(step: Step) -> WorklistLine:
    return WorklistLine(
        step.patient_id,
        step.patient_name,
        step.birth_date,
        step.sex,
        step.accession_number,
        step.procedure_id,
        step.procedure_meaning or step.procedure_code,
        step.step_id,
        step.description,
        step.modality,
        step.station_aets,
        step.step_location,
        step.start_date,
        step.start_time,
        step.priority,
        step.state,
        step.study_instance_uid,
    )
