"""The handbook: every link in it leads somewhere, nothing in a document becomes script, it is searched and built as a site."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from markdown_it import MarkdownIt

from fileroom.web.console.handbook import Chapter, chapter, chapter_html, chapters, find_sections, headings
from fileroom.web.console.places import HANDBOOK

ROOT = Path(__file__).parents[4]
_NAMES = [one.name for one in chapters()]


def _html(one: Chapter) -> str:
    return chapter_html(one, lambda name, anchor: f"/help/{name}#{anchor}", lambda path: f"/help/{path}")


def test_every_document_is_a_chapter() -> None:
    folder = ROOT / "docs"
    assert {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.md")} == set(_NAMES)
    assert chapters()[0].name == "operating"


@pytest.mark.parametrize("name", _NAMES)
def test_every_link_to_a_document_leads_to_a_heading_that_is_there(name: str) -> None:
    one = chapter(name)
    assert one is not None
    for token in MarkdownIt("commonmark").enable("table").parse(one.text):
        for child in token.children or []:
            href = str(child.attrGet("href") or "") if child.type == "link_open" else ""
            path, _, anchor = href.partition("#")
            if href.startswith("http") or not (path.endswith(".md") or (anchor and not path)):
                continue
            wanted = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else f"{name}.md"
            if wanted.startswith("../"):
                assert (ROOT / "docs" / wanted).exists(), href
                continue
            target = chapter(wanted.removesuffix(".md"))
            assert target is not None, href
            assert not anchor or anchor in {heading.anchor for heading in headings(target)}, href


@pytest.mark.parametrize("place", sorted({*HANDBOOK.values(), "console"}))
def test_what_pages_point_at_is_there(place: str) -> None:
    name, _, anchor = place.partition("#")
    one = chapter(name)
    assert one is not None
    assert not anchor or anchor in {heading.anchor for heading in headings(one)}


def test_html_in_a_document_stays_text() -> None:
    one = Chapter(
        "x", "x", "x", "# <script>alert(1)</script>\n\n<img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](x.md)"
    )
    made = _html(one)
    assert "<script" not in made
    assert "<img" not in made
    assert "href" not in made


def test_a_search_finds_the_part_with_all_its_words() -> None:
    found = find_sections("INSTITUTIONS restrict")
    assert found
    assert "people" in {section.chapter.name for section in found}
    assert find_sections("no-such-word-anywhere row") == []
    assert find_sections("  ") == []


async def test_the_pages(client: httpx.AsyncClient) -> None:
    first = await client.get("/help")
    assert first.status_code == 200
    assert "<h1" in first.text
    one = await client.get("/help/adr/0016-people")
    assert one.status_code == 200
    assert 'href="/help/adr/0011-loopback-until-accounts"' in one.text
    assert (await client.get("/help/adr/../../../etc/passwd")).status_code == 404
    assert (await client.get("/help/images/..%2f..%2fREADME.md")).status_code == 404
    found = await client.get("/help", params={"q": "<b>break-glass"})
    assert "<b>break" not in found.text


def test_the_site_stands_alone(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("docs_site", ROOT / "tools" / "docs_site.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.build(tmp_path) == len(_NAMES)
    for page in tmp_path.rglob("*.html"):
        for address in re.findall(r'(?:href|src)="([^"#]+)', page.read_text("utf-8")):
            if not address.startswith(("http", "mailto:")):
                assert (page.parent / unquote(address)).exists(), (page, address)
