"""The FastAPI application: every resource, the OpenAPI document, and what is answered where there is nothing."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route

from fileroom import __version__
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.web.api.document import DESCRIPTION, TITLE, add_document
from fileroom.web.api.operations import Api, ApiRoute
from fileroom.web.api.problems import problem_of, response_of
from fileroom.web.api.resources import RESOURCES
from fileroom.web.authentication import IdentityCache
from fileroom.web.errors import problem


def create_api(archive: Archive, people: People, cache: IdentityCache) -> Api:
    """The application over one archive, with its operations."""
    app = FastAPI(
        title=TITLE,
        description=DESCRIPTION,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = ApiRoute
    app.add_exception_handler(HTTPException, _not_served)
    api = Api(app, archive, people, cache)
    app.state.api = api
    for add in RESOURCES:
        add(api)
    add_document(api)
    return api


async def _not_served(request: Request, error: Exception) -> Response:
    """No such address, or none that takes this method (RFC 9110 15.5.6)."""
    if not isinstance(error, HTTPException):
        return problem_of(error, "/api")
    if error.status_code == HTTPStatus.NOT_FOUND:
        return response_of(
            problem(HTTPStatus.NOT_FOUND, "There is nothing at this address. /api/docs lists what there is.")
        )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _other_method(request)
    return problem_of(error, "/api")


def _other_method(request: Request) -> Response:
    allowed = {"OPTIONS"}
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            allowed |= route.methods or set()
    if "GET" in allowed:
        allowed.add("HEAD")
    headers = {"allow": ", ".join(sorted(allowed))}
    if request.method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
    refusal = problem(HTTPStatus.METHOD_NOT_ALLOWED, f"This address does not take {request.method[:20]}.")
    return response_of(refusal.with_headers(headers))
