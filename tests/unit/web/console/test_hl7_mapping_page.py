"""A feed's mapping as a table: read with a real message, saved, wrong lines told; versions and the way back."""

from __future__ import annotations

import httpx

from fileroom.archive.services import Archive
from fileroom.feeds.feeds import get_feed, put_feed, read_feeds
from fileroom.feeds.inbox import receive_message

ADT = b"MSH|^~\\&|RIS|H|F|H|20261122101500||ADT^A04|1|P|2.5\rPID|1||P1^^^H^MR||Doe^Jane||19700203|W\rZPI|1|KEPT <b>\r"


async def test_a_place_is_tried_on_a_real_message_saved_and_taken_back(
    client: httpx.AsyncClient, archive: Archive
) -> None:
    assert "Nobody has changed this feed yet" in (await client.get("/hl7/feeds/mapping")).text
    await put_feed(archive, "ris", {"direction": "in", "senders": ["RIS|H"]})
    feeds = await read_feeds(archive.pool)
    feed = next(one for one in feeds.incoming if one.feed.name == "ris")
    await receive_message(archive, feed, ADT, address="127.0.0.1")
    html = (await client.get("/hl7/feeds/mapping?feed=ris")).text
    assert 'name="number" inputmode="numeric" maxlength="15" value="1"' in html
    assert "PID-5" in html
    assert "Doe^Jane" in html
    form = {"feed": "ris", "version": "1", "number": "1", "preset": "ihe", "fact.reason": "ZPI-2 OBR-31[2=A B]"}
    form |= {
        "new.0": "PatientComments",
        "new_places.0": "ZPI-2",
        "table.sex": "W = F\nM = M",
        "rest": '{"names": "hl7"}',
    }
    tried = (await client.post("/hl7/feeds/mapping", data=form)).text
    assert "KEPT &lt;b&gt;" in tried
    assert (await get_feed(archive, "ris")).version == 1
    saved = await client.post("/hl7/feeds/mapping/save", data=form)
    assert saved.status_code == 303, saved.text
    mapping = (await get_feed(archive, "ris")).fields["mapping"]
    assert mapping["facts"]["reason"] == ["ZPI-2", "OBR-31[2=A B]"]
    assert mapping["facts"]["PatientComments"] == ["ZPI-2"]
    assert mapping["values"]["sex"]["W"] == "F"
    html = (await client.get(saved.headers["location"])).text
    assert "mapping.facts.reason" in html
    assert "Go back to this version" in html
    stale = await client.post("/hl7/feeds/mapping/save", data=form)
    assert stale.status_code == 409

    back = {"feed": "ris", "version": "2", "to": "1"}
    assert (await client.post("/hl7/feeds/mapping/back", data=back)).status_code == 303
    now = await get_feed(archive, "ris")
    assert (now.version, now.fields["mapping"]) == (3, {"preset": "ihe"})
    assert (await client.post("/hl7/feeds/mapping/back", data=back)).status_code == 409
    assert (await client.post("/hl7/feeds/mapping/back", data=back | {"version": "3", "to": "9"})).status_code == 404


async def test_what_is_wrong_is_told_and_stays_typed(client: httpx.AsyncClient, archive: Archive) -> None:
    await put_feed(archive, "ris", {"direction": "in", "senders": ["RIS|H"]})
    form = {"feed": "ris", "version": "1", "preset": "ihe"}
    for wrong, words in (
        ({"fact.reason": "NOPE"}, "NOPE"),
        ({"table.sex": "no sign"}, "without ="),
        ({"rest": "{"}, "no JSON"),
        ({"new.0": "NoSuchKeyword", "new_places.0": "ZPI-2"}, "NoSuchKeyword"),
    ):
        told = await client.post("/hl7/feeds/mapping/save", data=form | wrong)
        assert told.status_code == 400, wrong
        assert words in told.text
    assert (await get_feed(archive, "ris")).version == 1
