"""What every operation goes through: permission, form token, known parameters, a bounded JSON body; then its function.

    nodes = api.resource("nodes", "The systems that Fileroom talks to.")

    @nodes.get("/nodes/{name}", "get", Permission.NODE_READ)
    async def get_node(name: NameInPath) -> ShownNode: ...

The permission is asked for here before anything is read, so that nobody learns from an error what they may not see; the
service asks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar

import orjson
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from fileroom.admin.accounts import own_account_id
from fileroom.admin.audit_events import refused
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import ActorKind, Permission, current_access, require
from fileroom.core.errors import NotAllowedError, TooLargeError
from fileroom.core.limits import API_BODY_BYTES_MAX
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.api.problems import MalformedError, packed, problem_of
from fileroom.web.audited import requestor
from fileroom.web.authentication import IdentityCache, form_token_of, require_form_token
from fileroom.web.errors import UnsupportedMediaTypeError

VERSION_PATH: Final = "/api/v1"
FORM_TOKEN_HEADER: Final = "x-form-token"  # noqa: S105 - the name of a header
PERMISSION: Final = "x-permission"
"""In the OpenAPI document: which permission an operation asks for."""
OPEN: Final = "none"
ACCOUNT: Final = "own account"
PERSON: Final = "study.break-glass, as a person"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Function = TypeVar("Function", bound=Callable[..., Awaitable[Any]])


@dataclass(slots=True)
class Api:
    """The application being made, with the services that its operations call."""

    app: FastAPI
    archive: Archive
    people: People
    cache: IdentityCache
    resources: dict[str, str] = field(default_factory=dict)
    """What there is, by name, each with a sentence."""
    document: dict[str, Any] = field(default_factory=dict)
    """The OpenAPI document."""

    def resource(self, name: str, what: str) -> Resource:
        """A group of operations."""
        self.resources[name] = what
        return Resource(self, name)


@dataclass(frozen=True, slots=True)
class Resource:
    """Operations under one name, which is also their place in the client."""

    api: Api
    name: str

    def get(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Read."""
        return self._operation("GET", path, name, needs, HTTPStatus.OK)

    def add(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """POST that makes something."""
        return self._operation("POST", path, name, needs, HTTPStatus.CREATED)

    def post(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """POST that does something and tells what came of it."""
        return self._operation("POST", path, name, needs, HTTPStatus.OK)

    def put(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Replace; doing it twice is as doing it once."""
        return self._operation("PUT", path, name, needs, HTTPStatus.OK)

    def put_quietly(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Replace, with nothing to tell."""
        return self._operation("PUT", path, name, needs, HTTPStatus.NO_CONTENT)

    def patch(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Change the members that are named."""
        return self._operation("PATCH", path, name, needs, HTTPStatus.OK)

    def delete(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Remove, with nothing to tell."""
        return self._operation("DELETE", path, name, needs, HTTPStatus.NO_CONTENT)

    def delete_and_tell(self, path: str, name: str, needs: Permission | str) -> Callable[[Function], Function]:
        """Remove, and tell what was removed."""
        return self._operation("DELETE", path, name, needs, HTTPStatus.OK)

    def _operation(
        self, method: str, path: str, name: str, needs: Permission | str, status: HTTPStatus
    ) -> Callable[[Function], Function]:
        def add(function: Function) -> Function:
            summary, _, description = " ".join((function.__doc__ or "").split()).partition(". ")
            self.api.app.add_api_route(
                VERSION_PATH + path,
                function,
                methods=[method],
                operation_id=f"{self.name}.{name}",
                tags=[self.name],
                status_code=int(status),
                summary=summary.rstrip("."),
                description=description,
                openapi_extra={PERMISSION: str(needs)},
            )
            return function

        return add


class ApiRequest(Request):
    """A request whose body is bounded, and strict JSON."""

    async def body(self) -> bytes:
        """Raises TooLargeError."""
        if not hasattr(self, "_body"):
            pieces = bytearray()
            async for piece in self.stream():
                pieces += piece
                if len(pieces) > API_BODY_BYTES_MAX:
                    raise TooLargeError(f"The body is longer than {API_BODY_BYTES_MAX // 1024} KiB; send less at once.")
            self._body = bytes(pieces)
        return self._body

    async def json(self) -> Any:
        """No NaN, no half characters. Raises orjson.JSONDecodeError, which is Python's own."""
        return orjson.loads(await self.body())


class ApiRoute(APIRoute):
    """An operation with all that goes before it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, and the rules of this module in front of it."""
        handle = super().get_route_handler()
        needs = str((self.openapi_extra or {}).get(PERMISSION, ""))
        known = frozenset(one.alias for one in self.dependant.query_params)
        takes_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            api: Api = request.app.state.api
            try:
                _require(needs)
                if request.method not in _SAFE_METHODS and form_token_of(request):
                    require_form_token(request, request.headers.get(FORM_TOKEN_HEADER, ""))
                _require_known(request, known)
                if takes_body:
                    _require_json(request)
                response = await handle(ApiRequest(request.scope, request.receive))
            except ClientDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - the boundary of a request
                if isinstance(error, NotAllowedError):
                    study = request.path_params.get("study")
                    api.archive.audit.note(refused(str(error), [study] if study else [], actor=requestor(request)))
                return problem_of(error, self.path)
            if request.method not in _SAFE_METHODS:
                api.cache.forget()  # rights may have changed
            return _finished(request, response)

        return guarded


def _require(needs: str) -> None:
    """Raises NotAllowedError."""
    if needs == ACCOUNT:
        own_account_id()
    elif needs == PERSON:
        access = require(Permission.STUDY_BREAK_GLASS)
        if access.kind is not ActorKind.PERSON or access.account_id is None:
            raise NotAllowedError("Only a person who has logged in can break the glass.")
    elif needs != OPEN:
        current_access().require(Permission(needs))


def _require_known(request: Request, known: frozenset[str]) -> None:
    """A misspelt filter must not find everything. Raises MalformedError."""
    names = [name for name, _ in request.query_params.multi_items()]
    for name in names:
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise MalformedError(f"there is no such parameter; {takes}", f"query.{name[:60]}")
        if names.count(name) > 1:
            raise MalformedError("a parameter stands there once", f"query.{name}")


def _require_json(request: Request) -> None:
    """Raises UnsupportedMediaTypeError: a form of another site must not pass for JSON."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise UnsupportedMediaTypeError("This address takes JSON: send it with Content-Type: application/json.")


def _finished(request: Request, response: Response) -> Response:
    """Never kept by a cache, and compressed where that pays."""
    response.headers["cache-control"] = NO_STORE
    if "content-length" in response.headers:
        del response.headers["content-length"]
    answer = Answer(response.status_code, dict(response.headers), bytes(response.body))
    return packed(answer, request.headers.get("accept-encoding"))
