"""The tree of errors is the one that its docstring draws."""

from __future__ import annotations

import inspect
import re

from fileroom.core import errors
from fileroom.core.errors import FileroomError


def drawn_tree() -> dict[str, str | None]:
    """Class name to the name of its parent, from the drawing."""
    parents: dict[str, str | None] = {}
    branch: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<lead>[ │├└─]*)(?P<name>[A-Z]\w+Error)\b", line)
        if match is None or not line.startswith("    "):
            continue
        depth = len(match["lead"])
        while branch and branch[-1][0] >= depth:
            branch.pop()
        parents[match["name"]] = branch[-1][1] if branch else None
        branch.append((depth, match["name"]))
    return parents


def test_the_drawing_shows_every_class_at_its_place() -> None:
    classes = {
        name: None if kind is FileroomError else kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, FileroomError)
    }
    assert drawn_tree() == classes


def test_every_class_says_what_it_means() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        assert kind.__doc__, kind
