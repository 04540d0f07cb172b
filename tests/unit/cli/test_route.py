"""`fileroom route`: rules on the command line, without a database where none is needed."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fileroom.cli.main import app
from fileroom.core.access import SYSTEM, acting_as
from fileroom.routing.expression import ExpressionError


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    with acting_as(SYSTEM):
        result = CliRunner().invoke(app, ["route", *arguments])
    return result.exit_code, result.output, result.exception


def test_a_condition_is_checked() -> None:
    code, output, _ = run("check", 'Modality == "CT" && PixelSpacing.all(x, x < 1.0)')
    assert code == 0
    assert output.splitlines()[1:] == ["  Modality: text", "  PixelSpacing: number, several values"]


def test_a_tree_is_shown_as_cel() -> None:
    code, output, _ = run("check", '{"attribute": "Modality", "operator": "in", "value": ["CT", "MR"]}')
    assert (code, output.splitlines()[0]) == (0, 'Modality in ["CT", "MR"]')


def test_what_is_wrong_is_pointed_at() -> None:
    _, output, error = run("check", "Rws > 3")
    assert isinstance(error, ExpressionError)
    assert output.splitlines()[:2] == ["Rws > 3", "^^^"]


@pytest.mark.parametrize("command", ["add", "list", "show", "test", "backtest", "check", "enable", "disable", "remove"])
def test_every_command_has_an_example(command: str) -> None:
    code, output, _ = run(command, "--help")
    assert code == 0
    assert "Example: " in output
    assert "fileroom route" in " ".join(output.split())
