"""Every limit has a reason."""

from __future__ import annotations

import ast
import inspect

import pytest

from fileroom.core import limits

UNITS = {"KIB", "MIB"}


def reasons() -> dict[str, str | None]:
    """The text below each constant."""
    body = ast.parse(inspect.getsource(limits)).body
    found: dict[str, str | None] = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            found[statement.target.id] = str(following.value.value) if is_text else None  # type: ignore[union-attr]
    return found


@pytest.mark.parametrize(("name", "reason"), [item for item in reasons().items() if item[0] not in UNITS])
def test_a_limit_tells_why_it_is_that_high(name: str, reason: str | None) -> None:
    assert reason, f"{name} has no reason"
    assert getattr(limits, name) > 0


def test_names_end_with_the_unit_or_the_bound() -> None:
    ends = ("_MAX", "_MIN", "_S", "_BYTES", "_DEFAULT", "_PER_FETCH", "_PER_READ", "_RECEIVE", "_SEND")
    assert [name for name in reasons() if name not in UNITS and not name.endswith(ends)] == []
