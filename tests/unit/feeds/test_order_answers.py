"""Orders answered by ORR, ORG and ORI where the feed asks for it; hl7apy reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hl7apy.parser import parse_message as parse_by_hl7apy

from fileroom.archive.services import Archive
from fileroom.feeds.feeds import InFeed, read_feeds
from fileroom.feeds.inbox import receive_message
from fileroom.hl7.message import parse_message

KINDS = {"ORM^O01": "ORR^O02", "OMG^O19": "ORG^O20", "OMI^O23": "ORI^O24"}


def order(kind: str, control: str = "NW", *, number: str = "1", patient: str = "P1", control_id: str = "C1") -> bytes:
    imaging = [f"IPC|ACC{number}|RP{number}|2.25.7{number}|ST{number}|CT"] if kind == "OMI^O23" else []
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||{kind}^{kind.replace('^', '_')}|{control_id}|P|2.5.1",
            f"PID|1||{patient}^^^HOSP^MR||Doe^Jane||19700203|F",
            f"ORC|{control}|PL{number}||||||||||",
            f"OBR|1|PL{number}||CTHEAD^CT head^L||||||||||||||ACC{number}||||||CT",
            *imaging,
            "",
        )
    ).encode()


@pytest.fixture
async def feed(archive: Archive) -> InFeed:
    found = (await read_feeds(archive.pool)).built_in
    assert found is not None
    return replace(found, feed=replace(found.feed, order_answer="order"))


@pytest.mark.parametrize(("kind", "answer"), KINDS.items())
async def test_an_order_is_answered_with_the_order(archive: Archive, feed: InFeed, kind: str, answer: str) -> None:
    raw = await receive_message(archive, feed, order(kind), address="127.0.0.1")
    read = parse_message(raw)
    assert (read.kind, read.get("MSA-1"), read.get("MSA-2")) == (answer, "AA", "C1")
    assert (read.get("ORC-1"), read.get("ORC-2"), read.get("ORC-3.1")) == ("OK", "PL1", "ACC1")
    assert read.get("PID-3.1") == "P1"
    if kind == "OMI^O23":
        assert [read.get(f"IPC-{place}") for place in (1, 2, 3, 4, 5)] == ["ACC1", "RP1", "2.25.71", "ST1", "CT"]
    if kind != "ORM^O01":  # in the group of ORR hl7apy asks for one of every kind of detail: OBR, RXO, RQD ...
        assert parse_by_hl7apy(raw.decode(), find_groups=True).validate()
    again = await receive_message(archive, feed, order(kind), address="127.0.0.1")
    assert again == raw


async def test_what_becomes_of_each_request_is_said(archive: Archive, feed: InFeed) -> None:
    said = []
    for place, control in enumerate(("NW", "XO", "CA")):
        raw = await receive_message(archive, feed, order("OMI^O23", control, control_id=f"S{place}"), address="")
        said.append((parse_message(raw).get("MSA-1"), parse_message(raw).get("ORC-1")))
    assert said == [("AA", "OK"), ("AA", "XR"), ("AA", "CR")]


async def test_an_order_that_cannot_be_applied_is_told_so(archive: Archive, feed: InFeed) -> None:
    raw = await receive_message(archive, feed, order("OMG^O19", "??"), address="127.0.0.1")
    read = parse_message(raw)
    assert (read.kind, read.get("MSA-1"), read.get("ORC-1"), read.get("ORC-2")) == ("ORG^O20", "AE", "UA", "PL1")
    assert "ORC-1" in read.get("ERR-8")


async def test_feeds_answer_plainly_where_they_say_nothing_of_it(archive: Archive) -> None:
    feed = (await read_feeds(archive.pool)).built_in
    assert feed is not None
    raw = await receive_message(archive, feed, order("OMI^O23"), address="127.0.0.1")
    assert parse_message(raw).kind == "ACK^O23"
