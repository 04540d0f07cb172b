"""`fileroom doctor`: is everything that Fileroom needs there, and does it answer?"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fileroom.cli.output import print_rows, settings_or_exit, with_archive
from fileroom.cli.recording import recording
from fileroom.core.errors import FileroomError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.core.settings import Settings


_TLS_HANDSHAKE: Final = b"\x16"
"""First byte of the record that holds a server's hello (RFC 8446 5.1)."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `state` is ok, warning or failed, `detail` says what was seen and what to do."""

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
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(1)


def _checks(settings: Settings) -> Iterator[Check]:
    try:
        yield from with_archive(_archive)
    except FileroomError as error:
        yield Check("database", "failed", str(error))
    yield _dicom(settings)
    if settings.dicom_tls_port:
        yield _dicom_tls(settings)
    yield _web(settings)
    if settings.hl7_workers:
        yield _hl7(settings)


async def _archive(archive: Archive) -> list[Check]:
    from fileroom.archive.overview import readiness

    parts = [part for part in await readiness(archive) if part.name != "dicom"]  # asked later, by a real C-ECHO
    checks = [Check(part.name, "ok" if part.ready else "failed", part.detail) for part in parts]
    return checks + await _certificates(archive)


async def _certificates(archive: Archive) -> list[Check]:
    """Those in use; one that has expired is a failure, one that soon will be a warning."""
    from fileroom.admin.certificate_expiry import ExpiryLevel, describe_expiry, list_expiries

    states = {ExpiryLevel.EXPIRED: "failed", ExpiryLevel.FINE: "ok"}
    return [
        Check("certificate", states.get(one.level, "warning"), describe_expiry(one))
        for one in await list_expiries(archive.pool, archive.settings, archive.now())
    ]


def _dicom(settings: Settings) -> Check:
    from fileroom.archive.peer import Peer, echo

    peer = Peer(settings.host, settings.dicom_port, settings.aet, settings.aet)

    async def call() -> float:
        async with recording() as open_association:
            return await echo(peer, open_association)

    try:
        milliseconds = asyncio.run(call())
    except FileroomError as error:
        return Check("dicom", "failed", f"{error} Is 'fileroom serve' running?")
    return Check("dicom", "ok", f"{settings.aet} at {peer.host}:{peer.port} answered a C-ECHO in {milliseconds:.1f} ms")


def _dicom_tls(settings: Settings) -> Check:
    """Whether the port answers the first message of a handshake. It goes no further: we are nobody whom it must know."""
    import ssl

    where = f"{settings.host}:{settings.dicom_tls_port}"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    try:
        with socket.create_connection((settings.host, settings.dicom_tls_port), timeout=5) as connection:
            connection.sendall(outgoing.read())
            answer = connection.recv(1)
    except OSError as error:
        return Check("dicom tls", "failed", f"{where}: {error.strerror or error}. Is 'fileroom serve' running?")
    if answer != _TLS_HANDSHAKE:
        return Check("dicom tls", "failed", f"{where} does not answer in TLS. Is a certificate active for dicom?")
    return Check("dicom tls", "ok", f"{where} speaks TLS, client certificates: {settings.dicom_tls_clients}")


def _web(settings: Settings) -> Check:
    where = f"{settings.web_host}:{settings.http_port}"
    try:
        socket.create_connection((settings.web_host, settings.http_port), timeout=5).close()
    except OSError as error:
        return Check("web", "failed", f"{where}: {error.strerror or error}. Is 'fileroom serve' running?")
    return Check("web", "ok", f"listens on {where}")


def _hl7(settings: Settings) -> Check:
    where = f"{settings.host}:{settings.hl7_port}"
    try:
        socket.create_connection((settings.host, settings.hl7_port), timeout=5).close()
    except OSError as error:
        return Check("hl7", "failed", f"{where}: {error.strerror or error}. Is 'fileroom serve' running?")
    return Check("hl7", "ok", f"listens on {where} (MLLP); ports of single feeds: 'fileroom hl7 feed list'")
