"""The answer to Retrieve Capabilities, as WADL and as JSON (PS3.18 8.9, annex H; W3C WADL submission of 2009).

Both are made from one table of resources, which the web room makes from its routes: what is not routed is not promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

import orjson

from fileroom.dicomweb.media_types import Representation

WADL: Final = "application/vnd.sun.wadl+xml"

CAPABILITIES_OFFERS: Final = (
    Representation(WADL),
    Representation("application/xml"),
    Representation("application/json"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or header parameter. `options` are its possible values, empty if there are too many to list."""

    name: str
    style: Literal["query", "header"] = "query"
    options: tuple[str, ...] = ()
    required: bool = False
    repeating: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a resource. `accepts` and `returns` are media types, `statuses` those of success."""

    name: str
    identifier: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    accepts: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)


@dataclass(frozen=True, slots=True)
class ResourceDescription:
    """A resource by its path below the service, with template variables in braces: `studies/{study}/metadata`."""

    path: str
    methods: tuple[Method, ...]


def capabilities_wadl(resources: Iterable[ResourceDescription], base_url: str) -> bytes:
    """The WADL document of the service at `base_url`."""
    body = "".join(line for resource in resources for line in _resource(resource))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<application xmlns="http://wadl.dev.java.net/2009/02" xmlns:xs="http://www.w3.org/2001/XMLSchema">'
        f"<resources base={quoteattr(base_url)}>{body}</resources></application>"
    ).encode()


def capabilities_json(resources: Iterable[ResourceDescription], base_url: str) -> bytes:
    """The same table in JSON."""
    return orjson.dumps({"base": base_url, "resources": [asdict(resource) for resource in resources]})


_TEMPLATE: Final = re.compile(r"\{([^{}]+)\}")


def _resource(resource: ResourceDescription) -> Iterable[str]:
    yield f"<resource path={quoteattr(resource.path)}>"
    for name in _TEMPLATE.findall(resource.path):
        yield f'<param name={quoteattr(name)} style="template" type="xs:string" required="true"/>'
    for method in resource.methods:
        yield from _method(method)
    yield "</resource>"


def _method(method: Method) -> Iterable[str]:
    yield f"<method name={quoteattr(method.name)} id={quoteattr(method.identifier)}>"
    yield _doc(method.description)
    yield "<request>"
    for parameter in method.parameters:
        yield from _parameter(parameter)
    yield from _representations(method.accepts)
    yield "</request>"
    statuses = " ".join(str(status) for status in method.statuses)
    yield f"<response status={quoteattr(statuses)}>"
    yield from _representations(method.returns)
    yield "</response></method>"


def _parameter(parameter: Parameter) -> Iterable[str]:
    flags = "".join(f' {flag}="true"' for flag in ("required", "repeating") if getattr(parameter, flag))
    yield f'<param name={quoteattr(parameter.name)} style="{parameter.style}" type="xs:string"{flags}>'
    yield _doc(parameter.description)
    for option in parameter.options:
        yield f"<option value={quoteattr(option)}/>"
    yield "</param>"


def _representations(media_types: Iterable[str]) -> Iterable[str]:
    for media_type in media_types:
        yield f"<representation mediaType={quoteattr(media_type)}/>"


def _doc(text: str) -> str:
    return f"<doc>{escape(text)}</doc>" if text else ""
