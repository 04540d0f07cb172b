"""`fileroom node ...`: the systems that Fileroom talks to."""

from __future__ import annotations

from typing import Annotated

import typer

from fileroom.admin.nodes import Node, add_node, find_node, list_held_callers, list_nodes, remove_node
from fileroom.archive.services import Archive
from fileroom.cli.network import echo_peer
from fileroom.cli.output import print_rows, with_archive
from fileroom.core.errors import NotFoundError

app = typer.Typer(help="Systems that Fileroom talks to.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example CT1.")],
    aet: Annotated[str, typer.Option(help="Its AE title.")],
    host: Annotated[str, typer.Option(help="Its address or host name.")],
    port: Annotated[int, typer.Option(help="Its DICOM port.")],
) -> None:
    """Add a node; it may then call us, and C-MOVE may send to it.

    Example: `fileroom node add CT1 --aet CT1 --host 10.1.2.3 --port 104`
    """
    with_archive(lambda archive: add_node(archive.pool, Node(name, aet, host, port)))
    typer.echo(f"Added {name}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the nodes. Example: `fileroom node list --json`"""
    nodes = with_archive(lambda archive: list_nodes(archive.pool))
    print_rows(["name", "aet", "host", "port"], nodes, as_json=as_json)


@app.command("held")
def held(as_json: Json = False) -> None:
    """List callers that were turned away because nobody has approved them. Example: `fileroom node held`"""
    callers = with_archive(lambda archive: list_held_callers(archive.pool))
    print_rows(["aet", "host", "calls", "last_at"], callers, as_json=as_json)


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The node's name.")]) -> None:
    """Remove a node. Example: `fileroom node remove CT1`"""
    with_archive(lambda archive: remove_node(archive.pool, name))
    typer.echo(f"Removed {name}.")


@app.command("echo")
def echo(name: Annotated[str, typer.Argument(help="The node's name.")]) -> None:
    """Ask a node whether it is there (C-ECHO). Example: `fileroom node echo CT1`"""

    async def work(archive: Archive) -> tuple[Node, str]:
        node = await find_node(archive.pool, name=name)
        if node is None:
            raise NotFoundError(f"There is no node named {name}; see 'fileroom node list'.")
        return node, archive.settings.aet

    node, own_aet = with_archive(work)
    echo_peer(node.host, node.port, node.aet, own_aet)
