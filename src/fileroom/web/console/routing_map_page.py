"""`/routing`: the map of what sends, the rules and the destinations; a request for a part gets the map alone."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request

from fileroom.admin.nodes import list_nodes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.routing.routing_map import RoutingMap, routing_map
from fileroom.web.answers import Answer
from fileroom.web.console.language import N_
from fileroom.web.console.page import is_part, page
from fileroom.web.console.routing_drawing import draw
from fileroom.web.endpoint import Handler

ROUTING_PATH: Final = "/routing"
KEPT_S: Final = 1.0
"""However many maps are open, the database is asked once a second by each web worker."""
DOORS: Final = {
    "dimse": N_("C-STORE"),
    "stow": N_("STOW-RS"),
    "import": N_("Import"),
    "edge": N_("Edge link"),
    "fetch": N_("Fetched from an archive"),
    "report": N_("Reports"),
}
STANDINGS: Final = {
    "up": N_("up"),
    "suspect": N_("suspect"),
    "down": N_("down"),
    "held": N_("held"),
    "disabled": N_("disabled"),
    "closed": N_("closed now"),
    "new": N_("not used yet"),
}
"""How a destination stands, in a word; message ids."""
ICONS: Final = {
    "up": "complete",
    "suspect": "exception",
    "down": "close",
    "held": "pause",
    "disabled": "off",
    "closed": "clock",
    "new": "ring",
}
COLOURS: Final = {"up": "good", "suspect": "warn", "down": "bad", "held": "warn"}


def routing_map_handler(archive: Archive) -> Handler:
    """The handler of the page."""
    kept: list[RoutingMap] = []
    asking = asyncio.Lock()

    async def read() -> RoutingMap:
        async with asking:
            if not kept or (archive.now() - kept[0].at).total_seconds() >= KEPT_S:
                kept[:] = [await routing_map(archive)]
            return kept[0]

    async def handle(request: Request) -> Answer:
        require(Permission.ROUTING_READ)
        shown = await read() if is_part(request) else await routing_map(archive)
        nodes = {}
        if current_access().allows(Permission.NODE_READ):
            nodes = {str(node.aet): node.name for node in await list_nodes(archive.pool)}
        template = "routing_map_drawn.html" if is_part(request) else "routing_map.html"
        return await page(
            archive,
            request,
            template,
            place="routing",
            map=shown,
            drawing=draw(shown),
            nodes=nodes,
            doors=DOORS,
            standings=STANDINGS,
            standing_icons=ICONS,
            standing_colours=COLOURS,
        )

    return handle
