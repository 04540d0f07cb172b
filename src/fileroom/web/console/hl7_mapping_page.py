"""`/hl7/feeds/mapping`: how a feed's messages are read, as a table with a real message beside it; and what the feed was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.feeds.feed_versions import go_back, list_feed_versions
from fileroom.feeds.feeds import Feed, get_feed, put_feed
from fileroom.feeds.inbox_search import MessageFilter, list_messages
from fileroom.feeds.mapping_facts import FACTS, Part, fact_named
from fileroom.feeds.mapping_fields import check_mapping, preset_fields, whole_fields
from fileroom.feeds.presets import PRESETS
from fileroom.feeds.previews import preview_mapping
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of, whole_number
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.language import N_
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

MAPPING_PATH: Final = "/hl7/feeds/mapping"
FORM_BYTES_MAX: Final = 1024 * 1024
NEW_FACTS: Final = 2
"""Empty rows for facts that are called by a DICOM keyword."""
PART_WORDS: Final = {
    Part.PATIENT: N_("Patient"),
    Part.PRIOR: N_("Former numbers"),
    Part.VISIT: N_("Visit"),
    Part.ORDER: N_("Order"),
    Part.STEP: N_("Scheduled step"),
    Part.REPORT: N_("Report"),
}
_PATHS: Final = re.compile(r"(?:[^\s\[]|\[[^\]]*\])+")
"""Places are separated by blanks; what stands in brackets may have some."""
_DIGITS_MAX: Final = 15


def mapping_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page and its forms, by path and method."""

    async def show(request: Request) -> Answer:
        require(Permission.MESSAGE_READ)
        feed = await get_feed(archive, request.query_params.get("feed", "default")[:64])
        return await _page(archive, request, feed, await _latest(archive, request, feed))

    async def read(request: Request) -> Answer:
        require(Permission.MESSAGE_READ)
        form = await _form(request)
        return await _page(archive, request, await get_feed(archive, form.get("feed")), form.get("number"), form)

    async def save(request: Request) -> Answer:
        require(Permission.MESSAGE_MANAGE)
        form = await _form(request)
        feed = await get_feed(archive, form.get("feed"))
        try:
            fields = {**feed.fields, "mapping": _mapping(form)}
            version = None if feed.is_built_in else whole_number(form, "version")
            await put_feed(archive, feed.name, fields, enabled=feed.enabled, version=version)
        except RequestError as error:
            return await _page(archive, request, feed, form.get("number"), form, error)
        return _back(feed.name)

    async def back(request: Request) -> Answer:
        require(Permission.MESSAGE_MANAGE)
        form = await _form(request)
        feed = await get_feed(archive, form.get("feed"))
        try:
            await go_back(archive, feed.name, whole_number(form, "to"), version=whole_number(form, "version"))
        except RequestError as error:
            return await _page(archive, request, feed, "", None, error)
        return _back(feed.name)

    return {
        MAPPING_PATH: {"GET": show, "POST": read},
        f"{MAPPING_PATH}/save": {"POST": save},
        f"{MAPPING_PATH}/back": {"POST": back},
    }


async def _page(
    archive: Archive,
    request: Request,
    feed: Feed,
    number: str,
    form: Form | None = None,
    error: RequestError | None = None,
) -> Answer:
    shown: Mapping[str, Any] = feed.fields.get("mapping", {})
    trial = None
    try:
        if form is not None:
            shown = check_mapping(_mapping(form))
        if number.isascii() and number.isdigit() and len(number) <= _DIGITS_MAX and feed.is_incoming:
            trial = await preview_mapping(archive, number=int(number), feed=feed.name, mapping=shown)
    except RequestError as problem:
        error = error or problem
    whole = whole_fields(shown)
    base = preset_fields(str(whole["preset"]))
    rest = {name: value for name, value in shown.items() if name not in ("preset", "facts", "values")}
    values: dict[str, Any] = {
        "feed": feed,
        "rows": _rows(whole["facts"], base["facts"]),
        "parts": PART_WORDS,
        "tables": {name: _lines(rows) for name, rows in whole["values"].items()},
        "tables_differ": {name for name, rows in whole["values"].items() if rows != base["values"].get(name)},
        "rest": json.dumps(rest, indent=2, ensure_ascii=False) if rest else "",
        "as_text": json.dumps(dict(shown), indent=2, ensure_ascii=False),
        "typed": {name: form.get(name) for name in form.names()} if form is not None else {},
        "preset": whole["preset"],
        "presets": {name: preset.words for name, preset in PRESETS.items()},
        "new_rows": range(NEW_FACTS),
        "number": number,
        "trial": trial,
        "used": {one.fact: one for one in reversed(trial.facts) if one.path} if trial is not None else {},
        "tell": view_of(request).reader.tell,
        "versions": [] if feed.is_built_in else await list_feed_versions(archive, feed.name),
        "may_change": current_access().allows(Permission.MESSAGE_MANAGE),
        "done": request.query_params.get("done", ""),
        "error": view_of(request).reader.say(error) if error else "",
    }
    return await page(archive, request, "hl7_mapping.html", place="worklist", status=number_of(error), **values)


# --- helpers ---


def _rows(facts: Mapping[str, list[str]], base: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Every fact that there is, in the order of what it is about, with its places and whether they are the preset's."""
    names = [*FACTS, *sorted(name for name in {*facts, *base} if name not in FACTS)]
    rows = []
    for name in names:
        fact = fact_named(name)
        if fact is None:
            continue
        places, usual = facts.get(name, []), base.get(name, [])
        rows.append(
            {
                "name": name,
                "part": fact.part,
                "words": fact.words,
                "places": " ".join(places),
                "usual": " ".join(usual),
                "differs": list(places) != list(usual),
            }
        )
    return sorted(rows, key=lambda row: list(PART_WORDS).index(row["part"]))


def _lines(rows: Mapping[str, str]) -> str:
    return "\n".join(f"{said} = {meant}" for said, meant in rows.items())


def _mapping(form: Form) -> dict[str, Any]:
    """What the table says. Raises InvalidRequestError."""
    facts = {name[5:]: _PATHS.findall(form.get(name)) for name in form.names() if name.startswith("fact.")}
    for place in range(NEW_FACTS):
        if name := form.get(f"new.{place}"):
            facts[name] = _PATHS.findall(form.get(f"new_places.{place}"))
    base = preset_fields(form.get("preset") if form.get("preset") in PRESETS else "ihe")
    facts = {name: places for name, places in facts.items() if places or name in base["facts"]}
    tables = {name[6:]: _table(name[6:], form.get(name)) for name in form.names() if name.startswith("table.")}
    try:
        rest = json.loads(form.get("rest") or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(told("The mapping is no JSON: {reason}", reason=str(error)[:200])) from error
    if not isinstance(rest, dict):
        raise InvalidRequestError(told("The mapping is a JSON object, in braces."))
    return {**rest, "preset": form.get("preset") or "ihe", "facts": facts, "values": tables}


def _table(name: str, text: str) -> dict[str, str]:
    rows = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        said, sign, meant = line.partition("=")
        if not sign:
            raise InvalidRequestError(
                told("The table {name} has a line without =: {line}. Write CODE = value.", name=name, line=line[:60])
            )
        rows[said.strip()] = meant.strip()
    return rows


async def _latest(archive: Archive, request: Request, feed: Feed) -> str:
    """The message that is asked for, else the latest that came by the feed."""
    asked = request.query_params.get("number", "")
    if asked or not feed.is_incoming:
        return asked
    found = await list_messages(archive, MessageFilter(feed=feed.name), limit=1)
    return str(found[0].id) if found else ""


async def _form(request: Request) -> Form:
    form = await read_form(request, FORM_BYTES_MAX)
    require_form_token(request, form.get(FORM_TOKEN_FIELD))
    return form


def _back(name: str) -> Answer:
    location = f"{MAPPING_PATH}?{urlencode({'feed': name, 'done': '1'})}"
    return Answer(HTTPStatus.SEE_OTHER, {"location": location, "cache-control": NO_STORE})
