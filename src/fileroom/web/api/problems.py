"""Errors of the API as problem documents (RFC 9457), by the table of the whole web port and two rules of its own.

400: the request contradicts the OpenAPI document; `errors` says where. 422: it fits, but the service refuses its values, in
words. 412: somebody else has changed the thing meanwhile.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fileroom.core.errors import FileroomError, InvalidObjectError, InvalidRequestError, RequestError, UnsupportedError
from fileroom.core.limits import GZIP_BYTES_MIN
from fileroom.web.answers import GZIP_LEVEL, Answer, accepts_gzip
from fileroom.web.errors import error_answer, problem

ERRORS_TOLD_MAX: Final = 20
_GZIP_WINDOW: Final = 31
"""zlib's word for: 32 KiB window, gzip header and trailer."""
_VALUE_ERROR: Final = "Value error, "


class ChangedMeanwhileError(RequestError):
    """What shall be changed is no longer what the request's If-Match speaks of."""


class MalformedError(InvalidRequestError):
    """The request does not fit the OpenAPI document; `where` names the part."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(message)
        self.where = where


def problem_of(error: Exception, route: str) -> Response:
    """The answer to a request that failed. `route` is the path's pattern, for the log."""
    if isinstance(error, HTTPException) and isinstance(error.__cause__, FileroomError):
        error = error.__cause__  # FastAPI wraps what goes wrong while a body is read
    if isinstance(error, RequestValidationError):
        return _malformed([_told(one) for one in error.errors()[:ERRORS_TOLD_MAX]])
    if isinstance(error, MalformedError):
        return _malformed([{"where": error.where, "why": str(error)}])
    if isinstance(error, HTTPException):
        return response_of(problem(HTTPStatus(error.status_code), str(error.detail)))
    if isinstance(error, ChangedMeanwhileError):
        return response_of(problem(HTTPStatus.PRECONDITION_FAILED, str(error)))
    if isinstance(error, (InvalidRequestError, UnsupportedError, InvalidObjectError)):
        return response_of(problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))
    return response_of(error_answer(error, route))


def response_of(answer: Answer) -> Response:
    """An answer whose body is at hand, as Starlette sends it."""
    if not isinstance(answer.body, bytes):
        raise TypeError("answers of the API are not streamed")
    return Response(answer.body, answer.status, dict(answer.headers))


def packed(answer: Answer, accept_encoding: str | None) -> Response:
    """The same, compressed in one piece where the client takes it: a page of a list is a millisecond's work."""
    response = response_of(answer.with_headers({"vary": "Accept-Encoding"}))
    if len(response.body) >= GZIP_BYTES_MIN and accepts_gzip(accept_encoding):
        response = response_of(
            Answer(
                answer.status,
                {**answer.headers, "vary": "Accept-Encoding", "content-encoding": "gzip"},
                zlib.compress(bytes(response.body), GZIP_LEVEL, wbits=_GZIP_WINDOW),
            )
        )
    return response


def _malformed(errors: Sequence[dict[str, str]]) -> Response:
    first = errors[0] if errors else {"where": "request", "why": "it cannot be read"}
    more = f" {len(errors) - 1} more stand in 'errors'." if len(errors) > 1 else ""
    detail = f"{first['where']}: {first['why'].rstrip('.')}.{more} What is taken stands at /api/docs."
    answer = problem(HTTPStatus.BAD_REQUEST, detail)
    document: dict[str, Any] = orjson.loads(answer.body if isinstance(answer.body, bytes) else b"{}")
    return response_of(Answer(answer.status, answer.headers, orjson.dumps(document | {"errors": list(errors)})))


def _told(error: Any) -> dict[str, str]:
    where = ".".join(str(part) for part in error.get("loc", ()))[:200]
    why = str(error.get("msg", "")).removeprefix(_VALUE_ERROR)[:300]
    sound = why.encode("utf-8", "replace").decode()
    return {"where": where.encode("utf-8", "replace").decode(), "why": sound}
