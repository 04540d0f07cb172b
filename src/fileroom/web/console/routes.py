"""Every address of the console and its handler."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from fileroom.archive.services import Archive
from fileroom.web.console.assets import ASSETS_PATH, asset_handler
from fileroom.web.console.page import page_handler
from fileroom.web.console.preferences import preferences_handler
from fileroom.web.endpoint import Endpoint, Handler


def console_routes(archive: Archive) -> list[BaseRoute]:
    """The routes of the pages, and of the files that they are dressed with."""
    pages: dict[str, dict[str, Handler]] = {
        "/preferences": {"POST": preferences_handler},
    }
    routes: list[BaseRoute] = [Route(ASSETS_PATH, Endpoint(ASSETS_PATH, {"GET": asset_handler}))]
    for path, handlers in pages.items():
        told = {method: page_handler(archive, path, handler) for method, handler in handlers.items()}
        routes.append(Route(path, Endpoint(path, told)))
    return routes
