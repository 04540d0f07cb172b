"""The worklist over the network: character sets, limits, cancelling, the question kept, and other worklists beside ours."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from fake_port import FakePort
from fileroom.admin.node_fields import Node
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.dicom import uids
from fileroom.dicom.identifier import decode_identifier
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.routing.worklist_proxy import WorklistAnswer
from fileroom.scp import worklist as worklist_module
from fileroom.scp.call import Call
from fileroom.scp.worklist import find_worklist
from fileroom.ul.negotiation import AcceptedContext
from fileroom.worklist.query_log import list_queries
from fileroom.worklist.worklist_views import put_view
from worklist_rows import add_patient, add_step

IMPLICIT, EXPLICIT, BIG = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN


def question(charset: str | None = None, step: dict[str, Any] | None = None, **keys: Any) -> Dataset:
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset
    for keyword, value in {"PatientName": "", "PatientID": "", "StudyInstanceUID": "", **keys}.items():
        setattr(dataset, keyword, value)
    item = Dataset()
    for keyword, value in {"Modality": "", "ScheduledProcedureStepID": "", **(step or {})}.items():
        setattr(item, keyword, value)
    dataset.ScheduledProcedureStepSequence = Sequence([item])
    return dataset


async def ask(
    archive: Archive,
    asked: Dataset | bytes,
    *,
    caller: str = "CT1",
    syntax: str = EXPLICIT,
    port: FakePort | None = None,
    node: Node | None = None,
) -> tuple[FakePort, list[Dataset]]:
    """The port with all that was sent, and the answers."""
    port = port or FakePort()
    if isinstance(asked, Dataset):
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = syntax != BIG, syntax == IMPLICIT
        write_dataset(buffer, asked)
        asked = bytes(buffer.getvalue())
    sop_class = uids.MODALITY_WORKLIST_FIND
    command = CommandSet(CommandField.C_FIND_RQ, 7, affected_sop_class_uid=sop_class, has_dataset=True)
    call = Call(archive, port, caller, "FILEROOM", {}, node=node)
    await find_worklist(call, Operation(AcceptedContext(3, sop_class, syntax), command, asked))
    return port, [decode_identifier(dataset, syntax) for _, _, dataset in port.sent if dataset is not None]


def steps(answers: list[Dataset]) -> list[str]:
    return [one.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID for one in answers]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
async def test_every_message_syntax_is_answered(archive: Archive, syntax: str) -> None:
    await add_step(archive, 1)
    port, answers = await ask(archive, question(step={"Modality": "CT"}), syntax=syntax)
    assert port.statuses == [Status.PENDING, Status.SUCCESS]
    assert (steps(answers), answers[0].StudyInstanceUID, answers[0].PatientID) == (["S1"], "1.2.1", "P1")


@pytest.mark.parametrize(
    ("charset", "node", "view", "sent", "name"),
    [
        (None, "", "", "ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 100", "", "", "ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "", "", "ISO_IR 192", "Müller^Jörg"),
        ("ISO_IR 192", "ISO_IR 100", "", "ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "ISO_IR 192", "ISO_IR 100", "ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 100", "", "ISO_IR 6", "", "M?ller^J?rg"),
    ],
)
async def test_answers_are_written_as_the_peer_can_read(
    archive: Archive, charset: str | None, node: str, view: str, sent: str, name: str
) -> None:
    await add_step(archive, 1, patient_fields={"patient_name": "Müller^Jörg"})
    if view:
        await put_view(archive, "CT", {"aets": ["CT1"], "charset": view})
    _, [answer] = await ask(archive, question(charset), node=Node("CT1", "CT1", "ct", 104, charset=node))
    assert (answer.get("SpecificCharacterSet", ""), answer.PatientName) == (sent, name)


async def test_a_name_that_fits_no_smaller_set_comes_in_utf_8(archive: Archive) -> None:
    await add_step(archive, 1, patient_fields={"patient_name": "Yamada^Tarou=山田^太郎"})
    _, [answer] = await ask(archive, question("ISO_IR 100"))
    assert (answer.SpecificCharacterSet, answer.PatientName) == ("ISO_IR 192", "Yamada^Tarou=山田^太郎")


async def test_a_key_that_cannot_be_matched_is_said_with_ff01(archive: Archive) -> None:
    await add_step(archive, 1)
    port, answers = await ask(archive, question(PatientMotherBirthName="X"))
    assert port.statuses == [Status.PENDING_WITH_UNSUPPORTED_KEYS, Status.SUCCESS]
    assert len(answers) == 1
    assert (await ask(archive, question(EthnicGroup="")))[0].statuses == [Status.PENDING, Status.SUCCESS]


async def test_the_limit_of_a_view_is_no_failure_and_told(archive: Archive) -> None:
    patient = await add_patient(archive, "P1")
    for number in range(1, 4):
        await add_step(archive, number, patient=patient)
    await put_view(archive, "CT", {"results_max": 2})
    port, answers = await ask(archive, question())
    assert steps(answers) == ["S1", "S2"]
    assert port.final.status == Status.SUCCESS
    assert "The first 2" in str(port.final.error_comment)


async def test_a_question_can_be_cancelled(archive: Archive) -> None:
    for number in (1, 2):
        await add_step(archive, number)
    port, answers = await ask(archive, question(), port=FakePort(cancel_after=1))
    assert (port.final.status, steps(answers)) == (Status.CANCEL, ["S1"])


async def test_what_cannot_be_meant_is_refused_with_the_key(archive: Archive) -> None:
    port, _ = await ask(archive, question(step={"ScheduledProcedureStepStartDate": "20261399-20261401"}))
    assert port.final.status == Status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS
    assert str(port.final.error_comment).startswith("ScheduledProcedureStepStartDate:")


async def test_every_question_is_kept_with_its_answer(archive: Archive) -> None:
    await add_step(archive, 1)
    with acting_as(Access(ActorKind.NODE, "CT1@10.0.0.1", frozenset(Permission), address="10.0.0.1")):
        await ask(archive, question(step={"Modality": "CT"}, PatientName="Doe*"))
        await ask(archive, question(step={"ScheduledProcedureStepStartDate": "x-y"}))
    wrong, right = await list_queries(archive, "CT1")
    assert (right.keys, right.answers, right.status, right.address) == (
        {"PatientName": "Doe*", "Modality": "CT"},
        1,
        0,
        "10.0.0.1",
    )
    assert (wrong.answers, wrong.status) == (0, 0xA900)
    assert decode_identifier(right.identifier, right.transfer_syntax).PatientName == "Doe*"
    assert await list_queries(archive, "MR1") == []


async def test_of_one_caller_only_the_latest_questions_are_kept(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileroom.worklist.query_log.QUERIES_KEPT_MAX", 2)
    for number in range(4):
        await ask(archive, question(PatientID=f"P{number}"))
    await ask(archive, question(PatientID="other"), caller="MR1")
    assert [one.keys["PatientID"] for one in await list_queries(archive, "CT1")] == ["P3", "P2"]
    assert len(await list_queries(archive, "MR1")) == 1


async def test_other_worklists_follow_ours_without_what_was_said(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_step(archive, 1)

    def entry(study: str, step: str) -> dict[str, Any]:
        item = {"00400009": {"vr": "SH", "Value": [step]}, "00080060": {"vr": "CS", "Value": ["MR"]}}
        return {"0020000D": {"vr": "UI", "Value": [study]}, "00400100": {"vr": "SQ", "Value": [item]}}

    async def others(*_: object, **__: object) -> WorklistAnswer:
        return WorklistAnswer([entry("1.2.1", "S1"), entry("1.2.9", "S9")], ["OLD-RIS"])

    monkeypatch.setattr(worklist_module, "ask_worklists", others)
    port, answers = await ask(archive, question())
    assert steps(answers) == ["S1", "S9"]
    assert (port.final.status, port.final.error_comment) == (Status.SUCCESS, "Without: OLD-RIS")
