"""What is wrong with feeds: one that is silent, and messages that wait for somebody to mend them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fileroom.admin.entries import read_entries
from fileroom.db.pool import Pool
from fileroom.feeds.feeds import FEEDS


@dataclass(frozen=True, slots=True)
class SilentFeed:
    """Nothing has come by the feed for longer than it allows. `last_at` None: nothing ever has."""

    name: str
    silent_minutes: int
    """What it allows."""
    minutes: float
    last_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class FailedCount:
    """Messages of a feed that nobody has mended: in those that failed, dead those that could not be delivered."""

    feed: str
    failed: int
    dead: int


async def silent_feeds(pool: Pool) -> list[SilentFeed]:
    """Feeds in force that say after how long they are silent, and are. A new one is heard of from its last change on.

    Raises DatabaseError.
    """
    allowed = {
        one.name: int(one.fields["silent_minutes"])
        for one in await read_entries(pool, FEEDS)
        if one.enabled and one.fields["direction"] == "in" and one.fields["silent_minutes"]
    }
    if not allowed:
        return []
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT entry.name, state.last_at,
                    extract(epoch FROM now() - greatest(state.last_at, entry.changed_at)) / 60
                FROM named_entry entry LEFT JOIN hl7_feed_state state ON state.feed = entry.name
                WHERE entry.section = 'feeds' AND entry.removed_at IS NULL AND entry.name = ANY(%s) ORDER BY entry.name""",
            (list(allowed),),
        )
        return [
            SilentFeed(name, allowed[name], float(minutes), last_at)
            for name, last_at, minutes in await cursor.fetchall()
            if minutes > allowed[name]
        ]


async def failed_counts(pool: Pool) -> list[FailedCount]:
    """By feed, those with any. Rejected messages of nobody's are under the empty name. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT feed, sum(failed)::bigint, sum(dead)::bigint FROM (
                    SELECT feed, count(*) AS failed, 0 AS dead FROM hl7_message
                    WHERE state IN ('failed', 'rejected') AND mended_by IS NULL GROUP BY feed
                    UNION ALL
                    SELECT feed, 0, count(*) FROM hl7_outgoing WHERE state = 'dead' GROUP BY feed) found
                GROUP BY feed ORDER BY feed"""
        )
        return [FailedCount(*row) for row in await cursor.fetchall()]


async def heard_at(pool: Pool) -> dict[str, dt.datetime]:
    """When each feed was last heard of. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT feed, last_at FROM hl7_feed_state")
        return {row[0]: row[1] for row in await cursor.fetchall()}


async def note_heard(pool: Pool, heard: dict[str, dt.datetime]) -> None:
    """Write when feeds were last heard of; the worker does so every few seconds. Raises DatabaseError."""
    async with pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO hl7_feed_state (feed, last_at) SELECT * FROM unnest(%s::text[], %s::timestamptz[])
                ON CONFLICT (feed) DO UPDATE SET last_at = greatest(hl7_feed_state.last_at, excluded.last_at)""",
            (list(heard), list(heard.values())),
        )
