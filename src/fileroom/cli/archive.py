"""`fileroom import`, `export`, `rebuild`, `verify`, `refusals`, `conflicts`: the archive's own upkeep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_json, print_rows, with_archive, with_database
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.archive.media_import import ImportReport
    from fileroom.archive.verify import VerifyReport

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Report = Callable[[int, int], None]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("import")(import_command)
    app.command("export")(export_command)
    app.command("rebuild")(rebuild_command)
    app.command("verify")(verify_command)
    app.command("refusals")(refusals_command)
    app.command("conflicts")(conflicts_command)


def import_command(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders, ZIP files or a medium's DICOMDIR.")],
    again: Annotated[bool, typer.Option("--again", help="Forget an interrupted run and read every file.")] = False,
    as_json: Json = False,
) -> None:
    """Import DICOM files; go on where an interrupted import stopped. Exits with 1 if files were refused.

    Example: `fileroom import /media/cdrom`
    """
    from fileroom.archive.media_import import import_paths

    with _bar("Importing") as bar:
        report = with_archive(lambda archive: import_paths(archive, paths, progress=bar, again=again))
    if as_json:
        print_json(report)
    else:
        _show_import(report)
    if report.refused:
        raise typer.Exit(1)


def export_command(
    target: Annotated[Path, typer.Argument(help="New folder, or a file ending in .zip.")],
    patient: Annotated[list[str] | None, typer.Option("--patient", help="Patient ID.")] = None,
    study: Annotated[list[str] | None, typer.Option("--study", help="Study Instance UID.")] = None,
    series: Annotated[list[str] | None, typer.Option("--series", help="Series Instance UID.")] = None,
    media: Annotated[bool, typer.Option("--dicomdir", help="Write a medium with a DICOMDIR.")] = False,
) -> None:
    """Export what is selected as a folder, a ZIP file or a medium. Exits with 1 if a medium could not have some objects.

    Example: `fileroom export /tmp/for-surgery.zip --study 1.2.840...`
    """
    if not (patient or study or series):
        raise InvalidRequestError("Say what to export: --patient, --study or --series.")
    from fileroom.archive.media_export import export_folder, export_media, export_zip
    from fileroom.archive.retrieve import Selection

    selection = Selection(tuple(patient or ()), tuple(study or ()), tuple(series or ()))
    export = export_media if media else export_zip if target.suffix.lower() == ".zip" else export_folder
    with _bar("Exporting") as bar:
        report = with_archive(lambda archive: export(archive, selection, target, progress=bar))
    typer.echo(f"Exported {report.objects} objects ({report.bytes / 1e6:.1f} MB) to {target}.")
    for left_out in report.left_out:
        typer.echo(f"left out: {left_out.sop_instance_uid}: {left_out.reason}", err=True)
    if report.left_out:
        typer.echo("Export as a folder or a ZIP file takes every object as it is stored.", err=True)
        raise typer.Exit(1)


def rebuild_command(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Make the whole index anew from the stored objects. Example: `fileroom rebuild --yes`"""
    from fileroom.archive.rebuild import rebuild

    if not yes:
        typer.confirm(
            "The index is emptied and made again from storage; studies appear as they are read. Go on?", abort=True
        )
    with _bar("Rebuilding") as bar:
        report = with_archive(lambda archive: rebuild(archive, progress=bar))
    if as_json:
        print_json(report)
    else:
        typer.echo(f"{report.indexed} objects indexed, {report.surplus} second copies, {report.conflicts} conflicts.")
        for unreadable in report.unreadable:
            typer.echo(f"not indexed: {unreadable.storage_key}: {unreadable.reason}", err=True)
    if report.unreadable:
        raise typer.Exit(1)


def verify_command(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only, read no object.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be put right.")] = False,
    as_json: Json = False,
) -> None:
    """Compare every row with its object (checksums too) and every object with its row. Exits with 1 if something is wrong.

    Example: `fileroom verify --repair`
    """
    from fileroom.archive.verify import verify

    with _bar("Verifying") as bar:
        report = with_archive(lambda archive: verify(archive, checksums=not quick, repair=repair, progress=bar))
    if as_json:
        print_json(report)
    else:
        _show_verify(report)
    if report.findings:
        raise typer.Exit(1)


def refusals_command(as_json: Json = False) -> None:
    """List objects that were not kept, with the reason, the latest first. Example: `fileroom refusals`"""
    from fileroom.index.upkeep import list_refusals

    columns = ["refused_at", "status", "sop_instance_uid", "sender", "reason"]
    print_rows(columns, with_database(list_refusals), as_json=as_json)


def conflicts_command(as_json: Json = False) -> None:
    """List objects kept aside because their UID has other content. Example: `fileroom conflicts`"""
    from fileroom.index.upkeep import list_conflicts

    columns = ["received_at", "sop_instance_uid", "sender", "storage_key"]
    print_rows(columns, with_database(list_conflicts), as_json=as_json)


def _show_import(report: ImportReport) -> None:
    parts = [f"{report.stored} stored ({report.stored_bytes / 1e6:.1f} MB)"]
    parts += [f"{report.already_there} already there"] if report.already_there else []
    parts += [f"{report.kept_aside} kept aside as conflicts"] if report.kept_aside else []
    parts += [f"{report.skipped} done in an earlier run"] if report.skipped else []
    parts += [f"{len(report.refused)} refused"] if report.refused else []
    typer.echo(", ".join(parts) + ".")
    for refused in report.refused:
        typer.echo(f"refused: {refused.path}: {refused.reason}", err=True)


def _show_verify(report: VerifyReport) -> None:
    typer.echo(
        f"{report.rows} rows, {report.conflicts} conflicts and {report.objects} objects compared, "
        f"{report.checked_bytes / 1e6:.1f} MB read."
    )
    for finding in report.findings:
        line = f"{finding.kind}: {finding.storage_key} {finding.sop_instance_uid}: {finding.detail}"
        typer.echo(line + (f"; {finding.repair}" if finding.repair else ""), err=True)
    if not report.findings:
        typer.echo("Everything fits.")


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
