"""HL7 feeds that are silent, and messages that nobody has mended, are alerts."""

from __future__ import annotations

from fileroom.archive.services import Archive
from fileroom.feeds.feeds import put_feed, read_feeds
from fileroom.feeds.inbox import receive_at
from fileroom.routing.alerts import alerts_due, list_alerts, put_condition


async def test_a_silent_feed_and_a_message_that_waits_are_told(archive: Archive) -> None:
    await put_condition(archive, "silent", {"kind": "feed_silent"})
    await put_condition(archive, "failed", {"kind": "messages_failed"})
    await put_feed(archive, "ris", {"direction": "in", "senders": ["RIS"], "silent_minutes": 10})
    await alerts_due(archive)
    assert await list_alerts(archive) == []
    await receive_at(archive, await read_feeds(archive.pool), 0, b"hello", address="127.0.0.1")
    async with archive.pool.connection() as connection:
        await connection.execute(
            "UPDATE named_entry SET changed_at = now() - interval '1 hour' WHERE section = 'feeds'"
        )
    await alerts_due(archive)
    found = {one.kind: (one.subject, one.value, one.sentence) for one in await list_alerts(archive)}
    assert (found["feed_silent"][0], round(found["feed_silent"][1])) == ("ris", 60)
    assert found["messages_failed"][:2] == ("", 1)
    assert "that no feed takes: 1 to be mended" in found["messages_failed"][2]
