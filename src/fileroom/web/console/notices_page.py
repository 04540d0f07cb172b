"""`/admin/nodes/notices`: what nodes are told of performed steps and available instances, and what became of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import RequestError
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist.node_notices import cancel_notice, list_notices, resend_notice

NOTICES_PATH: Final = "/admin/nodes/notices"
KINDS: Final = {
    "mpps_create": N_("a performed step began"),
    "mpps_set": N_("a performed step went on"),
    "availability": N_("instances are available"),
}
STATES: Final = {
    "waiting": N_("waits"),
    "sent": N_("told"),
    "dead": N_("given up"),
    "cancelled": N_("cancelled"),
}
_NAME_CHARS_MAX: Final = 64
_BACK: Final = Answer(HTTPStatus.SEE_OTHER, {"location": NOTICES_PATH, "cache-control": NO_STORE})


def notices_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, and what its forms do, by path and method."""

    async def shown(request: Request, error: RequestError | None = None) -> Answer:
        node, state = request.query_params.get("node", "")[:_NAME_CHARS_MAX], request.query_params.get("state", "")
        states = (state,) if state in STATES else ()
        return await page(
            archive,
            request,
            "notices.html",
            status=number_of(error),
            error=error,
            notices=await list_notices(archive, node, states),
            node=node,
            state=state,
            kinds=KINDS,
            states=STATES,
            may_manage=view_of(request).access.allows(Permission.ROUTING_MANAGE),
        )

    async def show(request: Request) -> Answer:
        require(Permission.LEDGER_READ)
        return await shown(request)

    async def again(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        try:
            await resend_notice(archive, whole_number(await _form(request), "notice"))
        except RequestError as error:
            return await shown(request, error)
        return _BACK

    async def cancel(request: Request) -> Answer:
        require(Permission.ROUTING_MANAGE)
        try:
            await cancel_notice(archive, whole_number(await _form(request), "notice"))
        except RequestError as error:
            return await shown(request, error)
        return _BACK

    return {
        NOTICES_PATH: {"GET": show},
        f"{NOTICES_PATH}/again": {"POST": again},
        f"{NOTICES_PATH}/cancel": {"POST": cancel},
    }


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form
