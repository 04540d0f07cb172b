"""How commands speak: tables for people, JSON for programs, settings with their errors explained."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import orjson
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from fileroom.app.services import open_archive, running_database
from fileroom.archive.services import Archive
from fileroom.core.errors import ConfigurationError
from fileroom.core.settings import Settings

T = TypeVar("T")


def settings_or_exit() -> Settings:
    """The settings. Raises ConfigurationError that names the wrong one."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"FILEROOM_{str(first['loc'][0]).upper()}" if first["loc"] else "A setting"
        unknown = first["type"] == "extra_forbidden"
        reason = "there is no such setting" if unknown else first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{name} is wrong: {reason.rstrip('.')}. See docs/settings.md.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"fileroom.toml cannot be read: {error}. See docs/settings.md.") from error


def with_archive(work: Callable[[Archive], Awaitable[T]]) -> T:
    """Run `work` with the archive; the embedded database is started for it if it is not running."""
    settings = settings_or_exit()

    async def run() -> T:
        async with open_archive(settings) as archive:
            return await work(archive)

    with running_database(settings):
        return asyncio.run(run())


def print_rows(columns: Sequence[str], rows: Iterable[Any], *, as_json: bool) -> None:
    """Dataclasses as a table of their fields named in `columns`, or as a JSON array of whole objects."""
    found = list(rows)
    if as_json:
        print_json([dataclasses.asdict(row) for row in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    for row in found:
        table.add_row(*(_cell(getattr(row, column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_json(value: object) -> None:
    """JSON on standard output."""
    typer.echo(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode())


def _cell(value: object) -> str:
    return "" if value is None else str(value)
