"""`fileroom patients ...`: patients as the RIS tells them; two that are one merged, and taken apart again."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.worklist.changes import Effect
    from fileroom.worklist.merge_preview import MergePreview, UnmergePreview
    from fileroom.worklist.patient_search import FoundPatient, PatientDetail

app = typer.Typer(help="Patients as the RIS tells them: found, merged, taken apart again.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Who = Annotated[str, typer.Argument(help="A Patient ID, or #ROW as `search` prints it.")]
Reason = Annotated[str, typer.Option(help="It stands in the patient's history and in the audit trail.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking once more.")]


@app.command("search")
def search(
    text: Annotated[str, typer.Argument(help="Parts of a name, what begins a number, a birth date; none: all.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Find patients. Example: `fileroom patients search "lovelace 1915-12-10"`"""

    async def work(archive: Archive) -> list[FoundPatient]:
        from fileroom.worklist.patient_search import search_patients

        return await search_patients(archive, text, limit=limit)

    found = with_archive(work)
    if not found and not as_json:
        typer.echo("No patient fits. They come with messages of the RIS, or with orders that are entered.", err=True)
        return
    columns = ("id", "patient_id", "authority", "patient_name", "birth_date", "sex", "orders", "studies", "merged")
    print_rows(columns, found, as_json=as_json)


@app.command("show")
def show(who: Who, as_json: AsJson = False) -> None:
    """Show a patient with numbers, visits, orders, studies and merges. Example: `fileroom patients show 4711`"""

    async def work(archive: Archive) -> PatientDetail:
        return await _find(archive, who)

    one = with_archive(work)
    if as_json:
        print_json(dataclasses.asdict(one))
        return
    typer.echo(f"#{one.id} {one.patient_name or '-'}, {one.birth_date or '-'}, {one.sex or '-'}")
    if one.merged_into is not None:
        typer.echo(f"  became part of #{one.merged_into}")
    for number in one.identifiers:
        state = "images carry it" if number.is_first else "retired" if number.retired else ""
        typer.echo(f"  number {number.value} {number.authority} {number.kind} {state}".rstrip())
    for visit in one.visits:
        typer.echo(f"  visit {visit.number} {visit.state} {visit.location}".rstrip())
    for order in one.orders:
        typer.echo(
            f"  order {order.accession_number or order.placer_number or f'#{order.id}'} {order.state} {order.what}"
        )
    for merge in one.merges:
        state = f"taken back {merge.revoked_at:%Y-%m-%d}" if merge.revoked_at else "in force"
        typer.echo(f"  merge {merge.id}: #{merge.retired} into #{merge.survivor}, {merge.merged_by}, {state}")
    typer.echo(f"  studies: {len(one.study_uids)}")


@app.command("merge")
def merge(
    survivor: Annotated[str, typer.Argument(help="Who stays: a Patient ID, or #ROW.")],
    retired: Annotated[str, typer.Argument(help="Who becomes part of that one: a Patient ID, or #ROW.")],
    reason: Reason = "",
    yes: Yes = False,
) -> None:
    """Make one patient of two: shows what will move, asks, and does it. Example: `fileroom patients merge 4711 4712`"""

    async def look(archive: Archive) -> tuple[PatientDetail, PatientDetail, MergePreview]:
        from fileroom.worklist.merge_preview import preview_merge

        one, other = await _find(archive, survivor), await _find(archive, retired)
        return one, other, await preview_merge(archive, one.id, other.id)

    one, other, preview = with_archive(look)
    for side in (one, other):
        typer.echo(f"  #{side.id} {side.patient_name or '-'}, {side.birth_date or '-'}, {side.sex or '-'}")
    if preview.differences:
        typer.echo(f"  They differ in: {', '.join(preview.differences)}")
    typer.echo(
        f"  Moves: {', '.join(each.value for each in preview.identifiers)}; visits {preview.visits}, orders "
        f"{preview.orders}, studies {preview.studies} ({preview.instances} images); left as they are: {preview.left}"
    )
    if not yes:
        typer.confirm(f"Shall #{other.id} become part of #{one.id}?", abort=True)

    async def work(archive: Archive) -> tuple[int, list[Effect]]:
        from fileroom.worklist.merges import merge_patients

        versions = preview.survivor_version, preview.retired_version
        return await merge_patients(archive, one.id, other.id, versions=versions, reason=reason)

    number, effects = with_archive(work)
    _tell(effects)
    typer.echo(f"Merge {number}. Taken back by: fileroom patients unmerge {number}")


@app.command("unmerge")
def unmerge(
    number: Annotated[int, typer.Argument(min=1, help="The merge's number, as `show` prints it.")],
    reason: Reason = "",
    yes: Yes = False,
) -> None:
    """Take a merge back: shows what goes back, asks, and does it. Example: `fileroom patients unmerge 12`"""

    async def look(archive: Archive) -> UnmergePreview:
        from fileroom.worklist.merge_preview import preview_unmerge

        return await preview_unmerge(archive, number)

    preview = with_archive(look)
    typer.echo(
        f"  #{preview.retired} gets back from #{preview.owner}: {', '.join(each.value for each in preview.identifiers)}; "
        f"visits {preview.visits}, orders {preview.orders}, studies {preview.studies} ({preview.instances} images)"
    )
    if not yes:
        typer.confirm(f"Take merge {number} back?", abort=True)

    async def work(archive: Archive) -> list[Effect]:
        from fileroom.worklist.merges import unmerge as take_back

        return await take_back(archive, number, reason=reason)

    _tell(with_archive(work))


async def _find(archive: Archive, who: str) -> PatientDetail:
    """Raises NotFoundError; InvalidRequestError where several have that number."""
    from fileroom.core.errors import InvalidRequestError, NotFoundError
    from fileroom.worklist.patient_search import get_patient, search_patients

    if who.startswith("#") and who[1:].isascii() and who[1:].isdigit():
        return await get_patient(archive, int(who[1:]))
    found = [one for one in await search_patients(archive, who, limit=200) if who in (one.patient_id, *one.others)]
    if not found:
        raise NotFoundError(f"There is no patient with the number {who}. 'fileroom patients search' finds names too.")
    if len(found) > 1:
        rows = ", ".join(f"#{one.id} ({one.authority or 'no authority'})" for one in found)
        raise InvalidRequestError(f"Several patients have the number {who}: {rows}. Name one by its row.")
    return await get_patient(archive, found[0].id)


def _tell(effects: list[Effect]) -> None:
    for effect in effects:
        typer.echo(f"  {effect.words}")
