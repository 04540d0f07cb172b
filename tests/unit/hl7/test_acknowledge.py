"""Answers in the form of each version, checked by hl7apy; batches; who wants which answer."""

from __future__ import annotations

import datetime as dt

import pytest
from hl7apy.parser import parse_message as parse_by_hl7apy

from fileroom.core.errors import Hl7Error
from fileroom.hl7.acknowledge import (
    acknowledge,
    is_enhanced,
    number_of,
    read_answer,
    response_kind,
    wants_accept,
    wants_application,
)
from fileroom.hl7.batch import BATCH_MESSAGES_MAX, join_answers, split_messages
from fileroom.hl7.message import parse_message
from unit.hl7.samples import ORM, adt

NOW = dt.datetime(2026, 1, 2, 3, 4, 5)
ERRORS = [("PID-3[2].4", "101", "wo ist das Haus"), ("", "207", "x")]


def message(version: str, kind: bytes = b"ADT^A40", charset: bytes = b"8859/1", answers: bytes = b"|") -> bytes:
    return b"MSH|^~\\&|RIS&r|H|PACS|K|20260101||%s|77|P^T|%s|||%s||%s\rPID|1\r" % (
        kind,
        version.encode(),
        answers,
        charset,
    )


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("2.1", "ACK"),
        ("2.2", "ACK^A40"),
        ("2.3", "ACK^A40"),
        ("2.3.1", "ACK^A40^ACK"),
        ("2.5.1", "ACK^A40^ACK"),
        ("2.8", "ACK^A40^ACK"),
    ],
)
def test_the_answer_has_the_form_of_the_messages_version(version, kind) -> None:
    raw = acknowledge(message(version), "AE", reason="too bad", errors=ERRORS, now=NOW, control_id="9")
    found = parse_message(raw)
    assert (
        found.first("MSH").raw.decode()
        == f"MSH|^~\\&|PACS|K|RIS&r|H|20260102030405||{kind}|9|P^T|{version}||||||8859/1"
    )
    assert (found.get("MSA-1"), found.get("MSA-2")) == ("AE", "77")
    if number_of(version) < (2, 5):
        assert found.get("MSA-3") == "too bad"
        assert [segment.raw for segment in found.all("ERR")] == [
            b"ERR|PID^1^3^101&Required field missing&HL70357~^^^207&Application internal error&HL70357"
        ]
    else:
        assert found.get("MSA-3") == ("too bad" if version < "2.7" else "")
        assert [segment.raw for segment in found.all("ERR")] == [
            b"ERR||PID^1^3^2^4|101^Required field missing^HL70357|E||||wo ist das Haus",
            b"ERR|||207^Application internal error^HL70357|E||||x",
        ]


@pytest.mark.parametrize("version", ["2.3.1", "2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("code", ["AA", "AE", "AR"])
def test_hl7apy_finds_nothing_wrong_with_the_answer(version, code) -> None:
    raw = acknowledge(
        message(version, charset=b"").replace(b"RIS&r", b"RIS"),
        code,
        reason="no" if code != "AA" else "",
        errors=ERRORS[:1] if code == "AE" else (),
        now=NOW,
        control_id="9",
    )
    read = parse_by_hl7apy(raw.decode(), find_groups=True)
    assert read.validate()
    assert read.msa.msa_1.value == code


def test_letters_come_in_the_messages_character_set_as_far_as_it_has_them() -> None:
    raw = acknowledge(message("2.3"), "AE", reason="Größe Ł", now=NOW, control_id="9")
    assert b"MSA|AE|77|Gr\xf6\xdfe ?\r" in raw
    wide = acknowledge(
        message("2.5.1", charset=b"UNICODE UTF-16").decode("latin-1").encode("utf-16"),
        "AE",
        reason="Ł",
        now=NOW,
        control_id="9",
    )
    assert parse_message(wide).get("ERR-8") == "Ł"


def test_separators_are_those_of_the_message() -> None:
    raw = acknowledge(b"MSH#*!/%#RIS#H*1#PACS#K#1##ADT*A08#5#P#2.3\r", "AR", reason="a#b", now=NOW, control_id="9")
    assert raw == (
        b"MSH#*!/%#PACS#K#RIS#H*1#20260102030405##ACK*A08#9#P#2.3\rMSA#AR#5#a/F/b\r"
        b"ERR#***207%Application internal error%HL70357\r"
    )


@pytest.mark.parametrize("raw", [b"", b"GET / HTTP/1.1", b"MSHA"])
def test_bytes_that_are_no_message_are_answered_too(raw) -> None:
    found = parse_message(acknowledge(raw, "AR", reason="no message", now=NOW, control_id="9"))
    assert (found.kind, found.get("MSA-1"), found.get("MSA-2"), found.get("ERR-8")) == ("ACK", "AR", "", "no message")


def test_enhanced_mode_has_its_own_codes() -> None:
    for code, enhanced in (("AA", "CA"), ("AE", "CE"), ("AR", "CR")):
        assert read_answer(acknowledge(ORM, code, now=NOW, control_id="9", enhanced=True)).code == enhanced


@pytest.mark.parametrize(
    ("wanted", "accept", "application"),
    [
        (b"|", (True, True), (True, True)),
        (b"AL|NE", (True, True), (False, False)),
        (b"NE|AL", (False, False), (True, True)),
        (b"ER|SU", (False, True), (True, False)),
        (b"|AL", (False, False), (True, True)),
    ],
)
def test_who_wants_which_answer(wanted, accept, application) -> None:
    """Each for a good message and for a bad one."""
    found = parse_message(message("2.5.1", answers=wanted))
    assert is_enhanced(found) is (wanted != b"|")
    assert (wants_accept(found, is_good=True), wants_accept(found, is_good=False)) == accept
    assert (wants_application(found, is_good=True), wants_application(found, is_good=False)) == application


@pytest.mark.parametrize(
    ("kind", "answer"),
    [(b"ORM^O01", "ORR^O02"), (b"OMG^O19", "ORG^O20"), (b"OMI^O23", "ORI^O24"), (b"ADT^A08", "ACK^A08")],
)
def test_orders_have_answers_of_their_own_for_senders_who_insist(kind, answer) -> None:
    asked = parse_message(message("2.5.1", kind).replace(b"RIS&r", b"RIS"))
    raw = acknowledge(asked, "AA", now=NOW, control_id="9", kind=response_kind(asked))
    assert parse_message(raw).kind == answer
    assert parse_by_hl7apy(raw.decode()).validate()


@pytest.mark.parametrize(
    ("lines", "code", "reason"),
    [
        (b"MSA|AA|77", "AA", ""),
        (b"MSA|AE|77|not good", "AE", "not good"),
        (b"MSA|ae|77\rERR|PID^1^3^101&Required field missing", "AE", "PID-3: Required field missing"),
        (
            b"MSA|AR|77|x\rERR||PID^1^3|101^Required field missing^HL70357|E\rERR|||207|E||||it \\T\\ that",
            "AR",
            "x; Required field missing; it & that",
        ),
        (b"MSA|CE|77\rERR|||207|E", "CE", "207"),
    ],
)  # fmt: skip
def test_answers_to_us_are_understood(lines, code, reason) -> None:
    answer = read_answer(adt(lines))
    assert (answer.code, answer.control_id, answer.reason) == (code, "77", reason)
    assert answer.is_good is (code == "AA")


def test_what_is_no_answer_is_told() -> None:
    with pytest.raises(Hl7Error, match="a message of type ORM\\^O01 came, and no acknowledgement"):
        read_answer(ORM)


# --- batches ---


ONE, TWO = b"MSH|^~\\&|A|||||||1\rPID|1\r", b"MSH|^~\\&|A|||||||2\r"


@pytest.mark.parametrize(
    ("raw", "messages", "words"),
    [
        (ORM, (ORM,), ""),
        (b"\r\n" + ORM, (b"\r\n" + ORM,), ""),
        (b"no message", (b"no message",), ""),
        (b"", (b"",), ""),
        (ONE + TWO, (ONE, TWO), "2 messages came in one frame"),
        (ONE.replace(b"\r", b"\n") + TWO, (ONE.replace(b"\r", b"\n"), TWO), "2 messages"),
        (b"BHS|^~\\&|A\r" + ONE + TWO + b"BTS|2\r", (ONE, TWO), ""),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\r" + ONE + b"BTS|1\rFTS|1\r", (ONE,), ""),
        (b"BHS|^~\\&|A\r" + ONE + b"BTS|3\r", (ONE,), "says that it has 3 messages, and it has 1"),
        (b"BHS|^~\\&|A\r" + ONE, (ONE,), "header or a trailer without the other"),
        (b"BHS|^~\\&|A\rBTS|0\r", (), ""),
        (b"PID|0\r" + ONE + TWO, (b"PID|0\r", ONE, TWO), "3 messages"),
        (ONE + b"NTE|1||MSHX|\rMSH is no header", (ONE + b"NTE|1||MSHX|\rMSH is no header",), ""),
    ],
)  # fmt: skip
def test_messages_in_one_frame_are_parted_byte_for_byte(raw, messages, words) -> None:
    batch = split_messages(raw)
    assert batch.messages == messages
    assert [words in warning for warning in batch.warnings] == ([True] if words else [])


def test_a_batch_is_answered_by_a_batch() -> None:
    batch = split_messages(
        b"FHS|^~\\&|RIS|H|PACS|K||||7\rBHS|^~\\&|RIS|H|PACS|K|||||B5\r" + ONE + TWO + b"BTS|2\rFTS|1\r"
    )
    assert batch.is_batch
    answers = [acknowledge(one, "AA", now=NOW, control_id="9") for one in batch.messages]
    joined = join_answers(batch, answers, now=NOW, control_id="10")
    back = split_messages(joined)
    assert back.messages == tuple(answers)
    assert back.warnings == ()
    assert [back.header.value(n) for n in (3, 4, 5, 6, 11, 12)] == ["PACS", "K", "RIS", "H", "10", "B5"]


def test_more_messages_than_there_may_be_are_not_parted() -> None:
    raw = b"MSH|\r" * (BATCH_MESSAGES_MAX + 1)
    assert split_messages(raw).messages == (raw,)
    assert "not parted" in split_messages(raw).warnings[0]
