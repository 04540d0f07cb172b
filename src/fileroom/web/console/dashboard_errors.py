"""What went wrong in the last day, as sentences with the next step: what failed alike at the same node stands together."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from fileroom.admin.ledger_advice import advise
from fileroom.admin.ledger_rows import Direction
from fileroom.admin.ledger_search import LedgerFilter
from fileroom.archive.associations import search_associations
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.web.console.language import Reader

LOOKED_AT_MAX: Final = 200
"""The latest failed associations; a device that fails all day fails in the same way."""
SHOWN_MAX: Final = 8
_DAY: Final = dt.timedelta(days=1)


@dataclass(slots=True)
class ErrorOfTheDay:
    """`count` times the same, the last time at `last_at` on association `association`."""

    node: str
    what: str
    next_step: str
    association: int
    last_at: dt.datetime
    count: int = 1


async def errors_of_the_day(archive: Archive, reader: Reader) -> list[ErrorOfTheDay]:
    """The latest first, at most SHOWN_MAX; none for who may not read the ledger. Raises NotAllowedError, DatabaseError."""
    if not require(Permission.SYSTEM_READ).allows(Permission.LEDGER_READ):
        return []
    wanted = LedgerFilter(failed=True, since=archive.now() - _DAY)
    found: dict[tuple[str, str], ErrorOfTheDay] = {}
    for entry in await search_associations(archive, wanted, limit=LOOKED_AT_MAX):
        node = (entry.calling_aet if entry.direction is Direction.IN else entry.called_aet) or entry.peer_host
        sentences = advise(entry, archive.settings.aet)
        said = sentences[0] if sentences else None
        what = reader.gettext(said.what) % said.values if said else entry.detail or entry.outcome.value
        known = found.get((node, what))
        if known is not None:
            known.count += 1
        elif len(found) < SHOWN_MAX:
            next_step = reader.gettext(said.next_step) % said.values if said else ""
            found[node, what] = ErrorOfTheDay(node, what, next_step, entry.id or 0, entry.began_at)
    return list(found.values())
