"""The page that shows how a message is read: by a feed's mapping, and by one that is being written."""

from __future__ import annotations

import httpx
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError
from fileroom.feeds.feeds import put_feed, read_feeds
from fileroom.feeds.inbox import receive_at
from fileroom.feeds.previews import preview_mapping
from hl7_texts import header

ORDER = "\r".join(
    [
        header("ORM^O01"),
        "PID|1||4711^^^HOSP^MR||<b>Muster^Änne||20261399|F",
        "ORC|NW|P1^RIS|F7",
        "OBR|1|P1^RIS|F7|MRBRAIN^MRI||||||||||||||ACC1||||||MRI",
        "",
    ]
)


async def test_a_message_of_the_inbox_is_shown_fact_by_fact_and_nothing_is_written(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    await receive_at(archive, await read_feeds(archive.pool), 0, ORDER.encode(), address="127.0.0.1")
    html = (await client.get("/hl7/preview?number=1&feed=default")).text
    assert "Order ACC1 of patient 4711 (HOSP) is made or brought up to date." in html
    assert "PID-7" in html
    assert "there is no month 13" in html
    assert "&lt;b&gt;Muster^Änne" in html
    assert "<b>Muster" not in html
    typed = {"number": "1", "preset": "filler-is-accession", "mapping": '{"values": {"modality": {"MRI": "OT"}}}'}
    html = (await client.post("/hl7/preview", data=typed)).text
    assert "Order F7 of patient 4711 (HOSP) is made or brought up to date." in html
    assert "A step: OT MRI." in html
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*), min(accession_number) FROM imaging_order")
        assert await cursor.fetchone() == (1, "ACC1")


async def test_a_message_that_is_typed_and_what_is_wrong_with_a_mapping(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    assert "Order A123 of patient 4711 (HOSPITAL)" in (await client.get("/hl7/preview")).text
    latin = ORDER.replace("UNICODE UTF-8", "8859/1").replace("\r", "\r\n")
    html = (await client.post("/hl7/preview", data={"text": latin, "preset": "ihe"})).text
    assert "Muster^Änne" in html
    for typed, status, words in (
        ({"text": ORDER, "mapping": '{"facts": {"accession": ["OBR18"]}}'}, 400, "In facts.accession, place 1"),
        ({"text": ORDER, "mapping": "{"}, 400, "The mapping is no JSON"),
        ({"text": ORDER, "mapping": "[" * 100_000}, 400, "The mapping is no JSON"),
        ({"text": ORDER, "preset": "x"}, 400, "There is no preset"),
        ({"text": "hello"}, 400, "no HL7 message"),
        ({"number": "77"}, 404, "There is no message 77"),
        ({"text": ORDER.replace("4711^^^HOSP^MR", "")}, 200, "no patient identifier"),
    ):
        answer = await client.post("/hl7/preview", data=typed)
        assert (answer.status_code, words in answer.text) == (status, True), (words, answer.status_code)


async def test_a_feeds_own_mapping_and_who_may_see_it(archive: Archive) -> None:
    await put_feed(archive, "ris", {"direction": "in", "mapping": {"preset": "filler-is-accession"}})
    await put_feed(archive, "out", {"direction": "out", "host": "127.0.0.1", "port": 2576})
    trial = await preview_mapping(archive, raw=ORDER.encode(), feed="ris")
    assert trial.changes[0].startswith("Order F7 ")
    with pytest.raises(InvalidRequestError, match="it reads none"):
        await preview_mapping(archive, raw=ORDER.encode(), feed="out")
    blind = Access(ActorKind.PERSON, "bob", frozenset({Permission.MESSAGE_READ}), account_id=2)
    with acting_as(blind), pytest.raises(NotAllowedError):
        await preview_mapping(archive, raw=ORDER.encode(), feed="ris")
