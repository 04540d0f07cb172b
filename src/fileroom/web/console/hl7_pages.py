"""`/hl7`: the HL7 messages that came in, `/hl7/message` one of them with its replay, `/hl7/outbox` those that leave."""

from __future__ import annotations

import datetime as dt
import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, NotFoundError, RequestError, told
from fileroom.feeds import inbox_search, outbox
from fileroom.feeds.alarms import failed_counts, silent_feeds
from fileroom.feeds.feeds import list_feeds
from fileroom.feeds.inbox_search import MessageFilter, MessageRow, list_messages
from fileroom.feeds.masking import sees_patients
from fileroom.feeds.replay import replay_message
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.hl7_preview_page import preview_handlers
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

HL7_PATH: Final = "/hl7"
MESSAGE_PATH: Final = "/hl7/message"
OUTBOX_PATH: Final = "/hl7/outbox"
PAGE_MESSAGES: Final = 50
REPLAY_BYTES_MAX: Final = 4 * 1024 * 1024
"""A form with a message of a million characters, which a URL encoding makes three times as long."""
ASKED: Final = ("q", "feed", "show", "kind", "patient", "accession", "order", "control", "from", "to")
MESSAGE_STATES: Final = {
    "applied": N_("applied"),
    "ignored": N_("asks for nothing"),
    "failed": N_("failed"),
    "rejected": N_("not taken"),
    "duplicate": N_("repeated"),
}
MESSAGE_ICONS: Final = {
    "applied": "complete",
    "ignored": "off",
    "failed": "exception",
    "rejected": "close",
    "duplicate": "copy",
}
OUTGOING_STATES: Final = {
    "waiting": N_("waits"),
    "sent": N_("sent"),
    "dead": N_("dead letter"),
    "cancelled": N_("cancelled"),
}
SUBJECT_PAGES: Final = {"order": "/worklist/order?number={}", "report": "/reports/{}"}
_VALUE_CHARS_MAX: Final = 200
_SEPARATORS: Final = re.compile(r"([|^~\\&])")


def hl7_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The pages and what their forms do, by path and method."""

    async def inbox(request: Request) -> Answer:
        return await _inbox(archive, request)

    async def message(request: Request, error: RequestError | None = None, form: Form | None = None) -> Answer:
        return await _message(archive, request, error, form)

    async def replay(request: Request) -> Answer:
        require(Permission.MESSAGE_MANAGE)
        form = await read_form(request, REPLAY_BYTES_MAX)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        number = whole_number(form, "number")
        text = form.exactly("text") if form.get("as") == "mended" else None
        try:
            made = await replay_message(archive, number, text=text, feed=form.get("feed"), reason=form.get("reason"))
        except NotFoundError:
            raise
        except RequestError as error:
            return await message(request, error, form)
        return _to(f"{MESSAGE_PATH}?number={made}&done=1")

    async def outgoing(request: Request, error: RequestError | None = None) -> Answer:
        return await _outbox(archive, request, error)

    async def resend(request: Request) -> Answer:
        require(Permission.MESSAGE_MANAGE)
        form = await _form(request)
        try:
            await outbox.resend_outgoing(archive, whole_number(form, "number"))
        except RequestError as error:
            return await outgoing(request, error)
        return _to(f"{OUTBOX_PATH}?done=1")

    async def cancel(request: Request) -> Answer:
        require(Permission.MESSAGE_MANAGE)
        form = await _form(request)
        try:
            await outbox.cancel_outgoing(archive, whole_number(form, "number"), form.get("reason"))
        except RequestError as error:
            return await outgoing(request, error)
        return _to(f"{OUTBOX_PATH}?done=1")

    return {
        HL7_PATH: {"GET": inbox},
        MESSAGE_PATH: {"GET": lambda request: message(request)},
        f"{MESSAGE_PATH}/replay": {"POST": replay},
        OUTBOX_PATH: {"GET": lambda request: outgoing(request)},
        f"{OUTBOX_PATH}/resend": {"POST": resend},
        f"{OUTBOX_PATH}/cancel": {"POST": cancel},
        **preview_handlers(archive),
    }


async def _inbox(archive: Archive, request: Request) -> Answer:
    require(Permission.MESSAGE_READ)
    asked = {name: value for name in ASKED if (value := request.query_params.get(name, "").strip()[:_VALUE_CHARS_MAX])}
    error: RequestError | None = None
    rows: list[MessageRow] = []
    before = _before(request)
    try:
        wanted = _filter(asked, archive.now())
        rows = await list_messages(archive, wanted, before=before, limit=PAGE_MESSAGES + 1)
    except RequestError as problem:
        error = problem
    more = len(rows) > PAGE_MESSAGES
    rows = rows[:PAGE_MESSAGES]
    values: dict[str, Any] = {
        **_words(),
        "rows": rows,
        "asked": asked,
        "feeds": [one for one in await list_feeds(archive) if one.is_incoming],
        "failed": await failed_counts(archive.pool),
        "silent": await silent_feeds(archive.pool),
        "by_words": sees_patients(current_access()),
        "older": f"{HL7_PATH}?{urlencode({**asked, 'before': rows[-1].id})}" if more else "",
        "newest": f"{HL7_PATH}?{urlencode(asked)}" if before is not None else "",
        "port": archive.settings.hl7_port,
        "host": archive.settings.host,
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "hl7.html", place="worklist", status=number_of(error), **values)


async def _message(archive: Archive, request: Request, error: RequestError | None, form: Form | None) -> Answer:
    require(Permission.MESSAGE_READ)
    text = form.get("number") if form else request.query_params.get("number", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise NotFoundError(told("There is no message {number} in the inbox.", number=text[:20]))
    shown = await inbox_search.get_message(archive, int(text))
    values: dict[str, Any] = {
        **_words(),
        "shown": shown,
        "row": shown.row,
        "parts": _parts,
        "feeds": [one for one in await list_feeds(archive) if one.is_incoming],
        "may_manage": current_access().allows(Permission.MESSAGE_MANAGE),
        "typed": form.exactly("text") if form and form.get("as") == "mended" else shown.text,
        "form": form,
        "error": view_of(request).reader.say(error) if error else "",
        "done": request.query_params.get("done", ""),
    }
    return await page(archive, request, "hl7_message.html", place="worklist", status=number_of(error), **values)


async def _outbox(archive: Archive, request: Request, error: RequestError | None) -> Answer:
    asked = {
        name: value for name in ("feed", "state") if (value := request.query_params.get(name, "")[:_VALUE_CHARS_MAX])
    }
    wanted = outbox.OutgoingFilter(asked.get("feed", ""), (asked["state"],) if "state" in asked else ())
    before = _before(request)
    rows = await outbox.list_outgoing(archive, wanted, before=before, limit=PAGE_MESSAGES + 1)
    more = len(rows) > PAGE_MESSAGES
    rows = rows[:PAGE_MESSAGES]
    values: dict[str, Any] = {
        **_words(),
        "rows": rows,
        "asked": asked,
        "feeds": [one for one in await list_feeds(archive) if not one.is_incoming],
        "may_manage": current_access().allows(Permission.MESSAGE_MANAGE),
        "older": f"{OUTBOX_PATH}?{urlencode({**asked, 'before': rows[-1].id})}" if more else "",
        "newest": f"{OUTBOX_PATH}?{urlencode(asked)}" if before is not None else "",
        "error": view_of(request).reader.say(error) if error else "",
        "done": request.query_params.get("done", ""),
    }
    return await page(archive, request, "hl7_outbox.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _words() -> dict[str, Any]:
    return {
        "message_states": MESSAGE_STATES,
        "message_icons": MESSAGE_ICONS,
        "outgoing_states": OUTGOING_STATES,
        "subject_pages": SUBJECT_PAGES,
    }


def _filter(asked: dict[str, str], now: dt.datetime) -> MessageFilter:
    show = asked.get("show", "")
    if show and show != "troubled" and show not in MESSAGE_STATES:
        raise InvalidRequestError(told("There is no state {state}.", state=show))
    return MessageFilter(
        text=asked.get("q", ""),
        feed="" if asked.get("feed") == "-" else asked.get("feed"),
        states=(show,) if show in MESSAGE_STATES else (),
        is_troubled=show == "troubled",
        kind=asked.get("kind", ""),
        patient=asked.get("patient", ""),
        accession=asked.get("accession", ""),
        order=asked.get("order", ""),
        control_id=asked.get("control", ""),
        since=_moment(asked.get("from", ""), now),
        until=_moment(asked.get("to", ""), now, is_end=True),
    )


def _moment(text: str, now: dt.datetime, *, is_end: bool = False) -> dt.datetime | None:
    """A day, a moment, or how long ago: 2026-03-01, 2026-03-01T08:00, 2h, 7d. Raises InvalidRequestError."""
    if not text:
        return None
    ago = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    if ago:
        unit = {"m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return now - dt.timedelta(**{unit: int(ago[1])})
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            told("{text} is no time. Write 2026-03-01, 2026-03-01T08:00, 2h or 7d.", text=text[:40])
        ) from None
    if is_end and len(text) <= len("2026-03-01"):
        found += dt.timedelta(days=1)
    return found.astimezone() if found.tzinfo is None else found


def _parts(text: str) -> list[tuple[bool, str]]:
    """A field's text in pieces, each with whether it is a separator."""
    return [(bool(_SEPARATORS.fullmatch(one)), one) for one in _SEPARATORS.split(text) if one]


def _before(request: Request) -> int | None:
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


async def _form(request: Request) -> Form:
    form = await read_form(request)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _to(path: str) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": path, "cache-control": NO_STORE})
