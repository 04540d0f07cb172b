"""Messages with reports at the inbox: applied with their effects, or kept with the reason; nothing is dropped."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from hl7apy.parser import parse_message as hl7apy_parse

import hl7
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.feeds.feeds import put_feed, read_feeds
from fileroom.feeds.inbox import receive_at
from fileroom.feeds.inbox_search import MessageFilter, MessageRow, list_messages
from fileroom.feeds.replay import replay_message
from fileroom.reports.facts import ReportState
from fileroom.reports.linking import link_reports_due
from fileroom.reports.reports import ReportFilter, get_versions, search_reports

PID = "PID|1||4711^^^HOSP^MR||Muster^Anna||19700301|F"
ORC = "ORC|NW|P1^RIS|F1^PACS||SC||1^once^^202611231000^^R"
ORDERED = "OBR|1|P1^RIS|F1^PACS|CTABD^CT Abdomen^L||||||||||||||ACC1|RP1|SPS1||||CT"
RESULT = "OBR|1|P1^RIS|F1^PACS|CTABD^CT Abdomen^L||||||||||||||ACC1||||20261122101500||CT|{}|||||||7&Ray&Rita"
CLEAR = "OBX|1|TX|&IMP^Impression||Clear.||||||{}"


@pytest.fixture(autouse=True)
def _as_the_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


def text(kind: str, number: int, *segments: str, sender: str = "RIS|HOSP") -> bytes:
    header = f"MSH|^~\\&|{sender}|FILEROOM|PACS|20261122101500||{kind}|M{number}|P|2.5.1||||||UNICODE UTF-8"
    return "\r".join([header, *segments, ""]).encode()


async def send(archive: Archive, raw: bytes) -> str:
    """The acknowledgement code, as python-hl7 reads it."""
    feeds = await read_feeds(archive.pool)
    (answer,) = await receive_at(archive, feeds, 0, raw, address="127.0.0.1")
    return str(hl7.parse(answer.decode().strip("\r\n"))["MSA.F1.R1.C1"])


def result(number: int, state: str = "F", *lines: str, **names: str) -> bytes:
    pid, obr = PID, RESULT.format(state)
    for old, new in names.items():
        pid, obr = pid.replace(old, new), obr.replace(old, new)
    return text("ORU^R01^ORU_R01", number, pid, obr, *(lines or (CLEAR.format(state),)))


async def newest(archive: Archive) -> MessageRow:
    return (await list_messages(archive, MessageFilter()))[0]


async def test_an_order_its_reports_versions_and_its_cancellation(archive: Archive) -> None:
    assert await send(archive, text("ORM^O01", 1, PID, ORC, ORDERED)) == "AA"
    assert await send(archive, result(2, "P")) == "AA"
    row = await newest(archive)
    assert [one["words"] for one in row.effects] == [
        "report 1 made for order ACC1, whose images are not there yet",
        "report 1: version 1 is preliminary",
    ]
    assert [(one["subject"], one["number"]) for one in row.effects] == [("report", 1), ("report", 1)]
    assert await send(archive, result(3, "F")) == "AA"
    mdm = "TXA|1|RAD|TX|20261122100000|||||9^Ray^Rita|||D2|F1^PACS|P1^RIS|F1^PACS||LA||AV"
    assert await send(archive, text("MDM^T06", 4, "EVN|T06", PID, mdm, "OBX|1|TX|||Seen again.||||||F")) == "AA"
    gone = mdm.replace("D2|F1^PACS", "F1^PACS|").replace("LA||AV", "||CA")
    assert await send(archive, text("MDM^T11", 5, "EVN|T11", PID, gone)) == "AA"
    (report,) = await search_reports(archive, ReportFilter())
    states = [one.state for one in await get_versions(archive, report.id)]
    assert states == [ReportState.CANCELLED, ReportState.CORRECTED, ReportState.FINAL, ReportState.PRELIMINARY]
    assert (report.order, report.source_name, report.version) == (1, row.feed, 4)
    async with archive.pool.connection() as connection:
        rows = await (await connection.execute(b"SELECT state FROM imaging_order")).fetchall()
    assert rows == [("scheduled",)]


async def test_a_message_that_is_repeated_or_replayed_makes_no_second_report(archive: Archive) -> None:
    assert await send(archive, result(1)) == "AA"
    assert await send(archive, result(1)) == "AA"
    await replay_message(archive, (await list_messages(archive, MessageFilter()))[-1].id)
    assert "nothing new" in (await newest(archive)).effects[-1]["words"]
    (report,) = await search_reports(archive, ReportFilter())
    assert report.version == 1


async def test_a_report_waits_for_its_order(archive: Archive) -> None:
    assert await send(archive, result(1)) == "AA"
    (before,) = await search_reports(archive, ReportFilter())
    assert (before.order, before.patient) == (None, None)
    await send(archive, text("ORM^O01", 2, PID, ORC, ORDERED))
    while await link_reports_due(archive):
        pass
    (after,) = await search_reports(archive, ReportFilter())
    assert (after.order, after.patient) == (1, 1)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (result(9, "Q", "OBX|1|TX|||Words."), "state 'Q' of the report is not known"),
        (result(9, "F", "OBX|1|ED|||^AP^PDF^Base64^%%%not base64"), "said to be base64, and is not"),
        (result(9, "F", "OBX|1|TX"), "The report says nothing"),
        (result(9, "F", "OBX"), "The report says nothing"),
        (
            result(9, "F", "OBX|1|ED|||^AP^PDF^Base64^" + base64.b64encode(b"\0\1 no document").decode()),
            "none that is known",
        ),
        (result(9, "F", "OBX|1|FT|||" + "x" * 1_000_001), "at most 1000000 characters"),
        (text("ORU^R01", 9, "OBR|1"), "does not say"),
        (text("ORU^R01", 9), "no OBR segment"),
        (text("MDM^T02", 9, "EVN|T02"), "does not say"),
        (text("ORU^R01", 9, "PID|1", RESULT.format("F"), CLEAR.format("F")), "no patient identifier"),
    ],
)
async def test_what_cannot_be_applied_is_kept_with_the_reason(archive: Archive, raw: bytes, why: str) -> None:
    assert await send(archive, raw) == "AE"
    row = await newest(archive)
    assert (row.state, why in row.reason) == ("failed", True), row.reason
    assert await search_reports(archive, ReportFilter()) == []


async def test_a_document_of_fifty_megabytes_in_one_obx_is_kept(archive: Archive) -> None:
    data = b"%PDF-1.4\n" + b"\0" * 37_000_000
    coded = base64.b64encode(data).decode()
    assert len(coded) > 49_000_000
    assert await send(archive, result(1, "F", f"OBX|1|ED|PDF^Report||^AP^PDF^Base64^{coded}||||||F")) == "AA"
    (report,) = await search_reports(archive, ReportFilter())
    (version,) = await get_versions(archive, report.id, with_documents=True)
    assert version.content.document == data


async def test_after_a_cancellation_nothing_follows_and_numbers_of_two_feeds_are_apart(archive: Archive) -> None:
    await send(archive, result(1))
    await send(archive, result(2, "X"))
    assert await send(archive, result(3, "C")) == "AE"
    assert "was cancelled; nothing follows that" in (await newest(archive)).reason
    assert await send(archive, result(4, "F", **{"4711": "4712"})) == "AE"
    assert "belongs to another patient" in (await newest(archive)).reason
    fields: dict[str, Any] = {"direction": "in", "senders": ["DICTATE|HOSP@127.0.0.1"]}
    await put_feed(archive, "dictation", fields)
    other = text("ORU^R01", 5, PID, RESULT.format("F"), CLEAR.format("F"), sender="DICTATE|HOSP")
    assert await send(archive, other) == "AA"
    words = (await newest(archive)).effects[-1]["words"]
    assert words == "another feed has a report of this number: the two are kept apart"
    assert len(await search_reports(archive, ReportFilter())) == 2


def test_the_messages_of_these_tests_are_what_hl7apy_takes_for_hl7() -> None:
    parsed = hl7apy_parse(result(1).decode(), find_groups=False)
    assert [child.name for child in parsed.children] == ["MSH", "PID", "OBR", "OBX"]
