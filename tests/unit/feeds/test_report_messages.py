"""Reports as messages: valid by another program, read again by our own, once per version and feed, never back to the sender."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
from typing import Any

import pytest
from hl7apy.parser import parse_message as parse_by_hl7apy

import hl7
from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, NotFoundError
from fileroom.feeds.feeds import put_feed, read_feeds
from fileroom.feeds.mapping import read_changes
from fileroom.feeds.mapping_fields import check_mapping, mapping_from_fields
from fileroom.feeds.report_messages import ToTell, document_message, result_message
from fileroom.feeds.report_outbox import send_report, tell_reports
from fileroom.hl7.message import Message, parse_message
from fileroom.reports.facts import (
    Addendum,
    PutReport,
    ReportContent,
    ReportSection,
    ReportSource,
    ReportState,
)
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.subject import Subject
from fileroom.reports.writing import write_version
from fileroom.worklist.facts import Identifier
from fileroom.worklist.order_rows import Order
from stored_objects import make_file, store_file

NOW = dt.datetime(2026, 11, 22, 10, 15, tzinfo=dt.UTC)
REPORT = ReportRow(
    *(7, "1.2.3.1", 1, 1, "A1", ReportSource.CONSOLE, "", "", "CT Thorax", ReportState.FINAL, 1, False),
    *(NOW, "ada", NOW, "ada", NOW),
)
SECTIONS = (
    ReportSection("Findings", "Nodule of 3 mm | right ^ upper lobe\n\nNo effusion & no ~ rest."),
    ReportSection("Impression", "Größe unverändert."),
)
CONTENT = ReportContent(SECTIONS, author="Jung^Jo", signer="Ray^Rita^^Dr.")
SUBJECT = Subject(
    study_instance_uid="1.2.3.1",
    patient_id="P1",
    patient_name="Müller^Änne^^Dr.",
    birth_date="19700101",
    sex="F",
    identifiers=(Identifier("P1", "HOSP"), Identifier("4711", "SSA", "SS")),
    study_date="20261122",
    study_time="083000.5",
    description="CT Thorax",
    accession_number="A1",
    referring_physician="Ward^Wanda",
    modality="CT",
    order=Order(
        1, placer_number="PL1", placer_authority="RIS", procedure_code="CTTHX", procedure_meaning="CT of the thorax"
    ),
)
PDF = b"%PDF-1.4 something\xff\0 else %%EOF"


def version(state: ReportState = ReportState.FINAL, content: ReportContent = CONTENT, number: int = 1) -> ReportVersion:
    return ReportVersion(7, number, state, content, made_at=NOW, made_by="ada", signed_at=NOW)


def to_tell(**more: Any) -> ToTell:
    return ToTell(**({"report": REPORT, "version": version(), "subject": SUBJECT} | more))


def validated(message: Message) -> hl7.Message:
    """By hl7apy, and as python-hl7 reads it."""
    assert parse_by_hl7apy(message.raw.decode(), find_groups=True).validate()
    return hl7.parse(message.raw.decode())


def read_again(message: Message) -> PutReport:
    """As our own feed in understands it."""
    mapping = mapping_from_fields(check_mapping({}))
    (found,) = [one for one in read_changes(message, mapping) if isinstance(one, PutReport)]
    return found


def test_result_message_is_valid_and_reads_as_it_was_written() -> None:
    message = result_message(to_tell(pdf=PDF), NOW)
    read = validated(message)
    assert [str(one[0]) for one in read][:5] == ["MSH", "PID", "PV1", "ORC", "OBR"]
    assert str(read["OBR.F25"]) == "F"
    assert b"|&Ray&Rita&&&Dr.|" in message.raw
    documents = [one for one in read.segments("OBX") if str(one[2]) == "ED"]
    assert base64.b64decode(str(documents[0][5][0][4])) == PDF
    change = read_again(message)
    assert (change.state, change.content.document, change.study_uid) == (ReportState.FINAL, PDF, "1.2.3.1")
    assert change.content.sections == SECTIONS
    assert change.content.signer.startswith("Ray^Rita")
    assert change.placer is not None
    assert (change.placer.value, change.placer.authority) == ("PL1", "RIS")
    assert change.patient is not None
    assert change.patient.name == "Müller^Änne^^Dr."


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (ReportState.PRELIMINARY, "P"),
        (ReportState.FINAL, "F"),
        (ReportState.CORRECTED, "C"),
        (ReportState.CANCELLED, "X"),
    ],
)
def test_result_state(state: ReportState, said: str) -> None:
    message = result_message(to_tell(version=version(state)), NOW)
    assert str(validated(message)["OBR.F25"]) == said
    assert read_again(message).state is state


def test_addendum_of_a_result_has_its_author() -> None:
    content = dataclasses.replace(CONTENT, addenda=(Addendum("Also the spleen.", "Nolan^Ned", NOW),))
    message = result_message(to_tell(version=version(ReportState.CORRECTED, content, 2)), NOW)
    last = list(validated(message).segments("OBX"))[-1]
    assert str(last[16]).endswith("Nolan^Ned")
    change = read_again(message)
    said = [*(one.text for one in change.content.sections), *(one.text for one in change.content.addenda)]
    assert "Also the spleen." in "\n".join(said)


@pytest.mark.parametrize(
    ("state", "addenda", "before", "event"),
    [
        (ReportState.PRELIMINARY, 0, None, "T02"),
        (ReportState.FINAL, 0, ReportState.PRELIMINARY, "T08"),
        (ReportState.CORRECTED, 1, ReportState.FINAL, "T06"),
        (ReportState.CORRECTED, 0, ReportState.FINAL, "T10"),
        (ReportState.CANCELLED, 0, ReportState.FINAL, "T11"),
    ],
)
def test_document_message_says_what_happened(
    state: ReportState, addenda: int, before: ReportState | None, event: str
) -> None:
    content = dataclasses.replace(CONTENT, addenda=(Addendum("Also the spleen.", "Nolan^Ned", NOW),) * addenda)
    told = to_tell(version=version(state, content, 2), before=version(before) if before else None)
    message = document_message(told, NOW)
    read = validated(message)
    assert str(read["MSH.F9.R1.C2"]) == event
    change = read_again(message)
    assert change.is_addendum == (event == "T06")
    if event != "T06":
        assert change.state is state or event == "T10"
    assert change.number == read_again(document_message(to_tell(), NOW)).number


# --- the round ---


async def feed_out(archive: Archive, name: str = "ris-out", **fields: Any) -> None:
    await put_feed(archive, name, {"direction": "out", "host": "10.9.8.7", "port": 2575, "reports": "oru", **fields})


async def report(archive: Archive, source: str = "console", name: str = "") -> int:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""INSERT INTO report (study_instance_uid, source, source_name, title, created_by, changed_by)
                VALUES ('1.2.3.1', %s, %s, 'CT', 'ada', 'ada') RETURNING id""",
            (source, name),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def write(archive: Archive, number: int, state: ReportState = ReportState.FINAL, **more: Any) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        await write_version(connection, number, state, CONTENT, who="ada", **more)


async def run(archive: Archive) -> None:
    while await tell_reports(archive, await read_feeds(archive.pool)):
        pass


async def queued(archive: Archive) -> list[tuple[str, Message]]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT feed, raw FROM hl7_outgoing ORDER BY id")
        return [(row[0], parse_message(bytes(row[1]))) for row in await cursor.fetchall()]


async def test_each_version_is_queued_once_for_each_feed_in_order(archive: Archive) -> None:
    await store_file(archive, make_file())
    await feed_out(archive)
    await feed_out(archive, "finals", report_preliminary="no", reports="mdm", report_document="both")
    await feed_out(archive, "silent", reports="none")
    number = await report(archive)
    for state in (ReportState.DRAFT, ReportState.PRELIMINARY, ReportState.FINAL, ReportState.CORRECTED):
        await write(archive, number, state)
    await run(archive)
    await run(archive)
    found = await queued(archive)
    assert [one.get("OBR-25") for name, one in found if name == "ris-out"] == ["P", "F", "C"]
    assert [one.kind for name, one in found if name == "finals"] == ["MDM^T02", "MDM^T10"]
    assert len(found) == 5
    assert all(validated(one) for _, one in found)
    assert found[0][1].get("PID-3.1") == "P1"


async def test_received_report_is_told_only_to_who_asks_and_never_to_its_sender(archive: Archive) -> None:
    await feed_out(archive)
    await feed_out(archive, "other", report_sources=["ris", "console"])
    await feed_out(archive, "sender", report_sources=["ris"], host="10.1.1.1")
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""INSERT INTO hl7_message (feed, address, raw, digest, state, answered, answer)
                VALUES ('ris', '10.1.1.1', '', '', 'applied', 'AA', '') RETURNING id"""
        )
        row = await cursor.fetchone()
    assert row is not None
    number = await report(archive, "hl7", "ris")
    await write(archive, number, message=row[0])
    await run(archive)
    assert [name for name, _ in await queued(archive)] == ["other"]


async def test_report_is_sent_again_when_somebody_asks(archive: Archive) -> None:
    await feed_out(archive)
    number = await report(archive)
    with pytest.raises(NotFoundError):
        await send_report(archive, number, "nobody")
    with pytest.raises(ConflictError):
        await send_report(archive, number, "ris-out")
    await write(archive, number)
    await run(archive)
    outgoing = await send_report(archive, number, "ris-out")
    found = await queued(archive)
    assert len(found) == 2
    assert outgoing
    first, second = (one for _, one in found)
    assert first.control_id != second.control_id
    assert first.get("OBR-3.1") == second.get("OBR-3.1")
