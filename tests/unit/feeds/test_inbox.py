"""What becomes of a message: its effects, its row and its answer stand together, or none of them does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.errors import ConflictError, DatabaseError, InvalidRequestError
from fileroom.feeds import inbox
from fileroom.feeds.changes import apply_asked
from fileroom.feeds.feeds import FeedSet, InFeed, put_feed, read_feeds
from fileroom.feeds.inbox import receive_at, receive_message
from fileroom.feeds.inbox_search import MessageFilter, MessageRow, list_messages
from fileroom.feeds.outbox import list_outgoing
from fileroom.feeds.replay import replay_message
from fileroom.hl7.message import parse_message

HERE, ELSEWHERE = "127.0.0.1", "203.0.113.9"


def adt(
    control_id: str = "1", *, patient: str = "P1", name: str = "Doe^Jane", kind: str = "ADT^A04", **msh: str
) -> bytes:
    header = [
        "MSH",
        "^~\\&",
        msh.get("sender", "RIS"),
        "HOSP",
        "FILEROOM",
        "HOSP",
        "20261122101500",
        "",
        kind,
        control_id,
    ]
    header += ["P", msh.get("version", "2.5.1"), "", "", msh.get("accept", ""), msh.get("application", "")]
    return "\r".join(
        ("|".join(header), "EVN||20261122101500", f"PID|1||{patient}^^^HOSP^MR||{name}||19700203|F", "PV1|1|O|CT1", "")
    ).encode()


def order(control_id: str, accession: str, *, control: str = "NW", patient: str = "P1") -> bytes:
    return "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FILEROOM|HOSP|20261122101500||ORM^O01|{control_id}|P|2.3.1",
            f"PID|1||{patient}^^^HOSP^MR||Doe^Jane||19700203|F",
            f"ORC|{control}|PL{accession}|{accession}",
            f"OBR|1|PL{accession}|{accession}|CTHEAD^CT head^L|||20261123080000||||||||||{accession}||||||CT",
            "",
        )
    ).encode()


def answer_of(raw: bytes) -> tuple[str, str]:
    message = parse_message(raw)
    return message.get("MSA-1"), message.get("MSA-2")


async def rows(archive: Archive, **wanted: Any) -> Sequence[MessageRow]:
    return list(reversed(await list_messages(archive, MessageFilter(**wanted))))


async def count(archive: Archive, table: str) -> int:
    async with archive.pool.connection() as connection:
        row = await (await connection.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
    return int(row[0]) if row else 0


@pytest.fixture
async def feeds(archive: Archive) -> FeedSet:
    return await read_feeds(archive.pool)


@pytest.fixture
async def feed(feeds: FeedSet) -> InFeed:
    assert feeds.built_in is not None
    return feeds.built_in


# --- taken ---


async def test_an_order_is_applied_and_answered_with_aa(archive: Archive, feed: InFeed) -> None:
    assert answer_of(await receive_message(archive, feed, order("7", "A1"), address=HERE)) == ("AA", "7")
    [row] = await rows(archive)
    assert (row.feed, row.kind, row.state, row.answered, row.sender) == (
        "default",
        "ORM^O01",
        "applied",
        "AA",
        "RIS|HOSP",
    )
    assert row.accession_numbers == ["A1"]
    assert "P1" in row.patient_ids
    assert {effect["subject"] for effect in row.effects} >= {"order", "patient"}
    assert all("Doe" not in effect["words"] for effect in row.effects)
    assert await count(archive, "imaging_order") == 1


async def test_a_message_that_asks_for_nothing_is_kept_and_answered_with_aa(archive: Archive, feed: InFeed) -> None:
    assert answer_of(await receive_message(archive, feed, adt(kind="MFN^M02"), address=HERE))[0] == "AA"
    [row] = await rows(archive)
    assert row.state == "ignored"
    assert row.reason


async def test_a_repeated_message_is_answered_as_before_and_applied_once(archive: Archive, feed: InFeed) -> None:
    first = await receive_message(archive, feed, order("7", "A1"), address=HERE)
    again = await receive_message(archive, feed, order("7", "A1"), address=HERE)
    assert again == first
    one, two = await rows(archive)
    assert (one.state, two.state, two.first) == ("applied", "duplicate", one.id)
    assert not two.effects


async def test_copies_at_the_same_time_are_applied_once(archive: Archive, feed: InFeed) -> None:
    copies = [receive_message(archive, feed, order("7", "A1"), address=HERE) for _ in range(5)]
    answers = await asyncio.gather(*copies)
    assert {answer_of(one) for one in answers} == {("AA", "7")}
    assert sorted(one.state for one in await rows(archive)) == ["applied", *["duplicate"] * 4]


async def test_another_content_under_the_same_control_id_is_applied_and_flagged(archive: Archive, feed: InFeed) -> None:
    await receive_message(archive, feed, adt("7", name="Doe^Jane"), address=HERE)
    await receive_message(archive, feed, adt("7", name="Roe^Jane"), address=HERE)
    one, two = await rows(archive)
    assert two.state == "applied"
    assert f"with other content, by message {one.id}" in two.reason
    await receive_message(archive, feed, adt("7", name="Doe^Jane"), address=HERE)
    assert (await rows(archive))[-1].first == one.id


async def test_the_same_control_id_of_another_sender_is_another_message(archive: Archive, feed: InFeed) -> None:
    await receive_message(archive, feed, adt("7"), address=HERE)
    await receive_message(archive, feed, adt("7", sender="HIS"), address=HERE)
    assert [one.state for one in await rows(archive)] == ["applied", "applied"]
    assert not any(one.reason for one in await rows(archive))


# --- not taken ---


@pytest.mark.parametrize("raw", [b"hello", b"", b"\x00\x00", b"PID|1||P1\r"])
async def test_what_is_no_message_is_kept_and_answered_with_ar(archive: Archive, feeds: FeedSet, raw: bytes) -> None:
    [answer] = await receive_at(archive, feeds, 0, raw, address=HERE)
    assert answer_of(answer)[0] == "AR"
    [row] = await rows(archive)
    assert (row.state, row.answered, row.feed) == ("rejected", "AR", "")
    assert row.reason


async def test_message_without_a_type_is_not_taken(archive: Archive, feed: InFeed) -> None:
    answer = await receive_message(archive, feed, adt("7", kind=""), address=HERE)
    assert answer_of(answer) == ("AR", "7")
    assert parse_message(answer).get("ERR-3") == "200"


async def test_from_elsewhere_only_named_senders_are_taken(archive: Archive, feeds: FeedSet) -> None:
    [answer] = await receive_at(archive, feeds, 0, adt("7"), address=ELSEWHERE)
    assert answer_of(answer) == ("AR", "7")
    [row] = await rows(archive, feed="")
    assert "No feed takes messages of RIS|HOSP@203.0.113.9" in row.reason
    await put_feed(archive, "ris", {"direction": "in", "senders": ["RIS|HOSP@203.0.113.0/24"]})
    [answer] = await receive_at(archive, await read_feeds(archive.pool), 0, adt("7"), address=ELSEWHERE)
    assert answer_of(answer) == ("AA", "7")
    made = await replay_message(archive, row.id)  # what was refused then is taken now
    assert [one.state for one in await rows(archive, feed="ris")] == ["applied", "applied"]
    assert (await rows(archive, feed=""))[0].mended_by == made


async def test_a_feed_that_is_not_in_force_takes_nothing_even_from_here(archive: Archive) -> None:
    await put_feed(archive, "default", {"direction": "in"}, enabled=False)
    [answer] = await receive_at(archive, await read_feeds(archive.pool), 0, adt("7"), address=HERE)
    assert answer_of(answer)[0] == "AR"


# --- failed ---


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """While there is an error in the list, the second change of a message raises it; the first is done."""
    errors: list[Exception] = [ConflictError("Two patients have that number.")]
    real = apply_asked

    async def apply(archive: Archive, connection: Any, change: Any, cause: Any, **of: Any) -> Any:
        effects = await real(archive, connection, change, cause, **of)
        if errors:
            raise errors[0]
        return effects

    monkeypatch.setattr(inbox, "apply_asked", apply)
    return errors


async def test_of_a_message_that_fails_nothing_stays_but_its_row(
    archive: Archive, feed: InFeed, refusing: list[Exception]
) -> None:
    answer = await receive_message(archive, feed, order("7", "A1"), address=HERE)
    assert answer_of(answer) == ("AE", "7")
    assert await count(archive, "imaging_order") == await count(archive, "registered_patient") == 0
    [row] = await rows(archive, is_troubled=True)
    assert (row.state, row.reason, row.effects) == ("failed", "Two patients have that number.", [])
    assert row.accession_numbers == ["A1"]

    refusing.clear()  # the sender repeats it, which mends it
    assert answer_of(await receive_message(archive, feed, order("7", "A1"), address=HERE)) == ("AA", "7")
    failed, mended = await rows(archive)
    assert (mended.state, mended.first, failed.mended_by) == ("applied", failed.id, mended.id)
    assert not await rows(archive, is_troubled=True)


async def test_the_error_is_told_in_the_answer(archive: Archive, feed: InFeed, refusing: list[Exception]) -> None:
    answer = parse_message(await receive_message(archive, feed, adt("7"), address=HERE))
    assert (answer.get("ERR-3"), answer.get("ERR-4"), answer.get("ERR-8")) == (
        "205",
        "E",
        "Two patients have that number.",
    )
    assert answer.get("MSA-3") == "Two patients have that number."


async def test_a_feed_may_accept_what_fails_and_mend_it_later(archive: Archive, refusing: list[Exception]) -> None:
    await put_feed(archive, "default", {"direction": "in", "on_failure": "accept"})
    feeds = await read_feeds(archive.pool)
    [answer] = await receive_at(archive, feeds, 0, order("7", "A1"), address=HERE)
    assert answer_of(answer) == ("AA", "7")
    await receive_at(archive, feeds, 0, order("7", "A1"), address=HERE)
    failed, again = await rows(archive)
    assert (failed.state, again.state) == ("failed", "duplicate")
    refusing.clear()
    text = parse_message(order("7", "A1")).text.replace("Doe^Jane", "Doe^Jane^Ann")
    made = await replay_message(archive, failed.id, text=text, reason="the name was cut")
    [mended] = await rows(archive, states=("applied",))
    assert (mended.id, mended.first, mended.received_by) == (made, failed.id, "system")
    assert (await rows(archive))[0].mended_by == made


async def test_a_mistake_of_ours_fails_the_message_and_not_the_server(
    archive: Archive, feed: InFeed, refusing: list[Exception]
) -> None:
    refusing[:] = [KeyError("Doe")]
    answer = await receive_message(archive, feed, adt("7"), address=HERE)
    assert answer_of(answer) == ("AE", "7")
    assert parse_message(answer).get("ERR-3") == "207"
    [row] = await rows(archive)
    assert "KeyError" in row.reason
    assert "Doe" not in row.reason


async def test_without_the_database_there_is_no_answer(
    archive: Archive, feed: InFeed, refusing: list[Exception]
) -> None:
    refusing[:] = [DatabaseError("The database does not answer.")]
    with pytest.raises(DatabaseError):
        await receive_message(archive, feed, adt("7"), address=HERE)
    assert not await rows(archive)
    assert await count(archive, "registered_patient") == 0


# --- modes and batches ---


@pytest.mark.parametrize(
    ("accept", "application", "kind", "codes"),
    [
        ("", "", "ADT^A04", ["AA"]),
        ("AL", "NE", "ADT^A04", ["CA"]),
        ("AL", "AL", "ADT^A04", ["CA", "AA"]),
        ("NE", "AL", "ADT^A04", ["AA"]),
        ("NE", "NE", "ADT^A04", []),
        ("ER", "NE", "ADT^A04", []),
        ("ER", "NE", "", ["CR"]),
        ("SU", "ER", "", ["AR"]),
    ],
)
async def test_enhanced_mode_answers_what_is_asked_for(
    archive: Archive, feeds: FeedSet, accept: str, application: str, kind: str, codes: list[str]
) -> None:
    raw = adt("7", kind=kind, accept=accept, application=application)
    for _ in range(2):  # the second is a duplicate, or rejected again
        answers = await receive_at(archive, feeds, 0, raw, address=HERE)
        assert [answer_of(one) for one in answers] == [(code, "7") for code in codes]
    assert (await rows(archive))[0].answered == (codes[0] if codes else "")


async def test_without_msh_18_the_feed_says_which_character_set_it_is(archive: Archive) -> None:
    """The bytes are valid UTF-8, too: only the feed knows better."""
    both = adt(name="Ä^Anna")
    for assumed, name in (("8859/2", "Ă"), ("", "Ä")):  # 0xC3 is an A with a breve in Latin-2
        fields = {"direction": "in", "assumed_charset": assumed}
        await put_feed(archive, "default", fields)
        feed = (await read_feeds(archive.pool)).built_in
        assert feed is not None
        answer = await receive_message(
            archive, feed, both.replace(b"|1|P|", f"|{assumed or 1}|P|".encode()), address=HERE
        )
        assert answer_of(answer)[0] == "AA"
        async with archive.pool.connection() as connection:
            row = await (await connection.execute(b"SELECT patient_name FROM registered_patient")).fetchone()
        assert row is not None
        assert row[0].split("^")[0] == name
    with pytest.raises(InvalidRequestError, match="character set"):
        await put_feed(archive, "default", {"direction": "in", "assumed_charset": "latin-99"})


async def test_a_batch_is_taken_message_by_message_and_answered_by_a_batch(archive: Archive, feeds: FeedSet) -> None:
    raw = (
        b"FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r" + order("1", "A1") + order("2", "A2") + adt("3", kind="") + b"BTS|3\rFTS|1\r"
    )
    [answer] = await receive_at(archive, feeds, 0, raw, address=HERE)
    lines = answer.split(b"\r")
    assert lines[0].startswith(b"FHS|")
    assert [line.split(b"|")[1:3] for line in lines if line.startswith(b"MSA")] == [
        [b"AA", b"1"],
        [b"AA", b"2"],
        [b"AR", b"3"],
    ]
    assert [one.state for one in await rows(archive)] == ["applied", "applied", "rejected"]


async def test_two_messages_in_one_frame_are_two(archive: Archive, feeds: FeedSet) -> None:
    answers = await receive_at(archive, feeds, 0, order("1", "A1") + order("2", "A2"), address=HERE)
    assert [answer_of(one) for one in answers] == [("AA", "1"), ("AA", "2")]


# --- forwarding ---


async def test_what_was_taken_is_forwarded_as_it_came_and_once(archive: Archive) -> None:
    await put_feed(archive, "ward", {"direction": "out", "host": "127.0.0.1", "port": 1, "kinds": ["ORM"]})
    await put_feed(
        archive, "his", {"direction": "out", "host": "127.0.0.1", "port": 1, "kinds": ["*"], "sources": ["x"]}
    )
    feeds = await read_feeds(archive.pool)
    for raw in (adt("1"), order("2", "A1"), order("2", "A1"), b"hello"):
        await receive_at(archive, feeds, 0, raw, address=HERE)
    [one] = await list_outgoing(archive)
    assert (one.feed, one.kind, one.control_id, one.cause) == ("ward", "ORM^O01", "2", "message 2")


async def test_the_order_of_a_sender_is_kept_in_the_numbers(archive: Archive, feed: InFeed) -> None:
    for number in range(20):
        await receive_message(archive, feed, adt(str(number), name=f"Doe^{number}"), address=HERE)
    assert [one.control_id for one in await rows(archive)] == [str(number) for number in range(20)]


async def test_odd_bytes_are_kept_and_answered(archive: Archive, feed: InFeed) -> None:
    odd = adt("7\x00", name="D\x00e^\xff").replace(b"\xc3\xbf", b"\xff")
    big = adt("8") + b"OBX|1|ED|DOC||^^^Base64^" + b"QUJD" * 500_000 + b"\r"
    for raw in (odd, big, adt("x" * 5000), adt("9", patient="~" * 2000)):
        assert answer_of(await receive_message(archive, feed, raw, address=HERE))[0] in ("AA", "AE")
    assert await count(archive, "hl7_message") == 4
    assert replace(feed).feed.name == "default"
