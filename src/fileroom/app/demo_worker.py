"""Fills an empty archive with the demo studies, once: `python -m fileroom.app.demo_worker`."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import structlog

from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.archive.media_import import import_paths
from fileroom.archive.overview import system_totals
from fileroom.core.access import SYSTEM
from fileroom.core.settings import Settings
from fileroom.demo.studies import write_demo_studies

_log = structlog.get_logger(__name__)


async def add_demo_studies(settings: Settings, stop: asyncio.Event) -> None:
    """Make the demo studies in a temporary folder and import them, unless there are studies already."""
    del stop  # the supervisor ends it; what was imported stays, and the rest is imported at the next start
    async with open_archive(settings) as archive:
        if (await system_totals(archive)).studies.count:
            return
        with tempfile.TemporaryDirectory(prefix="fileroom-demo-") as folder:
            await asyncio.to_thread(write_demo_studies, Path(folder))
            report = await import_paths(archive, [Path(folder)])
        _log.info("demo_studies_added", stored=report.stored, refused=len(report.refused))


if __name__ == "__main__":
    run_worker("demo", add_demo_studies, access=SYSTEM)
