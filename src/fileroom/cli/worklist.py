"""`fileroom worklist ...`: what modalities see of what is scheduled, why something is not on it, and the views of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.entries import Entry
    from fileroom.archive.services import Archive

app = typer.Typer(
    help="What modalities see of what is scheduled. Example: `fileroom worklist --aet CT1 --json`",
    no_args_is_help=False,
)
view_app = typer.Typer(help="What of the worklist each modality gets to see.", no_args_is_help=True)
app.add_typer(view_app, name="view")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The view's name.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE; lists with commas, for example modalities=CT,PT. Repeatable."),
]
_LISTS = ("aets", "modalities", "stations", "station_names", "locations", "states")


@app.callback(invoke_without_command=True)
def worklist(
    context: typer.Context,
    aet: Annotated[str, typer.Option(help="What this AE title sees; empty: everything that waits.")] = "",
    modality: Annotated[str, typer.Option(help="Only this modality.")] = "",
    date: Annotated[str, typer.Option(help="A day or a range, as YYYYMMDD-YYYYMMDD.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 500,
    as_json: Json = False,
) -> None:
    """Show the worklist. Example: `fileroom worklist --aet CT1 --json`"""
    if context.invoked_subcommand is not None:
        return
    from fileroom.worklist.step_list import list_worklist

    lines = with_archive(lambda archive: list_worklist(archive, caller=aet, modality=modality, date=date, limit=limit))
    if not lines and not as_json:
        typer.echo(
            "Nothing is scheduled that fits. 'fileroom worklist why --help' shows how to find out why.", err=True
        )
        return
    columns = ["start_date", "start_time", "modality", "station_aets", "patient_id", "patient_name"]
    print_rows([*columns, "accession_number", "description", "state"], lines, as_json=as_json)


@app.command("why")
def why(
    aet: Annotated[str, typer.Option(help="AE title of the modality.")],
    accession: Annotated[str, typer.Option(help="Accession number of the order.")] = "",
    patient: Annotated[str, typer.Option(help="Or the Patient ID.")] = "",
    as_json: Json = False,
) -> None:
    """Say why something is not on a modality's worklist. Example: `fileroom worklist why --accession A123 --aet CT1`"""
    from dataclasses import asdict

    from fileroom.worklist.why_not import explain

    trace = with_archive(lambda archive: explain(archive, aet, accession=accession, patient=patient))
    if as_json:
        print_json(asdict(trace))
        return
    typer.echo(trace.answer)
    signs = {"fine": "ok ", "cause": "NO ", "note": " - "}
    for one in trace.findings:
        typer.echo(f"  {signs[one.mark]} {one.stage:<9} {one.words}{f' ({one.at})' if one.at else ''}")


@view_app.command("list")
def list_(as_json: Json = False) -> None:
    """List the views. Example: `fileroom worklist view list --json`"""
    from fileroom.worklist.worklist_views import list_views

    print_rows(
        ["name", "enabled", "fields"],
        [_Row(one.name, one.enabled, one.fields) for one in with_archive(list_views)],
        as_json=as_json,
    )


@view_app.command("put")
def put(name: Name, fields: Set = None) -> None:
    """Add a view, or change fields of one; the others stay.

    Example: `fileroom worklist view put "CT room" --set aets=CT1,CT2 --set modalities=CT --set begins=today --set ends=+12h`
    """
    from fileroom.core.errors import NotFoundError
    from fileroom.worklist.worklist_views import get_view, put_view

    changes = _values(fields)

    async def work(archive: Archive) -> Entry:
        enabled = bool(changes.pop("enabled", True))
        try:
            now = await get_view(archive, name)
        except NotFoundError:
            return await put_view(archive, name, changes, enabled=enabled, new=True)
        return await put_view(archive, name, {**now.fields, **changes}, enabled=enabled, version=now.version)

    entry = with_archive(work)
    typer.echo(f"{entry.name} is version {entry.version}.")


@view_app.command("remove")
def remove(name: Name) -> None:
    """Remove a view. Example: `fileroom worklist view remove "CT room"`"""
    from fileroom.worklist.worklist_views import remove_view

    with_archive(lambda archive: remove_view(archive, name))
    typer.echo(f"Removed {name}.")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    enabled: bool
    fields: dict[str, Any]


def _values(given: list[str] | None) -> dict[str, Any]:
    """FIELD=VALUE as the fields that they stand for."""
    found: dict[str, Any] = {}
    for one in given or []:
        key, separator, text = one.partition("=")
        if not separator:
            raise InvalidRequestError(f"{one} is not FIELD=VALUE.")
        if key in _LISTS:
            found[key] = [part.strip() for part in text.split(",") if part.strip()]
        elif text.lower() in ("true", "false"):
            found[key] = text.lower() == "true"
        else:
            found[key] = int(text) if text.isdigit() else text
    return found
