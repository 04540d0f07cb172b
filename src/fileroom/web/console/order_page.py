"""`/worklist/order`: one order with all that belongs to it; its form; what a person says of its state."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError, told
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.order_form import change_of, values_of
from fileroom.web.console.page import page, view_of
from fileroom.web.console.worklist_page import state_words
from fileroom.web.endpoint import Handler
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_search import get_order, show_order
from fileroom.worklist.order_states import states_for_people
from fileroom.worklist.order_values import PRIORITIES
from fileroom.worklist.orders import REASON_CHARS_MAX, save_order, set_order_state, set_step_state
from fileroom.worklist.procedure_codes import list_procedure_codes

ORDER_PATH: Final = "/worklist/order"
MESSAGE_PATH: Final = "/hl7/message"
CHOICES_MAX: Final = 500
"""Procedure codes that the form offers while somebody types; others are typed whole."""
_DIGITS_MAX: Final = 15


def order_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page of an order and its forms, by path and method."""

    async def show(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        return await _show(archive, request, _number(request.query_params.get("number", "")))

    async def edit(request: Request) -> Answer:
        text = request.query_params.get("number", "")
        return await _edit(archive, request, _number(text) if text else None)

    async def save(request: Request) -> Answer:
        form = await _form(request)
        text = form.get("number")
        number = _number(text) if text else None
        try:
            before = await get_order(archive, number) if number is not None else None
            version = whole_number(form, "version") if number is not None else None
            number, _ = await save_order(archive, change_of(form, before), number=number, version=version)
        except RequestError as error:
            if isinstance(error, NotFoundError):
                raise
            return await _edit(archive, request, number, error, form)
        return _back(number)

    async def state(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        number = _number(form.get("number"))
        try:
            if form.get("state") not in set(OrderState):
                raise InvalidRequestError(told("There is no such state of an order."))
            await set_order_state(
                archive,
                number,
                OrderState(form.get("state")),
                version=whole_number(form, "version"),
                reason=form.get("reason")[:REASON_CHARS_MAX],
            )
        except RequestError as error:
            if isinstance(error, NotFoundError):
                raise
            return await _show(archive, request, number, error)
        return _back(number)

    async def step(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)
        form = await _form(request)
        number = _number(form.get("number"))
        try:
            if form.get("state") not in set(OrderState):
                raise InvalidRequestError(told("There is no such state of an order."))
            await set_step_state(
                archive,
                number,
                whole_number(form, "step"),
                OrderState(form.get("state")),
                version=whole_number(form, "version"),
                reason=form.get("reason")[:REASON_CHARS_MAX],
            )
        except RequestError as error:
            if isinstance(error, NotFoundError):
                raise
            return await _show(archive, request, number, error)
        return _back(number)

    return {
        ORDER_PATH: {"GET": show},
        f"{ORDER_PATH}/edit": {"GET": edit},
        f"{ORDER_PATH}/save": {"POST": save},
        f"{ORDER_PATH}/state": {"POST": state},
        f"{ORDER_PATH}/step": {"POST": step},
    }


async def _show(archive: Archive, request: Request, number: int, error: RequestError | None = None) -> Answer:
    found = await show_order(archive, number)
    reader = view_of(request).reader
    access = current_access()
    values: dict[str, Any] = {
        "found": found,
        "order": found.order,
        "tell": reader.tell,
        "messages": sorted({one.message for one in found.history if one.message is not None}, reverse=True),
        "message_path": MESSAGE_PATH
        if _is_served(request, MESSAGE_PATH) and access.allows(Permission.MESSAGE_READ)
        else "",
        "next_states": [state.value for state in states_for_people(found.order.state)],
        "next_of_step": {one.id: [state.value for state in states_for_people(one.state)] for one in found.order.steps},
        "may_change": access.allows(Permission.ORDER_MANAGE),
        "done": request.query_params.get("done", ""),
        "error": reader.say(error) if error else "",
        **state_words(),
    }
    return await page(archive, request, "order.html", place="worklist", status=number_of(error), **values)


async def _edit(
    archive: Archive,
    request: Request,
    number: int | None,
    error: RequestError | None = None,
    typed: Form | None = None,
) -> Answer:
    require(Permission.ORDER_MANAGE)
    order = await get_order(archive, number) if number is not None else None
    texts = values_of(order, request.query_params.get("patient_id", ""))
    if typed is not None:
        texts |= {name: typed.get(name) for name in typed.names()}
    values: dict[str, Any] = {
        "order": order,
        "texts": texts,
        "step_places": sorted(int(name[6:]) for name in texts if name.startswith("start.") and name[6:].isdigit()),
        "version": typed.get("version") if typed is not None else order.version if order else "",
        "priorities": PRIORITIES,
        "codes": await list_procedure_codes(archive, limit=CHOICES_MAX),
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "order_form.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _is_served(request: Request, path: str) -> bool:
    """Whether there is a page at an address; other rooms bring theirs."""
    routes = getattr(request.scope.get("router"), "routes", ())
    return any(getattr(route, "path", "") == path for route in routes)


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise NotFoundError(told("There is no such order."))


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(number: int) -> Answer:
    address = f"{ORDER_PATH}?number={number}&done=1"
    return Answer(HTTPStatus.SEE_OTHER, {"location": address, "cache-control": NO_STORE})
