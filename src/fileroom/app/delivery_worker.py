"""The worker that delivers: `python -m fileroom.app.delivery_worker`. What waits is in the database; several may run."""

from __future__ import annotations

import asyncio

from fileroom.app.database import database_url
from fileroom.app.process import run_worker
from fileroom.app.services import open_archive
from fileroom.core.access import SYSTEM
from fileroom.core.settings import Settings
from fileroom.routing.dispatcher import Dispatcher


async def deliver(settings: Settings, stop: asyncio.Event) -> None:
    """Deliver until asked to stop."""
    async with open_archive(settings) as archive:
        await Dispatcher(archive, database_url(settings)).run(stop)


if __name__ == "__main__":
    run_worker("delivery", deliver, access=SYSTEM)
