"""`fileroom node ...`: the systems that Fileroom talks to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_json, print_rows, with_archive, with_database
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.node_fields import Node
    from fileroom.admin.node_import import PlannedChange
    from fileroom.admin.nodes import NodeVersion
    from fileroom.archive.node_echo import EchoResult
    from fileroom.archive.services import Archive
    from fileroom.db.pool import Pool

app = typer.Typer(help="Systems that Fileroom talks to.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The node's name.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE, as 'fileroom node show' names them; lists apart by commas. Repeatable."),
]
Aet = Annotated[str, typer.Argument(help="AE title of the caller.")]
Host = Annotated[str, typer.Argument(help="Address that it called from.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example CT1.")],
    aet: Annotated[str, typer.Option(help="Its AE title.")],
    host: Annotated[str, typer.Option(help="Its address or host name.")],
    port: Annotated[int, typer.Option(help="Its DICOM port.")],
    fields: Set = None,
) -> None:
    """Add a node; it may then call us, and objects may be sent to it.

    Example: `fileroom node add CT1 --aet CT1 --host 10.1.2.3 --port 104 --set roles=send,commit`
    """
    from fileroom.admin.node_fields import with_texts
    from fileroom.admin.nodes import Node, add_node

    node = with_texts(Node(name, aet, host, port), _texts(fields))
    with_database(lambda pool: add_node(pool, node))
    typer.echo(f"Added {name}.")


@app.command("edit")
def edit(
    name: Name,
    fields: Set = None,
    version: Annotated[
        int | None, typer.Option(help="Change it only if it is still this version, as 'node show' tells it.")
    ] = None,
) -> None:
    """Change fields of a node; the others stay. It holds within a second, without a restart.

    Example: `fileroom node edit CT1 --set calling_from=10.1.0.0/16 --set associations_max=4`
    """
    import dataclasses

    from fileroom.admin.node_fields import with_texts
    from fileroom.admin.nodes import EditedMeanwhileError, change_node, get_node

    texts = _texts(fields)
    if not texts:
        raise InvalidRequestError("Say what shall change, for example --set port=11112.")

    async def work(pool: Pool) -> Node:
        now = await get_node(pool, name)
        wanted = dataclasses.replace(with_texts(now, texts), version=now.version if version is None else version)
        return await change_node(pool, name, wanted)

    try:
        changed = with_database(work)
    except EditedMeanwhileError as error:
        typer.echo(str(error), err=True)
        for one in error.theirs:
            typer.echo(f"  {one}", err=True)
        typer.echo(f"It is version {error.now.version} now.", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{changed.name} is version {changed.version}.")


@app.command("show")
def show(name: Name, as_json: Json = False) -> None:
    """Show all fields of a node and what was changed. Example: `fileroom node show CT1`"""
    from fileroom.admin.node_fields import shown, to_fields
    from fileroom.admin.nodes import get_node, list_versions

    async def work(pool: Pool) -> tuple[Node, list[NodeVersion]]:
        return await get_node(pool, name), await list_versions(pool, name)

    node, versions = with_database(work)
    if as_json:
        print_json({**to_fields(node), "version": node.version})
        return
    for field in to_fields(node):
        typer.echo(f"{field:<24}{shown(getattr(node, field))}")
    typer.echo(f"{'version':<24}{node.version}")
    for one in versions:
        typer.echo(_version_line(one))


@app.command("enable")
def enable(name: Name) -> None:
    """Let a node take part again. Example: `fileroom node enable CT1`"""
    from fileroom.admin.nodes import set_enabled

    with_database(lambda pool: set_enabled(pool, name, enabled=True))
    typer.echo(f"{name} is enabled.")


@app.command("disable")
def disable(name: Name) -> None:
    """Let a node take part no more: it cannot call, is not called, open associations end.

    Example: `fileroom node disable CT1`
    """
    from fileroom.admin.nodes import set_enabled

    with_database(lambda pool: set_enabled(pool, name, enabled=False))
    typer.echo(f"{name} is disabled.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the nodes. Example: `fileroom node list --json`"""
    from fileroom.admin.nodes import list_nodes

    print_rows(["name", "aet", "host", "port", "enabled"], with_database(list_nodes), as_json=as_json)


@app.command("notices")
def notices(
    name: Annotated[str, typer.Argument(help="Of this node only.")] = "",
    state: Annotated[str, typer.Option(help="waiting, sent, dead or cancelled.")] = "",
    again: Annotated[int, typer.Option(help="Send the notice of this number again.")] = 0,
    cancel: Annotated[int, typer.Option(help="Do not send the notice of this number.")] = 0,
    as_json: Json = False,
) -> None:
    """List what nodes are told of performed steps and available instances. Example: `fileroom node notices --state dead`"""
    from fileroom.worklist.node_notices import NodeNotice, cancel_notice, list_notices, resend_notice

    async def work(archive: Archive) -> list[NodeNotice]:
        if again:
            await resend_notice(archive, again)
        if cancel:
            await cancel_notice(archive, cancel)
        return await list_notices(archive, name, (state,) if state else ())

    print_rows(["id", "node", "kind", "state", "attempts", "reason"], with_archive(work), as_json=as_json)


@app.command("held")
def held(
    ignored: Annotated[bool, typer.Option("--ignored", help="Those that are ignored instead.")] = False,
    as_json: Json = False,
) -> None:
    """List callers that were turned away because nobody has approved them. Example: `fileroom node held`"""
    from fileroom.admin.callers import list_held_callers

    rows = with_database(lambda pool: list_held_callers(pool, ignored=ignored))
    print_rows(["aet", "host", "calls", "last_at"], rows, as_json=as_json)


@app.command("approve")
def approve(
    aet: Aet,
    host: Host,
    name: Annotated[str, typer.Option(help="Name of the node; its AE title by default.")] = "",
    port: Annotated[int, typer.Option(help="Port on which it listens.")] = 104,
) -> None:
    """Make a node of a held caller, or let its node call from this address too.

    Example: `fileroom node approve CT1 10.1.2.3`
    """
    from fileroom.admin.callers import approve_caller

    node = with_database(lambda pool: approve_caller(pool, aet, host, name=name, port=port))
    typer.echo(f"{node.aet} may call from {host} as the node {node.name}.")


@app.command("ignore")
def ignore(
    aet: Aet,
    host: Host,
    undo: Annotated[bool, typer.Option("--undo", help="List it again.")] = False,
) -> None:
    """Show a held caller no more; it is turned away as before. Example: `fileroom node ignore SCANNER 10.1.2.9`"""
    from fileroom.admin.callers import ignore_caller

    with_database(lambda pool: ignore_caller(pool, aet, host, ignored=not undo))
    typer.echo(f"{aet} from {host} is {'listed again' if undo else 'ignored'}.")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a node. Example: `fileroom node remove CT1`"""
    from fileroom.admin.nodes import remove_node

    with_database(lambda pool: remove_node(pool, name))
    typer.echo(f"Removed {name}.")


@app.command("echo")
def echo(name: Name) -> None:
    """Ask a node whether it is there (C-ECHO); the result joins its history. Example: `fileroom node echo CT1`"""
    from fileroom.admin.nodes import get_node
    from fileroom.archive.node_echo import echo_node, explain

    async def work(archive: Archive) -> tuple[Node, EchoResult, str]:
        result = await echo_node(archive, name)
        node = await get_node(archive.pool, name)
        return node, result, explain(node, result, archive.settings.aet)

    node, result, why = with_archive(work)
    if result.latency_ms is None:
        typer.echo(f"{name} did not answer. {why}", err=True)
        if result.detail:
            typer.echo(result.detail, err=True)
        raise typer.Exit(1)
    typer.echo(f"{node.aet} at {node.host}:{node.port} answered in {result.latency_ms:.1f} ms.")


@app.command("export")
def export(
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of JSON.")] = False,
) -> None:
    """Print all nodes as a file that 'node import' reads. Example: `fileroom node export --csv`"""
    from fileroom.admin.node_files import nodes_to_csv, nodes_to_json
    from fileroom.admin.nodes import list_nodes

    nodes = with_database(list_nodes)
    sys.stdout.write(nodes_to_csv(nodes) if csv else nodes_to_json(nodes))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON or CSV file.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    as_json: Json = False,
) -> None:
    """Add and change nodes by a file, all or none; none is removed. Example: `fileroom node import nodes.csv --dry-run`"""
    from fileroom.admin.node_files import FILE_BYTES_MAX
    from fileroom.admin.node_import import WrongLinesError, import_nodes, plan_import

    if file.stat().st_size > FILE_BYTES_MAX:
        raise InvalidRequestError(f"{file} has more than {FILE_BYTES_MAX} bytes.")
    text = file.read_text("utf-8-sig", errors="replace")
    try:
        planned = with_database(lambda pool: plan_import(pool, text) if dry_run else import_nodes(pool, text))
    except WrongLinesError as error:
        for line, reason in error.problems:
            typer.echo(f"{file}, entry in line {line}: {reason}", err=True)
        typer.echo("Nothing was imported.", err=True)
        raise typer.Exit(1) from error
    _show_plan(planned, as_json=as_json, dry_run=dry_run)


def _show_plan(planned: list[PlannedChange], *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        rows = [
            {"line": one.line, "node": one.node.name, "what": one.kind.value, "changes": [str(c) for c in one.changes]}
            for one in planned
        ]
        print_json(rows)
        return
    for one in planned:
        if one.kind != "same":
            typer.echo(f"{one.kind.value:<8}{one.before or one.node.name}")
        for change in one.changes:
            typer.echo(f"        {change}")
    changed = sum(one.kind != "same" for one in planned)
    typer.echo(f"{changed} of {len(planned)} nodes {'would be' if dry_run else 'were'} added or changed.")


def _texts(fields: list[str] | None) -> dict[str, str]:
    texts: dict[str, str] = {}
    for entry in fields or []:
        field, equals, value = entry.partition("=")
        if not equals:
            raise InvalidRequestError(f"{entry!r:.60} is no FIELD=VALUE, for example port=11112.")
        texts[field.strip().replace("-", "_")] = value
    return texts


def _version_line(version: NodeVersion) -> str:
    changes = "; ".join(map(str, version.changes)) or "added"
    return f"  {version.version:>3}  {version.changed_at}  {version.changed_by}: {changes}"
