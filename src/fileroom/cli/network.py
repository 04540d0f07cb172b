"""`fileroom echo`, `send`, `find`, `move`, `get`: Fileroom as an SCU at other systems."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, settings_or_exit
from fileroom.cli.recording import recording, stored_tls
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from fileroom.archive.peers import Sent
    from fileroom.dicom.query import InformationModel
    from fileroom.dimse.command_set import CommandSet

Host = Annotated[str, typer.Argument(help="Address of the peer.")]
Port = Annotated[int, typer.Argument(help="DICOM port of the peer.")]
Tls = Annotated[
    bool,
    typer.Option("--tls", help="Call over TLS, checked by the certificates that the running Fileroom trusts."),
]
CalledAet = Annotated[str, typer.Option("--aec", help="AE title of the peer.")]
CallingAet = Annotated[str, typer.Option("--aet", help="AE title to call as; our own by default.")]
LevelOption = Annotated[str, typer.Option("--level", help="PATIENT, STUDY, SERIES or IMAGE.")]
Keys = Annotated[list[str] | None, typer.Option("-k", "--key", help="Keyword=value, or Keyword to be returned.")]
PatientRoot = Annotated[bool, typer.Option("--patient-root", help="Use the Patient Root model.")]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("echo")(echo_command)
    app.command("send")(send_command)
    app.command("find")(find_command)
    app.command("move")(move_command)
    app.command("get")(get_command)


def echo_command(host: Host, port: Port, aec: CalledAet = "ANY-SCP", aet: CallingAet = "", tls: Tls = False) -> None:
    """Ask a peer whether it is there (C-ECHO). Example: `fileroom echo 127.0.0.1 11112 --aec FILEROOM`"""
    echo_peer(host, port, aec, _own_aet(aet), tls=tls)


def echo_peer(host: str, port: int, aet: str, own_aet: str, *, tls: bool = False) -> None:
    """Echo and print how long it took."""
    from fileroom.archive.peer import Peer, echo

    async def work() -> float:
        async with recording() as open_association:
            return await echo(Peer(host, port, aet, own_aet, await stored_tls(tls)), open_association)

    milliseconds = asyncio.run(work())
    typer.echo(f"{aet} at {host}:{port} answered in {milliseconds:.1f} ms.")


def send_command(
    host: Host,
    port: Port,
    paths: Annotated[list[Path], typer.Argument(help="DICOM files or folders.", exists=True)],
    aec: CalledAet = "ANY-SCP",
    aet: CallingAet = "",
    tls: Tls = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send files as they are (C-STORE). Exits with 1 if the peer did not keep them all.

    Example: `fileroom send 127.0.0.1 11112 scans/ --aec FILEROOM`
    """
    from fileroom.archive.peer import Peer
    from fileroom.archive.peers import send

    files = [f for path in paths for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file()]

    async def work() -> list[Sent]:
        async with recording() as open_association:
            peer = Peer(host, port, aec, _own_aet(aet), await stored_tls(tls))
            return [sent async for sent in send(peer, files, open_association)]

    results = asyncio.run(work())
    if as_json:
        rows = [
            {"path": r.path, "sop_instance_uid": r.sop_instance_uid, "status": r.status, "reason": r.reason}
            for r in results
        ]
        print_json(rows)
    kept = sum(result.is_kept for result in results)
    for result in results:
        if not result.is_kept:
            status = f" status {result.status:04X}" if result.status is not None else ""
            typer.echo(f"not kept: {result.path}:{status} {result.reason}", err=True)
    if not as_json:
        typer.echo(f"{kept} of {len(results)} objects were kept by {aec}.")
    if kept < len(results):
        raise typer.Exit(1)


def find_command(
    host: Host,
    port: Port,
    key: Keys = None,
    level: LevelOption = "STUDY",
    aec: CalledAet = "ANY-SCP",
    aet: CallingAet = "",
    tls: Tls = False,
    patient_root: PatientRoot = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print DICOM JSON.")] = False,
) -> None:
    """Query a peer (C-FIND).

    Example: `fileroom find 127.0.0.1 11112 --aec FILEROOM -k "PatientName=DOE*" -k StudyInstanceUID`
    """
    from fileroom.archive.peer import Peer
    from fileroom.archive.peers import find, make_identifier

    identifier = make_identifier(level.upper(), key or [])

    async def work() -> list[Dataset]:
        async with recording() as open_association:
            peer = Peer(host, port, aec, _own_aet(aet), await stored_tls(tls))
            return [match async for match in find(peer, _model(patient_root), identifier, open_association)]

    matches = asyncio.run(work())
    if as_json:
        print_json([match.to_json_dict() for match in matches])
        return
    for match in matches:
        typer.echo(str(match))
        typer.echo("")
    typer.echo(f"{len(matches)} matches.", err=True)


def move_command(
    host: Host,
    port: Port,
    destination: Annotated[str, typer.Option("--to", help="AE title that the peer shall send to.")],
    key: Keys = None,
    level: LevelOption = "STUDY",
    aec: CalledAet = "ANY-SCP",
    aet: CallingAet = "",
    tls: Tls = False,
    patient_root: PatientRoot = False,
) -> None:
    """Have a peer send objects to another (C-MOVE).

    Example: `fileroom move 127.0.0.1 11112 --aec FILEROOM --to WS1 -k StudyInstanceUID=1.2.3`
    """
    from fileroom.archive.peer import Peer
    from fileroom.archive.peers import make_identifier, move

    identifier = make_identifier(level.upper(), _required(key))

    async def work() -> CommandSet | None:
        last = None
        peer = Peer(host, port, aec, _own_aet(aet), await stored_tls(tls))
        async with recording() as open_association:
            async for command in move(peer, _model(patient_root), identifier, destination, open_association):
                last = command
        return last

    _show_counts(asyncio.run(work()))


def get_command(
    host: Host,
    port: Port,
    folder: Annotated[Path, typer.Option("--into", help="Folder for the files.")] = Path(),
    key: Keys = None,
    level: LevelOption = "STUDY",
    aec: CalledAet = "ANY-SCP",
    aet: CallingAet = "",
    tls: Tls = False,
    patient_root: PatientRoot = False,
) -> None:
    """Fetch objects from a peer over the same association (C-GET).

    Example: `fileroom get 127.0.0.1 11112 --aec FILEROOM --into scans -k StudyInstanceUID=1.2.3`
    """
    from fileroom.archive.peer import Peer
    from fileroom.archive.peers import get, make_identifier

    identifier = make_identifier(level.upper(), _required(key))
    folder.mkdir(parents=True, exist_ok=True)
    count = 0

    def open_file(_sop_instance_uid: str) -> Path:
        """Numbers, not UIDs: what a peer sends never becomes part of a path."""
        nonlocal count
        while True:
            count += 1
            path = folder / f"{count:06}.dcm"
            if not path.exists():
                return path

    async def work() -> CommandSet | None:
        last = None
        peer = Peer(host, port, aec, _own_aet(aet), await stored_tls(tls))
        async with recording() as open_association:
            async for command in get(peer, _model(patient_root), identifier, open_file, open_association):
                last = command
        return last

    _show_counts(asyncio.run(work()))


def _own_aet(aet: str) -> str:
    return aet or settings_or_exit().aet


def _model(patient_root: bool) -> InformationModel:
    from fileroom.dicom.query import InformationModel

    return InformationModel.PATIENT_ROOT if patient_root else InformationModel.STUDY_ROOT


def _required(keys: list[str] | None) -> list[str]:
    if not keys:
        raise InvalidRequestError("Say what: -k StudyInstanceUID=... (a key with the UID of the level).")
    return keys


def _show_counts(last: Any) -> None:
    if last is None:
        return
    failed = last.failed_suboperations or 0
    typer.echo(
        f"{last.completed_suboperations or 0} completed, {failed} failed, {last.warning_suboperations or 0} with warnings."
    )
    if failed:
        raise typer.Exit(1)
