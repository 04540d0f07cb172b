"""ADT^A31 to feeds out that want to hear when the numbers of a person change (PIX update notification, IHE ITI-10).

Rows that change note their patient in the same transaction (triggers of 0026_billing.sql), once a feed wants it; a round of the
HL7 worker tells each feed the numbers of its domains, where they are others than it heard last.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.feeds.charge_messages import SENDER
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet
from fileroom.feeds.outbox import queue_message
from fileroom.feeds.query_segments import reference_segment
from fileroom.hl7.build import MessageBuilder, hl7_time
from fileroom.hl7.message import Message, parse_message
from fileroom.worklist.facts import Identifier
from fileroom.worklist.patient_query import identifiers_of_person, linked_with

UPDATES_INTERVAL_S: Final = 3.0
ROUND_MAX: Final = 500
_LOCK: Final = 0x50495855
"""The letters PIXU."""


async def tell_identifiers(archive: Archive, feeds: FeedSet) -> int:
    """Queue what feeds want to hear; how many patients were looked at. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    wanting = [feed for feed in feeds.outgoing if feed.identifier_domains]
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(b"SELECT feed FROM identifier_feed")
        known = {str(row[0]) for row in await cursor.fetchall()}
        if not wanting and not known:
            return 0
        cursor = await connection.execute(b"SELECT pg_try_advisory_xact_lock(%s, 0)", (_LOCK,))
        if (await cursor.fetchone() or (False,))[0] is not True:
            return 0  # another worker is at it
        names = [feed.name for feed in wanting]
        if known != set(names):
            await connection.execute(b"DELETE FROM identifier_feed WHERE feed <> ALL(%s)", (names,))
            await connection.execute(b"DELETE FROM identifiers_told WHERE feed <> ALL(%s)", (names,))
            await connection.execute(
                b"INSERT INTO identifier_feed SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (names,)
            )
        cursor = await connection.execute(
            b"""DELETE FROM identifier_note WHERE id IN (SELECT id FROM identifier_note ORDER BY id LIMIT %s)
                RETURNING patient""",
            (ROUND_MAX,),
        )
        noted = sorted({int(row[0]) for row in await cursor.fetchall()})
        for patient in noted:
            for feed in wanting:
                await _tell(archive, connection, feed, patient)
    return len(noted)


async def _tell(archive: Archive, connection: AsyncConnection[Any], feed: Outgoing, patient: int) -> None:
    cursor = await connection.execute(b"SELECT merged_into FROM registered_patient WHERE id = %s", (patient,))
    row = await cursor.fetchone()
    if row is None or row[0] is not None:
        return  # who it became part of is noted too
    person = min(await linked_with(connection, patient))
    wanted = feed.identifier_domains
    numbers = [
        one
        for one in await identifiers_of_person(connection, person)
        if one.authority and ("*" in wanted or one.authority in wanted)
    ]
    digest = hashlib.sha256(repr(sorted((one.authority, one.value) for one in numbers)).encode()).hexdigest()[:32]
    cursor = await connection.execute(
        b"""INSERT INTO identifiers_told (feed, patient, digest) SELECT %s, %s, %s
                WHERE %s OR EXISTS (SELECT FROM identifiers_told WHERE feed = %s AND patient = %s)
            ON CONFLICT (feed, patient) DO UPDATE SET digest = EXCLUDED.digest, number = identifiers_told.number + 1
                WHERE identifiers_told.digest <> EXCLUDED.digest
            RETURNING number""",
        # A single number is no cross-reference, unless there were more.
        (feed.name, person, digest, len(numbers) > 1, feed.name, person),
    )
    told = await cursor.fetchone()
    if told is None or not numbers:
        return
    message = update_message(numbers, f"FRI{person}.{told[0]}", archive.now().astimezone())
    cause = f"numbers {told[0]} of patient {person}"
    await queue_message(connection, feed.name, message, cause=cause, who="identifiers")


def update_message(numbers: Sequence[Identifier], control_id: str, now: dt.datetime) -> Message:
    """ADT^A31 with all numbers of a person; name and visit are not told (ITI-10 3.10.4.1.2)."""
    builder = MessageBuilder(version="2.5").header("ADT^A31^ADT_A05", control_id=control_id, now=now, sender=SENDER)
    builder.segment("EVN", {2: hl7_time(now)})
    name, fields = reference_segment(numbers, ())
    builder.segment(name, fields)
    return parse_message(builder.segment("PV1", {2: "N"}).build())
