"""Charges for orders, told to feeds out that bill: once an order is performed, or its report final; taken back when that is.

A round of the HL7 worker looks at the orders that have changed since the last one, and at those whose reports have. What was
told of an order is a row (`order_charge`), written in the transaction that queues the message: so it is told once, whatever is
deleted from the outbox. What was due before a feed began to bill is billed elsewhere.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.feeds.charge_messages import Charge, account_message, charge_message
from fileroom.feeds.feed_fields import Outgoing
from fileroom.feeds.feeds import FeedSet
from fileroom.feeds.outbox import queue_message
from fileroom.worklist.patient_query import PatientFound, read_patient

BILLING_INTERVAL_S: Final = 5.0
ROUND_MAX: Final = 200
"""Orders in one transaction."""
OVERLAP_MINUTES: Final = 10
"""Rows are dated when their transaction begins, and seen when it ends: no transaction is longer."""
_LOCK: Final = 0x42494C4C
"""The letters BILL."""


async def tell_charges(archive: Archive, feeds: FeedSet) -> int:
    """Queue what is due for the feeds that bill; how many messages. For `tasks.loop`. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    made = 0
    for feed in feeds.outgoing:
        if feed.billing != "none":
            async with archive.pool.connection() as connection, connection.transaction():
                made += await _tell(archive, connection, feed)
    return made


# --- helpers ---


async def _tell(archive: Archive, connection: AsyncConnection[Any], feed: Outgoing) -> int:
    cursor = await connection.execute(b"SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (_LOCK, feed.name))
    if (await cursor.fetchone() or (False,))[0] is not True:
        return 0  # another worker is at it
    due = _DUE[feed.billing]
    cursor = await connection.execute(
        b"INSERT INTO charge_feed (feed) VALUES (%s) ON CONFLICT DO NOTHING", (feed.name,)
    )
    if cursor.rowcount:
        await connection.execute(
            _BEFORE.format(due=due).encode(),
            (feed.name,),
        )
        return 0
    async with connection.cursor(row_factory=dict_row) as rows:
        await rows.execute(_CHANGED.format(due=due).encode(), {"feed": feed.name, "most": ROUND_MAX})
        found = await rows.fetchall()
    made = 0
    for row in found:
        made += await _tell_order(archive, connection, feed, row)
    if len(found) < ROUND_MAX:
        await connection.execute(
            b"UPDATE charge_feed SET reached = now() - make_interval(mins => %s) WHERE feed = %s",
            (OVERLAP_MINUTES, feed.name),
        )
    return made


async def _tell_order(archive: Archive, connection: AsyncConnection[Any], feed: Outgoing, row: dict[str, Any]) -> int:
    """The message of one order, with its account's before it; the messages made."""
    is_credit = not row["due"]
    number = row["number"] + (0 if is_credit else 1)
    patient = await read_patient(connection, row["patient"], row["visit"])
    if patient is None:
        return 0
    made = 0
    # What was due before the feed billed was not charged here, so nothing is taken back.
    if not (is_credit and row["charged"] == "before"):
        if feed.billing_accounts:
            made += await _tell_account(archive, connection, feed, patient, row["visit"] or 0)
        charge = _charge(row, number, is_credit=is_credit)
        cause = f"{'credit' if is_credit else 'charge'} {number} of order {row['id']}"
        message = charge_message(charge, patient, archive.now().astimezone())
        made += await queue_message(connection, feed.name, message, cause=cause, who="billing")
    await connection.execute(
        b"""INSERT INTO order_charge (imaging_order, feed, state, number) VALUES (%s, %s, %s, %s)
            ON CONFLICT (imaging_order, feed) DO UPDATE SET state = EXCLUDED.state, number = EXCLUDED.number,
                changed_at = now()""",
        (row["id"], feed.name, "credited" if is_credit else "charged", number),
    )
    return made


async def _tell_account(
    archive: Archive, connection: AsyncConnection[Any], feed: Outgoing, patient: PatientFound, visit: int
) -> int:
    """BAR^P01 before the first charge of an account, P05 where patient or visit have changed since."""
    said = repr((patient.patient_name, patient.birth_date, patient.sex, patient.identifiers, patient.visit))
    digest = hashlib.sha256(f"{said}{sorted(patient.details.items())}".encode()).hexdigest()[:32]
    cursor = await connection.execute(
        b"""INSERT INTO charge_account (feed, patient, visit, digest) VALUES (%s, %s, %s, %s)
            ON CONFLICT (feed, patient, visit) DO UPDATE SET digest = EXCLUDED.digest, number = charge_account.number + 1
                WHERE charge_account.digest <> EXCLUDED.digest
            RETURNING number""",
        (feed.name, patient.id, visit, digest),
    )
    row = await cursor.fetchone()
    if row is None:
        return 0
    message = account_message(patient, visit, int(row[0]), archive.now().astimezone())
    cause = f"account {int(row[0])} of patient {patient.id} visit {visit}"
    return int(await queue_message(connection, feed.name, message, cause=cause, who="billing"))


def _charge(row: dict[str, Any], number: int, *, is_credit: bool) -> Charge:
    accession, filler = row["accession_number"], (row["filler_number"], row["filler_authority"])
    return Charge(
        row["id"],
        number,
        is_credit,
        row["procedure_code"],
        row["procedure_scheme"],
        row["procedure_meaning"],
        (row["placer_number"], row["placer_authority"]),
        filler if filler[0] else (accession, "FILEROOM"),
        accession,
        row["performed_at"],
        row["performed_by"],
        row["ordering_physician"],
        row["department"],
        row["institution"],
        row["diagnosis"],
    )


_DUE: Final = {
    "performed": "o.state = 'completed'",
    "reported": """(o.state NOT IN ('cancelled', 'discontinued') AND EXISTS (
        SELECT FROM report r WHERE r.imaging_order = o.id AND r.state IN ('final', 'corrected')))""",
}

_BEFORE: Final = """
INSERT INTO order_charge (imaging_order, feed, state) SELECT o.id, %s, 'before' FROM imaging_order o WHERE {due}
ON CONFLICT DO NOTHING"""

_CHANGED: Final = """
SELECT * FROM (
    SELECT o.id, o.patient, o.visit, o.placer_number, o.placer_authority, o.filler_number, o.filler_authority,
        o.accession_number, o.procedure_code, o.procedure_scheme, o.procedure_meaning, o.ordering_physician, o.department,
        o.institution, {due} AS due, coalesce(c.state, 'none') AS charged, coalesce(c.number, 0) AS number,
        coalesce(nullif(o.details ->> 'AdmittingDiagnosesDescription', ''), o.reason) AS diagnosis,
        coalesce(p.began, s.began, '') AS performed_at,
        coalesce(nullif(p.physician, ''), s.physician, '') AS performed_by
    FROM charge_feed f
    CROSS JOIN LATERAL (
        SELECT id FROM imaging_order WHERE changed_at > f.reached
        UNION SELECT imaging_order FROM report WHERE changed_at > f.reached AND imaging_order IS NOT NULL) g
    JOIN imaging_order o ON o.id = g.id AND o.patient IS NOT NULL
    LEFT JOIN order_charge c ON c.imaging_order = o.id AND c.feed = f.feed
    LEFT JOIN LATERAL (
        SELECT concat(attributes #>> '{{00400244,Value,0}}', left(attributes #>> '{{00400245,Value,0}}', 6)) AS began,
            attributes #>> '{{00400340,Value,0,00081050,Value,0,Alphabetic}}' AS physician
        FROM performed_step WHERE imaging_order = o.id ORDER BY state = 'completed' DESC, id DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (
        SELECT t.performing_physician AS physician,
            (SELECT concat(y.study_date, left(y.study_time, 6)) FROM study y WHERE y.study_instance_uid = o.study_instance_uid)
                AS began
        FROM scheduled_step t WHERE t.imaging_order = o.id ORDER BY t.id LIMIT 1) s ON true
    WHERE f.feed = %(feed)s) looked
WHERE (due AND charged IN ('none', 'credited')) OR (NOT due AND charged IN ('charged', 'before'))
ORDER BY id LIMIT %(most)s"""
