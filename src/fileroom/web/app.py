"""The web application: every address and its handler.

Routes are plain ASGI (`web.endpoint`): no models are built for them, and bodies pass through in pieces. The administration
API is a FastAPI application beside them, made when it is first asked for (`web.api.mount`).
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from fileroom.admin.people import People
from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.core.networks import networks_of
from fileroom.web.address import listens_on_loopback_only
from fileroom.web.api.mount import api_routes
from fileroom.web.audited import audited, study_in_query
from fileroom.web.authentication import Authentication, IdentityCache
from fileroom.web.console.people_routes import people_routes
from fileroom.web.console.routes import console_routes
from fileroom.web.dicomweb_routes import dicomweb_routes
from fileroom.web.edge import edge_routes
from fileroom.web.endpoint import Endpoint, Handler, send_answer
from fileroom.web.errors import problem
from fileroom.web.fhir.routes import fhir_routes
from fileroom.web.forwarded import Forwarding
from fileroom.web.guard import Guard
from fileroom.web.health import alive, ready_handler
from fileroom.web.measured import Measured
from fileroom.web.metrics import metrics_handler
from fileroom.web.notifications import CHANNEL_PATHS, NotificationChannel, NotificationDoor
from fileroom.web.plain_style import style_handler
from fileroom.web.transport import Transport
from fileroom.web.viewer import viewer_handlers
from fileroom.web.wado_uri import wado_uri_handler


def create_app(archive: Archive, stopping: asyncio.Event | None = None) -> ASGIApp:
    """The application over one archive. It starts and stops nothing: whoever built the archive closes it.

    `stopping` is set when the server is asked to stop, so that answers without an end come to theirs.
    """
    settings = archive.settings
    people = People(archive.pool, settings, archive.now)
    cache = IdentityCache(people)
    is_local = listens_on_loopback_only(settings.web_host)
    trusts_this_machine = is_local and settings.web_login == "beyond-loopback"
    router = create_router(archive, people, cache, stopping)
    authentication = Authentication(router, people, cache, trusts_this_machine=trusts_this_machine)
    names = [name for name in re.split(r"[,\s]+", settings.trusted_hosts) if name]
    transport = Transport(authentication, settings)
    guard = Guard(transport, names=(settings.web_host, *names) if trusts_this_machine or names else None)
    return NotificationDoor(Forwarding(Measured(guard, archive.meters), networks_of(settings.trusted_proxies)))


def create_router(
    archive: Archive,
    people: People | None = None,
    cache: IdentityCache | None = None,
    stopping: asyncio.Event | None = None,
) -> Router:
    """Every address and its handler, which serve whoever acts; nothing in front of them."""
    renderer = Renderer(archive)
    people = people or People(archive.pool, archive.settings, archive.now)
    cache = cache or IdentityCache(people)
    routes = [
        *dicomweb_routes(archive, renderer),
        *_channel_routes(archive, stopping),
        *edge_routes(archive),
        *fhir_routes(archive),
        *people_routes(archive, people, cache),
        *console_routes(archive, stopping),
        *api_routes(archive, people, cache),
        *_other_routes(archive, renderer),
    ]
    return Router(routes, default=_nothing_here)


def _channel_routes(archive: Archive, stopping: asyncio.Event | None) -> list[BaseRoute]:
    channel = NotificationChannel(archive, stopping)
    return [Route(f"{path}{{aetitle}}", channel) for path in CHANNEL_PATHS]


def _other_routes(archive: Archive, renderer: Renderer) -> list[BaseRoute]:
    handlers: dict[str, Handler] = {
        "/wado": audited(archive, wado_uri_handler(archive, renderer), "images", study_in_query),
        "/static/fileroom.css": style_handler(),
        "/healthz": alive,
        "/readyz": ready_handler(archive),
        "/metrics": metrics_handler(archive),
        **viewer_handlers(archive, renderer),
    }
    return [Route(path, Endpoint(path, {"GET": handler})) for path, handler in handlers.items()]


async def _nothing_here(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        detail = "There is nothing at this address. The DICOMweb service lists its resources at /dicom-web/."
        await send_answer(problem(HTTPStatus.NOT_FOUND, detail), scope, send)
