"""`fileroom deid ...`: projects of de-identification, trying one, their reports, and who a pseudonym is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.entries import Entry
    from fileroom.archive.services import Archive
    from fileroom.routing.deid_reports import Report, ReportRow
    from fileroom.routing.deid_trial import Trial
    from fileroom.routing.pseudonyms import Revealed

app = typer.Typer(help="De-identification: projects, trials, reports, pseudonyms.", no_args_is_help=True)
project_app = typer.Typer(help="How objects are de-identified, by name.", no_args_is_help=True)
app.add_typer(project_app, name="project")

Name = Annotated[str, typer.Argument(help="The project's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@project_app.command("add")
def add(
    name: Name,
    options: Annotated[
        str,
        typer.Option(
            "--options",
            help="Options of PS3.15 annex E by commas: safe_private, uids, device, institution, patient, full_dates, "
            "modified_dates, descriptors, structured_content, graphics, pixels, visual_features.",
        ),
    ] = "modified_dates,pixels",
    pseudonym: Annotated[str, typer.Option(help="Pattern of the pseudonyms.")] = "ANON-{n:05}",
    shift_days: Annotated[int, typer.Option(help="Dates are moved by 1 to so many days.")] = 365,
    patient_map: Annotated[
        Path | None, typer.Option("--map", help="File with lines ID,PSEUDONYM.", exists=True, dir_okay=False)
    ] = None,
    others: Annotated[str, typer.Option(help="Patients that are not in the map: make or refuse.")] = "make",
    more: Annotated[
        Path | None,
        typer.Option(
            "--file", help="JSON with further fields: overrides, safe_private, devices.", exists=True, dir_okay=False
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one that is there.")] = False,
) -> None:
    """Add a project.

    Example: `fileroom deid project add STUDY01 --pseudonym 'STUDY01-{n:04}' --options modified_dates,pixels`
    """
    fields: dict[str, Any] = {
        "options": [one.strip() for one in options.split(",") if one.strip()],
        "pseudonym": pseudonym,
        "shift_days": shift_days,
        "others": others,
    }
    if patient_map is not None:
        fields["patient_map"] = patient_map.read_text("utf-8-sig")
    if more is not None:
        fields |= _fields_of(more)

    async def work(archive: Archive) -> Entry:
        from fileroom.routing.deid_projects import put_project

        return await put_project(archive, name, fields, new=None if replace else True)

    made = with_archive(work)
    typer.echo(f"{made.name}: {_options_in_words(made.fields['options'])}")


@project_app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the projects. Example: `fileroom deid project list --json`"""
    from fileroom.routing.deid_projects import list_projects

    found = with_archive(list_projects)
    if as_json:
        print_json([{"name": one.name, "enabled": one.enabled, "version": one.version, **one.fields} for one in found])
        return
    if not found:
        typer.echo("There is no project yet. 'fileroom deid project add --help' shows how to make one.", err=True)
        return
    rows = [
        _Row(one.name, one.fields["pseudonym"], ", ".join(one.fields["options"]) or "basic profile", one.version)
        for one in found
    ]
    print_rows(["name", "pseudonyms", "options", "version"], rows, as_json=False)


@project_app.command("remove")
def remove(name: Name) -> None:
    """Remove a project that no treatment names. Example: `fileroom deid project remove STUDY01`"""
    from fileroom.routing.deid_projects import remove_project

    with_archive(lambda archive: remove_project(archive, name))
    typer.echo(f"Removed {name}.")


@app.command("try")
def try_one(
    file: Annotated[Path, typer.Argument(help="A DICOM file.", dir_okay=False)],
    project: Annotated[str, typer.Option("--project", help="The project.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the cleaned file is written.")] = None,
    as_json: Json = False,
) -> None:
    """De-identify a file as a project would, and say what was done. Exits with 1 when the object would be quarantined.

    Example: `fileroom deid try scan.dcm --project STUDY01 -o cleaned.dcm`
    """

    async def work(archive: Archive) -> Trial:
        from fileroom.routing.deid_trial import try_file

        try:
            content = file.read_bytes()
        except OSError as error:
            raise InvalidRequestError(f"The file {file} cannot be read: {error.strerror}.") from error
        return await try_file(archive, project, content)

    done = with_archive(work)
    if done.file is not None and output is not None:
        output.write_bytes(done.file)
    if as_json:
        print_json(_row_document(done.row))
    elif done.row.quarantined:
        typer.echo(f"Quarantined: {done.row.quarantined}", err=True)
    else:
        for what, count in sorted(done.row.actions.items()):
            typer.echo(f"{count:6} {what}")
        typer.echo(f"Pixels: {done.row.proof or 'nothing to do'}; {len(done.row.regions)} rectangles blanked.")
        if output is not None:
            typer.echo(f"Written to {output}.")
    if done.row.quarantined:
        raise typer.Exit(1)


@app.command("reveal")
def reveal_one(
    project: Annotated[str, typer.Argument(help="The project.")],
    pseudonym: Annotated[str, typer.Argument(help="The pseudonym.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is written to the audit trail.")],
    as_json: Json = False,
) -> None:
    """Say who a pseudonym is; that is audited.

    Example: `fileroom deid reveal STUDY01 STUDY01-0007 --reason 'incidental finding, letter of ...'`
    """

    async def work(archive: Archive) -> Revealed:
        from fileroom.routing.pseudonyms import reveal

        return await reveal(archive, project, pseudonym, reason)

    found = with_archive(work)
    print_rows(["pseudonym", "patient_id", "issuer", "patient_name", "birth_date"], [found], as_json=as_json)


@app.command("report")
def report(
    number: Annotated[int | None, typer.Argument(help="A report; without it the latest are listed.")] = None,
    project: Annotated[str, typer.Option("--project", help="Only of this project.")] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the report as CSV.")] = False,
    as_json: Json = False,
) -> None:
    """List reports, or show one: what was done to each object, and what was held back and why.

    Example: `fileroom deid report 12 --csv`
    """
    if number is None:

        async def latest(archive: Archive) -> list[Report]:
            from fileroom.routing.deid_reports import list_reports

            return await list_reports(archive, project=project)

        print_rows(
            ["id", "project", "destination", "study_instance_uid", "objects", "quarantined", "changed_at"],
            with_archive(latest),
            as_json=as_json,
        )
        return
    if as_csv:

        async def exported(archive: Archive) -> str:
            from fileroom.routing.deid_reports import export_report

            return await export_report(archive, number)

        typer.echo(with_archive(exported), nl=False)
        return

    async def one(archive: Archive) -> tuple[Report, list[ReportRow]]:
        from fileroom.routing.deid_reports import get_report

        return await get_report(archive, number)

    _, rows = with_archive(one)
    if as_json:
        print_json([_row_document(row) for row in rows])
        return
    print_rows(["sop_instance_uid", "kind", "quarantined", "proof"], rows, as_json=False)


class _Row:
    """A line of the list."""

    def __init__(self, name: str, pseudonyms: str, options: str, version: int) -> None:
        self.name, self.pseudonyms, self.options, self.version = name, pseudonyms, options, version


def _row_document(row: ReportRow) -> dict[str, Any]:
    return {
        "sop_instance_uid": row.sop_instance_uid,
        "sop_class_uid": row.sop_class_uid,
        "quarantined": row.quarantined,
        "actions": dict(row.actions),
        "regions": [list(one) for one in row.regions],
        "proof": row.proof,
    }


def _options_in_words(options: list[str]) -> str:
    return ", ".join(["basic profile", *options]) + "."


def _fields_of(path: Path) -> dict[str, Any]:
    import json

    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidRequestError(f"{path.name} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequestError(f"{path.name} must be a JSON object with the fields of a project.")
    return found
