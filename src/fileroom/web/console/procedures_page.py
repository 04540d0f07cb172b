"""`/worklist/procedures`: the procedure code table: looked at, changed, read from CSV and written as CSV."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.core.limits import UPLOAD_FORM_BYTES_MAX
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist import procedure_codes
from fileroom.worklist.procedure_codes import ProcedureCode, protocols_from_text, protocols_to_text, write_csv

PROCEDURES_PATH: Final = "/worklist/procedures"
PAGE_CODES: Final = 200
_MINUTES_DIGITS_MAX: Final = 4


def procedures_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""

    async def show(request: Request, error: RequestError | None = None, typed: Form | None = None) -> Answer:
        text = request.query_params.get("text", "").replace("\0", "")[:64]
        found = await procedure_codes.list_procedure_codes(archive, text, limit=PAGE_CODES + 1)
        values: dict[str, Any] = {
            "codes": found[:PAGE_CODES],
            "more": len(found) > PAGE_CODES,
            "text": text,
            "typed": typed,
            "protocols_to_text": protocols_to_text,
            "columns": ",".join(procedure_codes.COLUMNS),
            "done": request.query_params.get("done", ""),
            "may_change": current_access().allows(Permission.ORDER_MANAGE),
            "error": view_of(request).reader.say(error) if error else "",
        }
        return await page(archive, request, "procedures.html", place="worklist", status=number_of(error), **values)

    async def save(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        try:
            version = form.get("version")
            if not (version.isascii() and version.isdigit() and len(version) <= 9):
                raise InvalidRequestError(told("{name} is a whole number.", name="version"))
            await procedure_codes.put_procedure_code(archive, _row(form), version=int(version))
        except RequestError as error:
            return await show(request, error, form)
        return _back()

    async def remove(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        try:
            await procedure_codes.remove_procedure_code(archive, form.get("code"), form.get("scheme"))
        except RequestError as error:
            return await show(request, error)
        return _back()

    async def read_table(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        try:
            await procedure_codes.import_procedure_codes(archive, form.get("table"))
        except RequestError as error:
            return await show(request, error, form)
        return _back()

    async def table(_request: Request) -> Answer:
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": 'attachment; filename="procedures.csv"',
            "cache-control": NO_STORE,
        }
        found = await procedure_codes.list_procedure_codes(archive)
        return Answer(HTTPStatus.OK, headers, write_csv(found).encode())

    return {
        PROCEDURES_PATH: {"GET": lambda request: show(request)},
        f"{PROCEDURES_PATH}/table.csv": {"GET": table},
        f"{PROCEDURES_PATH}/save": {"POST": save},
        f"{PROCEDURES_PATH}/remove": {"POST": remove},
        f"{PROCEDURES_PATH}/import": {"POST": read_table},
    }


# --- helpers ---


def _row(form: Form) -> ProcedureCode:
    minutes = form.get("minutes") or "0"
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) <= _MINUTES_DIGITS_MAX):
        raise InvalidRequestError(told("{name} is a whole number.", name="minutes"))
    return ProcedureCode(
        code=form.get("code"),
        scheme=form.get("scheme"),
        meaning=form.get("meaning"),
        modality=form.get("modality"),
        body_part=form.get("body_part"),
        laterality=form.get("laterality"),
        station_aets=tuple(re.split(r"[\s,;]+", form.get("stations"))) if form.get("stations") else (),
        location=form.get("location"),
        minutes=int(minutes),
        protocol_codes=protocols_from_text(form.get("protocols")),
    )


async def _form(request: Request) -> Form:
    form = await read_form(request, UPLOAD_FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back() -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{PROCEDURES_PATH}?done=1", "cache-control": NO_STORE})
