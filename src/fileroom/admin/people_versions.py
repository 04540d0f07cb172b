"""Two administrators and one account or role: the second is shown what the first one saved, and nothing of either is lost.

Each change counts the version of the account or role, and what it was before is kept for whoever has begun to edit that. The
same for nodes stands in `admin.nodes`, for settings in `admin.configuration`.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from psycopg import AsyncConnection

from fileroom.admin.node_fields import Difference, shown
from fileroom.admin.row_scopes import LISTS
from fileroom.core.access import RowScope
from fileroom.core.errors import ConflictError, told

Fields = dict[str, Any]
"""What can be edited, by name: texts, marks (bool), lists of texts."""

VERSIONS_KEPT_MAX: Final = 100
"""Of each account or role: what somebody may have begun to edit and left open."""
_OWN_UPLOADS: Final = "own_uploads"


class EditedMeanwhileError(ConflictError):
    """Somebody else has changed the account or role since the edit began; nothing was written.

    `version` is the version that it has now, `theirs` what was changed meanwhile, `merged` both changes together (one's own
    where both touched the same field), and `clashes` the fields that both touched, as they are now and as one wants them.
    """

    def __init__(self, name: str, changed_by: str, version: int, *, base: Fields, now: Fields, mine: Fields) -> None:
        super().__init__(
            told(
                "{name} was changed by {who} while you were editing it; nothing of yours is written yet. Look at the "
                "differences and save again.",
                name=name,
                who=changed_by or "somebody",
            )
        )
        self.name = name
        self.changed_by = changed_by
        self.version = version
        self.theirs = _differences(base, now)
        self.merged = now | {name: value for name, value in mine.items() if value != base.get(name)}
        touched = {one.field for one in _differences(base, base | mine)} & {one.field for one in self.theirs}
        self.clashes = tuple(one for one in _differences(now, now | mine) if one.field in touched)


def fields_of_rows(rows: RowScope) -> Fields:
    """A row scope as fields: each list is one."""
    return {name: list(getattr(rows, name)) for name in LISTS} | {_OWN_UPLOADS: rows.own_uploads}


def rows_of_fields(fields: Fields) -> RowScope:
    """The row scope that `fields_of_rows` has taken apart."""
    return RowScope(**{name: tuple(fields[name]) for name in LISTS}, own_uploads=fields[_OWN_UPLOADS])


async def keep_version(connection: AsyncConnection[Any], subject: str, version: int, fields: Fields) -> None:
    """What the subject ("account 12", "role ct-desk") was, before it is changed in the same transaction."""
    await connection.execute(
        b"INSERT INTO people_version (subject, version, fields) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (subject, version, orjson.dumps(fields).decode()),
    )
    await connection.execute(
        b"DELETE FROM people_version WHERE subject = %s AND version <= %s", (subject, version - VERSIONS_KEPT_MAX)
    )


async def read_version(connection: AsyncConnection[Any], subject: str, version: int, now: Fields) -> Fields:
    """What the edit began with; where that is forgotten, `now`: everything counts as one's own change."""
    cursor = await connection.execute(
        b"SELECT fields FROM people_version WHERE subject = %s AND version = %s", (subject, version)
    )
    row = await cursor.fetchone()
    return now | row[0] if row is not None else now


async def forget_versions(connection: AsyncConnection[Any], subject: str) -> None:
    """Of something that is removed."""
    await connection.execute(b"DELETE FROM people_version WHERE subject = %s", (subject,))


def _differences(before: Fields, after: Fields) -> tuple[Difference, ...]:
    names = (name for name in after if before.get(name) != after[name])
    return tuple(Difference(name, _told(before.get(name, "")), _told(after[name])) for name in names)


def _told(value: object) -> str:
    return shown(tuple(value)) if isinstance(value, list) else shown(value)
