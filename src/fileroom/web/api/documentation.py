"""`/api/docs`: the OpenAPI document as pages of our own, so that reading it loads nothing from anywhere else."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.web.answers import Answer
from fileroom.web.console.page import page, page_handler
from fileroom.web.endpoint import Handler

DOCS_PATH: Final = "/api/docs"
_RESOURCE_PATH: Final = DOCS_PATH + "/{resource}"
_REFERENCE: Final = "#/components/schemas/"
_PERMISSION: Final = "x-permission"
_DEPTH_MAX: Final = 4
"""Models inside of models that are shown with their members."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of what is sent or answered. `depth` says how far inside of the others it stands."""

    name: str
    kind: str
    description: str
    required: bool = False
    place: str = ""
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as its page shows it."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    permission: str
    parameters: tuple[Member, ...]
    sent: tuple[Member, ...]
    answered: tuple[Member, ...]
    status: str
    refusals: tuple[tuple[str, str], ...]
    curl: str


@dataclass(frozen=True, slots=True)
class ResourcePage:
    """A resource with its operations."""

    name: str
    description: str
    operations: tuple[Operation, ...]


def documentation_handlers(
    archive: Archive, document: Callable[[], Awaitable[Document]]
) -> dict[str, dict[str, Handler]]:
    """The pages by path: the list of all operations, and each resource with all that can be said of it."""

    async def contents(request: Request) -> Answer:
        told = await document()
        return await page(archive, request, "api.html", version=told["info"]["version"], resources=resources_of(told))

    async def one(request: Request) -> Answer:
        found = {resource.name: resource for resource in resources_of(await document())}
        resource = found.get(request.path_params["resource"])
        if resource is None:
            raise NotFoundError("The API has no such resource. /api/docs lists all of them.")
        server = f"{request.url.scheme}://{request.url.netloc}"
        return await page(archive, request, "api_resource.html", resource=resource, resources=[*found], server=server)

    return {
        DOCS_PATH: {"GET": page_handler(archive, DOCS_PATH, contents)},
        _RESOURCE_PATH: {"GET": page_handler(archive, _RESOURCE_PATH, one)},
    }


def resources_of(document: Document) -> list[ResourcePage]:
    """All resources of an OpenAPI document, in its order."""
    found: dict[str, list[Operation]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_operation(document, path, method.upper(), operation))
    return [ResourcePage(tag["name"], tag["description"], tuple(found[tag["name"]])) for tag in document["tags"]]


def _operation(document: Document, path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    given = operation.get("parameters", ())
    parameters = tuple(
        Member(
            one["name"],
            _kind(one["schema"]),
            one.get("description") or one["schema"].get("description", ""),
            bool(one.get("required")),
            one["in"],
        )
        for one in given
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    status = next(code for code in operation["responses"] if code.startswith("2"))
    answer = operation["responses"][status].get("content", {}).get("application/json", {}).get("schema")
    problems = document["components"]["responses"]
    refusals = tuple(
        (code, problems[response["$ref"].rpartition("/")[2]]["description"])
        for code, response in operation["responses"].items()
        if "$ref" in response
    )
    return Operation(
        name=operation["operationId"],
        method=method,
        path=path,
        summary=operation["summary"],
        description=operation.get("description", ""),
        permission=operation[_PERMISSION],
        parameters=parameters,
        sent=tuple(_members(document, body)) if body else (),
        answered=tuple(_members(document, answer)) if answer else (),
        status=status,
        refusals=refusals,
        curl=_curl(document, path, method, given, body),
    )


def _members(document: Document, schema: Mapping[str, Any], depth: int = 0) -> list[Member]:
    """The members of a model, and below each those of the models inside."""
    model = _resolved(document, schema)
    required = set(model.get("required", ()))
    found: list[Member] = []
    for name, its in model.get("properties", {}).items():
        told = its.get("description", "")
        found.append(Member(name, _kind(its), told, name in required, depth=depth))
        inner = _inner(its)
        if inner is not None and depth < _DEPTH_MAX:
            found += _members(document, inner, depth + 1)
    return found


def _inner(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The model that a member is, or is a list of."""
    if "$ref" in schema:
        return schema
    if schema.get("type") == "array":
        return _inner(schema["items"])
    return next((found for one in schema.get("anyOf", ()) if (found := _inner(one)) is not None), None)


def _resolved(document: Document, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].removeprefix(_REFERENCE)]
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in a few words, with its bounds."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "enum" in schema:
        return " | ".join(f'"{one}"' for one in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("format"):
        return str(schema["format"])
    least = schema.get("minimum", schema.get("minLength"))
    most = schema.get("maximum", schema.get("maxLength"))
    unit = " characters" if kind == "string" else ""
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:g}{unit}"
    return f"{kind}, at most {most:g}{unit}" if most is not None else kind


def _curl(document: Document, path: str, method: str, given: Any, body: Mapping[str, Any] | None) -> str:
    """A line for a terminal, with the examples of the document; $SERVER and $TOKEN are the reader's."""
    address = path
    asked = []
    for one in given:
        if one["in"] == "path":
            example = str(next(iter(one["schema"].get("examples", ())), ""))
            address = address.replace(f"{{{one['name']}}}", quote(example) if example else one["name"].upper())
        elif one["in"] == "query" and one.get("required"):
            asked.append(f"{one['name']}={quote(str(_example(document, one['schema'])))}")
    line = f'curl -H "Authorization: Bearer $TOKEN"{"" if method == "GET" else f" -X {method}"}'
    if body is not None:
        line += (
            f" -H 'Content-Type: application/json' -d {shlex.quote(orjson.dumps(_example(document, body)).decode())}"
        )
    return f'{line} "$SERVER{address}{"?" if asked else ""}{"&".join(asked)}"'


def _example(document: Document, schema: Mapping[str, Any]) -> Any:
    """Something that fits, of what must be there only."""
    model = _resolved(document, schema)
    for one in (schema, model):
        if one.get("examples"):
            return one["examples"][0]
        if one.get("enum"):
            return one["enum"][0]
    if "anyOf" in model:
        return _example(document, model["anyOf"][0])
    match model.get("type"):
        case "object":
            properties = model.get("properties", {})
            needed = model.get("required") or list(properties)[:1]
            return {name: _example(document, properties[name]) for name in needed}
        case "array":
            return [_example(document, model["items"])]
        case "integer" | "number":
            return model.get("minimum", 1)
        case "boolean":
            return True
    return "text"
