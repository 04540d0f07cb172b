"""The one table from our errors to HTTP status codes (RFC 9110 15; PS3.18 8.5).

The body says what happened, why and what to do next, as a problem document (RFC 9457). What went wrong inside is
logged, never shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog

from fileroom.core.errors import (
    ConflictError,
    FileroomError,
    InvalidObjectError,
    InvalidRequestError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    RequestError,
    ServiceError,
    StorageFullError,
    TooLargeError,
    TooManyAttemptsError,
    UnsupportedError,
)
from fileroom.dicomweb.byte_ranges import UnsatisfiableRangeError
from fileroom.dicomweb.problems import PROBLEM_JSON, problem_json
from fileroom.web.answers import NO_STORE, Answer

RETRY_AFTER_S: Final = 10
"""The database and the store come back within seconds or not soon; asking more often helps nobody."""
CHALLENGE: Final = 'Bearer realm="Fileroom"'
"""RFC 9110 11.6.1. Basic is taken too, but not asked for: browsers would open a window of their own."""

_log = structlog.get_logger(__name__)


class NotAcceptableError(RequestError):
    """None of the representations that the client accepts can be made."""


class UnsupportedMediaTypeError(RequestError):
    """The request's body is of a kind that the resource does not take."""


@dataclass(frozen=True, slots=True)
class _Rule:
    error: type[FileroomError]
    status: HTTPStatus


_RULES: Final = (
    _Rule(UnsatisfiableRangeError, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
    _Rule(NotAcceptableError, HTTPStatus.NOT_ACCEPTABLE),
    _Rule(UnsupportedMediaTypeError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    _Rule(InvalidRequestError, HTTPStatus.BAD_REQUEST),
    _Rule(InvalidObjectError, HTTPStatus.CONFLICT),
    _Rule(NotFoundError, HTTPStatus.NOT_FOUND),
    _Rule(NotAuthenticatedError, HTTPStatus.UNAUTHORIZED),
    _Rule(TooManyAttemptsError, HTTPStatus.TOO_MANY_REQUESTS),
    _Rule(NotAllowedError, HTTPStatus.FORBIDDEN),
    _Rule(ConflictError, HTTPStatus.CONFLICT),
    _Rule(TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    # A known thing that Fileroom does not do is, over HTTP, a representation that cannot be made (PS3.18 8.5).
    _Rule(UnsupportedError, HTTPStatus.NOT_ACCEPTABLE),
    _Rule(RequestError, HTTPStatus.BAD_REQUEST),
    _Rule(StorageFullError, HTTPStatus.SERVICE_UNAVAILABLE),
    _Rule(ServiceError, HTTPStatus.SERVICE_UNAVAILABLE),
)


def error_answer(error: Exception, route: str) -> Answer:
    """The answer to a request that failed. `route` is the path's pattern, for the log."""
    for rule in _RULES:
        if isinstance(error, rule.error):
            answer = problem(rule.status, str(error))
            if isinstance(error, UnsatisfiableRangeError):
                answer = answer.with_headers({"content-range": f"bytes */{error.total}"})
            if isinstance(error, NotAuthenticatedError):
                answer = answer.with_headers({"www-authenticate": CHALLENGE})
            if isinstance(error, TooManyAttemptsError):
                answer = answer.with_headers({"retry-after": str(error.retry_after_s)})
            if isinstance(error, ServiceError):
                _log.warning("request_not_served", route=route, error_type=type(error).__name__, reason=str(error))
                answer = answer.with_headers({"retry-after": str(RETRY_AFTER_S)})
            return answer
    _log.error("request_failed", route=route, error_type=type(error).__name__, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Fileroom made a mistake and could not answer. It is in the log with the time of this request; "
        "nothing was changed by it unless you were told so.",
    )


def problem(status: HTTPStatus, detail: str) -> Answer:
    """A problem document (RFC 9457)."""
    headers = {"content-type": PROBLEM_JSON, "cache-control": NO_STORE}
    return Answer(int(status), headers, problem_json(int(status), detail))
