"""`fileroom source ...`: other archives that may be asked, and the studies that are fetched from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.entries import Entry
    from fileroom.archive.services import Archive
    from fileroom.routing.sources import SourceEcho

app = typer.Typer(help="Other archives that may be asked.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The source's name.")]
Study = Annotated[str, typer.Argument(help="Study Instance UID.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="FIELD=VALUE, as 'fileroom source show' names them, for example prefetch=true. Repeatable."
    ),
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example OLD-PACS.")],
    node: Annotated[str, typer.Option(help="The node that it is.")] = "",
    dicomweb: Annotated[str, typer.Option(help="Or the address of its DICOMweb service.")] = "",
    fields: Set = None,
) -> None:
    """Add another archive that may be asked.

    Example: `fileroom source add OLD-PACS --node OLD-PACS --set prefetch=true --set budget.studies_per_hour=60`
    """
    from fileroom.routing.sources import put_source

    wanted = {"node": node, "dicomweb": dicomweb} | _values(fields)
    with_archive(lambda archive: put_source(archive, name, wanted, new=True))
    typer.echo(f"Added {name}.")


@app.command("edit")
def edit(name: Name, fields: Set = None) -> None:
    """Change fields of a source; the others stay. Example: `fileroom source edit OLD-PACS --set timeout_s=20`"""
    from fileroom.routing.sources import get_source, put_source

    changes = _values(fields)
    if not changes:
        raise InvalidRequestError("Say what shall change, for example --set timeout_s=20.")

    async def work(archive: Archive) -> Entry:
        now = await get_source(archive, name)
        enabled = bool(changes.pop("enabled", now.enabled))
        budget = {**now.fields.get("budget", {}), **changes.pop("budget", {})}
        wanted = {**now.fields, **changes, "budget": budget}
        return await put_source(archive, name, wanted, enabled=enabled, version=now.version)

    changed = with_archive(work)
    typer.echo(f"{changed.name} is version {changed.version}.")


@app.command("show")
def show(name: Name) -> None:
    """Show the fields of a source. Example: `fileroom source show OLD-PACS`"""
    from fileroom.routing.sources import get_source

    entry = with_archive(lambda archive: get_source(archive, name))
    print_json({"name": entry.name, "enabled": entry.enabled, "version": entry.version, **entry.fields})


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the sources. Example: `fileroom source list --json`"""
    from fileroom.routing.sources import list_sources, source_of

    rows = []
    for entry in with_archive(list_sources):
        one = source_of(entry)
        rows.append(_Row(one.name, one.where, one.federate, one.prefetch, one.worklist, entry.enabled))
    print_rows(["name", "where", "federate", "prefetch", "worklist", "enabled"], rows, as_json=as_json)


@app.command("remove")
def remove(name: Name) -> None:
    """Ask a source no more. Example: `fileroom source remove OLD-PACS`"""
    from fileroom.routing.sources import remove_source

    with_archive(lambda archive: remove_source(archive, name))
    typer.echo(f"Removed {name}.")


@app.command("echo")
def echo(name: Name) -> None:
    """Ask a source whether it is there. Example: `fileroom source echo OLD-PACS`"""
    from fileroom.routing.source_calls import probe
    from fileroom.routing.sources import echo_source

    result: SourceEcho = with_archive(lambda archive: echo_source(archive, name, probe))
    if not result.answered:
        typer.echo(f"{name} did not answer: {result.why}", err=True)
        raise typer.Exit(1)
    typer.echo(f"{name} answered in {result.latency_ms or 0:.1f} ms.")


@app.command("fetch")
def fetch(study: Study) -> None:
    """Order a study that another archive has; a running server fetches it. Example: `fileroom source fetch 1.2.840.1`"""
    from fileroom.routing.fetch import order_fetch

    job = with_archive(lambda archive: order_fetch(archive, study))
    typer.echo(f"Order {job.id}: from {job.source}, {job.state}.")


@app.command("fetches")
def fetches(as_json: Json = False) -> None:
    """List the latest orders to fetch studies. Example: `fileroom source fetches --json`"""
    from fileroom.routing.fetch import list_fetches

    columns = ["id", "state", "source", "reason", "asked_by", "objects", "expected", "study_instance_uid", "cause"]
    print_rows(columns, with_archive(list_fetches), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    where: str
    federate: bool
    prefetch: bool
    worklist: bool
    enabled: bool


def _values(fields: list[str] | None) -> dict[str, Any]:
    """FIELD=VALUE texts as JSON values; budget.FIELD goes into the budget. Raises InvalidRequestError."""
    values: dict[str, Any] = {}
    for text in fields or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequestError(f"{text!r} is not FIELD=VALUE.")
        into = values.setdefault("budget", {}) if name.startswith("budget.") else values
        into[name.removeprefix("budget.")] = _value(value)
    return values


def _value(text: str) -> bool | float | str:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        return text
