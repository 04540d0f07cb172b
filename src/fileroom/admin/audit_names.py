"""The names that go with events of the audit trail: people by their logins, studies by what they show.

Whoever may read the trail, which names patients, may read these too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import psycopg
from psycopg.rows import tuple_row

from fileroom.admin.audit_search import AuditRecord
from fileroom.core.access import ActorKind, Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool

NAMES_MAX: Final = 2000
"""Looked up for one page; a thousand events have hardly so many."""


@dataclass(frozen=True, slots=True)
class Names:
    """Full names by login; studies as `CT chest` by UID. Who or what is not there (any more) is missing."""

    people: Mapping[str, str] = field(default_factory=dict)
    studies: Mapping[str, str] = field(default_factory=dict)


async def names_for(pool: Pool, records: Iterable[AuditRecord]) -> Names:
    """The names that these events need. Raises NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    found = list(records)
    logins = {one.actor for one in found if one.actor_kind == ActorKind.PERSON and one.actor}
    uids = {one.study_uids[0] for one in found if len(one.study_uids) == 1}
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                b"SELECT login, full_name FROM account WHERE login = ANY(%s) AND full_name <> ''",
                (sorted(logins)[:NAMES_MAX],),
            )
            people: dict[str, str] = dict(await cursor.fetchall())
            await cursor.execute(
                b"""SELECT study_instance_uid, array_to_string(modalities, ' '), coalesce(study_description, '')
                    FROM study WHERE study_instance_uid = ANY(%s)""",
                (sorted(uids)[:NAMES_MAX],),
            )
            studies = {uid: _label(modalities, words) for uid, modalities, words in await cursor.fetchall()}
    except psycopg.Error as error:
        raise DatabaseError(f"The names could not be read: {type(error).__name__}. Try again later.") from error
    return Names(people, studies)


async def studies_of_patient_id(pool: Pool, patient_id: str) -> tuple[str, ...]:
    """The UIDs of a patient's studies, for who may read the trail and no studies. Raises NotAllowedError, DatabaseError."""
    require(Permission.AUDIT_READ)
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                b"SELECT study_instance_uid FROM study WHERE patient_id = %s ORDER BY id DESC LIMIT %s",
                (patient_id, NAMES_MAX),
            )
            return tuple(str(uid) for (uid,) in await cursor.fetchall())
    except psycopg.Error as error:
        raise DatabaseError(f"The names could not be read: {type(error).__name__}. Try again later.") from error


def _label(modalities: str, description: str) -> str:
    """`CT chest`, also where the description says `CT chest` itself."""
    if description.casefold().startswith(modalities.casefold()):
        return description
    return f"{modalities} {description}".strip()
