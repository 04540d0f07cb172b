"""The command line in this process, on the tests' database, with a data folder of its own."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from fileroom.cli import main as cli_main


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, no settings but those of the test."""
    for name in list(os.environ):
        if name.startswith("FILEROOM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FILEROOM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `fileroom ARGUMENTS...` as a shell would."""
    monkeypatch.setattr(
        cli_main, "configure_logs", lambda *_: None
    )  # it would keep this test's standard error for good

    def run_command(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fileroom", *map(str, arguments)])
        capsys.readouterr()
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
        with pytest.raises(SystemExit) as ended:
            cli_main.main()
        code = ended.value.code
        out, err = capsys.readouterr()
        return Outcome(code if isinstance(code, int) else 0 if code is None else 1, out, err)

    yield run_command
    structlog.reset_defaults()


@pytest.fixture
def empty_archive(environment: Path, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands work on the tests' database, emptied; returns the folder for files."""
    monkeypatch.setenv("FILEROOM_DATABASE_URL", empty_database)
    return environment
