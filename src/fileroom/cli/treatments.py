"""`fileroom treatment ...`: how objects are changed on the way to a destination."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.entries import Entry
    from fileroom.archive.services import Archive
    from fileroom.routing.treatments import Trial

app = typer.Typer(help="How objects are changed on the way to a destination.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The treatment's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Its fields as JSON; - for standard input.")],
    replace: Annotated[bool, typer.Option("--replace", help="Change the one that is there.")] = False,
) -> None:
    """Add a treatment. The handbook's chapter on routing tells the fields and steps.

    Example: `echo '{"steps": [{"do": "prefix", "attribute": "PatientID", "value": "NORTH-"}]}' | fileroom treatment add
    north -`
    """
    fields = _fields(file)

    async def work(archive: Archive) -> Entry:
        from fileroom.routing.treatments import put_treatment

        return await put_treatment(archive, name, fields, new=None if replace else True)

    made = with_archive(work)
    typer.echo(f"{made.name} is version {made.version}.")


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the treatments. Example: `fileroom treatment list --json`"""
    from fileroom.routing.treatments import list_treatments

    found = with_archive(list_treatments)
    if as_json:
        print_json([{"name": one.name, **one.fields, "enabled": one.enabled, "version": one.version} for one in found])
        return
    if not found:
        typer.echo("There is no treatment yet. 'fileroom treatment add --help' shows how to make one.", err=True)
    for one in found:
        what = ", ".join(f"{len(value)} steps" if key == "steps" else key for key, value in one.fields.items())
        typer.echo(f"{one.name:<24}{'' if one.enabled else 'disabled; '}{what}")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a treatment that nothing names. Example: `fileroom treatment remove north`"""
    from fileroom.routing.treatments import remove_treatment

    with_archive(lambda archive: remove_treatment(archive, name))
    typer.echo(f"Removed {name}.")


@app.command("try")
def try_(
    name: Name,
    file: Annotated[Path, typer.Argument(help="A DICOM file.")],
    as_json: Json = False,
) -> None:
    """Show what a treatment would change in a file; nothing is written, and pixels are not looked at.

    Example: `fileroom treatment try north image.dcm`
    """

    async def work(archive: Archive) -> Trial:
        from fileroom.routing.treatments import get_treatment, try_on_dataset

        entry = await get_treatment(archive, name)
        return try_on_dataset(name, entry.fields, _dataset(file))

    found = with_archive(work)
    if as_json:
        import dataclasses

        print_json(dataclasses.asdict(found))
        return
    if found.unchanged:
        typer.echo("Nothing would be changed.")
    for number, one in enumerate(found.objects, 1):
        if found.made > 1:
            typer.echo(f"--- object {number} of {found.made}: {one.sop_class}")
        for line in one.differences:
            typer.echo(f"{line.tag} {line.path}: {_shown(line.before)} -> {_shown(line.after)}")


def _shown(value: str | None) -> str:
    return "(not there)" if value is None else repr(value)


def _fields(file: Path) -> dict[str, Any]:
    import json

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        fields = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidRequestError(f"{file} must hold one JSON object with the fields of the treatment.")
    return fields


def _dataset(file: Path) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        return pydicom.dcmread(file, stop_before_pixels=True)
    except (OSError, InvalidDicomError) as error:
        raise InvalidRequestError(f"{file} cannot be read as DICOM: {error}") from error
