"""How long the audit trail is kept: whole months go, by the database's own routine, and the chain goes on from a checkpoint.

Partitions for the coming months are made here too. Both wait for locks only a moment: what writes the trail goes first.
"""

from __future__ import annotations

import datetime as dt

import psycopg
import structlog
from psycopg.errors import LockNotAvailable

from fileroom.admin.audit import record
from fileroom.admin.audit_chain import MONTHS_AHEAD
from fileroom.admin.audit_events import security_alert
from fileroom.admin.audit_message import EventType
from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

_log = structlog.get_logger(__name__)


async def keep_months(pool: Pool, months: int, now: dt.datetime) -> int:
    """Make the coming months' partitions, and drop what is older than `months` (0: nothing). Raises DatabaseError.

    Nothing is dropped that waits for its seal or for a syslog server. Returns how many partitions went.
    """
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(b"SET LOCAL lock_timeout = '2s'")
            await connection.execute(b"SELECT audit_make_months(%s)", (MONTHS_AHEAD,))
        return await _drop(pool, first_of_month(now, months)) if months else 0
    except LockNotAvailable:
        _log.info("audit_months_wait", reason="somebody reads the audit trail")
        return 0
    except psycopg.Error as error:
        raise DatabaseError(f"The audit trail's months cannot be kept: {type(error).__name__}.") from error


def first_of_month(now: dt.datetime, months: int) -> dt.datetime:
    """The beginning of the month that was `months` ago, in UTC: what is from before it is older than that."""
    count = now.astimezone(dt.UTC).year * 12 + now.astimezone(dt.UTC).month - 1 - months
    return dt.datetime(count // 12, count % 12 + 1, 1, tzinfo=dt.UTC)


async def _drop(pool: Pool, before: dt.datetime) -> int:
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(b"SET LOCAL lock_timeout = '2s'")
        cursor = await connection.execute(
            b"""SELECT EXISTS (SELECT 1 FROM audit_seal WHERE sealed_at < %(before)s)
                AND NOT EXISTS (SELECT 1 FROM audit_queue WHERE occurred_at < %(before)s)
                AND NOT EXISTS (SELECT 1 FROM audit_forward f WHERE f.position <
                    (SELECT max(position) FROM audit_seal WHERE sealed_at < %(before)s))""",
            {"before": before},
        )
        row = await cursor.fetchone()
        if row is None or not row[0]:
            return 0
        cursor = await connection.execute(b"SELECT audit_drop_months(%s)", (before,))
        row = await cursor.fetchone()
        dropped = int(row[0]) if row else 0
        if dropped:
            what = f"The audit trail from before {before:%Y-%m-%d} was deleted by the setting audit_keep_months."
            await record(connection, security_alert(EventType.SECURITY_CONFIGURATION, what))
    if dropped:
        _log.info("audit_months_dropped", before=before.isoformat(), partitions=dropped)
    return dropped
