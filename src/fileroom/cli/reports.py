"""`fileroom reports ...`: reports of studies, as text, PDF and structured report, and told to feeds once more."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli import report_upkeep
from fileroom.cli.output import print_json, print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.reports.files import ReportFile
    from fileroom.reports.report_rows import ReportRow, ReportVersion

app = typer.Typer(help="Reports of studies.", no_args_is_help=True)
app.add_typer(report_upkeep.app)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(min=1, help="The report's number, as 'reports list' shows it.")]
Version = Annotated[int | None, typer.Option(min=1, help="Which version; none: the newest.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="A file; none: standard output.")]
_STATES = "draft, preliminary, final, corrected or cancelled"


@app.command("list")
def list_reports(
    text: Annotated[str, typer.Argument(help="Words of it, its title, a number, a Patient ID or a name.")] = "",
    state: Annotated[str, typer.Option(help=f"Only those that are {_STATES}.")] = "",
    source: Annotated[str, typer.Option(help="Only those of: console, hl7 or dicom.")] = "",
    study: Annotated[str, typer.Option(help="Only those of this Study Instance UID.")] = "",
    before: Annotated[int | None, typer.Option(help="Only those below this number: the next page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List reports, the newest first. Example: `fileroom reports list nodule --state final --json`"""

    async def work(archive: Archive) -> list[ReportRow]:
        from fileroom.reports.facts import ReportSource, ReportState
        from fileroom.reports.reports import ReportFilter, search_reports

        try:
            states = (ReportState(state),) if state else ()
            of_source = ReportSource(source) if source else None
        except ValueError as error:
            raise InvalidRequestError(f"{error}: a state is {_STATES}, a source console, hl7 or dicom.") from error
        return await search_reports(archive, ReportFilter(text, states, of_source, study), before=before, limit=limit)

    found = with_archive(work)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
    elif not found:
        typer.echo("There is no such report. They are written in the console, or come by HL7 or DICOM.", err=True)
    else:
        print_rows(
            ["number", "changed", "state", "version", "source", "accession", "patient", "title"],
            [_Row(one) for one in found],
            as_json=False,
        )


@app.command("show")
def show(number: Number, version: Version = None, as_json: Json = False) -> None:
    """Show a report's words and versions. Example: `fileroom reports show 17 --version 1`"""

    async def work(archive: Archive) -> tuple[ReportRow, list[ReportVersion]]:
        from fileroom.reports.reports import get_report, get_versions

        return await get_report(archive, number), await get_versions(archive, number, version)

    report, versions = with_archive(work)
    if as_json:
        said = [dataclasses.asdict(one) for one in versions]
        for each in said:
            del each["content"]["document"]
        print_json({**dataclasses.asdict(report), "versions": said})
        return
    typer.echo(f"Report {report.id}, {report.state.value}: {report.title or 'without a title'}")
    typer.echo(f"  study {report.study_instance_uid or '-'}, accession {report.accession_number or '-'}")
    for one in versions:
        typer.echo(f"  version {one.version}, {one.state.value}, {one.made_at:%Y-%m-%d %H:%M} by {one.made_by}")
    for section in versions[0].content.sections if versions else ():
        typer.echo(f"\n{section.heading}\n{section.text}".rstrip())
    for addendum in versions[0].content.addenda if versions else ():
        typer.echo(f"\nAddendum by {addendum.by}, {addendum.at:%Y-%m-%d %H:%M}\n{addendum.text}")


@app.command("pdf")
def pdf(number: Number, output: Output = None, version: Version = None) -> None:
    """Write a report as PDF, as it was received or printed. Example: `fileroom reports pdf 17 -o report.pdf`"""

    async def work(archive: Archive) -> ReportFile:
        from fileroom.reports.files import report_document

        return await report_document(archive, number, version)

    _write(with_archive(work), output)


@app.command("sr")
def sr(number: Number, output: Output = None, version: Version = None) -> None:
    """Write a report as structured report, a DICOM file. Example: `fileroom reports sr 17 -o report.dcm`"""

    async def work(archive: Archive) -> ReportFile:
        from fileroom.reports.files import report_sr

        return await report_sr(archive, number, version)

    _write(with_archive(work), output)


@app.command("send")
def send(number: Number, feed: Annotated[str, typer.Argument(help="A feed out.")]) -> None:
    """Tell a feed the newest version once more, behind what waits. Example: `fileroom reports send 17 ris-out`"""

    async def work(archive: Archive) -> int:
        from fileroom.feeds.report_outbox import send_report

        return await send_report(archive, number, feed)

    typer.echo(f"Queued as message {with_archive(work)} for {feed}.")


# --- helpers ---


class _Row:
    """A line of the list."""

    def __init__(self, one: ReportRow) -> None:
        self.number, self.state, self.version, self.title = one.id, one.state.value, one.version, one.title
        self.changed = f"{one.changed_at:%Y-%m-%d %H:%M}"
        self.source = f"{one.source.value} {one.source_name}".strip()
        self.accession, self.patient = one.accession_number, one.patient_id


def _write(found: ReportFile, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(found.data)
        return
    try:
        output.write_bytes(found.data)
    except OSError as error:
        raise InvalidRequestError(f"{output} cannot be written: {error.strerror}.") from error
    typer.echo(f"Wrote {output}: {found.media_type}, {len(found.data)} bytes.")
