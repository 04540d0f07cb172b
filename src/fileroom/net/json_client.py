"""Asking a web service for JSON: one request, no redirects, a time limit, a size limit, TLS checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import orjson

from fileroom.core.errors import ConfigurationError, PeerRefusedError, PeerTimeoutError


@dataclass(frozen=True, slots=True)
class JsonRequest:
    """A GET, or with `form` a POST of its fields. `ca` is a PEM file; empty: the system's certificates."""

    url: str
    timeout_s: float
    bytes_max: int
    ca: str = ""
    form: Mapping[str, str] | None = field(default=None, repr=False)
    login: tuple[str, str] | None = field(default=None, repr=False)
    """For HTTP Basic."""
    bearer: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """Status and object of an answer; what is no JSON object is an empty one."""

    status: int
    body: Mapping[str, Any] = field(repr=False)


async def ask_json(asked: JsonRequest) -> JsonAnswer:
    """Raises PeerRefusedError, PeerTimeoutError, ConfigurationError for a `ca` that cannot be read."""
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {asked.bearer}"} if asked.bearer else {})
    try:
        context = ssl.create_default_context(cafile=asked.ca or None)
    except OSError as error:
        raise ConfigurationError(f"The certificates in {asked.ca} cannot be read: {error}") from error
    auth = httpx.BasicAuth(*asked.login) if asked.login else None
    try:
        async with (
            asyncio.timeout(asked.timeout_s),  # all of it: httpx counts from byte to byte
            httpx.AsyncClient(verify=context, timeout=asked.timeout_s, follow_redirects=False) as client,
            client.stream(
                "POST" if asked.form is not None else "GET", asked.url, data=asked.form, headers=headers, auth=auth
            ) as answer,
        ):
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > asked.bytes_max:
                    raise PeerRefusedError(f"{asked.url} answers with more than {asked.bytes_max} bytes.")
            return JsonAnswer(answer.status_code, _object_of(body))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise PeerTimeoutError(f"{asked.url} did not answer within {asked.timeout_s:g} s.") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise PeerRefusedError(f"{asked.url}: {error or type(error).__name__}") from error


def _object_of(body: bytes) -> Mapping[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}
