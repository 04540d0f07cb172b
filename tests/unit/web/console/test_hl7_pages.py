"""The pages of HL7 messages: found, looked at field by field, mended; masked for who may not see patients; feeds by form."""

from __future__ import annotations

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError
from fileroom.feeds.alarms import failed_counts, note_heard, silent_feeds
from fileroom.feeds.feeds import get_feed, list_feeds, put_feed, read_feeds
from fileroom.feeds.inbox import receive_at
from fileroom.feeds.inbox_search import MessageFilter, get_message, list_messages
from fileroom.feeds.replay import mended, replay_message
from fileroom.feeds.retention import forget_old_messages
from fileroom.hl7.message import parse_message

NAME = "Müller-Lüdenscheid^<b>Änne"


def order(
    control_id: str, accession: str, *, name: str = NAME, control: str = "NW", charset: str = "UNICODE UTF-8"
) -> bytes:
    text = "\r".join(
        (
            f"MSH|^~\\&|RIS|HOSP|FR|HOSP|20261122101500||ORM^O01|{control_id}|P|2.3.1||||||{charset}",
            f"PID|1||4711^^^HOSP^MR||{name}||19700203|F|||Hauptstr. 1^^München",
            f"ORC|{control}|PL{accession}|{accession}",
            f"OBR|1|PL{accession}|{accession}|CTHEAD^CT head^L||||||||||||||{accession}||||||CT",
            "",
        )
    )
    return text.encode("latin-1" if "8859" in charset else "utf-8")


@pytest.fixture
async def three(archive: Archive) -> Archive:
    feeds = await read_feeds(archive.pool)
    for raw in (order("C1", "A1"), order("C2", "A1", control="XO", name="Müller^Änne"), b"hello"):
        await receive_at(archive, feeds, 0, raw, address="127.0.0.1")
    return archive


async def found(archive: Archive, **wanted: object) -> list[int]:
    return [one.id for one in await list_messages(archive, MessageFilter(**wanted))]  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        ({"text": "lüdensch"}, [1]),
        ({"text": "MÜLLER änne"}, [2, 1]),
        ({"text": "nobody"}, []),
        ({"text": "o'brien \\ :* & | !"}, []),
        ({"text": "C2"}, [2]),
        ({"patient": "4711"}, [2, 1]),
        ({"patient": "471"}, []),
        ({"accession": "A1"}, [2, 1]),
        ({"order": "PLA1"}, [2, 1]),
        ({"control_id": "C1"}, [1]),
        ({"kind": "orm"}, [2, 1]),
        ({"kind": "ORM^O01"}, [2, 1]),
        ({"kind": "OR"}, []),
        ({"is_troubled": True}, [3]),
        ({"states": ("applied",)}, [2, 1]),
        ({"feed": ""}, [3]),
    ],
)
async def test_messages_are_found_by_words_numbers_and_states(
    three: Archive, wanted: dict[str, object], numbers: list[int]
) -> None:
    assert await found(three, **wanted) == numbers


async def test_a_message_shows_what_is_new_in_it(three: Archive) -> None:
    shown = await get_message(three, 2)
    assert shown.previous == 1
    changed = {
        f"{segment.name}-{one.number}": one.before
        for segment in shown.segments
        for one in segment.fields
        if one.before is not None
    }
    assert changed == {"PID-5": NAME, "ORC-1": "NW"}
    assert (await get_message(three, 1)).previous is None


async def test_who_may_not_see_patients_sees_them_masked_and_searches_by_numbers(three: Archive) -> None:
    analyst = Access(
        ActorKind.PERSON, "ivy", frozenset({Permission.MESSAGE_READ, Permission.MESSAGE_MANAGE}), account_id=1
    )
    with acting_as(analyst):
        shown = await get_message(three, 2)
        texts = {f"{segment.name}-{one.number}": one.text for segment in shown.segments for one in segment.fields}
        assert (texts["PID-5"], texts["PID-7"]) == ("••••••^••••", "••••••••")
        assert texts["PID-3"] == "4711^^^HOSP^MR"
        assert "München" not in str(shown)
        assert "Änne" not in str(shown)
        assert (await found(three, text="müller"), await found(three, text="4711")) == ([], [2, 1])
        with pytest.raises(NotAllowedError):
            await replay_message(three, 2, text="MSH|^~\\&|")


async def test_pages_show_the_inbox_and_a_message_is_mended_there(client: httpx.AsyncClient, three: Archive) -> None:
    html = (await client.get("/hl7")).text
    assert html.count('data-state="applied"') == 2
    assert "1 message waits to be mended" in html
    assert "<b>Änne" not in (await client.get("/hl7/message?number=1")).text
    assert (await client.get("/hl7/message?number=99")).status_code == 404
    assert (await client.get("/hl7/message?number=x")).status_code == 404
    assert (await client.get("/hl7?from=yesterday")).status_code == 400
    page = (await client.get("/hl7/message?number=2")).text
    assert 'class="changed"' in page
    text = parse_message(order("C2", "A1", control="XO")).text
    sent = {"number": "2", "as": "mended", "text": text, "reason": "name"}
    answer = await client.post("/hl7/message/replay", data=sent)
    assert (answer.status_code, answer.headers["location"]) == (303, "/hl7/message?number=4&done=1")
    assert (await get_message(three, 4)).row.first == 2
    refused = await client.post("/hl7/message/replay", data={**sent, "text": "nothing"})
    assert refused.status_code == 400
    assert ">\nnothing</textarea>" in refused.text or ">nothing</textarea>" in refused.text


async def test_mended_text_keeps_the_character_set_and_unchanged_text_every_byte() -> None:
    raw = order("C1", "A1", charset="8859/1")
    text = parse_message(raw).text
    assert mended(raw, text.replace("\n", "\r\n")) == raw
    assert "Öhler".encode("latin-1") in mended(raw, text.replace("Müller", "Öhler"))
    with pytest.raises(InvalidRequestError, match="has no Ж"):
        mended(raw, text.replace("Müller", "Ж"))


async def test_feeds_are_made_changed_and_removed_by_form(client: httpx.AsyncClient, archive: Archive) -> None:
    assert "built in" in (await client.get("/hl7/feeds")).text
    form = {
        "name": "ris & <b>x",
        "direction": "in",
        "senders": "RIS|H@10.0.0.0/8\r\nHIS",
        "port": "2601",
        "enabled": "1",
    }
    form |= {"tls": "off", "preset": "ihe", "mapping": '{"names": "comma"}', "silent_minutes": "5", "keep_days": "30"}
    assert (await client.post("/hl7/feeds/save", data=form)).status_code == 303
    feed = await get_feed(archive, form["name"])
    assert feed.fields["senders"] == ["RIS|H@10.0.0.0/8", "HIS"]
    assert feed.fields["mapping"]["names"] == "comma"
    assert "ris &amp; &lt;b&gt;x" in (await client.get("/hl7/feeds")).text
    changed = {**form, "was": form["name"], "version": "1", "port": "2602"}
    assert (await client.post("/hl7/feeds/save", data=changed)).status_code == 303
    assert (await client.post("/hl7/feeds/save", data=changed)).status_code == 409
    wrong = await client.post("/hl7/feeds/save", data={**form, "name": "other", "mapping": "{"})
    assert (wrong.status_code, "no JSON" in wrong.text, ">\n{</textarea>" in wrong.text) == (400, True, True)
    tls = await client.post(
        "/hl7/feeds/save", data={**form, "name": "other", "port": "2602", "tls": "on", "mapping": ""}
    )
    assert (tls.status_code, "share its TLS" in tls.text) == (409, True)
    out = {
        "name": "ward",
        "direction": "out",
        "host": "10.0.0.9",
        "port": "2575",
        "kinds": "ADT, ORM^O01",
        "enabled": "1",
    }
    assert (await client.post("/hl7/feeds/save", data=out)).status_code == 303
    assert (await get_feed(archive, "ward")).fields["kinds"] == ["ADT", "ORM^O01"]
    assert (await client.get("/hl7/outbox")).status_code == 200
    assert (await client.post("/hl7/feeds/remove", data={"name": "ward"})).status_code == 303
    assert [one.name for one in await list_feeds(archive)] == ["default", form["name"]]


async def test_silence_and_failures_are_counted(three: Archive) -> None:
    await put_feed(three, "ris", {"direction": "in", "senders": ["RIS"], "silent_minutes": 10})
    assert await silent_feeds(three.pool) == []  # it is new
    async with three.pool.connection() as connection:
        await connection.execute("UPDATE named_entry SET changed_at = now() - interval '1 hour'")
    [silent] = await silent_feeds(three.pool)
    assert (silent.name, silent.silent_minutes, round(silent.minutes), silent.last_at) == ("ris", 10, 60, None)
    await note_heard(three.pool, {"ris": three.now()})
    assert await silent_feeds(three.pool) == []
    assert [(one.feed, one.failed) for one in await failed_counts(three.pool)] == [("", 1)]


async def test_messages_go_after_their_days(three: Archive) -> None:
    await put_feed(three, "default", {"direction": "in", "keep_days": 5})
    async with three.pool.connection() as connection:
        await connection.execute("UPDATE hl7_message SET received_at = now() - interval '6 days'")
    assert await forget_old_messages(three) == 2  # what no feed took has ninety days
    assert await found(three) == [3]
