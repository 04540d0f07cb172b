"""Requests to one server: with the token, in time, tried again where that is safe, errors as exceptions, lists page by page."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from fileroom.client.errors import ApiError, UnreachableError, error_of
from fileroom.client.values import from_json, to_json, to_query

TRIES_MAX: Final = 4
"""Of a request that changes nothing: over about seven seconds, which a restart of the server takes."""
PAUSE_S: Final = 1.0
"""Before the second try; it doubles."""
PAUSE_S_MAX: Final = 30.0
"""Even where the server asks for a longer one (Retry-After)."""
PAGE_MAX: Final = 500
_TRIED_AGAIN: Final = frozenset({429, 502, 503, 504})
_VERSION_PATH: Final = "/api/v1"


class Connection:
    """A server and who asks it."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def call(
        self,
        method: str,
        path: str,
        answer: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Any:
        """One request; what is None is left out. Returns the answer as `answer` says. Raises ApiError."""
        parameters = {name: to_query(value) for name, value in (query or {}).items() if value is not None}
        content = None if body is None else {name: to_json(one) for name, one in body.items() if one is not None}
        headers = {} if if_match is None else {"if-match": if_match}
        request = self._http.build_request(
            method, _VERSION_PATH + path, params=parameters or None, json=content, headers=headers
        )
        response = self.send(request)
        if answer is None:
            return None
        made = from_json(answer, response.json())
        tag = response.headers.get("etag")
        return dataclasses.replace(made, etag=tag) if tag and hasattr(made, "etag") else made

    def items(self, method: str, path: str, answer: Any, **asked: Any) -> tuple[Any, ...]:
        """One request that is answered by a list which comes whole. Raises ApiError."""
        found: dict[str, Any] = self.call(method, path, dict, **asked)
        return tuple(from_json(answer, one) for one in found["items"])

    def pages(self, path: str, answer: Any, *, limit: int | None, query: Mapping[str, Any]) -> Iterator[Any]:
        """The entries of a list, page after page, up to `limit` of them. Raises ApiError while it goes."""
        return itertools.islice(self._entries(path, answer, limit, query), limit)

    def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send a request; one that changes nothing is tried again. Raises ApiError."""
        tries = TRIES_MAX if request.method == "GET" else 1
        for attempt in range(1, tries + 1):
            try:
                response = self._http.send(request, stream=stream)
            except httpx.TransportError as error:
                if attempt == tries:
                    raise UnreachableError(
                        f"{request.url.host} did not answer ({type(error).__name__}: {error}). Is the address right, "
                        "and is Fileroom running?"
                    ) from error
                time.sleep(_pause_s(attempt, None))
                continue
            if response.status_code not in _TRIED_AGAIN or attempt == tries:
                break
            response.close()
            time.sleep(_pause_s(attempt, response.headers.get("retry-after")))
        if response.is_error:
            response.read()
            raise _error(response)
        return response

    def _entries(self, path: str, answer: Any, limit: int | None, query: Mapping[str, Any]) -> Iterator[Any]:
        size = PAGE_MAX if limit is None else max(1, min(limit, PAGE_MAX))
        parameters = {name: to_query(value) for name, value in query.items() if value is not None}
        request = self._http.build_request("GET", _VERSION_PATH + path, params={**parameters, "limit": str(size)})
        while True:
            page = self.send(request).json()
            yield from from_json(tuple[answer, ...], page["items"])
            if not page["next"]:
                return
            request = self._http.build_request("GET", page["next"])


def segment(value: object) -> str:
    """A value as one part of a path."""
    return quote(str(value), safe="")


def _pause_s(attempt: int, retry_after: str | None) -> float:
    asked = float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0
    return min(max(asked, PAUSE_S * float(2 ** (attempt - 1))), PAUSE_S_MAX)


def _error(response: httpx.Response) -> ApiError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    return error_of(response.status_code, problem, response.reason_phrase)
