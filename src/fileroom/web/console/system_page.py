"""`/system`: is everything ready, what does the archive hold, and what did not go as it should."""

from __future__ import annotations

from starlette.requests import Request

from fileroom.archive import overview
from fileroom.archive.services import Archive
from fileroom.web.answers import Answer
from fileroom.web.console.page import page
from fileroom.web.endpoint import Handler


def system_handler(archive: Archive) -> Handler:
    """The handler of the page."""

    async def handle(request: Request) -> Answer:
        values = {
            "totals": await overview.system_totals(archive),
            "parts": await overview.readiness(archive),
            "troubles": await overview.troubles(archive),
            "settings": archive.settings,
        }
        return await page(archive, request, "system.html", place="system", **values)  # type: ignore[arg-type]  # by name

    return handle
