"""`/worklist/why`: why an order or a patient is not on the worklist of a modality."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import RequestError
from fileroom.web.answers import Answer
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler
from fileroom.worklist.query_log import list_callers
from fileroom.worklist.why_not import Trace, explain

WHY_PATH: Final = "/worklist/why"
TEXT_CHARS_MAX: Final = 64
STAGES: Final = {
    "message": N_("Message"),
    "patient": N_("Patient"),
    "order": N_("Order"),
    "step": N_("Scheduled step"),
    "view": N_("View"),
    "question": N_("Last question"),
    "caller": N_("Modality"),
}


def why_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, by path and method."""

    async def show(request: Request) -> Answer:
        require(Permission.ORDER_READ)
        asked = {key: request.query_params.get(key, "")[:TEXT_CHARS_MAX] for key in ("accession", "patient", "aet")}
        trace: Trace | None = None
        error: RequestError | None = None
        reader = view_of(request).reader
        if any(asked.values()):
            try:
                trace = await explain(archive, asked["aet"], accession=asked["accession"], patient=asked["patient"])
                findings = [replace(one, words=reader.tell(one.words)) for one in trace.findings]
                trace = replace(trace, answer=reader.tell(trace.answer), findings=findings)
            except RequestError as wrong:
                error = wrong
        values: dict[str, Any] = {
            "asked": asked,
            "trace": trace,
            "moments": _moments(trace),
            "stages": STAGES,
            "callers": await list_callers(archive),
            "may_read_messages": current_access().allows(Permission.MESSAGE_READ),
            "error": reader.say(error) if error is not None else "",
        }
        return await page(archive, request, "worklist_why.html", place="worklist", status=number_of(error), **values)

    return {WHY_PATH: {"GET": show}}


def _moments(trace: Trace | None) -> dict[str, dt.datetime]:
    """The times of a trace by their texts, for the reader's zone."""
    texts = [trace.asked_at, *(one.at for one in trace.findings)] if trace else []
    return {text: dt.datetime.fromisoformat(text) for text in texts if text}
