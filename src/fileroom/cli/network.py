"""`fileroom echo`: Fileroom as an SCU."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from fileroom.archive.peers import Peer, echo
from fileroom.cli.output import settings_or_exit

Host = Annotated[str, typer.Argument(help="Address of the peer.")]
Port = Annotated[int, typer.Argument(help="DICOM port of the peer.")]
CalledAet = Annotated[str, typer.Option("--aec", help="AE title of the peer.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("echo")(echo_command)


def echo_command(host: Host, port: Port, aec: CalledAet = "ANY-SCP") -> None:
    """Ask a peer whether it is there (C-ECHO). Example: `fileroom echo 127.0.0.1 11112 --aec FILEROOM`"""
    echo_peer(host, port, aec, settings_or_exit().aet)


def echo_peer(host: str, port: int, aet: str, own_aet: str) -> None:
    """Echo and print how long it took."""
    milliseconds = asyncio.run(echo(Peer(host, port, aet, own_aet)))
    typer.echo(f"{aet} at {host}:{port} answered in {milliseconds:.1f} ms.")
