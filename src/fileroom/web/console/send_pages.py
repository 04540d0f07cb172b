"""Sending studies to a node: choosing where to (`/studies/send`), and how the orders fare (`/studies/sent`)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin import nodes
from fileroom.archive import send_jobs
from fileroom.archive.services import Archive
from fileroom.archive.study_list import studies_by_uid
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.core.identifiers import UID
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import is_part, page, view_of
from fileroom.web.endpoint import Handler

SEND_PATH: Final = "/studies/send"
SENT_PATH: Final = "/studies/sent"
STUDIES_NAMED_MAX: Final = 20
"""Studies whose patients are named before they are sent; of more the number is enough."""


def send_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages, and what their forms do, by path and method."""

    async def choose(request: Request) -> Answer:
        require(Permission.STUDY_EXPORT)
        return await _choose(archive, request, _uids(request.query_params.getlist("uid")))

    async def send(request: Request) -> Answer:
        require(Permission.STUDY_EXPORT)
        form = await _form(request)
        uids = _uids(form.get("uids").split(","))
        try:
            number = await send_jobs.request_sending(archive, form.get("node"), uids)
        except RequestError as error:
            return await _choose(archive, request, uids, error=error, chosen=form.get("node"))
        return _to_job(number)

    async def show(request: Request) -> Answer:
        number = request.query_params.get("job", "")
        if not number:
            jobs = await send_jobs.list_jobs(archive)
            return await page(archive, request, "sent_list.html", place="studies", jobs=jobs)
        details = await send_jobs.get_job(archive, _number(number))
        template = "sent_job_state.html" if is_part(request) else "sent_job.html"
        return await page(archive, request, template, place="studies", details=details, job=details.job)

    async def cancel(request: Request) -> Answer:
        require(Permission.STUDY_EXPORT)
        number = whole_number(await _form(request), "job")
        await send_jobs.cancel_job(archive, number)
        return _to_job(number)

    async def again(request: Request) -> Answer:
        require(Permission.STUDY_EXPORT)
        number = whole_number(await _form(request), "job")
        await send_jobs.retry_job(archive, number)
        return _to_job(number)

    return {
        SEND_PATH: {"GET": choose, "POST": send},
        SENT_PATH: {"GET": show},
        f"{SENT_PATH}/cancel": {"POST": cancel},
        f"{SENT_PATH}/again": {"POST": again},
    }


async def _choose(
    archive: Archive, request: Request, uids: list[str], *, error: RequestError | None = None, chosen: str = ""
) -> Answer:
    values: dict[str, Any] = {
        "uids": uids,
        "studies": await studies_by_uid(archive, uids[:STUDIES_NAMED_MAX], ()),
        "destinations": await nodes.list_destinations(archive.pool),
        "chosen": chosen,
        "error": view_of(request).reader.say(error) if error is not None else "",
    }
    return await page(archive, request, "send.html", place="studies", status=number_of(error), **values)


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _uids(texts: list[str]) -> list[str]:
    uids = list(dict.fromkeys(str(UID(text)) for text in texts if text))
    if not uids or len(uids) > STUDY_PAGE_MAX:
        raise InvalidRequestError(told("Mark the studies that shall be sent: 1 to {most}.", most=STUDY_PAGE_MAX))
    return uids


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidRequestError(told("This is no number of an order."))
    return int(text)


def _to_job(number: int) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{SENT_PATH}?job={number}", "cache-control": NO_STORE})
