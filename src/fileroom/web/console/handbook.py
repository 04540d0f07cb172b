"""The handbook: the documents of `docs/`, read as pages. The console shows them at /help; `make docs` builds a site of them.

Links from one document to another follow it wherever it is shown; those to files that are no part of the handbook become
plain text. HTML in a document is not HTML on the page.
"""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from fileroom.web.console.language import N_

FIRST_CHAPTER: Final = "operating"
FOUND_MAX: Final = 40
_ORDER: Final = (
    (N_("Running it"), ("operating", "settings", "people", "access", "audit", "storage")),
    (
        N_("Using it"),
        (
            "console",
            "viewer",
            "ris",
            "mappings",
            "exceptions",
            "routing",
            "dicomweb",
            "api",
            "conformance",
            "ihe",
            "speed",
        ),
    ),
    (N_("Inside"), ("architecture",)),
)
_DECISIONS: Final = N_("Decisions")
_PACKAGED: Final = Path(__file__).parents[2] / "docs"
_CHECKOUT: Final = Path(__file__).parents[4] / "docs"
"""Where the documents lie: in an installed package beside the rooms, in a checkout beside `src`."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a chapter: `anchor` is its id on the page, `level` 1 to 3."""

    text: str
    anchor: str
    level: int


@dataclass(frozen=True, slots=True)
class Chapter:
    """One document. `name` is its path below `docs` without the ending, for example `adr/0016-people`."""

    name: str
    title: str
    group: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a chapter in which a search has found its words; `excerpt` is plain text around the first."""

    chapter: Chapter
    heading: Heading
    excerpt: str


@functools.cache
def handbook_folder() -> Path | None:
    """The folder of the documents, None where none were installed."""
    return next((place for place in (_PACKAGED, _CHECKOUT) if place.is_dir()), None)


@functools.cache
def chapters() -> tuple[Chapter, ...]:
    """Every chapter, in the order of the table of contents; those that no group names come before the decisions."""
    folder = handbook_folder()
    if folder is None:
        return ()
    texts = {
        path.relative_to(folder).with_suffix("").as_posix(): path.read_text("utf-8") for path in folder.rglob("*.md")
    }
    groups = {name: group for group, names in _ORDER for name in names}
    order = [name for _, names in _ORDER for name in names]
    found = [
        Chapter(name, _title(text, name), groups.get(name, _DECISIONS if "/" in name else _ORDER[-1][0]), text)
        for name, text in texts.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.group == _DECISIONS, _place(order, one.name), one.name)))


def chapter(name: str) -> Chapter | None:
    """The chapter of that name."""
    return next((one for one in chapters() if one.name == name), None)


def headings(one: Chapter) -> list[Heading]:
    """Its headings of the first three levels, in order."""
    return [heading for heading, _ in _sections(one)]


def chapter_html(one: Chapter, address: Callable[[str, str], str], image: Callable[[str], str]) -> str:
    """The chapter as HTML without a frame.

    `address` makes the address of a chapter from its name and an anchor (empty: its beginning), `image` that of a picture
    from its path below `docs`.
    """
    parser = _parser()
    tokens = parser.parse(one.text)
    _number_headings(tokens)
    for token in tokens:
        if token.type == "inline":
            token.children = _linked(token.children or [], one.name, address, image)
    rendered = str(parser.renderer.render(tokens, parser.options, {}))
    # What scrolls must be reached by keyboard (WCAG 2.1.1).
    return (
        rendered.replace("<table>", '<div class="scroll-x" tabindex="0"><table class="table">')
        .replace("</table>", "</table></div>")
        .replace("<pre>", '<pre tabindex="0">')
    )


def find_sections(text: str) -> list[Section]:
    """Parts in which every word of `text` stands, those with a word in their heading first; at most FOUND_MAX."""
    words = text.lower().split()
    if not words:
        return []
    found: list[tuple[bool, Section]] = []
    for one in chapters():
        for heading, body in _sections(one):
            whole = f"{heading.text}\n{body}".lower()
            if all(word in whole for word in words):
                in_heading = all(word in heading.text.lower() for word in words)
                found.append((not in_heading, Section(one, heading, _excerpt(body, words))))
    found.sort(key=lambda pair: pair[0])
    return [section for _, section in found[:FOUND_MAX]]


def anchor_of(text: str, taken: set[str]) -> str:
    """The id of a heading, as Git hosts make it, so that one link works there and here."""
    plain = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
    anchor, number = plain, 0
    while anchor in taken:
        number += 1
        anchor = f"{plain}-{number}"
    taken.add(anchor)
    return anchor


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _title(text: str, name: str) -> str:
    match = re.search(r"^# (.+)$", text, re.MULTILINE)
    return match[1].strip() if match else name


def _number_headings(tokens: Sequence[Token]) -> list[Heading]:
    """Give every heading its id; answers those of the first three levels."""
    taken: set[str] = set()
    found: list[Heading] = []
    for token, inline in itertools.pairwise(tokens):
        if token.type == "heading_open":
            text = _plain(inline)
            anchor = anchor_of(text, taken)
            token.attrSet("id", anchor)
            found.append(Heading(text, anchor, int(token.tag[1:])))
    return found


def _plain(inline: Token) -> str:
    """Its text without marks; a line's end is a blank."""
    children = inline.children or []
    return "".join(
        " " if child.type == "softbreak" else child.content
        for child in children
        if child.type in ("text", "code_inline", "softbreak")
    )


@functools.lru_cache(maxsize=256)
def _sections(one: Chapter) -> list[tuple[Heading, str]]:
    """Each heading with the plain text up to the next one."""
    tokens = _parser().parse(one.text)
    numbered = iter(_number_headings(tokens))
    sections: list[tuple[Heading, list[str]]] = []
    in_heading = False
    for token in tokens:
        if token.type == "heading_open":
            heading = next(numbered)
            in_heading = True
            if heading.level <= 3:
                sections.append((heading, []))
        elif token.type == "heading_close":
            in_heading = False
        elif sections and not in_heading and token.type in ("inline", "fence", "code_block"):
            sections[-1][1].append(_plain(token) if token.type == "inline" else token.content)
    return [(heading, "\n".join(parts)) for heading, parts in sections]


def _excerpt(body: str, words: Sequence[str]) -> str:
    flat = " ".join(body.split())
    places = [place for word in words if (place := flat.lower().find(word)) >= 0]
    start = max(0, min(places, default=0) - 60)
    cut = flat[start : start + 200]
    return ("…" if start else "") + cut + ("…" if start + 200 < len(flat) else "")


def _linked(
    children: Sequence[Token], name: str, address: Callable[[str, str], str], image: Callable[[str], str]
) -> list[Token]:
    """The same with every link leading to a chapter's page; one that leads to no chapter loses its link, not its text."""
    kept: list[Token] = []
    dropped: list[bool] = []
    for child in children:
        if child.type == "link_open":
            target = _target(str(child.attrGet("href") or ""), name, address)
            dropped.append(target is None)
            if target is None:
                continue
            child.attrSet("href", target)
        elif child.type == "link_close" and dropped.pop():
            continue
        elif child.type == "image":
            source = posixpath.normpath(posixpath.join(posixpath.dirname(name), str(child.attrGet("src") or "")))
            child.attrSet("src", image(source))
        kept.append(child)
    return kept


def _target(href: str, name: str, address: Callable[[str, str], str]) -> str | None:
    if href.startswith(("https://", "http://", "mailto:")):
        return href
    path, _, anchor = href.partition("#")
    if not path:
        return f"#{anchor}"
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    if not wanted.endswith(".md") or chapter(wanted.removesuffix(".md")) is None:
        return None
    return address(wanted.removesuffix(".md"), anchor)
