"""Rows of single instances outside the ingest path: conflicts, refusals, withdrawal, adoption of a file."""

from __future__ import annotations

import psycopg
import structlog

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool
from fileroom.index.rows import StoredFacts
from fileroom.index.write import AlreadyThere

_log = structlog.get_logger(__name__)


async def keep_conflict(pool: Pool, facts: StoredFacts) -> AlreadyThere | None:
    """Record an object whose UID is taken by other content. None: done; else this very content was recorded before."""
    recorded = await _change(
        pool,
        """INSERT INTO conflict (sop_instance_uid, sop_class_uid, transfer_syntax_uid, storage_key, file_bytes, digest,
                                  received_by, sender)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (sop_instance_uid, digest) DO NOTHING""",
        facts.sop_instance_uid,
        facts.sop_class_uid,
        facts.transfer_syntax_uid,
        facts.storage_key,
        facts.file_bytes,
        facts.digest,
        facts.received_by,
        facts.sender,
    )
    return None if recorded else await _find_conflict(pool, facts)


async def adopt_conflict_file(pool: Pool, facts: StoredFacts) -> bool:
    """Let the row of an object that is kept aside point to a new file with the same data set."""
    return await _change(
        pool,
        "UPDATE conflict SET storage_key = %s, file_bytes = %s WHERE sop_instance_uid = %s AND digest = %s",
        facts.storage_key,
        facts.file_bytes,
        facts.sop_instance_uid,
        facts.digest,
    )


async def adopt_file(pool: Pool, facts: StoredFacts) -> bool:
    """Let the row of an instance point to a new file with the same data set."""
    return await _change(
        pool,
        """UPDATE instance SET storage_key = %s, file_bytes = %s, dataset_offset = %s, pixel_offset = %s
           WHERE sop_instance_uid = %s AND digest = %s""",
        facts.storage_key,
        facts.file_bytes,
        facts.dataset_offset,
        facts.pixel_offset,
        facts.sop_instance_uid,
        facts.digest,
    )


async def vouch_for_instance(pool: Pool, storage_key: str) -> bool:
    """Note that the object is safe, whatever becomes of its first sender's flush. False: the row is gone."""
    return await _change(pool, "UPDATE instance SET vouched = true WHERE storage_key = %s", storage_key)


async def withdraw_instance(pool: Pool, storage_key: str) -> bool:
    """Take back the row of an object that could not be made safe. False: somebody else has made it safe meanwhile."""
    return await _change(
        pool,
        """WITH gone AS (DELETE FROM instance WHERE storage_key = %s AND NOT vouched RETURNING series)
           UPDATE series SET instance_count = instance_count - 1, changed_at = now(), documented = false
           FROM gone WHERE series.id = gone.series""",
        storage_key,
    )


async def record_refusal(
    pool: Pool,
    *,
    sop_instance_uid: str,
    sop_class_uid: str,
    transfer_syntax_uid: str,
    status: int,
    reason: str,
    received_by: str,
    sender: str,
) -> None:
    """Note an object that was not kept. That the note itself fails is logged, not raised: the sender has its answer."""
    texts = (text.replace("\0", "")[:1024] for text in (sop_instance_uid, sop_class_uid, transfer_syntax_uid))
    try:
        await _change(
            pool,
            """INSERT INTO refusal (sop_instance_uid, sop_class_uid, transfer_syntax_uid, status, reason, received_by, sender)
               VALUES (%s, %s, %s, %s, %s, %s, %s)""",
            *texts,
            status,
            reason.replace("\0", ""),
            received_by,
            sender,
        )
    except DatabaseError as error:
        _log.warning("refusal_not_recorded", status=f"{status:04X}", error=str(error))


async def _find_conflict(pool: Pool, facts: StoredFacts) -> AlreadyThere | None:
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(
                b"SELECT storage_key, file_bytes FROM conflict WHERE sop_instance_uid = %s AND digest = %s",
                (facts.sop_instance_uid, facts.digest),
            )
            row = await cursor.fetchone()
    except psycopg.Error as error:
        raise _failure(error) from error
    return AlreadyThere(row[0], row[1], facts.digest) if row else None


async def _change(pool: Pool, statement: str, *parameters: object) -> bool:
    """Run one statement in a transaction of its own; True when it changed a row."""
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return cursor.rowcount > 0
    except psycopg.Error as error:
        raise _failure(error) from error


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database did not take the change: {type(error).__name__}. Try again later.")
