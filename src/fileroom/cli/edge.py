"""`fileroom edge ...`: the edge link, at the centre (add, list, ...) and at the edge (connect, status, disconnect)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.routing.edge_centres import CentreState
    from fileroom.routing.edges import Edge

app = typer.Typer(help="The edge link: a Fileroom behind NAT or VPN that dials out.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The edge's name.")]
_COLUMNS = ["name", "state", "seen_at", "waiting_here", "waiting_there", "software", "address", "clock_ahead_s"]


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name for people, for example clinic-north.")],
    description: Annotated[str, typer.Option(help="Where it stands, and whom to ask about it.")] = "",
    silent_after: Annotated[int, typer.Option(help="Seconds without a call after which it counts as silent.")] = 300,
) -> None:
    """At the centre: let an edge dial in. Prints its token, which is shown this one time.

    Example: `fileroom edge add clinic-north`
    """
    from fileroom.routing.edges import add_edge

    fields = {"description": description, "silent_after_s": silent_after}
    added = with_archive(lambda archive: add_edge(archive, name, fields))
    typer.echo(added.token)
    typer.echo(f"At the edge: fileroom edge connect https://CENTRE --token {added.token}", err=True)


@app.command("token")
def token(name: Name) -> None:
    """At the centre: give an edge another token; the old one is good no more. Example: `fileroom edge token clinic-north`"""
    from fileroom.routing.edges import renew_edge_token

    typer.echo(with_archive(lambda archive: renew_edge_token(archive, name)).token)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """At the centre: the edges, when each was here, what waits both ways. Example: `fileroom edge list --json`"""
    from fileroom.routing.edges import list_edges

    print_rows(_COLUMNS, with_archive(list_edges), as_json=as_json)


@app.command("enable")
def enable(name: Name) -> None:
    """At the centre: let an edge call again. Example: `fileroom edge enable clinic-north`"""
    from fileroom.routing.edges import set_edge_enabled

    with_archive(lambda archive: set_edge_enabled(archive, name, enabled=True))
    typer.echo(f"{name} is enabled.")


@app.command("disable")
def disable(name: Name) -> None:
    """At the centre: refuse an edge's calls; what waits for it stays. Example: `fileroom edge disable clinic-north`"""
    from fileroom.routing.edges import set_edge_enabled

    with_archive(lambda archive: set_edge_enabled(archive, name, enabled=False))
    typer.echo(f"{name} is disabled.")


@app.command("remove")
def remove(name: Name) -> None:
    """At the centre: remove an edge and its token. Example: `fileroom edge remove clinic-north`"""
    from fileroom.routing.edges import remove_edge

    with_archive(lambda archive: remove_edge(archive, name))
    typer.echo(f"Removed {name}.")


@app.command("connect")
def connect(
    url: Annotated[str, typer.Argument(help="Address of the centre's web port.")],
    token: Annotated[str, typer.Option(help="As 'fileroom edge add' has shown it. Without: it is asked for.")] = "",
    name: Annotated[str, typer.Option(help="What the centre is called here.")] = "centre",
    fingerprint: Annotated[str, typer.Option(help="SHA-256 of its certificate, if no known issuer signed it.")] = "",
    compress: Annotated[bool, typer.Option("--compress", help="For slow lines: pieces travel as gzip.")] = False,
    piece_kib: Annotated[int, typer.Option(help="How much of an object goes in one request, in KiB.")] = 4096,
    in_flight: Annotated[int, typer.Option(help="Objects that travel at once in each direction.")] = 4,
) -> None:
    """At the edge: dial this centre from now on, and fetch what waits there.

    Example: `fileroom edge connect https://pacs.hospital.example --token fr_...`
    """
    from fileroom.routing.edge_centres import connect_centre

    fields = {
        "url": url,
        "token": token or typer.prompt("Token", hide_input=True),
        "fingerprint": fingerprint,
        "compress": compress,
        "piece_kib": piece_kib,
        "in_flight": in_flight,
    }
    with_archive(lambda archive: connect_centre(archive, name, fields))
    typer.echo(f"{name} is dialled from now on; see 'fileroom edge status'.")
    typer.echo(
        f"To send there: fileroom destination add {name} --kind edge --set centre={name}, and a rule that names it.",
        err=True,
    )


@app.command("disconnect")
def disconnect(
    name: Annotated[str, typer.Option(help="What the centre is called here.")] = "centre",
) -> None:
    """At the edge: dial a centre no more and forget its token. Example: `fileroom edge disconnect`"""
    from fileroom.routing.edge_centres import disconnect_centre

    with_archive(lambda archive: disconnect_centre(archive, name))
    typer.echo(f"{name} is dialled no more.")


@app.command("status")
def status(as_json: Json = False) -> None:
    """How the links are: at an edge those to its centres, at a centre those of its edges. Example: `fileroom edge status`"""
    from fileroom.routing.edge_centres import list_centres
    from fileroom.routing.edges import list_edges

    async def work(archive: Archive) -> tuple[list[CentreState], list[Edge]]:
        return await list_centres(archive), await list_edges(archive)

    centres, edges = with_archive(work)
    if as_json:
        import dataclasses

        print_json(
            {
                "centres": [dataclasses.asdict(one) for one in centres],
                "edges": [dataclasses.asdict(one) for one in edges],
            }
        )
        return
    for centre in centres:
        state = "connected" if centre.connected else f"not connected: {centre.cause or 'not dialled yet'}"
        typer.echo(f"{centre.name} ({centre.fields.get('url', '')}): {state}")
    if edges:
        print_rows(_COLUMNS, edges, as_json=False)
    if not centres and not edges:
        typer.echo("There is no link. At the centre: fileroom edge add NAME; at the edge: fileroom edge connect URL.")
