"""`/worklist/workitems`: Unified Procedure Steps found and looked at, and the request that one be ended."""

from __future__ import annotations

from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.dicom.json_model import JsonObject, json_to_dataset
from fileroom.dicom.query import AnyOf, Key, SingleValue
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.attribute_table import attribute_rows
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.performed_rules import items_of, text_of
from fileroom.worklist.workitem_rows import Workitem
from fileroom.worklist.workitem_search import search_workitems
from fileroom.worklist.workitems import get_workitem, request_cancel, workitem_history

WORKITEMS_PATH: Final = "/worklist/workitems"
WORKITEM_PATH: Final = "/worklist/workitem"
SHOWN_MAX: Final = 100
LOOKED_AT_MAX: Final = 5000
"""Workitems among which a text is looked for, the newest first."""
TEXT_CHARS_MAX: Final = 100
REASON_CHARS_MAX: Final = 1000
STATE_WORDS: Final = {
    "SCHEDULED": N_("scheduled"),
    "IN PROGRESS": N_("in progress"),
    "COMPLETED": N_("completed"),
    "CANCELED": N_("cancelled"),
}
PRIORITY_WORDS: Final = {"HIGH": N_("high"), "MEDIUM": N_("medium"), "LOW": N_("low")}
READINESS_WORDS: Final = {
    "READY": N_("the input is here"),
    "INCOMPLETE": N_("the input is not complete"),
    "UNAVAILABLE": N_("the input is not available"),
}
EVENT_WORDS: Final = {
    rules.STATE_REPORT: N_("state"),
    rules.CANCEL_REQUESTED: N_("end asked for"),
    rules.PROGRESS_REPORT: N_("progress"),
    rules.ASSIGNED: N_("assigned"),
}
DONE: Final = {
    "asked": N_("The performer is told that this workitem shall end; whether it does is the performer's decision."),
    "cancelled": N_("The workitem is cancelled; nobody had begun it."),
}
_OPEN: Final = ("SCHEDULED", "IN PROGRESS")


def workitems_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The list, one workitem, and the form that asks for its end."""

    async def workitems(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        return await _list(archive, request)

    async def one(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        return await _one(archive, request, request.query_params.get("uid", ""))

    async def cancel(request: Request) -> Answer:
        require(Permission.ORDER_MANAGE)  # before anything of it is read
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        uid = form.get("uid")
        said: JsonObject = {}
        rules.put(said, rules.CANCEL_REASON, form.get("reason").strip()[:REASON_CHARS_MAX])
        try:
            before = await get_workitem(archive, uid)
            await request_cancel(archive, uid, said)
        except RequestError as error:
            return await _one(archive, request, uid, error=error, typed=form)
        done = "cancelled" if before.state == rules.SCHEDULED else "asked"
        location = f"{WORKITEM_PATH}?{urlencode({'uid': uid, 'done': done})}"
        return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})

    return {
        WORKITEMS_PATH: {"GET": workitems},
        WORKITEM_PATH: {"GET": one},
        f"{WORKITEM_PATH}/cancel": {"POST": cancel},
    }


async def _list(archive: Archive, request: Request) -> Answer:
    asked = request.query_params
    state, text = asked.get("state", ""), asked.get("text", "").strip()[:TEXT_CHARS_MAX]
    keys: list[Key] = []
    if state in STATE_WORDS:
        keys.append(Key(rules.STATE, "CS", SingleValue(state)))
    elif state == "open":
        keys.append(Key(rules.STATE, "CS", AnyOf(_OPEN)))
    found: list[Workitem] = []
    looked_at = 0
    async with aclosing(search_workitems(archive, keys, newest_first=True)) as workitems:
        async for one in workitems:
            looked_at += 1
            if _has(one, text):
                found.append(one)
            if len(found) > SHOWN_MAX or looked_at == LOOKED_AT_MAX:
                break
    values: dict[str, Any] = {
        "rows": [(one, _progress(one)) for one in found[:SHOWN_MAX]],
        "more": len(found) > SHOWN_MAX or looked_at == LOOKED_AT_MAX,
        "most": SHOWN_MAX,
        "state": state,
        "text": text,
        **_words(),
    }
    return await page(archive, request, "workitems.html", place="worklist", **values)


async def _one(
    archive: Archive, request: Request, uid: str, *, error: RequestError | None = None, typed: Form | None = None
) -> Answer:
    found = await get_workitem(archive, uid)
    dataset = json_to_dataset(found.attributes)
    values: dict[str, Any] = {
        "found": found,
        "progress": _progress(found),
        "history": [(one, _shown_event(one.information)) for one in await workitem_history(archive, uid)],
        "attributes": attribute_rows(dataset, dataset),
        "event_words": EVENT_WORDS,
        "reason": typed.get("reason") if typed else "",
        "reason_max": REASON_CHARS_MAX,
        "may_cancel": current_access().allows(Permission.ORDER_MANAGE) and found.state in _OPEN,
        "done": DONE.get(request.query_params.get("done", ""), ""),
        "error": view_of(request).reader.say(error) if error is not None else "",
        **_words(),
    }
    return await page(archive, request, "workitem.html", place="worklist", status=number_of(error), **values)


def _words() -> dict[str, Any]:
    return {"state_words": STATE_WORDS, "priority_words": PRIORITY_WORDS, "readiness_words": READINESS_WORDS}


def _has(one: Workitem, text: str) -> bool:
    if not text:
        return True
    words = (one.label, one.worklist_label, one.patient_id, one.patient_name, one.sop_instance_uid, one.performer)
    return any(text.casefold() in word.casefold() for word in words)


def _progress(one: Workitem) -> tuple[str, str]:
    """Percent and words of how far it is."""
    item = next(iter(items_of(one.attributes, rules.PROGRESS)), {})
    return _percent(item), text_of(item, rules.PROGRESS_TEXT)


def _percent(item: JsonObject) -> str:
    text = text_of(item, rules.PROGRESS_VALUE)
    try:
        return f"{float(text):g}" if text else ""
    except ValueError:
        return text


def _shown_event(information: JsonObject) -> dict[str, str]:
    """What an event says, for its line."""
    item = next(iter(items_of(information, rules.PROGRESS)), {})
    return {
        "state": text_of(information, rules.STATE),
        "reason": text_of(information, rules.CANCEL_REASON),
        "requester": text_of(information, rules.REQUESTING_AE),
        "percent": _percent(item),
        "words": text_of(item, rules.PROGRESS_TEXT),
        "station": ", ".join(text_of(one, 0x00080104) for one in items_of(information, rules.STATION)),
    }
