"""What every template keeps to, so that keyboards and screen readers get everywhere."""

from __future__ import annotations

import re
from importlib import resources

import pytest

TEMPLATES = {
    file.name: file.read_text()
    for file in resources.files("fileroom.web.console").joinpath("templates").iterdir()
    if file.name.endswith(".html")
}


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_what_scrolls_sideways_can_be_reached_by_keyboard(name: str) -> None:
    for tag in re.findall(r'<\w+ class="(?:wide|scroll-x)[^>]*>', TEMPLATES[name]):
        assert 'tabindex="0"' in tag, tag


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_column_has_a_heading_that_can_be_read_out(name: str) -> None:
    assert re.findall(r"<th[^>]*>\s*</th>", TEMPLATES[name]) == []
