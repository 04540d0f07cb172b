"""`fileroom doctor`: is everything that Fileroom needs there, and does it answer?"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_rows, settings_or_exit, with_archive
from fileroom.core.errors import FileroomError

if TYPE_CHECKING:
    from fileroom.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `state` is ok or failed, `detail` says what was seen and what to do."""

    part: str
    state: str
    detail: str


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("doctor")(doctor_command)


def doctor_command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at database, storage and ports, and say what is wrong. Exits with 1 if something is.

    Example: `fileroom doctor`
    """
    checks = list(_checks(settings_or_exit()))
    print_rows(["part", "state", "detail"], checks, as_json=as_json)
    if any(check.state != "ok" for check in checks):
        raise typer.Exit(1)


def _checks(settings: Settings) -> Iterator[Check]:
    from fileroom.archive.overview import readiness

    try:
        for part in with_archive(readiness):
            if part.name != "dicom":  # asked below, by a real C-ECHO
                yield Check(part.name, "ok" if part.ready else "failed", part.detail)
    except FileroomError as error:
        yield Check("database", "failed", str(error))
    yield _dicom(settings)
    yield _web(settings)


def _dicom(settings: Settings) -> Check:
    from fileroom.archive.peer import Peer, echo

    peer = Peer(settings.host, settings.dicom_port, settings.aet, settings.aet)
    try:
        milliseconds = asyncio.run(echo(peer))
    except FileroomError as error:
        return Check("dicom", "failed", f"{error} Is 'fileroom serve' running?")
    return Check("dicom", "ok", f"{settings.aet} at {peer.host}:{peer.port} answered a C-ECHO in {milliseconds:.1f} ms")


def _web(settings: Settings) -> Check:
    where = f"{settings.web_host}:{settings.http_port}"
    try:
        socket.create_connection((settings.web_host, settings.http_port), timeout=5).close()
    except OSError as error:
        return Check("web", "failed", f"{where}: {error.strerror or error}. Is 'fileroom serve' running?")
    return Check("web", "ok", f"listens on {where}")
