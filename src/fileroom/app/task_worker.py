"""The worker for background work: `python -m fileroom.app.task_worker`."""

from __future__ import annotations

import asyncio

import structlog

from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.archive.verify import recover
from fileroom.core.settings import Settings

_log = structlog.get_logger(__name__)


async def run_tasks(settings: Settings, stop: asyncio.Event) -> None:
    """Recover from whatever ended the last run, then do background work until asked to stop."""
    async with open_archive(settings) as archive:
        report = await recover(archive)
        for finding in report.findings:
            _log.warning("put_right", kind=finding.kind, storage_key=finding.storage_key, repair=finding.repair)
        await stop.wait()


if __name__ == "__main__":
    run_worker("tasks", run_tasks)
