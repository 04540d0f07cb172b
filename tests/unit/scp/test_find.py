"""C-FIND: the question as bytes, the answers as bytes, and nothing that ends without a final response."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from dicom_bytes import Node, text
from dicom_bytes import encode as encode_nodes
from fake_port import FakePort
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.dicom import uids
from fileroom.dicom.identifier import decode_identifier
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import Status
from fileroom.index.attributes import BY_KEYWORD
from fileroom.net.association_handler import Operation
from fileroom.scp import find as find_module
from fileroom.scp.call import Call
from fileroom.scp.find import find
from fileroom.ul.negotiation import AcceptedContext
from stored_objects import make_file, store_file

IMPLICIT, EXPLICIT, BIG = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN


def identifier(level: str | None = "STUDY", charset: str | None = None, **keys: Any) -> Dataset:
    dataset = Dataset()
    if charset:
        dataset.SpecificCharacterSet = charset.split("\\")
    if level is not None:
        dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


def encode(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != BIG
    buffer.is_implicit_VR = syntax == IMPLICIT
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


async def ask(
    archive: Archive,
    question: Dataset | bytes | None,
    *,
    port: FakePort | None = None,
    sop_class: str = uids.STUDY_ROOT_FIND,
    syntax: str = EXPLICIT,
    abilities: bytes = b"",
) -> tuple[FakePort, list[Dataset]]:
    """The port with all that was sent, and the matches."""
    port = port or FakePort()
    encoded = encode(question, syntax) if isinstance(question, Dataset) else question
    command = CommandSet(CommandField.C_FIND_RQ, 7, affected_sop_class_uid=sop_class, has_dataset=encoded is not None)
    call = Call(archive, port, "ASKER", "FILEROOM", {sop_class: abilities})
    await find(call, Operation(AcceptedContext(3, sop_class, syntax), command, encoded))
    answers = [decode_identifier(dataset, syntax) for _, _, dataset in port.sent if dataset is not None]
    return port, answers


async def fill(archive: Archive, count: int) -> None:
    for number in range(1, count + 1):
        await store_file(
            archive,
            make_file(
                StudyInstanceUID=f"1.{number}", SeriesInstanceUID=f"1.{number}.1", SOPInstanceUID=f"1.{number}.1.1"
            ),
        )


# --- answers ---


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
async def test_a_match_holds_what_was_asked_for(archive: Archive, syntax: str) -> None:
    await store_file(archive, make_file(StudyID="S1"))
    question = identifier(PatientName="DOE*", StudyID="", StudyInstanceUID="", ModalitiesInStudy="")
    question.NumberOfStudyRelatedInstances = None
    port, [answer] = await ask(archive, question, syntax=syntax)
    assert port.statuses == [Status.PENDING, Status.SUCCESS]
    assert {command.message_id_responded_to for _, command, _ in port.sent} == {7}
    assert {context_id for context_id, _, _ in port.sent} == {3}
    assert answer.PatientName == "DOE^JANE"
    assert (answer.StudyID, answer.StudyInstanceUID, answer.ModalitiesInStudy) == ("S1", "1.2.3.1", "CT")
    assert answer.NumberOfStudyRelatedInstances == 1
    assert (answer.QueryRetrieveLevel, answer.RetrieveAETitle) == ("STUDY", "FILEROOM")
    assert [int(e.tag) for e in answer] == sorted(int(e.tag) for e in answer)


@pytest.mark.parametrize(
    ("level", "sop_class", "uid"),
    [
        ("PATIENT", uids.PATIENT_ROOT_FIND, None),
        ("STUDY", uids.PATIENT_ROOT_FIND, "StudyInstanceUID"),
        ("SERIES", uids.STUDY_ROOT_FIND, "SeriesInstanceUID"),
        ("IMAGE", uids.STUDY_ROOT_FIND, "SOPInstanceUID"),
        ("image ", uids.STUDY_ROOT_FIND, "SOPInstanceUID"),
        ("STUDY", uids.PATIENT_STUDY_ONLY_FIND, "StudyInstanceUID"),
    ],
)
async def test_every_level_answers(archive: Archive, level: str, sop_class: str, uid: str | None) -> None:
    await store_file(archive, make_file())
    port, [answer] = await ask(
        archive, identifier(level, PatientID="", **({uid: ""} if uid else {})), sop_class=sop_class
    )
    assert port.final.status == Status.SUCCESS
    assert answer.PatientID == "P1"
    if uid:
        assert answer[uid].value.startswith("1.2.3")


async def test_keys_above_and_below_the_level_are_relational(archive: Archive) -> None:
    await fill(archive, 3)
    for level in ("STUDY", "SERIES", "IMAGE"):
        _, answers = await ask(archive, identifier(level, SOPInstanceUID="1.2.1.1", StudyInstanceUID=""))
        assert [answer.StudyInstanceUID for answer in answers] == ["1.2"]


async def test_no_match_is_success_without_answers(archive: Archive) -> None:
    port, answers = await ask(archive, identifier(PatientID="NOBODY"))
    assert (port.statuses, answers) == ([Status.SUCCESS], [])


async def test_items_of_sequences_are_asked_and_answered(archive: Archive) -> None:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureDescription = "S1", "Größe"
    await store_file(archive, make_file(SpecificCharacterSet="ISO_IR 192", RequestAttributesSequence=[item]))
    wanted = Dataset()
    wanted.ScheduledProcedureStepID = "S*"
    for keys, found in ((wanted, 1), (Dataset(), 1)):
        _, answers = await ask(archive, identifier("SERIES", RequestAttributesSequence=Sequence([keys])))
        assert len(answers) == found
        assert answers[0].RequestAttributesSequence[0].RequestedProcedureDescription == "Größe"
    wanted.ScheduledProcedureStepID = "T*"
    assert (await ask(archive, identifier("SERIES", RequestAttributesSequence=Sequence([wanted]))))[1] == []


async def test_odd_values_in_sequences_do_not_end_the_search(archive: Archive) -> None:
    """What a device wrote wrongly is answered as it is, or left out; other matches come all the same."""
    item = Dataset()
    item.add_new(0x00400007, "LO", "x" * 300)
    item.add_new(0x00280030, "DS", "1.0")
    code = Dataset()
    code.add_new(0x00080100, "SH", "123456789012345678901234567890")
    item.add_new(0x00400008, "SQ", [code])
    file = make_file(RequestAttributesSequence=[item])
    for right, wrong in ((b"1.0 ", b"a\\b "), (b"1.0 ", b"1,5 ")):
        odd = file.replace(right, wrong)
        await store_file(archive, odd)
        port, answers = await ask(archive, identifier("SERIES", RequestAttributesSequence=Sequence([])))
        assert port.final.status == Status.SUCCESS
        assert len(answers) == 1


# --- keys that are not supported ---


async def test_a_key_that_cannot_be_matched_is_said_with_ff01(archive: Archive) -> None:
    await store_file(archive, make_file())
    for keys in ({"PatientMotherBirthName": "X"}, {"PatientMotherBirthName": ""}, {"NumberOfStudyRelatedSeries": 9}):
        port, [answer] = await ask(archive, identifier(StudyInstanceUID="", **keys))
        assert port.statuses == [Status.PENDING_WITH_UNSUPPORTED_KEYS, Status.SUCCESS]
        assert answer.StudyInstanceUID == "1.2.3.1"
        assert next(iter(keys)) in answer


async def test_private_and_unknown_tags_come_back_empty(archive: Archive) -> None:
    await store_file(archive, make_file())
    question = identifier(StudyInstanceUID="")
    question.add_new(0x00091001, "LO", "private")
    question.add_new(0x7FDFFFFE, "UN", b"what")
    port, [answer] = await ask(archive, question)
    assert port.statuses[0] == Status.PENDING_WITH_UNSUPPORTED_KEYS
    assert not answer[0x00091001].value


# --- character sets ---


@pytest.mark.parametrize(
    ("name", "asked", "answered"),
    [
        ("DOE^JANE", None, None),
        ("DOE^JANE", "ISO_IR 192", None),
        ("Müller^Jürgen", None, "ISO_IR 100"),
        ("Müller^Jürgen", "ISO_IR 100", "ISO_IR 100"),
        ("Müller^Jürgen", "ISO_IR 192", "ISO_IR 192"),
        ("Иванов^Иван", None, "ISO_IR 192"),
        ("Иванов^Иван", "ISO_IR 144", "ISO_IR 144"),
        ("Иванов^Иван", "ISO_IR 100", "ISO_IR 192"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87", "\\ISO 2022 IR 87"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", None, "ISO_IR 192"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149", "\\ISO 2022 IR 149"),
        ("Wang^XiaoDong=王^小东", "GB18030", "GB18030"),
    ],
)
async def test_an_answer_is_written_in_what_the_asker_can_read(
    archive: Archive, name: str, asked: str | None, answered: str | None
) -> None:
    await store_file(archive, make_file(SpecificCharacterSet="ISO_IR 192", PatientName=name))
    _, [answer] = await ask(archive, identifier(charset=asked, PatientName="", StudyInstanceUID="1.2.3.1"))
    assert str(answer.PatientName) == name
    found = answer.get("SpecificCharacterSet")
    assert (found if isinstance(found, str | None) else "\\".join(found)) == answered


@pytest.mark.parametrize(
    ("charset", "key"),
    [("ISO_IR 100", "MÜLLER*"), ("ISO_IR 192", "müller^*"), (None, "MULLER*"), ("ISO_IR 192", "Muller^Jürgen")],
)
async def test_a_key_is_read_in_its_own_character_set(archive: Archive, charset: str | None, key: str) -> None:
    await store_file(archive, make_file(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jürgen"))
    assert len((await ask(archive, identifier(charset=charset, PatientName=key)))[1]) == 1


# --- abilities that are negotiated ---


async def test_abilities_count_only_when_they_were_agreed(archive: Archive) -> None:
    await store_file(archive, make_file(PatientName="VAN DER BERG^Jan", StudyTime="1000"))
    fuzzy = identifier(PatientName="jan berg")
    assert (await ask(archive, fuzzy))[1] == []
    assert len((await ask(archive, fuzzy, abilities=b"\0\0\1"))[1]) == 1
    combined = identifier(StudyDate="20251231-20260101", StudyTime="1200-0900")
    assert (await ask(archive, combined, abilities=b"\0\1"))[1] == []
    combined.StudyTime = "1200-1030"
    assert len((await ask(archive, combined, abilities=b"\0\1"))[1]) == 1
    moved = identifier(StudyDate="20260101", StudyTime="0900-0930", TimezoneOffsetFromUTC="+0000")
    await store_file(
        archive,
        make_file(
            StudyInstanceUID="5",
            SeriesInstanceUID="6",
            SOPInstanceUID="7",
            StudyTime="1015",
            TimezoneOffsetFromUTC="+0100",
        ),
    )
    assert (await ask(archive, moved))[1] == []
    assert len((await ask(archive, moved, abilities=b"\0\0\0\1"))[1]) == 1


# --- wrong questions ---


@pytest.mark.parametrize(
    ("question", "sop_class"),
    [
        (identifier(None, PatientID="P1"), uids.STUDY_ROOT_FIND),
        (identifier("NONSENSE"), uids.STUDY_ROOT_FIND),
        (identifier("PATIENT"), uids.STUDY_ROOT_FIND),
        (identifier("SERIES"), uids.PATIENT_STUDY_ONLY_FIND),
        (identifier(StudyDate="20261399-x"), uids.STUDY_ROOT_FIND),
        (identifier(StudyTime="25-26"), uids.STUDY_ROOT_FIND),
        (b"\xff" * 40, uids.STUDY_ROOT_FIND),
        (None, uids.STUDY_ROOT_FIND),
        (b"", uids.STUDY_ROOT_FIND),
    ],
)
@pytest.mark.filterwarnings("ignore")
async def test_a_question_that_is_wrong_gets_a900_and_a_reason(
    archive: Archive, question: Dataset | bytes | None, sop_class: str
) -> None:
    await store_file(archive, make_file())
    port, answers = await ask(archive, question, sop_class=sop_class)
    assert (port.statuses, answers) == ([Status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS], [])
    assert port.final.error_comment


HOSTILE = ("A\0B", "\x1b[2J", "%s", "';--", "*" * 200, "?" * 300, "\\" * 20, "=" * 50)


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "StudyInstanceUID", "ModalitiesInStudy"])
@pytest.mark.filterwarnings("ignore")
async def test_hostile_values_end_with_an_answer(archive: Archive, keyword: str) -> None:
    attribute = BY_KEYWORD[keyword]
    for value in HOSTILE:
        await must_end(archive, text(attribute.tag, attribute.vr, value))


@pytest.mark.parametrize("charset", ["", "ISO_IR 192", "ISO 2022 IR 87", "NONSENSE"])
@pytest.mark.filterwarnings("ignore")
async def test_bytes_that_are_no_text_end_with_an_answer(archive: Archive, charset: str) -> None:
    await must_end(archive, text(0x00080005, "CS", charset), Node(0x00100010, "PN", b"\xff\xfe\x80*"))


async def must_end(archive: Archive, *nodes: Node) -> None:
    """Whatever is asked, a final response comes."""
    elements = sorted([text(0x00080052, "CS", "STUDY"), *nodes], key=lambda node: node.tag)
    port, _ = await ask(archive, encode_nodes(elements))
    assert port.final.status in (Status.SUCCESS, Status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS)
    assert port.final.command_field == CommandField.C_FIND_RSP


# --- long answers ---


async def test_too_many_matches_end_with_a_reason(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_module, "QUERY_ROWS_MAX", 3)
    await fill(archive, 3)
    port, answers = await ask(archive, identifier(StudyInstanceUID=""))
    assert (len(answers), port.final.status) == (3, Status.SUCCESS)
    await fill(archive, 5)
    port, answers = await ask(archive, identifier(StudyInstanceUID=""))
    assert (len(answers), port.final.status) == (3, Status.OUT_OF_RESOURCES)
    assert "add a key" in (port.final.error_comment or "")


async def test_a_cancelled_search_ends_at_once_and_gives_its_connection_back(archive: Archive) -> None:
    await fill(archive, 6)
    for _ in range(20):  # more than there are connections
        port, answers = await ask(archive, identifier(StudyInstanceUID=""), port=FakePort(cancel_after=2))
        assert (len(answers), port.final.status) == (2, Status.CANCEL)
    _, answers = await ask(archive, identifier(StudyInstanceUID=""))
    assert len(answers) == 6


async def test_a_slow_peer_is_waited_for(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_module, "QUERY_ROWS_PER_FETCH", 2)
    await fill(archive, 5)
    port, _ = await ask(archive, identifier(StudyInstanceUID=""))
    assert port.drained == 3


async def test_a_database_that_is_away_is_a700(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise DatabaseError("The database does not answer.")
        yield

    monkeypatch.setattr(find_module, "search", away)
    port, _ = await ask(archive, identifier(StudyInstanceUID=""))
    assert port.statuses == [Status.OUT_OF_RESOURCES]
    assert "does not answer" in (port.final.error_comment or "")
