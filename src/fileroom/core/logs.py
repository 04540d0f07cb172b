"""Logs: one line of JSON per event on standard error, or readable lines where a person looks on.

Nothing above DEBUG carries patient data; callers log UIDs, addresses, AE titles and reasons.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

import structlog

LOG_LEVELS: Final = {"DEBUG": logging.DEBUG, "INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}


_METHODS: Final = {name.lower(): number for name, number in LOG_LEVELS.items()} | {"warn": logging.WARNING}
"""A logger's methods that may be below the level; the others (`exception`, `critical`) never are."""

_level = logging.INFO


def set_log_level(level: str) -> None:
    """From now on, lines of this level (DEBUG, INFO, WARNING, ERROR) and above; loggers that are in use take it as well."""
    global _level
    _level = LOG_LEVELS.get(level.upper(), logging.INFO)


def configure_logs(level: str, process: str) -> None:
    """Set the level (DEBUG, INFO, WARNING, ERROR) and name the process in every line."""
    set_log_level(level)
    readable = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            _drop_below_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _drop_below_level(_logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A logger is made once and kept: the level is looked at for each line, so that it can change."""
    if _METHODS.get(method, logging.CRITICAL) < _level:
        raise structlog.DropEvent
    return event
