"""`fileroom reports reconcile|assign|critical|waiting`: what does not fit, critical findings, what waits for a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.reports.critical import CriticalResult
    from fileroom.reports.reconciliation import Finding
    from fileroom.reports.turnaround import WaitingStudy

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=500, help="At most so many.")]


@app.command("reconcile")
def reconcile(
    kind: Annotated[
        str,
        typer.Argument(
            help="images_without_report, reports_without_images, orders_without_images or reports_on_cancelled."
        ),
    ] = "images_without_report",
    hours: Annotated[int, typer.Option(min=0, help="Only what is older than so many hours.")] = 24,
    dismiss: Annotated[list[str] | None, typer.Option(help="Take this one off the list (needs --reason).")] = None,
    reason: Annotated[str, typer.Option(help="Why nothing is to be done about it.")] = "",
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List what does not fit, or dismiss some of it. Example: `fileroom reports reconcile reports_without_images --json`"""

    async def work(archive: Archive) -> list[Finding]:
        from fileroom.reports.reconciliation import dismiss_findings, list_findings

        if dismiss:
            count = await dismiss_findings(archive, kind, dismiss, reason)
            typer.echo(f"{count} dismissed", err=True)
        return await list_findings(archive, kind, hours=hours, limit=limit)

    columns = ("subject", "reason", "at", "patient_id", "accession_number", "study_instance_uid", "report", "order")
    print_rows(columns, with_archive(work), as_json=as_json)


@app.command("assign")
def assign(
    number: Annotated[int, typer.Argument(min=1, help="The report's number.")],
    study: Annotated[str, typer.Option(help="Study Instance UID that it is of.")] = "",
    order: Annotated[int | None, typer.Option(help="Number of the order that it is of.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    other_patient: Annotated[bool, typer.Option("--other-patient", help="Also where the patient differs.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was said last.")] = False,
) -> None:
    """Say which study or order a report is of. Example: `fileroom reports assign 12 --study 1.2.3 --reason "misdialled"`"""

    async def work(archive: Archive) -> None:
        from fileroom.reports.assignments import assign_report, undo_assignment

        if undo:
            await undo_assignment(archive, number)
        else:
            await assign_report(
                archive, number, study_uid=study, order=order, reason=reason, other_patient=other_patient
            )

    with_archive(work)


@app.command("critical")
def critical(
    acknowledged: Annotated[bool, typer.Option("--acknowledged", help="Those that somebody acknowledged.")] = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List critical findings, those that are due first. Example: `fileroom reports critical --json`"""

    async def work(archive: Archive) -> list[CriticalResult]:
        from fileroom.reports.critical import list_critical

        return await list_critical(archive, acknowledged=acknowledged, limit=limit)

    columns = ("id", "report", "level", "due_at", "finding", "told_to", "acknowledged_by", "how", "patient_id")
    print_rows(columns, with_archive(work), as_json=as_json)


@app.command("waiting")
def waiting(
    days: Annotated[int, typer.Option(help="Received in so many days: 1, 7, 30, 90 or 365.")] = 7,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List studies that wait for a signed report, those that are due first. Example: `fileroom reports waiting --days 30`"""

    async def work(archive: Archive) -> list[WaitingStudy]:
        from fileroom.reports.turnaround import BoardFilter, list_waiting

        return await list_waiting(archive, BoardFilter(days=days), limit=limit)

    columns = ("due_at", "priority", "modality", "study_instance_uid", "patient_id", "accession_number", "state")
    print_rows(columns, with_archive(work), as_json=as_json)
