"""`fileroom config ...`: settings and other parts of the configuration as versions, and as a file.

It works on the database: a server that is running takes a change within a second or two, one that is not at its start.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from fileroom.cli.output import print_json, print_rows, with_current_settings
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError

if TYPE_CHECKING:
    from fileroom.admin.configuration import Applied
    from fileroom.admin.configuration_sections import Configuration
    from fileroom.core.settings import Settings
    from fileroom.db.pool import Pool

T = TypeVar("T")

app = typer.Typer(help="Settings as versions: show, set, export, apply, go back.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Comment = Annotated[str, typer.Option("--comment", help="Why; it stands in the history.")]
Expect = Annotated[
    int | None, typer.Option("--expect", min=0, help="Only if this is the newest version: what you have seen.")
]


@dataclasses.dataclass(frozen=True, slots=True)
class _Shown:
    """A setting as the table shows it."""

    name: str
    value: object
    source: str
    unit: str
    help: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Past:
    """A version as the table shows it."""

    number: int
    made_at: str
    actor: str
    comment: str
    changes: str


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="Only this setting.")] = "",
    as_json: Json = False,
) -> None:
    """Show the settings, their values now, and where each comes from. Example: `fileroom config show --json`"""
    from fileroom.admin.configuration import read_settings

    _, states = _with_configuration(read_settings)
    found = [state for state in states if name in ("", state.entry.name)]
    if not found:
        raise NotFoundError(f"There is no setting {name!r:.60}; see 'fileroom config show'.")
    rows = []
    for state in found:
        if state.from_outside:
            source = "environment or file"
        elif state.refused:
            source = f"default; what is set is refused: {state.refused}"
        elif state.stored is not None:
            by = state.changed_by
            source = f"version {by.number}, {by.actor}" if by else "set"
        else:
            source = "default"
        value = "********" if state.entry.kind == "secret" else state.value
        rows.append(_Shown(state.entry.name, value, source, state.entry.unit, state.entry.description))
    print_rows(["name", "value", "unit", "source"], rows, as_json=as_json)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="The setting, as 'fileroom config show' lists it.")],
    value: Annotated[str, typer.Argument(help="Its new value.")],
    comment: Comment = "",
    expect: Expect = None,
    dry_run: DryRun = False,
) -> None:
    """Change one setting. Example: `fileroom config set ledger_days 30 --comment "less disk"`"""
    _change({name: value}, comment, expect, dry_run)


@app.command("unset")
def unset(
    name: Annotated[str, typer.Argument(help="The setting.")],
    comment: Comment = "",
    expect: Expect = None,
    dry_run: DryRun = False,
) -> None:
    """Put one setting back to its default. Example: `fileroom config unset ledger_days`"""
    _change({name: None}, comment, expect, dry_run)


@app.command("export")
def export(
    target: Annotated[Path, typer.Argument(help="File; - for standard output.")] = Path("-"),
) -> None:
    """Write the configuration as a file that can be changed, kept and applied. Secrets are never in it.

    Example: `fileroom config export fileroom-config.toml`
    """
    from fileroom.admin.configuration import read_document
    from fileroom.admin.configuration_file import write_file
    from fileroom.core.live_settings import settings_table

    async def work(configuration: Configuration) -> str:
        number, document = await read_document(configuration)
        settings, table = configuration.people.settings, settings_table()
        outside = {name: getattr(settings, name) for name in settings.model_fields_set & table.keys()}
        return write_file(document, number, table, outside)

    text = _with_configuration(work)
    if str(target) == "-":
        sys.stdout.write(text)
        return
    try:
        fresh = target.with_name(f"{target.name}.new")
        fresh.write_text(text, "utf-8")
        fresh.replace(target)
    except OSError as error:
        raise InvalidRequestError(f"{target} cannot be written: {error.strerror}.") from error
    typer.echo(f"Exported to {target}.")


@app.command("apply")
def apply(
    source: Annotated[Path, typer.Argument(help="File as 'config export' writes it; - for standard input.")],
    dry_run: DryRun = False,
    comment: Comment = "",
    expect: Expect = None,
) -> None:
    """Make the configuration what a file says, in the sections that stand in it; all of it or nothing.

    The file says which version it was exported from. If there is a newer one, nothing is applied and the difference is told.

    Example: `fileroom config apply fileroom-config.toml --dry-run`
    """
    from fileroom.admin.configuration import Intent, apply_document
    from fileroom.admin.configuration_file import FILE_BYTES_MAX, parse_file

    try:
        with sys.stdin.buffer if str(source) == "-" else source.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequestError(f"{source} cannot be read: {error.strerror}.") from error
    file = parse_file(data)
    # Whoever says which version they mean has looked at it now, not when the file was written.
    seen = file.seen if expect is None else {}
    intent = Intent(comment, file.version if expect is None else expect, dry_run, seen)
    _tell(_applying(lambda configuration: apply_document(configuration, file.document, intent)))


@app.command("history")
def history(
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, the newest first.")] = 20,
    before: Annotated[int | None, typer.Option(help="Only versions older than this.")] = None,
    as_json: Json = False,
) -> None:
    """List the versions: who changed what, when and why. Example: `fileroom config history --json`"""
    from fileroom.admin.configuration import list_versions

    versions = _with_configuration(lambda one: list_versions(one, before=before, limit=limit))
    if as_json:
        print_json([dataclasses.asdict(version) for version in versions])
        return
    rows = [
        _Past(
            version.number,
            f"{version.made_at:%Y-%m-%d %H:%M:%S}Z",
            version.actor,
            version.comment,
            "\n".join(map(str, version.changes)),
        )
        for version in versions
    ]
    print_rows(["number", "made_at", "actor", "comment", "changes"], rows, as_json=False)


@app.command("diff")
def diff(
    first: Annotated[int, typer.Argument(min=0, help="A version; 0: nothing is set.")],
    second: Annotated[int | None, typer.Argument(min=0, help="Another; without it, the newest.")] = None,
    as_json: Json = False,
) -> None:
    """Say what makes one version of another. Example: `fileroom config diff 3 5`"""
    from fileroom.admin.configuration import compare_versions, list_versions

    async def work(configuration: Configuration) -> list[object]:
        newest = await list_versions(configuration, limit=1)
        other = second if second is not None else newest[0].number if newest else 0
        return list(await compare_versions(configuration, first, other))

    changes = _with_configuration(work)
    if as_json:
        print_json([dataclasses.asdict(change) for change in changes])  # type: ignore[call-overload]  # they are Changes
        return
    for change in changes:
        typer.echo(str(change))
    if not changes:
        typer.echo("They are the same.", err=True)


@app.command("rollback")
def rollback(
    number: Annotated[int, typer.Argument(min=0, help="The version to go back to; 0: nothing is set.")],
    dry_run: DryRun = False,
    comment: Comment = "",
    expect: Expect = None,
) -> None:
    """Take back what later versions changed. That is a new version. Example: `fileroom config rollback 3 --dry-run`"""
    from fileroom.admin.configuration import Intent, roll_back

    _tell(_applying(lambda configuration: roll_back(configuration, number, Intent(comment, expect, dry_run))))


def _change(values: dict[str, str | None], comment: str, expect: int | None, dry_run: bool) -> None:
    from fileroom.admin.configuration import Intent, change_settings

    intent = Intent(comment, expect, dry_run)
    _tell(_applying(lambda configuration: change_settings(configuration, values, intent)))


def _applying(work: Callable[[Configuration], Awaitable[Applied]]) -> tuple[Applied, Settings]:
    """Do it; a conflict is told with the way to go on."""
    from fileroom.admin.configuration import VersionConflictError

    async def both(configuration: Configuration) -> tuple[Applied, Settings]:
        return await work(configuration), configuration.people.settings

    try:
        return _with_configuration(both)
    except VersionConflictError as error:
        raise ConflictError(f"{error} (--expect {error.latest.number})") from error


def _tell(done: tuple[Applied, Settings]) -> None:
    applied, settings = done
    for change in applied.changes:
        typer.echo(str(change))
    if not applied.changes:
        typer.echo(f"Nothing changes; version {applied.number} holds.")
    elif applied.dry_run:
        typer.echo("Nothing was changed: this was a dry run.")
    else:
        typer.echo(f"Version {applied.number} holds.")
    for change in applied.changes:
        if change.section == "settings" and change.name in settings.model_fields_set:
            typer.echo(
                f"FILEROOM_{change.name.upper()} or fileroom.toml sets {change.name} here, and wins over it.", err=True
            )


def _with_configuration(work: Callable[[Configuration], Awaitable[T]]) -> T:
    from fileroom.admin.configuration_sections import Configuration
    from fileroom.admin.people import People
    from fileroom.app.configuration import CONFIGURATION_SECTIONS
    from fileroom.core.clock import system_now

    async def run(pool: Pool, settings: Settings) -> T:
        return await work(Configuration(People(pool, settings, system_now), CONFIGURATION_SECTIONS))

    return with_current_settings(run)
