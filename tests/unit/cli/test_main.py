"""Every command explains itself with an example, and errors become exit codes and one line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fileroom import __version__
from fileroom.cli import main as cli_main
from fileroom.core.errors import DatabaseError, NotFoundError, PeerRefusedError

from .conftest import Run

ROOT = typer.main.get_command(cli_main.app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that lead to it."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield path, group


COMMANDS = dict(commands())
LISTS = {("node", "list"), ("node", "held"), ("refusals",), ("conflicts",), ("find",), ("import",), ("verify",)}
LISTS |= {("rebuild",), ("send",)}


def example_of(command: Any) -> list[str]:
    """The words of the example in a command's help, without the variables before it."""
    text = " ".join((command.help or "").split())
    match = re.search(r"Example: `([^`]+)`", text)
    assert match is not None, "no example"
    words = shlex.split(match[1])
    return words[words.index("fileroom") + 1 :]


def test_the_commands_of_the_contract_are_there() -> None:
    promised = ["serve", "import", "export", "echo", "send", "find", "get", "move", "rebuild", "verify", "doctor"]
    assert {(name,) for name in promised} <= set(COMMANDS)
    assert {("node", name) for name in ("add", "list", "remove", "echo")} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_is_a_sentence_and_an_example_that_the_command_understands(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(cli_main.app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    (tmp_path / "nodes.csv").touch()
    words = example_of(COMMANDS[path])
    assert tuple(words[: len(path)]) == path
    COMMANDS[path].make_context(" ".join(path), words[len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("path", sorted(LISTS), ids=" ".join)
def test_what_lists_can_print_json(path: tuple[str, ...]) -> None:
    assert "--json" in {option for parameter in COMMANDS[path].params for option in parameter.opts}


def test_without_a_command_it_shows_what_there_is(run: Run) -> None:
    outcome = run()
    assert outcome.code == 2
    assert "verify" in outcome.out + outcome.err


def test_the_version(run: Run) -> None:
    assert run("--version").out == f"Fileroom {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [(NotFoundError("There is no such thing."), 2), (DatabaseError("Away."), 1), (PeerRefusedError("No."), 1)],
)
def test_errors_are_one_line_and_a_code(run: Run, error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli_main, "app", fail)
    outcome = run("anything")
    assert (outcome.code, outcome.out, outcome.err) == (code, "", f"fileroom: {error}\n")


def test_ctrl_c_is_no_error_message(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_main, "app", interrupt)
    outcome = run("anything")
    assert (outcome.code, outcome.err) == (130, "")


@pytest.mark.parametrize("arguments", [["nonsense"], ["verify", "--nonsense"], ["node", "add"], ["import"]])
def test_what_is_misspelt_is_told(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.err.strip()
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FILEROOM_DICOM_PORT", "0", "FILEROOM_DICOM_PORT is wrong"),
        ("FILEROOM_AET", "TOO LONG A TITLE FOR DICOM", "FILEROOM_AET is wrong"),
        ("FILEROOM_LOG_LEVEL", "LOUD", "FILEROOM_LOG_LEVEL is wrong"),
        ("FILEROOM_DATABASE_URL", "mysql://me:secret@h/d", "FILEROOM_DATABASE_URL is no address"),
    ],
)
def test_a_wrong_setting_is_named(run: Run, name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    outcome = run("node", "list")
    assert outcome.code == 1
    assert told in outcome.err
    assert "secret" not in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dicomport = 104", "FILEROOM_DICOMPORT"),
        ("aet = ", "fileroom.toml"),
        ("dicom_port = 'x'", "FILEROOM_DICOM_PORT"),
    ],
)
def test_a_wrong_settings_file_is_told(run: Run, environment: Path, text: str, told: str) -> None:
    (environment / "fileroom.toml").write_text(text)
    outcome = run("node", "list")
    assert outcome.code == 1
    assert told in outcome.err
    assert outcome.err.count("\n") == 1


def test_it_runs_as_a_module_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fileroom", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(cli_main.__file__).parents[2])},
    )
    assert result.stdout.startswith("Fileroom ")
