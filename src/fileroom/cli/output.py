"""How commands speak: tables for people, JSON for programs, settings with their errors explained.

Here and in the commands, what only some of them need is imported where it is needed: loading all of Fileroom takes a
second, and neither `--help` nor `echo` shall wait for pydicom or a database.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import tomllib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from fileroom.core.errors import ConfigurationError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.core.settings import Settings
    from fileroom.db.pool import Pool

T = TypeVar("T")


def settings_or_exit() -> Settings:
    """The settings. Raises ConfigurationError that names the wrong one."""
    from pydantic import ValidationError

    from fileroom.core.settings import Settings

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
    from fileroom.app.services import migrate_database, open_archive

    async def run(settings: Settings) -> T:
        async with open_archive(settings, keep_log_level=True) as archive:
            return await work(archive)

    return _beside_database(run, migrate_database)


def with_database(work: Callable[[Pool], Awaitable[T]]) -> T:
    """The same for commands that need rows only: neither the store nor what reads objects is loaded."""
    from fileroom.app.database import connected_pool, require_tables

    async def run(settings: Settings) -> T:
        async with connected_pool(settings) as pool:
            return await work(pool)

    return _beside_database(run, require_tables)


def with_current_settings(work: Callable[[Pool, Settings], Awaitable[T]]) -> T:
    """The same, and with the settings as they hold: those of the environment above those that administrators have set."""
    from fileroom.admin.configuration_watch import current_settings

    given = settings_or_exit()

    async def run(pool: Pool) -> T:
        return await work(pool, await current_settings(pool, given))

    return with_database(run)


def _beside_database(run: Callable[[Settings], Coroutine[Any, Any, T]], prepare: Callable[[Settings], None]) -> T:
    from fileroom.app.database import running_database

    settings = settings_or_exit()
    with running_database(settings, prepare):
        return asyncio.run(run(settings))


def print_rows(columns: Sequence[str], rows: Iterable[Any], *, as_json: bool) -> None:
    """Dataclasses as a table of their fields named in `columns`, or as a JSON array of whole objects."""
    found = list(rows)
    if as_json:
        print_json([dataclasses.asdict(row) for row in found])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    for row in found:
        table.add_row(*(_cell(getattr(row, column)) for column in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def print_json(value: object) -> None:
    """JSON on standard output."""
    import orjson

    typer.echo(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode())


def _cell(value: object) -> str:
    return "" if value is None else str(value)
