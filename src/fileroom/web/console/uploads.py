"""Forms that bring small files along (multipart/form-data, RFC 7578): their fields, and the files as bytes."""

from __future__ import annotations

from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final

from starlette.requests import Request

from fileroom.core.errors import InvalidRequestError, TooLargeError, told
from fileroom.core.limits import FORM_FIELDS_MAX, UPLOAD_FORM_BYTES_MAX
from fileroom.web.console.forms import Form

UPLOAD_TYPE: Final = "multipart/form-data"


async def read_upload_form(request: Request) -> tuple[Form, dict[str, bytes]]:
    """Fields, and files by field name; a file that was not chosen is left out. Raises InvalidRequestError, TooLargeError."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != UPLOAD_TYPE:
        raise InvalidRequestError(told("This address takes a form as {kind}.", kind=UPLOAD_TYPE))
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > UPLOAD_FORM_BYTES_MAX:
            raise TooLargeError(told("The form is longer than {count} bytes.", count=UPLOAD_FORM_BYTES_MAX))
    head = b"Content-Type: " + kind.encode("latin_1") + b"\r\n\r\n"
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    parts = list(message.iter_parts()) if message.is_multipart() else []
    if not parts or len(parts) > FORM_FIELDS_MAX:
        raise InvalidRequestError(told("The form cannot be read: it has no fields, or too many."))
    fields: list[tuple[str, str]] = []
    files: dict[str, bytes] = {}
    for part in parts:
        name, content = _name(part), part.get_payload(decode=True)
        if not isinstance(content, bytes) or not name:
            continue
        if part.get_filename() is None:
            fields.append((name, content.decode("utf-8", "replace")))
        elif content:
            files[name] = content
    return Form(fields), files


def _name(part: Message) -> str:
    return str(part.get_param("name", "", header="content-disposition"))
