"""The first page: where Fileroom listens, how to send to it, what it holds. The console takes its place later."""

from __future__ import annotations

import string
from html import escape
from importlib import resources
from typing import Final

from starlette.requests import Request

from fileroom.archive import overview
from fileroom.archive.services import Archive
from fileroom.core.errors import ServiceError
from fileroom.index.totals import Total
from fileroom.web.address import dicomweb_root
from fileroom.web.answers import NO_STORE, PRIVATE, Answer
from fileroom.web.endpoint import Handler

_STATIC: Final = resources.files("fileroom.web") / "static"


def first_page_handler(archive: Archive) -> Handler:
    """The handler of `/`."""
    template = string.Template((_STATIC / "first_page.html").read_text("utf-8"))

    async def handle(request: Request) -> Answer:
        values = {
            "aet": archive.settings.aet,
            "host": archive.settings.host,
            "port": str(archive.settings.dicom_port),
            "dicomweb": dicomweb_root(request),
            **await _counts(archive),
        }
        html = template.substitute({name: escape(value) for name, value in values.items()})
        return Answer(200, {"content-type": "text/html; charset=utf-8", "cache-control": NO_STORE}, html.encode())

    return handle


def style_handler() -> Handler:
    """The handler of the page's style sheet."""
    css = (_STATIC / "fileroom.css").read_bytes()

    async def handle(_request: Request) -> Answer:
        return Answer(200, {"content-type": "text/css; charset=utf-8", "cache-control": PRIVATE}, css)

    return handle


async def _counts(archive: Archive) -> dict[str, str]:
    try:
        held = await overview.totals(archive)
    except ServiceError:
        return {"patients": "–", "studies": "–", "instances": "–", "state": "The database does not answer right now."}
    state = "It is empty: send it the first study." if held.studies.count == 0 else ""
    return {
        "patients": _shown(held.patients),
        "studies": _shown(held.studies),
        "instances": _shown(held.instances),
        "state": state,
    }


def _shown(total: Total) -> str:
    number = f"{total.count:,}".replace(",", "\u202f")
    return number if total.exact else f"about {number}"
