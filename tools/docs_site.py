"""Build the handbook as a site of plain files, for a web server or a folder on a stick: `make docs`.

Usage: docs_site.py FOLDER
"""

from __future__ import annotations

import html
import posixpath
import shutil
import sys
from importlib import resources
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from fileroom.web.console.handbook import Chapter, chapter_html, chapters, handbook_folder, headings

STYLES = ("frame.css", "help.css")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} · Fileroom</title>
{styles}</head>
<body style="display:block"><main><div class="handbook">
<article class="text">{text}</article>
<nav class="on-this-page" aria-label="On this page"><strong>On this page</strong><ul>{headings}</ul></nav>
<nav class="contents" aria-label="Handbook"><p><strong>Fileroom</strong></p>{contents}</nav>
</div></main></body></html>
"""


def build(folder: Path) -> int:
    """Write every chapter, the style and the pictures into `folder`; answers the number of chapters."""
    source = handbook_folder()
    assert source is not None, "there is no folder docs"
    folder.mkdir(parents=True, exist_ok=True)
    for style in STYLES:
        content = (resources.files("fileroom.web.console") / "static" / style).read_bytes()
        (folder / style).write_bytes(content)
    shutil.copytree(source / "images", folder / "images", dirs_exist_ok=True)
    for one in chapters():
        page = folder / f"{one.name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(one), "utf-8")
    (folder / "index.html").write_text(_page(chapters()[0]), "utf-8")
    return len(chapters())


def _page(one: Chapter) -> str:
    up = "../" * one.name.count("/")

    def address(name: str, anchor: str) -> str:
        return f"{up}{quote(name)}.html" + (f"#{quote(anchor)}" if anchor else "")

    groups = []
    for group, members in groupby(chapters(), key=lambda member: member.group):
        links = "".join(_link(address(member.name, ""), member.title, member.name == one.name) for member in members)
        groups.append(f"<details open><summary>{html.escape(group)}</summary><ul>{links}</ul></details>")
    return _PAGE.format(
        title=html.escape(one.title),
        styles="".join(f'<link rel="stylesheet" href="{up}{style}">\n' for style in STYLES),
        contents="".join(groups),
        text=chapter_html(one, address, lambda path: posixpath.join(up, quote(path))),
        headings="".join(_link(f"#{head.anchor}", head.text, False) for head in headings(one) if head.level == 2),
    )


def _link(address: str, text: str, is_here: bool) -> str:
    here = ' aria-current="page"' if is_here else ""
    return f'<li><a href="{address}"{here}>{html.escape(text)}</a></li>'


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(f"{build(place)} chapters in {place}")
