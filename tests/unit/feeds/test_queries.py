"""Questions for patients (PDQ, PIX, QRY^A19): found, not found, unknown domains, page by page; read by others than us."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hl7apy.parser import parse_message as parse_by_hl7apy

import hl7
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.feeds.feeds import InFeed, read_feeds
from fileroom.feeds.inbox import receive_message
from fileroom.feeds.inbox_search import MessageFilter, list_messages
from fileroom.hl7.message import Message, parse_message
from fileroom.worklist.patient_query import PatientWanted, find_patients

PEOPLE = (
    ("ADT^A04", "4711^^^HOSP^MR~99^^^CLINIC&1.2.3&ISO^MR", "Müller^Anna^Maria", "19700203", "F", "V1"),
    ("ADT^A04", "4712^^^HOSP^MR", "Müller-Weiß^Jörg", "19800101", "M", "V2"),
    ("ADT^A04", "4713^^^HOSP^MR", "MULLER^Bea", "19700203", "F", "V3"),
    ("ADT^A04", "4714^^^HOSP^MR", "O'Brien^Ann", "19600606", "F", "V4"),
)
HOSP_QUERY = "IHE PDQ Query"


def header(kind: str, control_id: str) -> str:
    return f"MSH|^~\\&|ASK|WARD|FILEROOM|HOSP|20261122101500||{kind}|{control_id}|P|2.5||||||UNICODE UTF-8"


def pdq(
    parameters: str, *, control: str = "Q1", domains: str = "", limit: str = "", pointer: str = "", kind: str = "Q22"
) -> bytes:
    segments = [
        header(f"QBP^{kind}^QBP_Q21", control),
        f"QPD|{HOSP_QUERY}|TAG7|{parameters}|||||{domains}",
        f"RCP|I|{limit}",
        *([f"DSC|{pointer}|I"] if pointer else []),
        "",
    ]
    return "\r".join(segments).encode()


def pix(number: str, *, domains: str = "", control: str = "X1") -> bytes:
    return "\r".join(
        (header("QBP^Q23^QBP_Q21", control), f"QPD|IHE PIX Query|TAG8|{number}|{domains}", "RCP|I", "")
    ).encode()


def qry(who: str, quantity: str = "5^RD") -> bytes:
    return "\r".join((header("QRY^A19", "O1"), f"QRD|202611221015|R|I|OLD1|||{quantity}|{who}|DEM|WARD", "")).encode()


@pytest.fixture
async def feed(archive: Archive) -> InFeed:
    """A feed that answers, and some patients."""
    found = (await read_feeds(archive.pool)).built_in
    assert found is not None
    answering = replace(found, feed=replace(found.feed, queries="answer"))
    for number, (kind, numbers, name, birth, sex, visit) in enumerate(PEOPLE):
        pid = f"PID|1||{numbers}||{name}||{birth}|{sex}|||Main St 1^^Town"
        pv1 = f"PV1|1|I|W{number + 1}^1^A||||7^Boss^Bea||||||||||||{visit}^^^HOSP"
        raw = "\r".join((header(kind, f"P{number}"), "EVN||2026", pid, pv1, "")).encode()
        assert code_of(await tell(archive, answering, raw)) == "AA"
    return answering


async def tell(archive: Archive, feed: InFeed, raw: bytes) -> Message:
    return parse_message(await receive_message(archive, feed, raw, address="127.0.0.1"))


def code_of(answer: Message) -> str:
    return answer.get("MSA-1")


def numbers_of(answer: Message) -> list[str]:
    return [one.get("3.1") for one in answer.all("PID")]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("@PID.5.1.1^muller", ["4711", "4713"]),
        ("@PID.5.1^MÜLLER~@PID.5.2^anna", ["4711"]),
        ("@PID.5.1.1^Müller*", ["4711", "4712", "4713"]),
        ("@PID.3.1^4711", ["4711"]),
        ("@PID.3.1^99~@PID.3.4.1^CLINIC~@PID.3.4.2^1.2.3~@PID.3.4.3^ISO", ["4711"]),
        ("@PID.3.1^4711~@PID.3.4.1^CLINIC", []),
        ("@PID.7^19700203", ["4711", "4713"]),
        ("@PID.7^1970~@PID.5.2^B*", ["4713"]),
        ("@PID.8^m", ["4712"]),
        ("@PID.11.3^town~@PID.5.1.1^o'brien", ["4714"]),
        ("@PID.18.1^V2", ["4712"]),
        ("@PID.5.1.1^100%", []),
        ("@PID.5.1.1^%*", []),
    ],
)
async def test_patients_are_found(archive: Archive, feed: InFeed, parameters: str, found: list[str]) -> None:
    answer = await tell(archive, feed, pdq(parameters))
    assert (answer.kind, code_of(answer), answer.get("MSA-2")) == ("RSP^K22", "AA", "Q1")
    assert numbers_of(answer) == found
    assert (answer.get("QAK-1"), answer.get("QAK-2")) == ("TAG7", "OK" if found else "NF")
    assert answer.get("QAK-4") == answer.get("QAK-5") == str(len(found))
    assert answer.get("QPD-2") == "TAG7"


async def test_strangers_read_the_answer(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, pdq("@PID.3.1^4711"))
    assert parse_by_hl7apy(answer.raw.decode(), find_groups=True).validate()
    read = hl7.parse(answer.raw.decode())
    assert str(read.segment("PID")[5]) == "Müller^Anna^Maria^^^^L"
    assert str(read.segment("PID")[3]) == "4711^^^HOSP^MR~99^^^CLINIC^MR"
    assert str(read.segment("PID")[7]) == "19700203"


async def test_what_was_asked_and_answered_stands_in_the_inbox(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, pdq("@PID.3.1^4711"))
    assert (await tell(archive, feed, pdq("@PID.3.1^4711"))).raw == answer.raw
    again, row = (await list_messages(archive, MessageFilter(control_id="Q1")))[:2]
    assert (row.kind, row.state, row.answered, row.reason) == ("QBP^Q22", "applied", "AA", "")
    assert row.effects[0]["words"] == "answered the query; found: 1"
    assert again.state == "duplicate"


async def test_pages_follow_each_other(archive: Archive, feed: InFeed) -> None:
    first = await tell(archive, feed, pdq("@PID.5.1.1^M*", limit="2^RD"))
    assert (numbers_of(first), first.get("DSC-2")) == (["4711", "4712"], "I")
    assert [first.get(f"QAK-{place}") for place in (4, 5, 6)] == ["3", "2", "1"]
    second = await tell(archive, feed, pdq("@PID.5.1.1^M*", limit="2^RD", pointer=first.get("DSC-1"), control="Q2"))
    assert (numbers_of(second), second.first("DSC")) == (["4713"], None)
    wrong = await tell(archive, feed, pdq("@PID.5.1.1^O*", pointer=first.get("DSC-1"), control="Q3"))
    assert (code_of(wrong), wrong.get("ERR-2.1"), wrong.get("QAK-2")) == ("AE", "DSC", "AE")
    over = await tell(archive, feed, "\r".join((header("QCN^J01", "Q4"), "QID|TAG7|Q22", "")).encode())
    assert (over.kind, code_of(over)) == ("ACK^J01", "AA")


async def test_domains_that_are_wanted(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, pdq("@PID.5.1.1^muller", domains="^^^CLINIC&1.2.3&ISO"))
    written = [one.field(3).text for one in answer.all("PID")]
    assert written == ["99^^^CLINIC&1.2.3&ISO^MR", "^^^CLINIC&1.2.3&ISO"]
    wrong = await tell(archive, feed, pdq("@PID.5.1.1^muller", domains="^^^HOSP~^^^NOWHERE", control="Q2"))
    assert (code_of(wrong), wrong.get("QAK-2"), wrong.all("PID")) == ("AE", "AE", ())
    [error] = wrong.all("ERR")
    assert (error.field(2).text, error.get("3.1"), error.get("4")) == ("QPD^1^8^2", "204", "E")


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ("", "QPD^1^3^1"),
        ("@PID.5.1.1^*", "QPD^1^3^1"),
        ("@PID.5.1.1^A~@PID.99^x", "QPD^1^3^2"),
        ("anything", "QPD^1^3^1"),
        ("@PID.7^19701399", "QPD^1^3^1"),
        ("~".join(["@PID.5.1.1^A"] * 60), "QPD^1^3^1"),
    ],
)
async def test_a_wrong_question_is_answered_with_its_place(
    archive: Archive, feed: InFeed, parameters: str, place: str
) -> None:
    answer = await tell(archive, feed, pdq(parameters))
    assert (code_of(answer), answer.get("QAK-2"), answer.all("PID")) == ("AE", "AE", ())
    assert answer.first("ERR").field(2).text == place  # type: ignore[union-attr]  # there is one


async def test_hostile_questions_are_answered(archive: Archive, feed: InFeed) -> None:
    hostile = (
        "@PID.5.1.1^\\X00\\A",
        "@PID.3.1^\\X00\\~@PID.3.4.1^\\X00\\",
        "@PID.3.1^" + "9" * 5000,
        "@PID.3.1^4711~@PID.3.4^A&B&C&D&E",
        "@PID.5.1.1^'; DROP TABLE study; --*",
        "@PID.5.1.1^\\\\_%*",
        "@PID.7^\u0661\u0669\u0667\u0660",
        "@PID.8^\ud7ff",
        "^^^^",
    )
    for place, parameters in enumerate(hostile):
        for raw in (
            pdq(parameters, control=f"H{place}"),
            pdq("@PID.5.1.1^M*", control=f"I{place}", pointer=parameters, limit=parameters, domains=parameters),
            pix(parameters, control=f"J{place}", domains=parameters),
            qry(parameters, parameters).replace(b"|O1|", f"|K{place}|".encode()),
        ):
            answer = await tell(archive, feed, raw)
            assert (code_of(answer) in ("AA", "AE"), answer.get("QAK-2") in ("NF", "AE")) == (True, True), raw
    assert {row.state for row in await list_messages(archive, MessageFilter(), limit=100)} == {"applied"}


async def test_a_query_without_parameters_is_answered(archive: Archive, feed: InFeed) -> None:
    for kind in ("QBP^Q22^QBP_Q21", "QBP^Q23^QBP_Q21", "QRY^A19"):
        answer = await tell(archive, feed, f"{header(kind, kind)}\r".encode())
        assert (code_of(answer), answer.get("QAK-2")) == ("AE", "AE")


async def test_each_visit_is_a_hit_where_visits_are_asked_for(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, pdq("@PV1.3.1^W2~@PV1.7.2^boss", kind="ZV1"))
    assert answer.kind == "RSP^ZV2"
    assert numbers_of(answer) == ["4712"]
    assert (answer.get("PV1-2"), answer.get("PV1-3"), answer.get("PV1-7.2"), answer.get("PV1-19")) == (
        "I",
        "W2 1 A",
        "Boss",
        "V2",
    )
    assert numbers_of(await tell(archive, feed, pdq("@PV1.3.1^W", kind="ZV1", control="Q2"))) == []


# --- PIX ---


async def test_the_other_numbers_of_a_person(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, pix("4711^^^HOSP"))
    assert (answer.kind, code_of(answer), answer.get("QAK-2")) == ("RSP^K23", "AA", "OK")
    [pid] = answer.all("PID")
    assert pid.field(3).text == "99^^^CLINIC^MR"
    assert pid.field(5).text == "~^^^^^^S"
    assert parse_by_hl7apy(answer.raw.decode(), find_groups=True).validate()
    back = await tell(archive, feed, pix("99^^^CLINIC&1.2.3&ISO", domains="^^^HOSP", control="X2"))
    assert back.first("PID").field(3).text == "4711^^^HOSP^MR"  # type: ignore[union-attr]  # there is one


@pytest.mark.parametrize(
    ("number", "domains", "code", "status", "places"),
    [
        ("4712^^^HOSP", "", "AA", "NF", []),
        ("4712^^^HOSP", "^^^CLINIC", "AA", "NF", []),
        ("0000^^^HOSP", "", "AE", "AE", ["QPD^1^3^1^1"]),
        ("4711^^^NOWHERE", "", "AE", "AE", ["QPD^1^3^1^4"]),
        ("4711", "", "AE", "AE", ["QPD^1^3^1^4"]),
        ("4711^^^HOSP", "^^^A~^^^HOSP~^^^B", "AE", "AE", ["QPD^1^4^1", "QPD^1^4^3"]),
    ],
)
async def test_numbers_and_domains_that_nobody_knows(
    archive: Archive, feed: InFeed, number: str, domains: str, code: str, status: str, places: list[str]
) -> None:
    answer = await tell(archive, feed, pix(number, domains=domains))
    assert (code_of(answer), answer.get("QAK-2"), answer.all("PID")) == (code, status, ())
    assert [one.field(2).text for one in answer.all("ERR")] == places
    assert {one.get("3.1") for one in answer.all("ERR")} <= {"204"}


async def test_linked_and_merged_records_are_one_person(archive: Archive, feed: InFeed) -> None:
    linked = "\r".join(
        (header("ADT^A24", "L1"), "EVN||2026", "PID|1||4712^^^HOSP^MR", "PID|2||99^^^CLINIC^MR", "")
    ).encode()
    assert code_of(await tell(archive, feed, linked)) == "AA"
    answer = await tell(archive, feed, pix("4712^^^HOSP"))
    assert {one.component(1) for one in answer.all("PID")[0].field(3).repetitions} == {"4711", "99"}
    merged = "\r".join(
        (header("ADT^A40^ADT_A39", "M1"), "EVN||2026", "PID|1||4711^^^HOSP^MR", "MRG|4713^^^HOSP^MR", "")
    ).encode()
    assert code_of(await tell(archive, feed, merged)) == "AA"
    survivor = await tell(archive, feed, pix("4713^^^HOSP", domains="^^^CLINIC", control="X2"))
    assert survivor.get("PID-3.1") == "99"
    assert numbers_of(await tell(archive, feed, pdq("@PID.3.1^4713", control="X3"))) == ["4711"]


# --- QRY^A19 ---


async def test_the_old_query(archive: Archive, feed: InFeed) -> None:
    answer = await tell(archive, feed, qry("4711^Müller^Anna^^^^^^HOSP"))
    assert (answer.kind, code_of(answer), answer.get("QAK-2"), answer.get("QRD-4")) == ("ADR^A19", "AA", "OK", "OLD1")
    assert numbers_of(answer) == ["4711"]
    assert answer.get("PV1-19") == "V1"
    assert parse_by_hl7apy(answer.raw.decode(), find_groups=True).validate()
    nobody = await tell(archive, feed, qry("^Nobody").replace(b"|O1|", b"|O2|"))
    assert (code_of(nobody), nobody.get("QAK-2")) == ("AA", "NF")
    many = await tell(archive, feed, qry("^M*", "1^RD").replace(b"|O1|", b"|O3|"))
    assert many.get("DSC-1")


# --- who may ask ---


async def test_a_feed_that_answers_no_queries_refuses_them(archive: Archive, feed: InFeed) -> None:
    silent = replace(feed, feed=replace(feed.feed, queries="refuse"))
    for raw in (pdq("@PID.3.1^4711"), pix("4711^^^HOSP"), qry("4711")):
        answer = await tell(archive, silent, raw)
        assert (code_of(answer), answer.all("PID")) == ("AR", ())
    other = await tell(archive, feed, f"{header('QBP^Q11', 'Z1')}\rQPD|Q11|T|x\r".encode())
    assert code_of(other) == "AR"


async def test_in_enhanced_mode_the_answer_comes_unless_nobody_wants_it(archive: Archive, feed: InFeed) -> None:
    asked = pdq("@PID.3.1^4711").replace(b"|2.5||||||", b"|2.5|||NE|||")
    assert code_of(await tell(archive, feed, asked)) == "AA"
    unwanted = pdq("@PID.3.1^4711", control="Q9").replace(b"|2.5||||||", b"|2.5|||NE|NE||")
    assert await receive_message(archive, feed, unwanted, address="127.0.0.1") == b""


async def test_whoever_sees_some_patients_only_finds_those(archive: Archive, feed: InFeed) -> None:
    assert feed.feed.queries == "answer"
    access = Access(
        ActorKind.PERSON, "ada", frozenset({Permission.ORDER_READ}), rows=RowScope(patient_ids=("4712",)), account_id=1
    )
    wanted: Any = PatientWanted(family="M*")
    with acting_as(access):
        async with archive.pool.connection() as connection:
            assert (await find_patients(connection, wanted)).total == 0
