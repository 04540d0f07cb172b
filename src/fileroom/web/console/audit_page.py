"""`/admin/audit`: who did what, to which patient, when and from where; is the trail whole; the trail as a file.

The questions are those of `fileroom audit search`, in the same words. Reading is itself an event.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode
from xml.etree import ElementTree

from starlette.requests import Request

from fileroom.admin.audit_checks import ask_for_check, trail_state
from fileroom.admin.audit_export import FORMATS, export_pieces
from fileroom.admin.audit_filter import WORDS, read_filter
from fileroom.admin.audit_forward import source_of
from fileroom.admin.audit_kinds import KINDS
from fileroom.admin.audit_names import names_for
from fileroom.admin.audit_search import AuditPage, read_event, search
from fileroom.admin.audit_sentences import sentence_of
from fileroom.admin.audit_xml import to_xml
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError
from fileroom.web.answers import NO_STORE, Answer, before_first
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.forms import read_form
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

AUDIT_PATH: Final = "/admin/audit"
PAGE_EVENTS: Final = 50
_CURSOR_CHARS_MAX: Final = 200
_NUMBER_DIGITS_MAX: Final = 18
_MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "xml": "text/plain; charset=utf-8",
    "jsonl": "application/jsonl",
}
"""XML: one message a line, so the file as a whole is no XML document."""


def audit_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, one event, the state of the chain, its check, the export; by path and method."""

    async def show(request: Request) -> Answer:
        return await _show(archive, request)

    async def event(request: Request) -> Answer:
        return await _event(archive, request)

    async def state(request: Request) -> Answer:
        values = {"state": await trail_state(archive.pool)}
        template = "audit_state.html" if is_part(request) else "audit_check.html"
        return await page(archive, request, template, place="admin", **values)  # type: ignore[arg-type]  # by name

    async def check(request: Request) -> Answer:
        require_form_token(request, (await read_form(request)).get(FORM_TOKEN_FIELD))
        await ask_for_check(archive.pool)
        return Answer(HTTPStatus.SEE_OTHER, {"location": f"{AUDIT_PATH}/check", "cache-control": NO_STORE})

    async def export(request: Request) -> Answer:
        return await _export(archive, request)

    return {
        AUDIT_PATH: {"GET": show},
        f"{AUDIT_PATH}/check": {"GET": state, "POST": check},
        f"{AUDIT_PATH}/export": {"GET": export},
        f"{AUDIT_PATH}/events/{{number}}": {"GET": event},
    }


async def _show(archive: Archive, request: Request) -> Answer:
    require(Permission.AUDIT_READ)
    asked = {name: value for name in WORDS if (value := request.query_params.get(name, "").strip())}
    cursor = request.query_params.get("cursor", "")
    error: RequestError | None = None
    found = AuditPage((), "")
    try:
        if len(cursor) > _CURSOR_CHARS_MAX:
            raise InvalidRequestError("This page of the audit trail does not exist; begin at the first one.")
        query = dataclasses.replace(read_filter(asked, archive.now()), limit=PAGE_EVENTS, cursor=cursor)
        found = await search(archive.pool, query)
    except RequestError as problem:
        error = problem
    names = await names_for(archive.pool, found.records)
    reader = view_of(request).reader
    values: dict[str, Any] = {
        "rows": [(one, sentence_of(one, names).say(reader.gettext)) for one in found.records],
        "asked": asked,
        "kinds": KINDS,
        "older": _address({**asked, "cursor": found.next_cursor}) if found.next_cursor else "",
        "newest": _address(asked) if cursor else "",
        "exports": {form: f"{AUDIT_PATH}/export?{urlencode({**asked, 'form': form})}" for form in FORMATS},
        "state": await trail_state(archive.pool),
        "error": reader.say(error) if error else "",
    }
    status = error_answer(error, AUDIT_PATH).status if error else int(HTTPStatus.OK)
    return await page(archive, request, "audit.html", place="admin", status=status, **values)


async def _event(archive: Archive, request: Request) -> Answer:
    number = request.path_params["number"]
    if not (number.isascii() and number.isdigit() and len(number) <= _NUMBER_DIGITS_MAX):
        raise NotFoundError("There is no such event in the audit trail.")
    record = await read_event(archive.pool, int(number))
    names = await names_for(archive.pool, [record])
    tree = ElementTree.fromstring(to_xml(record, source_of(archive.settings)))  # noqa: S314 - our own text
    ElementTree.indent(tree)
    values: dict[str, Any] = {
        "record": record,
        "sentence": sentence_of(record, names).say(view_of(request).reader.gettext),
        "xml": ElementTree.tostring(tree, "unicode"),
    }
    return await page(archive, request, "audit_event.html", place="admin", **values)


async def _export(archive: Archive, request: Request) -> Answer:
    asked = {name: request.query_params.get(name, "") for name in WORDS}
    form = request.query_params.get("form", "csv")
    query = read_filter(asked, archive.now())
    translate = view_of(request).reader.gettext
    pieces = export_pieces(archive.pool, query, form, source_of(archive.settings), translate)

    async def body() -> AsyncIterator[bytes]:
        async for piece, _ in pieces:
            yield piece

    begun = await before_first(body())
    headers = {
        "content-type": _MEDIA_TYPES[form],
        "content-disposition": f'attachment; filename="audit.{form}"',
        "cache-control": NO_STORE,
    }
    return Answer(200, headers, begun)


def _address(asked: dict[str, str]) -> str:
    return f"{AUDIT_PATH}?{urlencode(asked)}" if asked else AUDIT_PATH
