"""`fileroom exceptions ...`: studies that met no order, and what may be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.worklist.exceptions import ExceptionRow, ExceptionView

app = typer.Typer(help="Studies that met no order, or met one that says otherwise.", no_args_is_help=True)
matching_app = typer.Typer(help="How studies meet orders, by node.", no_args_is_help=True)
app.add_typer(matching_app, name="matching")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Study = Annotated[str, typer.Argument(help="Study Instance UID.")]
Studies = Annotated[list[str], typer.Argument(help="Study Instance UIDs.")]

_COLUMNS = ("study_instance_uid", "found_at", "patient_id", "patient_name", "accession_number", "study_date")


@app.command("list")
def list_(
    state: Annotated[str, typer.Option("--state", help="open, fixed or dismissed.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the queue, the newest first, with the reasons and the orders that come near.

    Example: `fileroom exceptions list --json`
    """

    async def work(archive: Archive) -> list[ExceptionRow]:
        from fileroom.worklist.exceptions import list_exceptions

        return await list_exceptions(archive, state=state, limit=limit)

    rows = with_archive(work)
    from fileroom.worklist.exceptions import reason_text

    if as_json:
        print_rows(
            (*_COLUMNS, "state", "reasons", "candidates", "modalities", "instances", "note", "ended_by", "ended_at"),
            rows,
            as_json=True,
        )
        return
    for row in rows:
        why = " ".join(reason_text(one) for one in row.reasons)
        near = (
            ", ".join(f"order {one['order']} ({one['score']})" for one in row.candidates[:3]) or "no order comes near"
        )
        typer.echo(f"{row.study_instance_uid}  {row.patient_id}  {row.accession_number or '-'}  {why}  [{near}]")


@app.command("show")
def show(study: Study, as_json: AsJson = False) -> None:
    """Show the orders that come near to a study now, with what agrees and what differs.

    Example: `fileroom exceptions show 1.2.826.0.1.3680043.8.498.1`
    """

    async def work(archive: Archive) -> ExceptionView:
        from fileroom.worklist.exceptions import get_exception

        return await get_exception(archive, study)

    view = with_archive(work)
    from fileroom.worklist.match_score import order_name

    found: list[dict[str, Any]] = [
        {
            "order": one.order.id,
            "name": order_name(one.order),
            "score": one.score,
            "findings": [
                {
                    "evidence": each.evidence.value,
                    "agrees": each.agrees,
                    "of_study": each.of_study,
                    "of_order": each.of_order,
                }
                for each in one.findings
            ],
        }
        for one in view.looked.ranked
    ]
    if as_json:
        print_json({"study": study, "matched_order": view.match.order if view.match else None, "candidates": found})
        return
    if view.match:
        typer.echo(f"It has met the order {view.match.order} ({view.match.how}, by {view.match.matched_by}).")
    for one in found:
        typer.echo(f"order {one['order']} ({one['name']}): {one['score']} points")
        for each in one["findings"]:
            sign = "=" if each["agrees"] else "!"
            typer.echo(f"  {sign} {each['evidence']}: {each['of_study']} / {each['of_order']}")


@app.command("fix")
def fix(
    study: Study,
    order: Annotated[
        int | None, typer.Option("--order", help="Number of the order; left out: the best candidate.")
    ] = None,
) -> None:
    """Say which order a study is of; it takes over what the order says.

    Example: `fileroom exceptions fix 1.2.826.0.1.3680043.8.498.1 --order 17`
    """

    async def work(archive: Archive) -> int:
        from fileroom.core.errors import InvalidRequestError
        from fileroom.worklist.exceptions import fix_exception, get_exception

        number = order
        if number is None:
            ranked = (await get_exception(archive, study)).looked.ranked
            if not ranked or ranked[0].patient_differences:
                raise InvalidRequestError("No order stands out, or the patient differs. Say which it is with --order.")
            number = ranked[0].order.id
        await fix_exception(archive, study, number)
        return number

    typer.echo(f"{study} is of order {with_archive(work)}.")


@app.command("undo")
def undo(studies: Studies) -> None:
    """Take back what was said last of studies: their match with all that was taken over, or that they were dismissed.

    Example: `fileroom exceptions undo 1.2.826.0.1.3680043.8.498.1`
    """

    async def work(archive: Archive) -> None:
        from fileroom.worklist.exceptions import undo_exception

        for study in studies:
            await undo_exception(archive, study)

    with_archive(work)
    typer.echo(f"{len(studies)} undone.")


@app.command("dismiss")
def dismiss(
    studies: Studies, note: Annotated[str, typer.Option("--note", help="Why no order belongs to them.")] = ""
) -> None:
    """No order will come for these studies.

    Example: `fileroom exceptions dismiss 1.2.826.0.1.3680043.8.498.1 --note "phantom, quality control"`
    """

    async def work(archive: Archive) -> int:
        from fileroom.worklist.exceptions import dismiss_exceptions

        return await dismiss_exceptions(archive, studies, note)

    typer.echo(f"{with_archive(work)} dismissed.")


@app.command("count")
def count(as_json: AsJson = False) -> None:
    """Count what waits: studies, their images, and orders without images.

    Example: `fileroom exceptions count --json`
    """

    async def work(archive: Archive) -> dict[str, int]:
        from fileroom.worklist.exceptions import exception_counts

        found = await exception_counts(archive)
        return {
            "studies": found.studies,
            "images": found.images,
            "orders_without_images": found.orders_without_images,
        }

    counts = with_archive(work)
    if as_json:
        print_json(counts)
        return
    for name, number in counts.items():
        typer.echo(f"{name.replace('_', ' ')}: {number}")


@matching_app.command("put")
def put(
    name: Annotated[str, typer.Argument(help="AE title of the node that sends, or default.")],
    take_over: Annotated[
        list[str] | None, typer.Option("--take-over", help="Keyword that is taken over. Repeatable.")
    ] = None,
    score_min: Annotated[int, typer.Option(help="Points that a match by itself needs; 101: never.")] = 80,
) -> None:
    """Say what images of a node take over from their order, and when they meet it by themselves.

    Example: `fileroom exceptions matching put CT1 --take-over PatientName --take-over AccessionNumber --score-min 90`
    """

    async def work(archive: Archive) -> str:
        from fileroom.worklist.coercion import USUAL, put_coercion

        fields = {"attributes": take_over if take_over is not None else list(USUAL), "score_min": score_min}
        return (await put_coercion(archive, name, fields)).name

    typer.echo(f"Saved {with_archive(work)}.")


@matching_app.command("list")
def list_matching(as_json: AsJson = False) -> None:
    """List how studies meet orders. Example: `fileroom exceptions matching list --json`"""

    async def work(archive: Archive) -> list[dict[str, Any]]:
        from fileroom.worklist.coercion import list_coercions

        return [{"name": one.name, **one.fields} for one in await list_coercions(archive)]

    found = with_archive(work)
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(
            f"{one['name']}: from {one['score_min']} points, {', '.join(one['attributes']) or 'nothing'} taken over"
        )


@matching_app.command("remove")
def remove_matching(name: Annotated[str, typer.Argument(help="AE title, or default.")]) -> None:
    """Let a node be as all others. Example: `fileroom exceptions matching remove CT1`"""

    async def work(archive: Archive) -> None:
        from fileroom.worklist.coercion import remove_coercion

        await remove_coercion(archive, name)

    with_archive(work)
    typer.echo(f"Removed {name}.")
