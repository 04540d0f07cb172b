"""`fileroom node ...`: the systems that Fileroom talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.network import echo_peer
from fileroom.cli.output import print_rows, settings_or_exit, with_database
from fileroom.core.errors import NotFoundError

if TYPE_CHECKING:
    from fileroom.admin.nodes import Node
    from fileroom.db.pool import Pool

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
    from fileroom.admin.nodes import Node, add_node

    with_database(lambda pool: add_node(pool, Node(name, aet, host, port)))
    typer.echo(f"Added {name}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the nodes. Example: `fileroom node list --json`"""
    from fileroom.admin.nodes import list_nodes

    print_rows(["name", "aet", "host", "port"], with_database(list_nodes), as_json=as_json)


@app.command("held")
def held(as_json: Json = False) -> None:
    """List callers that were turned away because nobody has approved them. Example: `fileroom node held`"""
    from fileroom.admin.callers import list_held_callers

    print_rows(["aet", "host", "calls", "last_at"], with_database(list_held_callers), as_json=as_json)


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="The node's name.")]) -> None:
    """Remove a node. Example: `fileroom node remove CT1`"""
    from fileroom.admin.nodes import remove_node

    with_database(lambda pool: remove_node(pool, name))
    typer.echo(f"Removed {name}.")


@app.command("echo")
def echo(name: Annotated[str, typer.Argument(help="The node's name.")]) -> None:
    """Ask a node whether it is there (C-ECHO). Example: `fileroom node echo CT1`"""
    from fileroom.admin.nodes import find_node

    async def work(pool: Pool) -> Node:
        node = await find_node(pool, name=name)
        if node is None:
            raise NotFoundError(f"There is no node named {name}; see 'fileroom node list'.")
        return node

    node = with_database(work)
    echo_peer(node.host, node.port, node.aet, settings_or_exit().aet)
