"""`/help`: the handbook inside the console, its search, and its pictures."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from markupsafe import Markup
from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.web.answers import Answer
from fileroom.web.console.handbook import (
    FIRST_CHAPTER,
    chapter,
    chapter_html,
    chapters,
    find_sections,
    handbook_folder,
    headings,
)
from fileroom.web.console.page import page
from fileroom.web.endpoint import Handler

QUESTION_CHARS_MAX: Final = 200
_PICTURES: Final = {".png": "image/png", ".svg": "image/svg+xml"}


def help_handler(archive: Archive) -> Handler:
    """The handler of `/help`: the first chapter, or what a search has found."""

    async def handle(request: Request) -> Answer:
        question = request.query_params.get("q", "").strip()[:QUESTION_CHARS_MAX]
        if not question:
            return await _chapter_page(archive, request, FIRST_CHAPTER)
        return await page(
            archive,
            request,
            "help.html",
            chapters=chapters(),
            chapter=None,
            question=question,
            found=find_sections(question),
        )

    return handle


def chapter_handler(archive: Archive) -> Handler:
    """The handler of `/help/{name}`."""

    async def handle(request: Request) -> Answer:
        return await _chapter_page(archive, request, request.path_params["name"])

    return handle


async def picture_handler(request: Request) -> Answer:
    """The handler of `/help/images/{name}`: one of the pictures that lie there, named by our own list of them."""
    folder = handbook_folder()
    known = (
        {path.name: path for path in (folder / "images").iterdir()} if folder and (folder / "images").is_dir() else {}
    )
    path = known.get(request.path_params["name"])
    if path is None or path.suffix not in _PICTURES:
        raise NotFoundError("The handbook has no such picture.")
    headers = {"content-type": _PICTURES[path.suffix], "cache-control": "public, max-age=3600"}
    return Answer(200, headers, path.read_bytes())


async def _chapter_page(archive: Archive, request: Request, name: str) -> Answer:
    one = chapter(name)
    if one is None:
        raise NotFoundError("The handbook has no such chapter. Its contents stand at /help.")
    return await page(
        archive,
        request,
        "help.html",
        chapters=chapters(),
        chapter=one,
        question="",
        # Made by the Markdown parser with HTML switched off, from files that came with the program.
        text=Markup(chapter_html(one, _address, _picture)),  # noqa: S704
        headings=[heading for heading in headings(one) if heading.level == 2],
    )


def _address(name: str, anchor: str) -> str:
    return f"/help/{quote(name)}" + (f"#{quote(anchor)}" if anchor else "")


def _picture(path: str) -> str:
    return f"/help/{quote(path)}"
