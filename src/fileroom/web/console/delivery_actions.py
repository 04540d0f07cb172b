"""What somebody does to deliveries on a page: retry, hold, release, cancel, send elsewhere.

First a page tells how many that concerns and asks for a reason. The work is done in rounds, each a request of some seconds: the
page in between shows how far it is and goes on by itself, or by its button.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.entries import read_entries
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.routing.deliveries import (
    CANCELLED_FROM,
    HELD_FROM,
    REASON_CHARS_MAX,
    RETRIED,
    Changed,
    Part,
    cancel_deliveries,
    hold_deliveries,
    redirect_deliveries,
    release_deliveries,
    retry_deliveries,
)
from fileroom.routing.delivery_filter import DeliveryFilter
from fileroom.routing.delivery_rows import DeliveryState
from fileroom.routing.delivery_search import COUNT_MAX, count_deliveries
from fileroom.routing.destinations import DESTINATIONS
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.deliveries_page import (
    DELIVERIES_PATH,
    WORDS,
    clean_words,
    filter_of,
    words_of_deliveries,
)
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, own_path, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

ROUND_CHUNKS: Final = 4
"""20,000 deliveries in a request: a second or two."""
MARKED_MAX: Final = 500
"""A page has fewer rows."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. Texts are message ids; `states` are those that it concerns."""

    title: str
    what: str
    states: tuple[DeliveryState, ...]


ACTIONS: Final = {
    "retry": Action(N_("Retry"), N_("They are sent again, now."), RETRIED),
    "hold": Action(N_("Hold"), N_("They stay here until somebody releases them."), HELD_FROM),
    "release": Action(N_("Release"), N_("They are sent."), (DeliveryState.HELD,)),
    "redirect": Action(
        N_("Send elsewhere"),
        N_("They are sent to another destination; where they were to go, they are cancelled."),
        (*CANCELLED_FROM, DeliveryState.CANCELLED),
    ),
    "cancel": Action(N_("Cancel"), N_("They are never sent. They can be retried later."), CANCELLED_FROM),
}


def delivery_action_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The addresses of the forms, by path and method."""

    async def review(request: Request) -> Answer:
        return await _review(archive, request, await _form(request))

    async def do(request: Request) -> Answer:
        form = await _form(request)
        try:
            return await _do(archive, request, form)
        except RequestError as error:
            return await _review(archive, request, form, error=error)

    return {
        f"{DELIVERIES_PATH}/review": {"POST": review},
        f"{DELIVERIES_PATH}/do": {"POST": do},
    }


async def _review(archive: Archive, request: Request, form: Form, error: RequestError | None = None) -> Answer:
    require(Permission.ROUTING_MANAGE)
    name, action = _action(form)
    wanted = _wanted(archive, form)
    meant = _meant(wanted, action)
    count = await count_deliveries(archive, meant) if meant.states else 0
    values: dict[str, Any] = {
        "name": name,
        "action": action,
        "count": count,
        "is_more": count > COUNT_MAX,
        "count_max": COUNT_MAX,
        "fields": _fields(form),
        "asked": clean_words({word: form.get(word) for word in WORDS}) if form.get("scope") == "all" else {},
        "marked": len(wanted.parcels) + len(wanted.ids),
        "destinations": [one.name for one in await read_entries(archive.pool, DESTINATIONS) if one.enabled],
        "chosen": form.get("to_destination"),
        "reason": form.get("reason"),
        "reason_chars_max": REASON_CHARS_MAX,
        "back": own_path(form.get("back"), DELIVERIES_PATH),
        "error": view_of(request).reader.say(error) if error else "",
        **words_of_deliveries(request),
    }
    return await page(archive, request, "delivery_review.html", place="routing", status=number_of(error), **values)


async def _do(archive: Archive, request: Request, form: Form) -> Answer:
    require(Permission.ROUTING_MANAGE)
    name, action = _action(form)
    wanted, reason = _meant(_wanted(archive, form), action), form.get("reason")
    if not wanted.states:
        raise InvalidRequestError(told("None of them is in a state that this concerns."))
    part = Part(whole_number(form, "after") if form.get("after") else 0, ROUND_CHUNKS)
    if name == "redirect":
        changed = await redirect_deliveries(archive, wanted, form.get("to_destination"), reason, part)
    else:
        changed = await _WORK[name](archive, wanted, reason, part)
    done = (whole_number(form, "done") if form.get("done") else 0) + changed.deliveries
    back = own_path(form.get("back"), DELIVERIES_PATH)
    if not changed.after_id:
        joint = "&" if "?" in back else "?"
        return Answer(HTTPStatus.SEE_OTHER, {"location": f"{back}{joint}done={done}", "cache-control": NO_STORE})
    total = max(whole_number(form, "total") if form.get("total") else 0, done)
    values: dict[str, Any] = {
        "name": name,
        "action": action,
        "done": done,
        "total": total,
        "after": changed.after_id,
        "fields": _fields(form),
        "reason": reason,
        "chosen": form.get("to_destination"),
        "back": back,
    }
    return await page(archive, request, "delivery_progress.html", place="routing", **values)


_WORK: Final[dict[str, Callable[[Archive, DeliveryFilter, str, Part], Awaitable[Changed]]]] = {
    "retry": retry_deliveries,
    "hold": hold_deliveries,
    "release": release_deliveries,
    "cancel": cancel_deliveries,
}


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _action(form: Form) -> tuple[str, Action]:
    name = form.get("action")
    if name not in ACTIONS:
        raise InvalidRequestError(told("There is no such action."))
    return name, ACTIONS[name]


def _wanted(archive: Archive, form: Form) -> DeliveryFilter:
    """The marked rows, or all that fit what was asked for. Raises InvalidRequestError."""
    if form.get("scope") == "all":
        wanted = filter_of(archive, clean_words({word: form.get(word) for word in WORDS}))
        if wanted.is_everything:
            raise InvalidRequestError(told("Say which deliveries are meant: a destination, a study, a state."))
        return wanted
    parcels, ids = _numbers(form.all("parcel")), _numbers(form.all("delivery"))
    if not parcels and not ids:
        raise InvalidRequestError(told("Mark the rows that are meant, or choose all that fit."))
    state = filter_of(archive, clean_words({"state": form.get("state")})).states
    return DeliveryFilter(ids=ids, parcels=parcels, states=state)


def _meant(wanted: DeliveryFilter, action: Action) -> DeliveryFilter:
    """Only those that the action can concern."""
    states = [one.value for one in action.states if not wanted.states or one.value in wanted.states]
    return replace(wanted, states=tuple(states))


def _numbers(texts: list[str]) -> tuple[int, ...]:
    numbers = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) <= 18]
    if len(numbers) > MARKED_MAX:
        raise InvalidRequestError(told("Mark at most {most} rows, or choose all that fit.", most=MARKED_MAX))
    return tuple(numbers)


def _fields(form: Form) -> list[tuple[str, str]]:
    """What the next form must say again."""
    names = ("scope", "action", "back", *WORDS)
    return [
        *((name, form.get(name)) for name in names if form.get(name)),
        *(("parcel", one) for one in form.all("parcel")[:MARKED_MAX]),
        *(("delivery", one) for one in form.all("delivery")[:MARKED_MAX]),
    ]
