"""What a handler of FHIR answers: resources as JSON, and errors as OperationOutcome (FHIR R4 3.1.0.1.9)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import orjson
from starlette.requests import Request

from fileroom.core.access import acting_as, current_access
from fileroom.core.errors import InvalidRequestError, RequestError, ServiceError, TooLargeError, told
from fileroom.fhir.elements import Resource
from fileroom.web.answers import NO_STORE, Answer, compressed, json_answer
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.errors import NotAcceptableError, UnsupportedMediaTypeError, error_answer

FHIR_JSON: Final = "application/fhir+json"
FORM: Final = "application/x-www-form-urlencoded"
BODY_BYTES_MAX: Final = 256 * 1024
"""Of a question or a subscription."""
_JSON: Final = frozenset({"json", FHIR_JSON, "application/json", "text/json"})
_CODES: Final = {
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_ACCEPTABLE: "not-supported",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "not-supported",
    HTTPStatus.METHOD_NOT_ALLOWED: "not-supported",
    HTTPStatus.CONFLICT: "conflict",
    HTTPStatus.GONE: "deleted",
    HTTPStatus.UNPROCESSABLE_ENTITY: "processing",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-long",
    HTTPStatus.TOO_MANY_REQUESTS: "throttled",
    HTTPStatus.SERVICE_UNAVAILABLE: "transient",
}


class UnprocessableError(RequestError):
    """It is a resource, but not one that can be taken."""


class GoneError(RequestError):
    """It was there, and was removed."""


_OWN: Final[dict[type[Exception], HTTPStatus]] = {
    UnprocessableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    GoneError: HTTPStatus.GONE,
}


def fhir_endpoint(path: str, handlers: Mapping[str, Handler], *, takes_any_form: bool = False) -> Endpoint:
    """Handlers by method. They act with the permissions that a token's scopes have here; the format is asked for before."""

    def wrapped(handler: Handler) -> Handler:
        async def handle(request: Request) -> Answer:
            try:
                if not takes_any_form:
                    require_json(request)
                with acting_as(current_access().within_fhir):
                    return await handler(request)
            except (RequestError, ServiceError) as error:
                return outcome_of(error, path)

        return handle

    return Endpoint(path, {method: wrapped(handler) for method, handler in handlers.items()})


def outcome_of(error: RequestError | ServiceError, path: str) -> Answer:
    """The answer to a request that failed."""
    plain = error_answer(error, path)
    status = _OWN.get(type(error), HTTPStatus(plain.status))
    if status is HTTPStatus.UNAUTHORIZED:
        return plain  # its challenge is what the client needs
    issue = {"severity": "error", "code": _CODES.get(status, "invalid"), "diagnostics": str(error)}
    answer = resource_answer({"resourceType": "OperationOutcome", "issue": [issue]}, status)
    kept = {name: value for name, value in plain.headers.items() if name == "retry-after"}
    return answer.with_headers(kept)


def resource_answer(
    resource: Resource, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None
) -> Answer:
    """A resource."""
    return json_answer(resource, status=status, media_type=FHIR_JSON).with_headers(headers or {})


def bundle_answer(request: Request, bundle: Resource) -> Answer:
    """A page, as gzip where the client takes it."""
    headers = {"content-type": FHIR_JSON, "cache-control": NO_STORE}
    return compressed(Answer(HTTPStatus.OK, headers, orjson.dumps(bundle)), request.headers.get("accept-encoding"))


def require_json(request: Request) -> None:
    """That JSON is what the client takes (FHIR R4 3.1.0.1.11). Raises NotAcceptableError."""
    wanted = request.query_params.get("_format", "").partition(";")[0].strip().replace(" ", "+")
    accepted = [one.partition(";")[0].strip().lower() for one in request.headers.get("accept", "").split(",")]
    if wanted:
        is_taken = wanted.lower() in _JSON
    else:
        is_taken = accepted == [""] or any(one in _JSON or one in ("*/*", "application/*") for one in accepted)
        # A browser asks for pages first, and takes anything.
        is_taken = is_taken or not any("xml" in one or "turtle" in one or "/" in one for one in accepted)
    if not is_taken:
        raise NotAcceptableError(told("FHIR is answered as JSON here: application/fhir+json."))


async def read_body(request: Request, *types: str) -> bytes:
    """The body of a request of one of these types. Raises TooLargeError, UnsupportedMediaTypeError."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in types:
        raise UnsupportedMediaTypeError(told("The body is sent as {type}.", type=types[0]))
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise TooLargeError(told("The body has at most {most} bytes.", most=BODY_BYTES_MAX))
    return bytes(body)


async def read_resource_body(request: Request, kind: str) -> Resource:
    """A resource of this kind that was sent. Raises InvalidRequestError, UnprocessableError, and as `read_body`."""
    body = await read_body(request, FHIR_JSON, "application/json")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(told("The body is no JSON.")) from error
    if not isinstance(found, dict) or found.get("resourceType") != kind:
        raise UnprocessableError(told("The body is no resource of the type {kind}.", kind=kind))
    return found
