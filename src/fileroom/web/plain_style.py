"""The style sheet of pages that stand alone, outside of the console's frame."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request

from fileroom.web.answers import PRIVATE, Answer
from fileroom.web.endpoint import Handler


def style_handler() -> Handler:
    """The handler of the style sheet."""
    css = (resources.files("fileroom.web") / "static" / "fileroom.css").read_bytes()

    async def handle(_request: Request) -> Answer:
        return Answer(200, {"content-type": "text/css; charset=utf-8", "cache-control": PRIVATE}, css)

    return handle
