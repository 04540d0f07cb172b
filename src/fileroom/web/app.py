"""The web application: every address and its handler.

DICOMweb routes are plain ASGI (`web.endpoint`): no models are built for them, and bodies pass through in pieces. The
administration API will be FastAPI's own.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.web.dicomweb_routes import dicomweb_routes
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.errors import problem
from fileroom.web.first_page import first_page_handler, style_handler
from fileroom.web.guard import Guard
from fileroom.web.health import alive, metrics_handler, ready_handler
from fileroom.web.wado_uri import wado_uri_handler


def create_app(archive: Archive) -> FastAPI:
    """The application over one archive. It starts and stops nothing: whoever built the archive closes it."""
    renderer = Renderer(archive)
    app = FastAPI(
        title="Fileroom",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        routes=[*dicomweb_routes(archive, renderer), *_other_routes(archive, renderer)],
        exception_handlers={HTTPException: _http_problem},
    )
    app.add_middleware(Guard, names=(archive.settings.web_host,))
    return app


def _other_routes(archive: Archive, renderer: Renderer) -> list[BaseRoute]:
    handlers: dict[str, Handler] = {
        "/wado": wado_uri_handler(archive, renderer),
        "/": first_page_handler(archive),
        "/static/fileroom.css": style_handler(),
        "/healthz": alive,
        "/readyz": ready_handler(archive),
        "/metrics": metrics_handler(archive),
    }
    return [Route(path, Endpoint(handler), methods=["GET"]) for path, handler in handlers.items()]


async def _http_problem(_request: Request, error: Exception) -> Response:
    """What the router refuses: no such address, or a method that it does not have."""
    if not isinstance(error, HTTPException):
        raise TypeError(error)
    status = HTTPStatus(error.status_code)
    details = {
        HTTPStatus.NOT_FOUND: "There is nothing at this address. The DICOMweb service lists its resources at /dicom-web/.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This address exists but does not take this method.",
    }
    answer = problem(status, details.get(status, error.detail))
    body = answer.body if isinstance(answer.body, bytes) else b""
    return Response(body, int(status), {**answer.headers, **(error.headers or {})})
