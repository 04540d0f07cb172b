"""`/hl7/preview`: a message read by a feed's mapping, or by one that is being written: where facts come from, what it does."""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import Hl7Error, InvalidRequestError, RequestError, told
from fileroom.feeds.feed_fields import DEFAULT_FEED
from fileroom.feeds.feeds import Feed, list_feeds
from fileroom.feeds.mapping_trial import Trial
from fileroom.feeds.presets import PRESETS
from fileroom.feeds.previews import preview_mapping
from fileroom.hl7.message import parse_message
from fileroom.web.answers import Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, require_form_token
from fileroom.web.console.form_pages import number_of
from fileroom.web.console.forms import Form, read_form
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

PREVIEW_PATH: Final = "/hl7/preview"
FORM_BYTES_MAX: Final = 2 * 1024 * 1024
"""A message of some hundred thousand characters and a mapping of some thousand lines, URL-encoded."""
_EXAMPLE: Final = (
    "MSH|^~\\&|RIS|HOSPITAL|||20261122101500||ORM^O01|1|P|2.3.1\n"
    "PID|1||4711^^^HOSPITAL^MR||Muster^Anna||19700301|F\n"
    "ORC|NW|P1^RIS|F1^RIS||SC||1^once^^202611231000^^S\n"
    "OBR|1|P1^RIS|F1^RIS|CTABD^CT Abdomen^L||||||||||||||A123|A123|1||||CT\n"
    "ZDS|1.2.840.99.1^RIS^Application^DICOM"
)


def preview_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The page, by path and method. Its form writes nothing."""

    async def show(request: Request) -> Answer:
        require(Permission.MESSAGE_READ)
        asked = {name: request.query_params.get(name, "")[:64] for name in ("number", "feed")}
        values = {**asked, "text": "" if asked["number"] else _EXAMPLE, "mapping": "", "preset": ""}
        return await _page(archive, request, values)

    async def read(request: Request) -> Answer:
        form = await read_form(request, FORM_BYTES_MAX)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        values = {name: form.get(name) for name in ("number", "feed", "preset")}
        values |= {name: form.exactly(name) for name in ("text", "mapping")}
        return await _page(archive, request, values, form)

    return {PREVIEW_PATH: {"GET": show, "POST": read}}


async def _page(archive: Archive, request: Request, typed: dict[str, str], form: Form | None = None) -> Answer:
    trial: Trial | None = None
    error: RequestError | None = None
    some = [one for one in await list_feeds(archive) if one.is_incoming]
    chosen = next((one for one in some if one.name == (typed["feed"] or DEFAULT_FEED)), some[0])
    if form is None:
        typed = {**typed, **_texts(chosen)}
    try:
        trial = await preview_mapping(
            archive,
            number=_number(typed["number"]),
            raw=_raw(typed["text"]),
            feed=chosen.name if _number(typed["number"]) else "",
            mapping=_mapping(typed),
        )
    except RequestError as problem:
        error = problem
    reader = view_of(request).reader
    values: dict[str, Any] = {
        "typed": typed,
        "feeds": some,
        "feed": chosen.name,
        "presets": {name: preset.words for name, preset in PRESETS.items()},
        "trial": trial,
        "tell": reader.tell,
        "error": reader.say(error) if error else "",
    }
    return await page(archive, request, "hl7_preview.html", place="worklist", status=number_of(error), **values)


def _texts(feed: Feed) -> dict[str, str]:
    mapping = dict(feed.fields["mapping"])
    preset = str(mapping.pop("preset", "ihe"))
    return {"preset": preset, "mapping": json.dumps(mapping, indent=2, ensure_ascii=False) if mapping else ""}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0


def _raw(text: str) -> bytes:
    """A message from one segment on each line, in the character set that its MSH-18 names."""
    if not text.strip():
        return b""
    text = text.replace("\r\n", "\r").replace("\n", "\r")
    raw = text.encode("utf-8", "replace")
    try:
        return parse_message(raw).encoding.encode(text)
    except (Hl7Error, UnicodeEncodeError):
        return raw


def _mapping(typed: dict[str, str]) -> dict[str, Any]:
    try:
        found = json.loads(typed["mapping"] or "{}")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(told("The mapping is no JSON: {reason}", reason=str(error)[:200])) from error
    if not isinstance(found, dict):
        raise InvalidRequestError(told("The mapping is a JSON object, in braces."))
    return {**found, "preset": typed["preset"] or "ihe"}
