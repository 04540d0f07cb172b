"""What a script may catch. Each carries what the server said: what happened, to what, why, and what to do next.

ApiError
├── UnreachableError        no answer came: no network, no server, or not in time
├── BadRequestError         400, 413, 415, 422: something of the question is wrong
├── NotAuthenticatedError   401: no token, or one that is over
├── NotAllowedError         403
├── NotFoundError           404: there is no such thing, or it is not yours to see
├── ConflictError           409: it contradicts what is there
├── ChangedMeanwhileError   412: somebody else has changed it since it was read
├── TooManyAttemptsError    429
└── UnavailableError        500, 502, 503, 504: the server cannot, at the moment
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Mistake:
    """One part of a request that is wrong."""

    where: str
    why: str


class ApiError(Exception):
    """The server refused, or did not answer. `status` is that of HTTP, 0 where there was no answer."""

    def __init__(self, detail: str, status: int = 0, mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.mistakes = mistakes


class UnreachableError(ApiError):
    """No answer came."""


class BadRequestError(ApiError):
    """Something of the question is wrong; `mistakes` says where, if the server did."""


class NotAuthenticatedError(ApiError):
    """No token, or one that is over."""


class NotAllowedError(ApiError):
    """Whoever has the token may not do this."""


class NotFoundError(ApiError):
    """There is no such thing, or it is not yours to see."""


class ConflictError(ApiError):
    """It contradicts what is there."""


class ChangedMeanwhileError(ApiError):
    """Somebody else has changed it since it was read. Read it again, look, and send the change with its new etag."""


class TooManyAttemptsError(ApiError):
    """Too many failed logins from here."""


class UnavailableError(ApiError):
    """The server cannot, at the moment."""


_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    401: NotAuthenticatedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    412: ChangedMeanwhileError,
    429: TooManyAttemptsError,
}
_SERVER_FAILED: Final = 500


def error_of(status: int, problem: Any, phrase: str) -> ApiError:
    """The error for an answer; `problem` is its body, a problem document (RFC 9457) if all is well."""
    document = problem if isinstance(problem, Mapping) else {}
    detail = str(document.get("detail") or document.get("title") or phrase or f"The server answered {status}.")
    told = document.get("errors")
    mistakes = tuple(
        Mistake(str(one.get("where", "")), str(one.get("why", "")))
        for one in (told if isinstance(told, list) else [])
        if isinstance(one, Mapping)
    )
    kind = _BY_STATUS.get(status, UnavailableError if status >= _SERVER_FAILED else BadRequestError)
    return kind(detail, status, mistakes)
