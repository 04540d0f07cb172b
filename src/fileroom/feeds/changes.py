"""What a message of a feed may ask for: a change of patients, visits and orders (`worklist`), or a report (`reports`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.reports.facts import PutReport
from fileroom.reports.receive import put_report
from fileroom.worklist import changes
from fileroom.worklist.apply import apply_change
from fileroom.worklist.changes import Cause, Effect

Change = changes.Change | PutReport


async def apply_asked(
    archive: Archive, connection: AsyncConnection[Any], change: Change, cause: Cause, *, feed: str
) -> list[Effect]:
    """Write the change in the caller's transaction; its effects. `feed`: by whose numbers reports are known.

    Raises what `worklist.apply.apply_change` and `reports.receive.put_report` raise.
    """
    if isinstance(change, PutReport):
        return await put_report(archive, connection, replace(change, source_name=feed), cause)
    return await apply_change(archive, connection, change, cause)
