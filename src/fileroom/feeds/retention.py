"""How long messages are kept: each feed says it for what it took or sent; of what no feed took, the latest."""

from __future__ import annotations

import datetime as dt
from typing import Final

from fileroom.admin.entries import read_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.feeds.feed_fields import KEEP_DAYS_DEFAULT
from fileroom.feeds.feeds import FEEDS

ROUND_MAX: Final = 2000
"""Rows that one round deletes: less than a tenth of a second."""
REJECTED_KEPT_MAX: Final = 10_000
"""Of what no feed took: somebody who calls us by mistake, a thousand times an hour, shall not fill the disk."""
RETENTION_INTERVAL_S: Final = 600.0


async def forget_old_messages(archive: Archive) -> int:
    """Delete what is past its days; how many rows. What waits to be sent stays. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    now = archive.now()
    days = {one.name: int(one.fields["keep_days"]) for one in await read_entries(archive.pool, FEEDS)}
    kept = list(set(days.values()) | {KEEP_DAYS_DEFAULT})
    deleted = 0
    async with archive.pool.connection() as connection:
        for one in kept:
            before = now - dt.timedelta(days=one)
            names = [name for name, of_it in days.items() if of_it == one]
            others = list(days) if one == KEEP_DAYS_DEFAULT else None
            values = {"before": before, "names": names, "others": others, "most": ROUND_MAX}
            for statement in (_OLD_MESSAGES, _OLD_OUTGOING):
                cursor = await connection.execute(statement, values)
                deleted += cursor.rowcount
        cursor = await connection.execute(_MANY_REJECTED, (REJECTED_KEPT_MAX, ROUND_MAX))
        deleted += cursor.rowcount
    return deleted


# --- helpers ---

_OLD_MESSAGES: Final = b"""DELETE FROM hl7_message WHERE id IN (
    SELECT id FROM hl7_message WHERE received_at < %(before)s
        AND (feed = ANY(%(names)s) OR (%(others)s::text[] IS NOT NULL AND feed <> ALL(%(others)s)))
    ORDER BY received_at LIMIT %(most)s)"""

_OLD_OUTGOING: Final = b"""DELETE FROM hl7_outgoing WHERE id IN (
    SELECT id FROM hl7_outgoing WHERE made_at < %(before)s AND state <> 'waiting'
        AND (feed = ANY(%(names)s) OR (%(others)s::text[] IS NOT NULL AND feed <> ALL(%(others)s)))
    ORDER BY id LIMIT %(most)s)"""

_MANY_REJECTED: Final = b"""DELETE FROM hl7_message WHERE id IN (
    SELECT id FROM (SELECT id FROM hl7_message WHERE feed = '' AND state = 'rejected' AND mended_by IS NULL
        ORDER BY id DESC OFFSET %s) far ORDER BY id LIMIT %s)"""
