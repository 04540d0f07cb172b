"""Pages whose forms change something: the form's token, the change, and the page again with what went wrong.

A change that is done leads back to its page by a redirect, so that reloading does not repeat it. Only what is shown once, a
token for instance, is in the answer to the form itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from starlette.requests import Request

from fileroom.admin.people import People
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, IdentityCache, require_form_token
from fileroom.web.console.forms import Form, read_form
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

_NUMBER_DIGITS_MAX: Final = 15


class Show(Protocol):
    """Makes the page; `error` is what went wrong, other values are the page's own."""

    def __call__(self, request: Request, **shown: object) -> Awaitable[Answer]:
        """The answer."""


@dataclass(frozen=True, slots=True)
class Did:
    """A form that somebody sent, with what its work needs."""

    people: People
    request: Request
    form: Form
    show: Show


FormWork = Callable[[Did], Awaitable[Answer]]


def form_handler(people: People, cache: IdentityCache, work: FormWork, show: Show) -> Handler:
    """The handler of a form. What was asked wrongly is told on the page; nothing was changed then."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        try:
            answer = await work(Did(people, request, form, show))
        except RequestError as error:
            return await show(request, error=error)
        cache.forget()  # rights may have changed
        return answer

    return handle


def back_to(path: str, done: str) -> Answer:
    """To the page, which says what was done."""
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{path}?done={done}", "cache-control": NO_STORE})


def number_of(error: RequestError | None) -> int:
    """The status of a page that tells this error."""
    return 200 if error is None else error_answer(error, "form").status


def whole_number(form: Form, name: str) -> int:
    """A number of a form. Raises InvalidRequestError."""
    text = form.get(name)
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX):
        raise InvalidRequestError(told("{name} is a whole number.", name=name))
    return int(text)
