"""Performed procedure steps, told by pynetdicom: statuses, what is kept, and what becomes of the order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.sop_class import (
    ModalityPerformedProcedureStep,
    ModalityPerformedProcedureStepRetrieve,
)

from fake_port import FakePort
from fileroom.archive.services import Archive
from fileroom.dicom import uids
from fileroom.dicom.json_model import encode_dataset
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.net.association_handler import Operation
from fileroom.scp.call import Call
from fileroom.scp.performed_step import create_step
from fileroom.ul.negotiation import AcceptedContext
from worklist_rows import add_step, add_step_of

UID = "1.2.3.99"


def begun(*scheduled: tuple[str, str, str], **values: Any) -> Dataset:
    """A data set for N-CREATE. `scheduled`: study, step ID and accession of each scheduled step."""
    items = []
    for study, step, accession in scheduled or (("1.2.1", "S1", "A1"),):
        item = Dataset()
        item.StudyInstanceUID, item.ScheduledProcedureStepID, item.AccessionNumber = study, step, accession
        item.RequestedProcedureID = "RP1"
        item.ReferencedStudySequence = Sequence([])
        items.append(item)
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.ScheduledStepAttributesSequence = Sequence(items)
    dataset.PatientName, dataset.PatientID = "Müller^Jörg", "P1"
    dataset.PerformedProcedureStepID, dataset.PerformedStationAETitle = "PPS1", "CT1"
    dataset.PerformedProcedureStepStartDate, dataset.PerformedProcedureStepStartTime = "20261122", "083100"
    dataset.PerformedProcedureStepStatus, dataset.Modality = "IN PROGRESS", "CT"
    dataset.PerformedSeriesSequence = Sequence([])
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def over(status: str = "COMPLETED", images: int = 2, **values: Any) -> Dataset:
    """A data set for the last N-SET."""
    series = Dataset()
    series.SeriesInstanceUID, series.ProtocolName = "1.2.1.1", "Thorax"
    references = []
    for number in range(images):
        reference = Dataset()
        reference.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        reference.ReferencedSOPInstanceUID = f"1.2.1.1.{number}"
        references.append(reference)
    series.ReferencedImageSequence = Sequence(references)
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepEndDate, dataset.PerformedProcedureStepEndTime = "20261122", "090000"
    dataset.PerformedSeriesSequence = Sequence([series] if images else [])
    for keyword, value in values.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def reason(value: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", "why"
    return Sequence([item])


async def tell(port: int, *messages: tuple[str, Dataset | None], uid: str | None = UID) -> list[Dataset]:
    """Send N-CREATE ("create"), N-SET ("set") and N-GET ("get") one after another; the statuses."""

    def talk() -> list[Dataset]:
        entity = AE(ae_title="CT1")
        entity.add_requested_context(ModalityPerformedProcedureStep)
        entity.add_requested_context(ModalityPerformedProcedureStepRetrieve)
        association = entity.associate("127.0.0.1", port, ae_title="FILEROOM")
        assert association.is_established
        found = []
        for kind, dataset in messages:
            if kind == "create":
                status, _ = association.send_n_create(dataset, ModalityPerformedProcedureStep, uid)
            elif kind == "set":
                status, _ = association.send_n_set(dataset, ModalityPerformedProcedureStep, uid)
            else:
                tags = [0x00100010, 0x00400252]
                status, shown = association.send_n_get(tags, ModalityPerformedProcedureStepRetrieve, uid)
                status.Shown = shown
            found.append(status)
        association.release()
        return found

    return await asyncio.to_thread(talk)


async def states(archive: Archive, order: int = 1) -> list[str]:
    """The states of the order and of its steps."""
    return [
        *(row[0] for row in await rows(archive, "SELECT state FROM imaging_order WHERE id = %s", order)),
        *(
            row[0]
            for row in await rows(
                archive, "SELECT state FROM scheduled_step WHERE imaging_order = %s ORDER BY id", order
            )
        ),
    ]


async def rows(archive: Archive, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode(), parameters)).fetchall()


async def test_a_step_begins_goes_on_and_is_completed(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    began, *_ = await tell(dicom_port, ("create", begun()))
    assert began.Status == 0x0000
    assert await states(archive) == ["in_progress", "in_progress"]
    more = Dataset()
    more.PerformedProcedureStepDescription = "Thorax, größer"
    more.SpecificCharacterSet = "ISO_IR 192"
    done = await tell(dicom_port, ("set", more), ("set", over()))
    assert [status.Status for status in done] == [0x0000, 0x0000]
    assert await states(archive) == ["completed", "completed"]
    [(state, images, order, step, attributes)] = await rows(
        archive, "SELECT state, images, imaging_order, scheduled_step, attributes FROM performed_step"
    )
    assert (state, images, order, step) == ("completed", 2, 1, 1)
    assert attributes["00100010"]["Value"][0]["Alphabetic"] == "Müller^Jörg"
    assert attributes["00400254"]["Value"] == ["Thorax, größer"]


async def test_what_is_over_is_never_changed(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    statuses = await tell(dicom_port, ("create", begun()), ("set", over()), ("set", over("DISCONTINUED")))
    assert statuses[2].Status == 0x0110
    assert statuses[2].ErrorComment == "Performed Procedure Step Object may no longer be updated"
    assert statuses[2].ErrorID == 0xA710
    assert await states(archive) == ["completed", "completed"]


async def test_the_same_uid_twice_and_one_that_nobody_knows(dicom_port: int) -> None:
    statuses = await tell(dicom_port, ("create", begun()), ("create", begun()))
    assert [status.Status for status in statuses] == [0x0000, 0x0111]
    [unknown] = await tell(dicom_port, ("set", over()), uid="1.2.3.100")
    assert unknown.Status == 0x0112


@pytest.mark.parametrize(
    ("values", "status", "tag"),
    [
        ({"PerformedProcedureStepStatus": "COMPLETED"}, 0x0106, 0x00400252),
        ({"PerformedProcedureStepStatus": None}, 0x0120, 0x00400252),
        ({"PerformedProcedureStepID": None}, 0x0120, 0x00400253),
        ({"PerformedStationAETitle": ""}, 0x0121, 0x00400241),
        ({"Modality": None}, 0x0120, 0x00080060),
        ({"ScheduledStepAttributesSequence": None}, 0x0120, 0x00400270),
        ({"ScheduledStepAttributesSequence": Sequence([])}, 0x0121, 0x00400270),
        ({"ScheduledStepAttributesSequence": Sequence([Dataset()])}, 0x0120, 0x0020000D),
        ({"PerformedProcedureStepStartDate": "20261399"}, 0x0106, 0x00400244),
    ],
)
async def test_what_a_step_begins_with(
    archive: Archive, dicom_port: int, values: dict[str, Any], status: int, tag: int
) -> None:
    [answer] = await tell(dicom_port, ("create", begun(**values)))
    assert answer.Status == status
    assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in answer.ErrorComment
    assert await rows(archive, "SELECT 1 FROM performed_step") == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (over(PerformedProcedureStepEndDate=None), 0x0120),
        (over(PerformedProcedureStepEndTime=""), 0x0121),
        (over(images=0), 0x0121),
        (over("DISCONTINUED", images=0), 0x0000),
        (over("DONE"), 0x0106),
        (over(PatientName="Other^Patient"), 0x0105),
        (over(PatientID="P1"), 0x0000),  # said again, not changed
    ],
)
async def test_what_a_step_ends_with(archive: Archive, dicom_port: int, change: Dataset, status: int) -> None:
    _, answer = await tell(dicom_port, ("create", begun()), ("set", change))
    assert answer.Status == status
    [(state,)] = await rows(archive, "SELECT state FROM performed_step")
    assert (state == "in_progress") is (status != 0)


async def test_a_discontinued_step_ends_its_order(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    await tell(dicom_port, ("create", begun()), ("set", over("DISCONTINUED", images=0)))
    assert await states(archive) == ["discontinued", "discontinued"]


async def test_the_wrong_entry_of_the_worklist_gives_the_order_back(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    wrong = over("DISCONTINUED", images=0, PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110514"))
    await tell(dicom_port, ("create", begun()), ("set", wrong))
    assert await states(archive) == ["scheduled", "scheduled"]


async def test_an_order_of_two_steps_is_over_with_the_last(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    await add_step_of(archive, 1, "S2")
    await tell(dicom_port, ("create", begun()), ("set", over()))
    assert await states(archive) == ["in_progress", "completed", "scheduled"]
    await tell(dicom_port, ("create", begun(("1.2.1", "S2", "A1"))), ("set", over()), uid="1.2.3.100")
    assert await states(archive) == ["completed", "completed", "completed"]


async def test_two_performed_steps_of_one_scheduled_step(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    await tell(dicom_port, ("create", begun()))
    await tell(dicom_port, ("create", begun()), ("set", over()), uid="1.2.3.100")
    assert await states(archive) == ["in_progress", "in_progress"]
    await tell(dicom_port, ("set", over("DISCONTINUED")))
    assert await states(archive) == ["completed", "completed"]  # something was done


async def test_one_performed_step_for_two_orders(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    await add_step(archive, 2)
    await tell(dicom_port, ("create", begun(("1.2.1", "S1", "A1"), ("1.2.2", "S2", "A2"))), ("set", over()))
    assert [await states(archive, number) for number in (1, 2)] == [["completed"] * 2] * 2


async def test_a_step_of_an_unknown_order_is_kept_and_meets_it_later(archive: Archive, dicom_port: int) -> None:
    await tell(dicom_port, ("create", begun()))
    assert await rows(archive, "SELECT imaging_order, study_instance_uid FROM performed_step") == [(None, "1.2.1")]
    await add_step(archive, 1)
    await tell(dicom_port, ("set", over()))
    assert await states(archive) == ["completed", "completed"]


async def test_a_modality_that_repeats_only_study_or_accession_is_understood(archive: Archive, dicom_port: int) -> None:
    await add_step(archive, 1)
    await add_step(archive, 2)
    await tell(dicom_port, ("create", begun(("1.2.1", "", ""))))
    await tell(dicom_port, ("create", begun(("1.2.777", "", "A2"))), uid="1.2.3.100")
    assert [await states(archive, number) for number in (1, 2)] == [["in_progress"] * 2] * 2


async def test_the_objects_that_were_made_are_a_hint_for_completeness(
    archive: Archive, dicom_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of all steps of the study, once none of them goes on."""
    monkeypatch.setattr(type(archive.arrivals), "gathers", True)
    await rows(archive, "INSERT INTO gathering (study_instance_uid) VALUES ('1.2.1') RETURNING 1")
    await tell(dicom_port, ("create", begun()))
    await tell(dicom_port, ("create", begun()), ("set", over(images=2)), uid="1.2.3.100")
    assert await rows(archive, "SELECT hints FROM gathering") == [({"mpps": True},)]
    await tell(dicom_port, ("set", over(images=3)))
    assert await rows(archive, "SELECT hints FROM gathering") == [({"mpps": True, "expected": 5},)]


async def test_the_tags_that_are_wrong_are_listed_in_the_answer(archive: Archive) -> None:
    port = FakePort()
    command = CommandSet(CommandField.N_CREATE_RQ, 7, affected_sop_class_uid=uids.MODALITY_PERFORMED_PROCEDURE_STEP)
    context = AcceptedContext(3, uids.MODALITY_PERFORMED_PROCEDURE_STEP, uids.EXPLICIT_VR_LITTLE_ENDIAN)
    dataset = encode_dataset(begun(Modality=None, PerformedProcedureStepID=None))
    await create_step(Call(archive, port, "CT1", "FILEROOM", {}), Operation(context, command, dataset))
    assert port.final.status == 0x0120
    assert port.final.attribute_identifiers == (0x00080060, 0x00400253)


async def test_a_step_can_be_asked_for(dicom_port: int) -> None:
    _, status = await tell(dicom_port, ("create", begun()), ("get", None))
    assert status.Status == 0x0000
    assert (status.Shown.PatientName, status.Shown.PerformedProcedureStepStatus) == ("Müller^Jörg", "IN PROGRESS")
    assert "Modality" not in status.Shown
    [unknown] = await tell(dicom_port, ("get", None), uid="1.2.3.100")
    assert unknown.Status == 0x0112


async def test_nul_and_long_texts_do_no_harm(archive: Archive, dicom_port: int) -> None:
    dataset = begun(PerformedProcedureStepDescription="a\0b", CommentsOnThePerformedProcedureStep="x" * 20_000)
    [answer] = await tell(dicom_port, ("create", dataset))
    assert answer.Status == 0x0000
