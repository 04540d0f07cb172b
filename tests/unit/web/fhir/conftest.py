"""An archive with a patient, an order, its study with a report, and a study of somebody else; and asking it as FHIR."""

from __future__ import annotations

import pytest

from fhir_asking import STUDY
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.reports.facts import ReportContent, ReportSection, ReportState
from fileroom.reports.writing import write_version
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, StepFacts
from stored_objects import make_file, store_file


@pytest.fixture
async def filled(archive: Archive) -> Archive:
    """A patient with an order that a study of two series has met, and a study of somebody else."""
    order = OrderFacts(
        placer=Identifier("P77", "RIS", ""),
        accession=Identifier("A123", "RIS", ""),
        study_instance_uid=STUDY,
        procedure=Code("CTCHE", "LOCAL", "CT of the chest"),
        priority="STAT",
        ordering_physician="Amsel^Ruth^^Dr.",
        steps=(StepFacts(modality="CT", station_aets=("CT1",), start="20261122103000"),),
    )
    patient = PatientFacts((Identifier("P1", "HOSPITAL"),), "Müller^Änne^Maria", "19580314", "F")
    with acting_as(SYSTEM):
        async with archive.pool.connection() as connection, connection.transaction():
            await apply_change(archive, connection, PutOrder(order, patient), Cause("test"))
        for series, modality in ((1, "CT"), (2, "SR")):
            await store_file(
                archive,
                make_file(
                    StudyInstanceUID=STUDY, SeriesInstanceUID=f"{STUDY}.{series}", SOPInstanceUID=f"{STUDY}.{series}.1",
                    Modality=modality, PatientID="P1", IssuerOfPatientID="HOSPITAL", AccessionNumber="A123",
                    StudyDate="20261122", StudyTime="103500",
                ),
            )  # fmt: skip
        other = {"StudyInstanceUID": "1.2.3.2", "SeriesInstanceUID": "1.2.3.2.1", "SOPInstanceUID": "1.2.3.2.1.1"}
        await store_file(
            archive, make_file(**other, PatientID="P2", AccessionNumber="B1", StudyDate="20250101", StudyTime="")
        )
        async with archive.pool.connection() as connection:
            await connection.execute(
                b"""INSERT INTO study_match (study_instance_uid, imaging_order, how, score, matched_by)
                    SELECT %s, id, 'study_uid', 100, 'test' FROM imaging_order""",
                (STUDY,),
            )
            cursor = await connection.execute(
                b"""INSERT INTO report (study_instance_uid, imaging_order, patient, accession_number, source, title, created_by,
                        changed_by)
                    SELECT %s, id, patient, 'A123', 'console', 'CT of the chest', 'ada', 'ada' FROM imaging_order
                    RETURNING id""",
                (STUDY,),
            )
            [number] = await cursor.fetchone() or [0]
            for state, findings in ((ReportState.PRELIMINARY, "A nodule."), (ReportState.FINAL, "A nodule of 4 mm.")):
                sections = (ReportSection("Findings", findings), ReportSection("Impression", "Benign."))
                content = ReportContent(sections, author="Amsel^Ruth", signer="Specht^Paul")
                await write_version(connection, number, state, content, who="ada")
    return archive
