"""`fileroom destination ...`: where objects are sent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.routing.destination_fields import Destination
    from fileroom.routing.destinations import ProbeResult

app = typer.Typer(help="Where objects are sent.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The destination's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE, as 'fileroom destination kinds' names them; lists by commas. Repeatable."),
]
SecretFields = Annotated[
    list[str] | None,
    typer.Option("--secret", help="A field that is asked for, or read as a line of standard input. Repeatable."),
]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example PACS.")],
    node: Annotated[str, typer.Option(help="A node, by C-STORE.")] = "",
    stow: Annotated[str, typer.Option(help="Address of DICOMweb services, by STOW-RS.")] = "",
    folder: Annotated[str, typer.Option(help="A folder; a name alone is below the outbox.")] = "",
    bucket: Annotated[str, typer.Option(help="s3://bucket/prefix, gs:// or az://.")] = "",
    mail: Annotated[str, typer.Option(help="Addresses that get a notice, by commas.")] = "",
    webhook: Annotated[str, typer.Option(help="Address that a notice is posted to.")] = "",
    pool: Annotated[str, typer.Option(help="Other destinations, by commas, that take turns.")] = "",
    kind: Annotated[str, typer.Option(help="Another kind, with its fields by --set.")] = "",
    confirm: Annotated[str, typer.Option(help="What proves a delivery: answer, commitment or count.")] = "",
    fields: Set = None,
    secret: SecretFields = None,
) -> None:
    """Add a destination; rules can send to it then.

    Example: `fileroom destination add PACS --node PACS --confirm commitment --set lanes_max=4`
    """
    ways = {
        "dicom": ("node", node),
        "stow": ("url", stow),
        "folder": ("path", folder),
        "bucket": ("bucket", bucket),
        "mail": ("to", mail),
        "webhook": ("url", webhook),
        "pool": ("members", pool),
    }
    chosen = {one: way for one, way in ways.items() if way[1]}
    if len(chosen) + bool(kind) != 1:
        raise InvalidRequestError(
            "Say where it leads by one of --node, --stow, --folder, --bucket, --mail, --webhook, --pool or --kind."
        )
    texts = _texts(fields) | _secrets(secret) | ({"confirmation": confirm} if confirm else {})
    for field, value in chosen.values():
        texts[f"target.{field}"] = value

    async def work(archive: Archive) -> Destination:
        from fileroom.routing.destination_fields import with_texts
        from fileroom.routing.destinations import put_destination
        from fileroom.routing.kinds import kind_named

        wanted = kind_named(kind or next(iter(chosen)))
        return await put_destination(archive, name, with_texts(wanted, {}, texts), new=True)

    made = with_archive(work)
    typer.echo(f"Added {made.name}, which leads to {made.leads_to}.")


@app.command("edit")
def edit(
    name: Name,
    fields: Set = None,
    secret: SecretFields = None,
    version: Annotated[int | None, typer.Option(help="Change it only if it is still this version.")] = None,
) -> None:
    """Change fields of a destination; the others stay.

    Example: `fileroom destination edit PACS --set lanes_max=4 --set throttle.mbit_s=100`
    """
    texts = _texts(fields) | _secrets(secret)
    if not texts:
        raise InvalidRequestError("Say what shall change, for example --set lanes_max=4.")

    async def work(archive: Archive) -> Destination:
        from fileroom.routing.destination_fields import fields_of_destination, with_texts
        from fileroom.routing.destinations import get_destination, put_destination
        from fileroom.routing.kinds import kind_named

        now = await get_destination(archive, name)
        wanted = with_texts(kind_named(now.kind), fields_of_destination(now), texts)
        known = now.version if version is None else version
        return await put_destination(archive, name, wanted, enabled=now.enabled, version=known, new=False)

    typer.echo(f"{name} is version {with_archive(work).version}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the destinations. Example: `fileroom destination list --json`"""
    from fileroom.routing.destinations import list_destinations

    found = with_archive(list_destinations)
    if as_json:
        print_json([_document(one) for one in found])
        return
    if not found:
        typer.echo("There is no destination yet. 'fileroom destination add --help' shows how to make one.", err=True)
    for one in found:
        typer.echo(f"{one.name:<24}{one.kind:<10}{one.state:<10}{one.leads_to}")


@app.command("show")
def show(name: Name, as_json: Json = False) -> None:
    """Show all fields of a destination, without its secrets. Example: `fileroom destination show PACS`"""
    from fileroom.routing.destinations import get_destination

    document = _document(with_archive(lambda archive: get_destination(archive, name)))
    if as_json:
        print_json(document)
        return
    for field, value in document.items():
        inner = value.items() if isinstance(value, dict) else ()
        if not inner:
            typer.echo(f"{field:<24}{'' if value in (None, {}) else value}")
        for key, one in inner:
            typer.echo(f"{field + '.' + key:<24}{one}")


@app.command("kinds")
def kinds(as_json: Json = False) -> None:
    """List the kinds of destinations with their fields, those of installed packages too.

    Example: `fileroom destination kinds`
    """
    from fileroom.routing.destination_fields import COMMON
    from fileroom.routing.kinds import all_kinds
    from fileroom.routing.target_fields import fields_of

    found = all_kinds()
    if as_json:
        usable = {name: [one.name for one in fields_of(kind)] for name, kind in found.usable.items()}
        print_json({"kinds": usable, "left_out": {one.name: one.reason for one in found.broken}})
        return
    for name, kind in found.usable.items():
        typer.echo(name)
        for one in fields_of(kind):
            typer.echo(f"    {one.name:<20}{one.label}. {one.help}".rstrip())
    typer.echo("all of them")
    for one in COMMON:
        typer.echo(f"    {one.name:<22}{one.label}. {one.help}".rstrip())
    for broken in found.broken:
        typer.echo(f"{broken.name} of the package {broken.package} is left out: {broken.reason}", err=True)


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a destination that no rule names and nothing waits for. Example: `fileroom destination remove PACS`"""
    from fileroom.routing.destinations import remove_destination

    with_archive(lambda archive: remove_destination(archive, name))
    typer.echo(f"Removed {name}.")


@app.command("enable")
def enable(name: Name) -> None:
    """Let a destination take part again. Example: `fileroom destination enable PACS`"""
    from fileroom.routing.destinations import set_destination_enabled

    with_archive(lambda archive: set_destination_enabled(archive, name, enabled=True))
    typer.echo(f"{name} is enabled.")


@app.command("disable")
def disable(name: Name) -> None:
    """Let a destination take part no more. Example: `fileroom destination disable PACS`"""
    from fileroom.routing.destinations import set_destination_enabled

    with_archive(lambda archive: set_destination_enabled(archive, name, enabled=False))
    typer.echo(f"{name} is disabled.")


@app.command("hold")
def hold(name: Name) -> None:
    """Send nothing there; deliveries wait. Example: `fileroom destination hold PACS`"""
    from fileroom.routing.destinations import hold_destination

    with_archive(lambda archive: hold_destination(archive, name))
    typer.echo(f"{name} is held.")


@app.command("release")
def release(name: Name) -> None:
    """Send what waits. Example: `fileroom destination release PACS`"""
    from fileroom.routing.destinations import release_destination

    with_archive(lambda archive: release_destination(archive, name))
    typer.echo(f"{name} is released.")


@app.command("probe")
def probe(name: Name, as_json: Json = False) -> None:
    """Ask a destination whether it is there; nothing stays there. Example: `fileroom destination probe PACS`"""

    async def work(archive: Archive) -> ProbeResult:
        from fileroom.routing.destinations import probe_destination

        return await probe_destination(archive, name)

    found = with_archive(work)
    if as_json:
        import dataclasses

        print_json(dataclasses.asdict(found))
    else:
        typer.echo(f"{found.answer} ({found.latency_ms:.0f} ms)", err=not found.is_there)
    if not found.is_there:
        raise typer.Exit(1)


@app.command("import")
def import_(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help="Its fields as JSON, as 'show --json' prints them; - for standard input.")
    ],
) -> None:
    """Add a destination, or replace it, by its fields as JSON. Example: `fileroom destination import PACS pacs.json`"""
    import json

    try:
        fields = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidRequestError(f"{file} must hold one JSON object.")
    enabled = bool(fields.pop("enabled", True))
    for told in ("name", "version", "changed_by", "leads_to", "state"):
        fields.pop(told, None)

    async def work(archive: Archive) -> Destination:
        from fileroom.routing.destinations import put_destination

        return await put_destination(archive, name, fields, enabled=enabled)

    typer.echo(f"{name} is version {with_archive(work).version}.")


def _document(one: Destination) -> dict[str, Any]:
    from fileroom.routing.destination_fields import fields_of_destination

    told = {"name": one.name, "state": one.state, "leads_to": one.leads_to, **fields_of_destination(one)}
    return {**told, "enabled": one.enabled, "version": one.version, "changed_by": one.changed_by}


def _texts(fields: list[str] | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in fields or []:
        field, equals, value = entry.partition("=")
        if not equals:
            raise InvalidRequestError(f"{entry!r:.60} is no FIELD=VALUE, for example lanes_max=4.")
        texts[field.strip()] = value
    return texts


def _secrets(names: list[str] | None) -> dict[str, str]:
    """Asked for, so that they stand neither in the history of the shell nor in the list of processes."""
    found: dict[str, str] = {}
    for name in names or []:
        if sys.stdin.isatty():
            found[name] = typer.prompt(name, hide_input=True)
        else:
            found[name] = sys.stdin.readline().rstrip("\r\n")
    return found
