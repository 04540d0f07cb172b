"""The worker for background work: `python -m fileroom.app.task_worker`."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

import structlog

from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.archive.delete import remove_doomed_objects
from fileroom.archive.metadata import document_stable_series, remove_orphan_documents
from fileroom.archive.services import Archive
from fileroom.archive.verify import recover
from fileroom.core.errors import FileroomError
from fileroom.core.settings import Settings
from fileroom.scp.commitment import deliver_due
from fileroom.tasks.loop import Work, run_periodically

DOCUMENTS_INTERVAL_S: Final = 1.0
COMMITMENTS_INTERVAL_S: Final = 1.0
REMOVALS_INTERVAL_S: Final = 10.0
RECOVERY_RETRY_S: Final = 15.0
ORPHAN_DOCUMENTS_INTERVAL_S: Final = 86_400.0

_log = structlog.get_logger(__name__)


async def run_tasks(settings: Settings, stop: asyncio.Event) -> None:
    """Recover from whatever ended the last run, then do background work until asked to stop."""
    async with open_archive(settings) as archive:
        works: list[tuple[str, float, Work]] = [
            ("series_documents", DOCUMENTS_INTERVAL_S, partial(document_stable_series, archive)),
            ("commitment_results", COMMITMENTS_INTERVAL_S, partial(deliver_due, archive)),
            ("removals", REMOVALS_INTERVAL_S, partial(remove_doomed_objects, archive)),
            ("orphan_documents", ORPHAN_DOCUMENTS_INTERVAL_S, partial(remove_orphan_documents, archive)),
        ]
        recovery = asyncio.create_task(_recover(archive))
        async with asyncio.TaskGroup() as group:
            for name, interval_s, work in works:
                group.create_task(run_periodically(name, interval_s, work, stop))
        recovery.cancel()
        await asyncio.gather(recovery, return_exceptions=True)


async def _recover(archive: Archive) -> None:
    """Once, beside the other work: a store of many objects takes its time. While store or database is away, it waits."""
    while True:
        try:
            await recover(archive)
            return
        except FileroomError as error:
            _log.error("recovery_waits", reason=str(error))
            await asyncio.sleep(RECOVERY_RETRY_S)


if __name__ == "__main__":
    run_worker("tasks", run_tasks)
