"""How soon a study shall have its report, by the priority of its order: entries by the name of a priority.

    "STAT": {"minutes": 60}        counted from the last image to the first signed report

The usual ones are there without anybody having made them; an entry of the same name takes the place of one. A study without an
order counts as ROUTINE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fileroom.admin.entries import Entry, Fields, Section, list_entries, put_entry, read_entries, remove_entry
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.db.pool import Pool

ROUTINE: Final = "ROUTINE"
PRIORITIES: Final = ("STAT", "HIGH", ROUTINE, "MEDIUM", "LOW")
"""(0040,1003)"""
USUAL: Final[Mapping[str, int]] = {"STAT": 60, "HIGH": 4 * 60, ROUTINE: 24 * 60, "MEDIUM": 24 * 60, "LOW": 3 * 24 * 60}
"""Minutes."""
MINUTES_MAX: Final = 90 * 24 * 60


def check_target(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a target in their normal form. Raises InvalidRequestError."""
    if name.strip() not in PRIORITIES:
        known = ", ".join(PRIORITIES)
        raise InvalidRequestError(told("{name} is no priority. There are: {known}.", name=name[:40], known=known))
    minutes = fields.get("minutes")
    if set(fields) - {"minutes"}:
        raise InvalidRequestError(told("A target has one field: minutes."))
    if isinstance(minutes, bool) or not isinstance(minutes, int) or not 1 <= minutes <= MINUTES_MAX:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field="minutes", least=1, most=MINUTES_MAX)
        )
    return {"minutes": minutes}


TARGETS: Final = Section(
    "report_targets",
    "target for reports",
    check_target,
    may_read=Permission.STUDY_VIEW,
    may_manage=Permission.SETTINGS_MANAGE,
)


async def list_targets(archive: Archive) -> list[Entry]:
    """Those that somebody made. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, TARGETS)


async def put_target(archive: Archive, priority: str, minutes: int) -> None:
    """Say how soon. Raises InvalidRequestError, ConflictError, NotAllowedError, DatabaseError."""
    require(Permission.SETTINGS_MANAGE)
    await put_entry(archive.pool, archive.settings, TARGETS, priority, {"minutes": minutes})


async def remove_target(archive: Archive, priority: str) -> None:
    """It is the usual one again. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, TARGETS, priority)


async def read_targets(pool: Pool) -> dict[str, int]:
    """Minutes by priority, for services that have asked. Raises DatabaseError."""
    made = {one.name: int(one.fields["minutes"]) for one in await read_entries(pool, TARGETS) if one.enabled}
    return {**USUAL, **made}
