"""`/worklist`: what is scheduled, by day, modality and station; `/worklist/orders`: all orders, by what people know of them."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.dicom.normal_forms import normalize_date
from fileroom.web.answers import Answer
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_search import OrderFilter, StepFilter, search_orders, search_steps, worklist_choices
from fileroom.worklist.order_states import STATE_WORDS
from fileroom.worklist.worklist_views import hospital_time

WORKLIST_PATH: Final = "/worklist"
ORDERS_PATH: Final = "/worklist/orders"
PAGE_STEPS: Final = 200
PAGE_ORDERS: Final = 100
STATE_NAMES: Final = {state.value: words for state, words in STATE_WORDS.items()}
STATE_ICONS: Final = {
    "scheduled": "ring",
    "arrived": "person",
    "in_progress": "receiving",
    "completed": "complete",
    "cancelled": "close",
    "discontinued": "off",
}
STATE_COLOURS: Final = {"completed": "good", "in_progress": "warn", "cancelled": "quiet", "discontinued": "bad"}
_VALUE_CHARS_MAX: Final = 200
_DIGITS_MAX: Final = 15
_FINAL: Final = "final"
_OPEN: Final = (OrderState.SCHEDULED, OrderState.ARRIVED, OrderState.IN_PROGRESS)


def worklist_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The lists, by path and method."""

    async def worklist(request: Request) -> Answer:
        return await _worklist(archive, request)

    async def orders(request: Request) -> Answer:
        return await _orders(archive, request)

    return {WORKLIST_PATH: {"GET": worklist}, ORDERS_PATH: {"GET": orders}}


def state_words() -> dict[str, Any]:
    """How pages draw the states of orders and steps."""
    return {"state_names": STATE_NAMES, "state_icons": STATE_ICONS, "state_colours": STATE_COLOURS}


async def _worklist(archive: Archive, request: Request) -> Answer:
    today = hospital_time(archive).date()
    asked = {name: _asked(request, name) for name in ("day", "to", "modality", "station", "text", "state")}
    error: RequestError | None = None
    rows: list[Any] = []
    day = today
    try:
        day = _day(asked["day"]) or today
        until = _day(asked["to"]) or day
        wanted = StepFilter(
            f"{day:%Y%m%d}",
            f"{until:%Y%m%d}",
            asked["modality"],
            asked["station"],
            asked["text"],
            _states(asked["state"]),
            undated=day <= today <= until,
        )
        rows = await search_steps(archive, wanted, limit=PAGE_STEPS + 1, after=_number(_asked(request, "after")))
    except RequestError as problem:
        error = problem
    modalities, stations = await worklist_choices(archive)
    more = len(rows) > PAGE_STEPS
    rows = rows[:PAGE_STEPS]
    values: dict[str, Any] = {
        "rows": rows,
        "asked": asked,
        "day": f"{day:%Y-%m-%d}",
        "day_text": f"{day:%Y%m%d}",
        "is_today": day == today and asked["to"] in ("", f"{today}"),
        "before": _address(asked, day=f"{day - dt.timedelta(days=1)}", to="") if day.year > 1 else "",
        "after": _address(asked, day=f"{day + dt.timedelta(days=1)}", to="") if day.year < dt.MAXYEAR else "",
        "next": _address(asked, after=str(rows[-1].id)) if more else "",
        "filtered": any(asked[name] for name in ("modality", "station", "text", "state")),
        "modalities": sorted({*modalities, *filter(None, [asked["modality"]])}),
        "stations": sorted({*stations, *filter(None, [asked["station"]])}),
        "may_enter": current_access().allows(Permission.ORDER_MANAGE),
        "error": view_of(request).reader.say(error) if error else "",
        **state_words(),
    }
    return await page(archive, request, "worklist.html", place="worklist", status=number_of(error), **values)


async def _orders(archive: Archive, request: Request) -> Answer:
    asked = {name: _asked(request, name) for name in ("text", "state")}
    error: RequestError | None = None
    rows: list[Any] = []
    try:
        wanted = OrderFilter(asked["text"], _states(asked["state"]))
        rows = await search_orders(archive, wanted, limit=PAGE_ORDERS + 1, before=_number(_asked(request, "before")))
    except RequestError as problem:
        error = problem
    more = len(rows) > PAGE_ORDERS
    rows = rows[:PAGE_ORDERS]
    values: dict[str, Any] = {
        "rows": rows,
        "asked": asked,
        "next": f"{ORDERS_PATH}?{urlencode(_given(asked) | {'before': str(rows[-1].id)})}" if more else "",
        "may_enter": current_access().allows(Permission.ORDER_MANAGE),
        "error": view_of(request).reader.say(error) if error else "",
        **state_words(),
    }
    return await page(archive, request, "orders.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _asked(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()[:_VALUE_CHARS_MAX].replace("\0", "")


def _given(asked: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value}


def _address(asked: dict[str, str], **more: str) -> str:
    words = _given({**asked, **more})
    return f"{WORKLIST_PATH}?{urlencode(words)}" if words else WORKLIST_PATH


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


def _day(text: str) -> dt.date | None:
    if not text:
        return None
    day = normalize_date(text.replace("-", ""))
    if day is None:
        raise InvalidRequestError(told("{day} is no day; write it as 2026-11-22.", day=repr(text[:20])))
    return dt.date(int(day[:4]), int(day[4:6]), int(day[6:]))


def _states(text: str) -> tuple[OrderState, ...]:
    """A state's name; `open`: still on a worklist; `final`: not any more."""
    if text == "open":
        return _OPEN
    if text == _FINAL:
        return tuple(state for state in OrderState if state.is_final)
    if text and text not in STATE_NAMES:
        raise InvalidRequestError(told("There is no such state of an order."))
    return (OrderState(text),) if text else ()
