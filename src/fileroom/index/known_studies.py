"""Which studies of a list are here, and whether somebody may see them: for answers that come from elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fileroom.db.pool import Pool
from fileroom.index.visibility import Visibility, study_is_visible


async def known_studies(pool: Pool, study_uids: Collection[str], visibility: Visibility) -> Mapping[str, bool]:
    """By Study Instance UID whether it may be seen; a study that is not here is not in it. Raises DatabaseError."""
    if not study_uids:
        return {}
    seen = study_is_visible(visibility)
    text = f"SELECT s.study_instance_uid, {seen.text or 'true'} FROM study s WHERE s.study_instance_uid = ANY(%s)"
    async with pool.connection() as connection:
        cursor = await connection.execute(text.encode(), (*seen.parameters, list(study_uids)))
        return {row[0]: bool(row[1]) for row in await cursor.fetchall()}


async def instances_here(pool: Pool, study_uid: str) -> int:
    """How many objects of a study are here, 0 when it is not. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT coalesce(sum(e.instance_count), 0)::bigint FROM study s JOIN series e ON e.study = s.id
                WHERE s.study_instance_uid = %s""",
            (study_uid,),
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0
