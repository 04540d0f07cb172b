"""The OpenAPI document at `/api/openapi.json`: FastAPI's own, with our errors, ways to log in and names of permissions."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

from fileroom.dicomweb.problems import PROBLEM_JSON
from fileroom.web.answers import Answer
from fileroom.web.api.operations import FORM_TOKEN_HEADER, VERSION_PATH, Api
from fileroom.web.api.problems import packed
from fileroom.web.conditional import is_known
from fileroom.web.credentials import PLAIN_COOKIE

DOCUMENT_PATH: Final = "/api/openapi.json"
TITLE: Final = "Fileroom administration API"
DESCRIPTION: Final = (
    "Everything that the console and the command line administer. Images themselves are found and fetched with DICOMweb at "
    "/dicom-web. Log in with `Authorization: Bearer TOKEN`; a token is made with `fileroom token create` or on the page of "
    "your account. Times are RFC 3339 in UTC, UIDs and the attributes of studies are texts as in DICOM. Lists come in pages: "
    "ask for the address in `next` until it is null. Errors are problem documents (RFC 9457)."
)
_PREFIX: Final = "Shown"
_REFERENCE: Final = "#/components/schemas/"
_MUTABLE: Final = frozenset({"post", "put", "patch", "delete"})
_PROBLEMS: Final[dict[int, str]] = {
    400: "The request does not fit this document; `errors` says where.",
    401: "Nobody has shown who they are, or the token is over.",
    403: "Whoever asks may not do this.",
    404: "There is no such thing, or it is not yours to see.",
    405: "The address does not take this method.",
    409: "It contradicts what is already there.",
    412: "Somebody else has changed it meanwhile.",
    413: "The request is past a limit.",
    415: "The body is not JSON.",
    422: "The request fits this document, but a value is refused; `detail` says why.",
    429: "Too many failed logins; wait.",
    500: "Fileroom made a mistake; its log has the moment.",
    503: "The database or the store does not answer; try again.",
}
_EVERYWHERE: Final = (400, 401, 403, 404, 429, 500, 503)
_WITH_CHANGE: Final = (409, 412, 422)
_WITH_BODY: Final = (413, 415)
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A problem document (RFC 9457): what happened, to what, why, and what to do next.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "why"],
                "properties": {"where": {"type": "string"}, "why": {"type": "string"}},
            },
        },
    },
}


def add_document(api: Api) -> None:
    """Make the document, and give it an address."""
    api.document = openapi(api)
    body = orjson.dumps(api.document)
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'

    async def show(request: Request) -> Response:
        headers = {"content-type": "application/json", "etag": tag, "cache-control": "private, no-cache"}
        if is_known(request, tag) or is_known(request, "W/" + tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return packed(Answer(200, headers, body), request.headers.get("accept-encoding"))

    api.app.add_route(DOCUMENT_PATH, show, methods=["GET"])


def openapi(api: Api) -> dict[str, Any]:
    """The document."""
    app = api.app
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=[{"name": name, "description": what} for name, what in api.resources.items()],
    )
    document = _without_prefix(document)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = _PROBLEM
    components["responses"] = {
        f"Problem{code}": {
            "description": what,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for code, what in _PROBLEMS.items()
    }
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": PLAIN_COOKIE,
            "description": f"The console's session. What changes something carries {FORM_TOKEN_HEADER} too; see /me.",
        },
    }
    document["security"] = [{"token": []}, {"session": []}]
    for path, operations in document["paths"].items():
        if not path.startswith(VERSION_PATH):
            raise AssertionError(f"{path} stands outside of {VERSION_PATH}")
        for method, operation in operations.items():
            _with_problems(method, operation)
    return document


def _without_prefix(document: dict[str, Any]) -> dict[str, Any]:
    """Models for answers are called `ShownNode` in the code, so as not to be the services' `Node`; here they are `Node`."""
    schemas = document["components"]["schemas"]
    names = {name: name.removeprefix(_PREFIX) for name in schemas}
    if len(set(names.values())) != len(names):
        twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        raise AssertionError(f"two models have one name: {twice}")
    for name, schema in schemas.items():
        schema["title"] = names[name]
        if "enum" in schema:
            schema["description"] = schema.get("description", "").partition(". ")[0].rstrip(".") + "."
    document["components"]["schemas"] = {names[name]: schema for name, schema in schemas.items()}
    text = orjson.dumps(document).replace(f'"{_REFERENCE}{_PREFIX}'.encode(), f'"{_REFERENCE}'.encode())
    renamed: dict[str, Any] = orjson.loads(text)
    return renamed


def _with_problems(method: str, operation: dict[str, Any]) -> None:
    told = " ".join(operation.get("description", "").split())
    if told.rstrip(".") == operation["summary"]:
        operation.pop("description", None)  # FastAPI falls back on the whole docstring
    responses = operation["responses"]
    codes = [*_EVERYWHERE, 422]
    if method in _MUTABLE:
        codes += _WITH_CHANGE
    if "requestBody" in operation:
        codes += _WITH_BODY
    for code in sorted(set(codes)):
        responses[str(code)] = {"$ref": f"#/components/responses/Problem{code}"}
