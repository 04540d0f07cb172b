"""The web application: every address and its handler.

Routes are plain ASGI (`web.endpoint`): no models are built for them, and bodies pass through in pieces. The administration
API will be a FastAPI application mounted beside them.
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.web.dicomweb_routes import dicomweb_routes
from fileroom.web.endpoint import Endpoint, Handler, send_answer
from fileroom.web.errors import problem
from fileroom.web.first_page import first_page_handler, style_handler
from fileroom.web.guard import Guard
from fileroom.web.health import alive, metrics_handler, ready_handler
from fileroom.web.wado_uri import wado_uri_handler


def create_app(archive: Archive) -> ASGIApp:
    """The application over one archive. It starts and stops nothing: whoever built the archive closes it."""
    renderer = Renderer(archive)
    routes = [*dicomweb_routes(archive, renderer), *_other_routes(archive, renderer)]
    return Guard(Router(routes, default=_nothing_here), names=(archive.settings.web_host,))


def _other_routes(archive: Archive, renderer: Renderer) -> list[BaseRoute]:
    handlers: dict[str, Handler] = {
        "/wado": wado_uri_handler(archive, renderer),
        "/": first_page_handler(archive),
        "/static/fileroom.css": style_handler(),
        "/healthz": alive,
        "/readyz": ready_handler(archive),
        "/metrics": metrics_handler(archive),
    }
    return [Route(path, Endpoint(path, {"GET": handler})) for path, handler in handlers.items()]


async def _nothing_here(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        detail = "There is nothing at this address. The DICOMweb service lists its resources at /dicom-web/."
        await send_answer(problem(HTTPStatus.NOT_FOUND, detail), scope, send)
