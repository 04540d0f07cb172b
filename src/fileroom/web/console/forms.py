"""What a form sends: names and values of a small body (application/x-www-form-urlencoded)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from fileroom.core.errors import InvalidRequestError, TooLargeError, told
from fileroom.core.limits import FORM_BYTES_MAX, FORM_FIELDS_MAX

FORM_TYPE: Final = "application/x-www-form-urlencoded"


class Form:
    """The fields of a form; a name may stand there several times."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field, without blanks at its ends."""
        return next((value.strip() for key, value in self._fields if key == name), default)

    def has(self, name: str) -> bool:
        """Whether the field was sent at all."""
        return any(key == name for key, _ in self._fields)

    def names(self) -> list[str]:
        """The names of its fields, each once."""
        return list(dict.fromkeys(key for key, _ in self._fields))

    def exactly(self, name: str) -> str:
        """The same with its blanks: a password may begin or end with one."""
        return next((value for key, value in self._fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for key, value in self._fields if key == name]


async def read_form(request: Request, bytes_max: int = FORM_BYTES_MAX) -> Form:
    """The form in a request's body. Raises InvalidRequestError, TooLargeError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        raise InvalidRequestError(told("This address takes a form as {kind}.", kind=FORM_TYPE))
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise TooLargeError(told("The form is longer than {count} bytes.", count=bytes_max))
    try:
        return Form(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError as error:
        raise InvalidRequestError(
            told("The form cannot be read: it is not URL-encoded, or has too many fields.")
        ) from error


def own_path(text: str, default: str = "/") -> str:
    """An address of this server to go back to; the default for one that leads anywhere else."""
    parts = urlsplit(text)
    is_own = not parts.scheme and not parts.netloc and text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_own and text.isprintable() and text.isascii() else default
