"""`/hl7/feeds`: who sends HL7 messages to Fileroom and who gets some, each with its form."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.feeds import feeds
from fileroom.feeds.alarms import failed_counts, heard_at, silent_feeds
from fileroom.feeds.feeds import Feed
from fileroom.feeds.presets import PRESETS
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

FEEDS_PATH: Final = "/hl7/feeds"
FORM_BYTES_MAX: Final = 1024 * 1024
"""With a mapping of some thousand lines."""
_TEXTS: Final = {
    "in": (
        *("port", "tls", "on_failure", "silent_minutes", "keep_days", "senders", "note"),
        *("queries", "order_answer", "assumed_charset"),
    ),
    "out": (
        "host",
        "port",
        "tls",
        "kinds",
        "sources",
        "attempts_max",
        "give_up_hours",
        "timeout_s",
        "keep_days",
        "note",
        "orders",
        "billing",
        "billing_accounts",
        "identifier_domains",
        *("reports", "report_document", "report_preliminary", "report_sources", "rewrite"),
    ),
}
_NAMES: Final = (*_TEXTS["in"], *_TEXTS["out"], "preset", "mapping")


def hl7_feeds_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and what its forms do, by path and method."""

    async def show(request: Request, error: RequestError | None = None, typed: Form | None = None) -> Answer:
        found = await feeds.list_feeds(archive)
        values: dict[str, Any] = {
            "feeds": [(one, _texts(one)) for one in found],
            "new_in": _texts(feeds.built_in_feed()),
            "presets": {name: preset.words for name, preset in PRESETS.items()},
            "heard": await heard_at(archive.pool),
            "silent": {one.name: one for one in await silent_feeds(archive.pool)},
            "failed": {one.feed: one for one in await failed_counts(archive.pool)},
            "may_change": current_access().allows(Permission.MESSAGE_MANAGE),
            "port": archive.settings.hl7_port,
            "error": view_of(request).reader.say(error) if error else "",
            "typed": typed,
            "typed_texts": {name: typed.get(name) for name in (*_NAMES, "direction") if typed.has(name)}
            if typed
            else {},
            "typed_was": typed.get("was") if typed else "",
            "done": request.query_params.get("done", ""),
        }
        return await page(archive, request, "hl7_feeds.html", place="worklist", status=number_of(error), **values)

    async def save(request: Request) -> Answer:
        form = await _form(request)
        was = form.get("was")
        try:
            version = whole_number(form, "version") if was else None
            saved = await feeds.put_feed(
                archive,
                was or form.get("name"),
                _fields(form),
                enabled=form.has("enabled"),
                version=version,
                new=not was,
            )
        except RequestError as error:
            return await show(request, error, form)
        return _back(saved.name)

    async def remove(request: Request) -> Answer:
        form = await _form(request)
        try:
            await feeds.remove_feed(archive, form.get("name"))
        except RequestError as error:
            return await show(request, error)
        return _back()

    return {
        FEEDS_PATH: {"GET": lambda request: show(request)},
        f"{FEEDS_PATH}/save": {"POST": save},
        f"{FEEDS_PATH}/remove": {"POST": remove},
    }


# --- helpers ---


def _fields(form: Form) -> dict[str, Any]:
    """As the service takes them. Raises InvalidRequestError."""
    direction = "out" if form.get("direction") == "out" else "in"
    fields: dict[str, Any] = {name: form.get(name) for name in _TEXTS[direction] if form.has(name)}
    fields["direction"] = direction
    if direction == "in":
        fields["mapping"] = {**_mapping(form.get("mapping")), "preset": form.get("preset") or "ihe"}
    else:
        for name in ("kinds", "sources", "identifier_domains", "report_sources"):
            fields[name] = [one for one in form.get(name).replace(",", " ").split() if one]
    return fields


def _mapping(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(told("The mapping is no JSON: {reason}", reason=str(error)[:200])) from error
    if not isinstance(found, dict):
        raise InvalidRequestError(told("The mapping is a JSON object, in braces."))
    return found


def _texts(one: Feed) -> dict[str, str]:
    """As the form shows the fields."""
    texts = {"direction": str(one.fields["direction"])}
    for name in _TEXTS[texts["direction"]]:
        value = one.fields.get(name, "")
        joined = "\n" if name in ("senders", "rewrite") else " "
        texts[name] = joined.join(value) if isinstance(value, list) else str(value)
    if one.is_incoming:
        mapping = dict(one.fields["mapping"])
        texts["preset"] = str(mapping.pop("preset", ""))
        texts["mapping"] = json.dumps(mapping, indent=2, ensure_ascii=False) if mapping else ""
    return texts


async def _form(request: Request) -> Form:
    form = await read_form(request, FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(name: str = "") -> Answer:
    mark = f"#feed-{quote(name, safe='')}" if name else ""
    return Answer(HTTPStatus.SEE_OTHER, {"location": f"{FEEDS_PATH}?done=1{mark}", "cache-control": NO_STORE})
