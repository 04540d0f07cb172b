"""When the clock of the database is set: leases, next tries and the rest of routing that is measured by it.

All times of routing are the database's, so that every process on every machine goes by the same clock. Somebody may set it,
and a machine may wake up with a wrong one. What a process can trust is its own `time.monotonic`, which nobody sets:

    forward    what is due is due earlier, which does no harm. But every lease seems to have run out, those of lanes at work
               too: they may be taken over only as far as `time.monotonic` says that time has gone by (`ClockWatch.horizon`).
    back       what is due lies in the future by as much as the clock was set back, a dead worker's lease too, and a study
               would count as complete so much later. `pull_back` brings every such time to where it may be at most.

Schedules and conditions on the time of day go by what the clock says: that is what they are for.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Final

import structlog

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.routing.parcels import CLAIM_S, RENEW_S

JUMP_S: Final = 2.0
"""Less is what clocks do that are kept right; leases are longer than that."""

_log: Final = structlog.get_logger(__name__)


class ClockWatch:
    """Compares the clock of the database with one that nobody sets. One for a process; it looks once a second."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None
        """How far the clock of the database is ahead of `monotonic`."""
        self._before: float | None = None
        """How far it was before it was set forward, until `_renewed_at` (of `monotonic`), when lanes have new claims."""
        self._renewed_at = 0.0

    def look(self, now: dt.datetime) -> bool:
        """Note what the database says; True when its clock was set back, and at the first look: who knows what was before."""
        ahead = now.timestamp() - self._monotonic()
        before, self._ahead = self._ahead, ahead
        if before is not None and ahead > before + JUMP_S:
            self._before = before if self._before is None else self._before
            self._renewed_at = self._monotonic() + 2 * RENEW_S
        elif self._monotonic() >= self._renewed_at:
            self._before = None
        return before is None or ahead < before - JUMP_S

    def horizon(self) -> dt.datetime:
        """What the clock of the database would say now if nobody had set it forward lately."""
        if self._ahead is None:
            return dt.datetime.min.replace(tzinfo=dt.UTC)
        ahead = self._ahead if self._before is None else min(self._ahead, self._before)
        return dt.datetime.fromtimestamp(ahead + self._monotonic() + JUMP_S, dt.UTC)


async def read_clock(archive: Archive) -> dt.datetime:
    """What the clock of the database says. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT clock_timestamp()")
        row = await cursor.fetchone()
    return row[0] if row is not None else archive.now()


async def pull_back(archive: Archive) -> int:
    """Bring times that lie further in the future than they can to where they may be at most; returns how many deliveries.

    Does nothing where all is well, however often and by however many processes it is called.
    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute(_CLAIMS, (CLAIM_S, CLAIM_S))
        cursor = await connection.execute(_DELIVERIES)
        parcels = [row[0] for row in await cursor.fetchall()]
        if parcels:
            await connection.execute(b"SELECT wake_parcels(%s)", (sorted(set(parcels)),))
        for statement in _OTHERS:
            await connection.execute(statement)
    if parcels:
        _log.warning("clock_was_set_back", deliveries=len(parcels))
    return len(parcels)


# --- helpers ---

_CLAIMS: Final = b"""UPDATE parcel SET claimed_until = now() + make_interval(secs => %s)
    WHERE state = 'claimed' AND claimed_until > now() + make_interval(secs => %s)"""

# The longest pauses there are (`tasks.loop.retry_delay`, `lanes.REST_MAX_S`, `lanes.PROOF_MAX_S`), with their jitter. Parcels
# of which nothing is due now have been put down as `later`, so that the index on those finds what lies in the future.
_DELIVERIES: Final = b"""WITH far AS (
        SELECT d.id, CASE WHEN d.state = 'sent' THEN interval '600 seconds' WHEN d.attempts = 0 THEN interval '0'
            ELSE greatest(interval '330 seconds', least(power(2, least(d.attempts - 1, 20)) * interval '66 seconds',
                interval '66 minutes')) END AS most
        FROM parcel p JOIN delivery d ON d.parcel_id = p.id
        WHERE p.state IN ('later', 'claimed', 'ready') AND d.state IN ('waiting', 'sent') AND d.due_at > now())
    UPDATE delivery d SET due_at = now() + far.most FROM far WHERE d.id = far.id AND d.due_at > now() + far.most
    RETURNING d.parcel_id"""

_OTHERS: Final = (
    b"UPDATE gathering SET last_at = now() WHERE last_at > now()",
    b"""UPDATE parcel SET due_at = now() WHERE state = 'later' AND due_at > now() + interval '66 minutes'""",
    b"UPDATE fetch_job SET claimed_until = now() + interval '30 seconds' WHERE state = 'running'"
    b" AND claimed_until > now() + interval '30 seconds'",
    b"UPDATE fetch_job SET due_at = now() WHERE state IN ('waiting', 'running') AND due_at > now() + interval '66 minutes'",
    b"UPDATE prefetch_occasion SET due_at = now() WHERE state = 'waiting' AND due_at > now() + interval '66 minutes'",
    b"UPDATE prefetch_mark SET reached_at = now() WHERE reached_at > now()",
    b"DELETE FROM throttle_account WHERE greatest(bytes_free_at, objects_free_at) > now() + interval '10 minutes'",
    b"UPDATE edge_offer SET given_until = now() WHERE outcome = '' AND given_until > now() + interval '2 minutes'",
    b"UPDATE edge_offer SET offered_until = now() + interval '1 minute' WHERE offered_until > now() + interval '1 minute'",
    b"UPDATE edge_state SET seen_at = now() WHERE seen_at > now()",
    b"UPDATE destination_health SET trial_at = now() WHERE trial_at > now() + interval '6 minutes'",
    b"UPDATE destination_health SET asked_at = now() WHERE asked_at > now()",
    b"UPDATE alert SET seen_at = now() WHERE state <> 'ended' AND seen_at > now()",
    b"""UPDATE alert SET notice_due_at = now() WHERE notice_due_at > now() + interval '7 days'
        OR (notices = 0 AND notice_due_at > now() + interval '66 minutes')""",
)
