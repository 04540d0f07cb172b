"""pynetdicom as another archive that answers searches: as slowly, and with as much of a worklist, as a test wants."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from acceptance.programs.processes import LOOPBACK, free_ports

STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"
VERIFICATION: Final = "1.2.840.10008.1.1"


@dataclass(slots=True)
class QueryArchive:
    """What it answers to every search, and what it was asked. While `hold` is not set it says nothing."""

    aet: str
    port: int
    answers: Sequence[Dataset]
    hold: threading.Event = field(default_factory=threading.Event)
    asked: list[Dataset] = field(default_factory=list)

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """Answer one C-FIND."""
        self.asked.append(event.identifier)
        self.hold.wait(60)
        for answer in self.answers:
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, answer


@contextlib.contextmanager
def query_archive(aet: str, answers: Sequence[Dataset], *, holds: bool = False) -> Iterator[QueryArchive]:
    """A running archive. With `holds` it takes questions and does not answer."""
    (port,) = free_ports(1)
    archive = QueryArchive(aet, port, answers)
    if not holds:
        archive.hold.set()
    ae = AE(ae_title=aet)
    for sop_class in (STUDY_ROOT_FIND, WORKLIST_FIND, VERIFICATION):
        ae.add_supported_context(sop_class)
    handlers: list[Any] = [(evt.EVT_C_FIND, archive.find)]
    server = ae.start_server((LOOPBACK, port), block=False, evt_handlers=handlers)
    try:
        yield archive
    finally:
        archive.hold.set()
        server.shutdown()


def worklist_entry(patient_id: str, step_id: str, study_uid: str) -> Dataset:
    """One scheduled step."""
    step = Dataset()
    step.Modality, step.ScheduledProcedureStepID = "CT", step_id
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20260101", "080000"
    step.ScheduledStationAETitle = "CT1"
    entry = Dataset()
    entry.PatientName, entry.PatientID, entry.StudyInstanceUID = "Planned^Patient", patient_id, study_uid
    entry.AccessionNumber = f"A{step_id}"
    entry.ScheduledProcedureStepSequence = [step]
    return entry
