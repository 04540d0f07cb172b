"""One line of JSON per event, on standard error, from the level on that was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from fileroom.core.logs import configure_logs, set_log_level


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_events_are_lines_of_json_with_time_level_and_process(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("INFO", "web")
    log = structlog.get_logger("here")
    log.debug("hidden")
    log.info("shown", peer="10.0.0.1")
    log.warning("said", reason="it\nis so")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = map(json.loads, err.splitlines())
    assert first.pop("timestamp").endswith("Z")
    assert first == {"event": "shown", "level": "info", "peer": "10.0.0.1", "process": "web"}
    assert second["reason"] == "it\nis so"


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 3), ("info", 2), ("WARNING", 1), ("nonsense", 2)])
def test_the_level_decides(level: str, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(level, "x")
    log = structlog.get_logger("here")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_logger_that_is_in_use_takes_a_new_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("WARNING", "x")
    log = structlog.get_logger("here")
    log.warning("bound now")
    log.info("hidden")
    set_log_level("DEBUG")
    log.debug("shown")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["bound now", "shown"]
