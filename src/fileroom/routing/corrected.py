"""What was delivered, and is corrected afterwards, is sent again: a match with an order, its undoing, a merge, a person's hand.

Every change of a correction leaves a row in `corrected_study`, in its own transaction. Here they are read a moment later, so
that several changes of one study are one sending, and the deliveries that had been taken before wait again. Objects are
corrected as they leave, so what is sent then says what stands now. A destination says by `corrected` whether it wants that.
"""

from __future__ import annotations

import enum
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require

SETTLED_S: Final = 3.0
"""A match and a merge often follow each other; and an object that is being sent is told as sent by then."""
LATE_S: Final = 30.0
"""What was taken so long after the change may still have been read before its commit."""
ROWS_MAX: Final = 5000
KINDS: Final = ("dicom", "stow", "pool")
"""Other archives and workstations, which take an object a second time; a folder or a mail would have two of it."""
CAUSE: Final = "Corrected after it was delivered: it is sent again."


class Corrected(enum.StrEnum):
    """What a destination gets of objects that are corrected after they were delivered."""

    USUAL = "usual"
    """Again where the kind is one of KINDS."""
    ALWAYS = "always"
    NEVER = "never"


async def resend_corrected(archive: Archive) -> int:
    """Let what was delivered of corrected studies go again; returns how many studies. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        studies = await _take(connection)
        if studies:
            await _order(connection, studies)
    return len(studies)


async def _take(connection: AsyncConnection[Any]) -> list[tuple[str, Any]]:
    """(study, latest change). What a lane has in hand at this moment is left for later: nobody knows yet what it sent."""
    cursor = await connection.execute(
        b"""WITH due AS (
                SELECT c.id FROM corrected_study c
                WHERE c.corrected_at < now() - make_interval(secs => %s)
                  AND NOT EXISTS (SELECT FROM parcel p WHERE p.study_instance_uid = c.study_instance_uid
                      AND p.state = 'claimed' AND p.claimed_until > now())
                ORDER BY c.id LIMIT %s FOR UPDATE SKIP LOCKED),
            gone AS (DELETE FROM corrected_study c USING due WHERE c.id = due.id
                RETURNING c.study_instance_uid, c.corrected_at)
            SELECT study_instance_uid, max(corrected_at) FROM gone GROUP BY 1 ORDER BY 1""",
        (SETTLED_S, ROWS_MAX),
    )
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def _order(connection: AsyncConnection[Any], studies: list[tuple[str, Any]]) -> None:
    cursor = await connection.execute(
        b"""UPDATE delivery d SET state = 'waiting', due_at = now(), attempts = 0, taken_at = NULL, settled_at = NULL,
                status = NULL, cause = %s, until = ''
            FROM unnest(%s::text[], %s::timestamptz[]) AS g(study, corrected_at), named_entry e
            WHERE d.study_instance_uid = g.study AND e.id = d.destination_id AND e.removed_at IS NULL
              AND d.state IN ('delivered', 'sent') AND d.taken_at < g.corrected_at + make_interval(secs => %s)
              AND CASE coalesce(e.fields->>'corrected', 'usual') WHEN 'always' THEN true WHEN 'never' THEN false
                  ELSE e.fields->>'kind' = ANY(%s) END
            RETURNING d.parcel_id""",
        (CAUSE, [one[0] for one in studies], [one[1] for one in studies], LATE_S, list(KINDS)),
    )
    parcels = sorted({row[0] for row in await cursor.fetchall()})
    if parcels:
        await connection.execute(b"SELECT wake_parcels(%s)", (parcels,))
