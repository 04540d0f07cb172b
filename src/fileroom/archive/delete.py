"""Deleting studies, series and instances: the rows at once, the files a little later.

One transaction takes the rows away and notes the files in `doomed_object`; `remove_doomed_objects` unlinks them. So
neither a crash nor a store that is out of reach leaves a row without its object, or an object that nobody knows of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, errors

from fileroom.admin.audit import describe_study, record
from fileroom.admin.audit_events import instances_deleted, study_deleted
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, NotFoundError, StorageError
from fileroom.dicom.query import Level
from fileroom.index.stored import has_visible_study
from fileroom.index.visibility import visibility_of

FILES_PER_ROUND: Final = 500
GRACE_S: Final = 60.0
"""Files outlive their rows by so long: somebody may just be about to send them."""
_ATTEMPTS: Final = 3

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many rows of each level are gone."""

    studies: int
    series: int
    instances: int


async def delete_study(archive: Archive, study_uid: str, *, actor: str, reason: str = "") -> Deleted:
    """Delete a study; its corrections end with it. The audit trail keeps actor and reason.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    return await _delete(archive, _Target(Level.STUDY, study_uid), actor, reason)


async def delete_series(archive: Archive, study_uid: str, series_uid: str, *, actor: str, reason: str = "") -> Deleted:
    """Delete a series, and the study if it was its last. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await _delete(archive, _Target(Level.SERIES, study_uid, series_uid), actor, reason)


async def delete_instance(
    archive: Archive, study_uid: str, series_uid: str, sop_uid: str, *, actor: str, reason: str = ""
) -> Deleted:
    """Delete an instance, and series and study if it was their last.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    return await _delete(archive, _Target(Level.INSTANCE, study_uid, series_uid, sop_uid), actor, reason)


async def remove_doomed_objects(archive: Archive, grace_s: float = GRACE_S) -> int:
    """Unlink files whose rows have been gone for `grace_s`; returns how many.

    Raises NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.SYSTEM_MANAGE)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            cursor = await connection.execute(
                b"""SELECT storage_key FROM doomed_object WHERE doomed_at <= now() - make_interval(secs => %s)
                    ORDER BY doomed_at LIMIT %s FOR UPDATE SKIP LOCKED""",
                (grace_s, FILES_PER_ROUND),
            )
            keys = [row[0] for row in await cursor.fetchall()]
            gone = [key for key in keys if await _is_removed(archive, key)]
            await connection.execute(b"DELETE FROM doomed_object WHERE storage_key = ANY(%s)", (gone,))
    except psycopg.Error as error:
        raise _failure(error) from error
    return len(gone)


async def _is_removed(archive: Archive, key: str) -> bool:
    """Remove one file; one that the store will not let go is tried again later and holds nobody up."""
    try:
        await archive.store.delete(key)
    except StorageError as error:
        _log.warning("object_not_removed", storage_key=key, reason=str(error))
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Target:
    level: Level
    study_uid: str
    series_uid: str | None = None
    sop_uid: str | None = None

    @property
    def uids(self) -> tuple[str | None, str | None, str | None]:
        return self.study_uid, self.series_uid, self.sop_uid

    def describe(self) -> str:
        """In words, for messages."""
        if self.level is Level.STUDY:
            return f"study {self.study_uid}"
        series = f"series {self.series_uid} of study {self.study_uid}"
        return series if self.level is Level.SERIES else f"instance {self.sop_uid} in {series}"


async def _delete(archive: Archive, target: _Target, actor: str, reason: str) -> Deleted:
    visibility = visibility_of(require(Permission.STUDY_DELETE))
    for attempt in range(_ATTEMPTS):
        try:
            async with archive.pool.connection() as connection, connection.transaction():
                if not await has_visible_study(connection, target.study_uid, visibility):
                    raise _not_there(target)
                deleted = await _delete_rows(connection, target, actor, reason)
            break
        except (errors.DeadlockDetected, errors.ForeignKeyViolation) as error:
            # Objects arrived for what was just being deleted: the next round sees them too.
            if attempt + 1 == _ATTEMPTS:
                raise _failure(error) from error
        except psycopg.Error as error:
            raise _failure(error) from error
    _log.info("deleted", what=target.describe(), actor=actor, instances=deleted.instances)
    return deleted


def _not_there(target: _Target) -> NotFoundError:
    return NotFoundError(f"There is no {target.describe()}; it was deleted already or never received.")


async def _delete_rows(connection: AsyncConnection[Any], target: _Target, actor: str, reason: str) -> Deleted:
    study = await describe_study(connection, target.study_uid)
    # Series before study, as receiving does it, so that neither waits for the other in a circle.
    await connection.execute(_LOCK_SERIES, (target.study_uid, *_twice(target.series_uid)))
    cursor = await connection.execute(_DELETE_INSTANCES, (target.study_uid, *_twice(target.series_uid, target.sop_uid)))
    row = await cursor.fetchone()
    instances, studies_touched = row or (0, [])
    if not instances:
        raise _not_there(target)
    cursor = await connection.execute(_DELETE_EMPTY_SERIES, (studies_touched, studies_touched))
    row = await cursor.fetchone()
    series = row[0] if row else 0
    cursor = await connection.execute(_DELETE_EMPTY_STUDIES, (studies_touched, actor))
    row = await cursor.fetchone()
    studies = row[0] if row else 0
    await connection.execute(_REFRESH_STUDIES, (studies_touched,))
    await connection.execute(_REVOKE_CORRECTIONS, (actor, *target.uids, target.sop_uid))
    why = f": {reason}" if reason else ""
    what = f"{instances} instances of {target.describe()}, by {actor}{why}"
    event = study_deleted(study, what) if studies else instances_deleted(study, what)
    await record(connection, event)
    return Deleted(studies, series, instances)


def _twice(*values: str | None) -> tuple[str | None, ...]:
    """Each parameter two times: once to see whether it is given, once to compare."""
    return tuple(value for value in values for _ in range(2))


_LOCK_SERIES: Final = b"""
SELECT 1 FROM series e JOIN study s ON s.id = e.study
WHERE s.study_instance_uid = %s AND (%s::text IS NULL OR e.series_instance_uid = %s)
ORDER BY e.series_instance_uid FOR UPDATE OF e"""
_DELETE_INSTANCES: Final = b"""
WITH chosen AS (
    SELECT i.id, e.id AS series, s.id AS study FROM instance i
    JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
    WHERE s.study_instance_uid = %s AND (%s::text IS NULL OR e.series_instance_uid = %s)
    AND (%s::text IS NULL OR i.sop_instance_uid = %s)
), gone AS (
    DELETE FROM instance i USING chosen WHERE i.id = chosen.id
    RETURNING i.storage_key, i.sop_instance_uid, chosen.series, chosen.study
), gone_aside AS (
    DELETE FROM conflict c USING gone WHERE c.sop_instance_uid = gone.sop_instance_uid RETURNING c.storage_key
), doomed AS (
    INSERT INTO doomed_object (storage_key)
    SELECT storage_key FROM gone UNION SELECT storage_key FROM gone_aside ON CONFLICT DO NOTHING
), counted AS (
    UPDATE series SET instance_count = instance_count - less.n, changed_at = now(), documented = false
    FROM (SELECT series, count(*) AS n FROM gone GROUP BY series) less WHERE series.id = less.series
)
SELECT count(*)::integer, coalesce(array_agg(DISTINCT study), '{}') FROM gone"""
_DELETE_EMPTY_SERIES: Final = b"""
WITH doomed AS (
    INSERT INTO doomed_object (storage_key)
    SELECT document_key FROM series WHERE study = ANY(%s) AND instance_count <= 0 AND document_key IS NOT NULL
    ON CONFLICT DO NOTHING
), gone AS (DELETE FROM series WHERE study = ANY(%s) AND instance_count <= 0 RETURNING 1)
SELECT count(*)::integer FROM gone"""
_DELETE_EMPTY_STUDIES: Final = b"""
WITH gone AS (
    DELETE FROM study s WHERE s.id = ANY(%s) AND NOT EXISTS (SELECT 1 FROM series e WHERE e.study = s.id)
    RETURNING s.patient, s.id, s.study_instance_uid
), gone_patients AS (
    DELETE FROM patient p USING gone WHERE p.id = gone.patient
    AND NOT EXISTS (SELECT 1 FROM study s WHERE s.patient = p.id AND s.id NOT IN (SELECT id FROM gone))
), revoked AS (
    UPDATE correction c SET revoked_at = now(), revoked_by = %s FROM gone
    WHERE c.study_instance_uid = gone.study_instance_uid AND c.revoked_at IS NULL
)
SELECT count(*)::integer FROM gone"""
_REFRESH_STUDIES: Final = b"""
UPDATE study s SET
    modalities = coalesce((SELECT array_agg(modality ORDER BY first) FROM (
        SELECT e.modality, min(e.id) AS first FROM series e
        WHERE e.study = s.id AND e.modality IS NOT NULL GROUP BY e.modality) m), '{}'),
    sop_classes = coalesce((SELECT array_agg(DISTINCT i.sop_class_uid) FROM instance i
        JOIN series e ON e.id = i.series WHERE e.study = s.id), '{}'),
    institutions = array(SELECT DISTINCT e.institution_name_key FROM series e
        WHERE e.study = s.id AND e.institution_name_key IS NOT NULL)
WHERE s.id = ANY(%s)"""
_REVOKE_CORRECTIONS: Final = b"""
UPDATE correction SET revoked_at = now(), revoked_by = %s
WHERE study_instance_uid = %s AND revoked_at IS NULL
AND series_instance_uid = %s AND (%s::text IS NULL OR sop_instance_uid = %s)"""


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database did not take the deletion: {type(error).__name__}. Try again later.")
