"""`fileroom audit search|verify|export`: who did what, and whether the trail is whole."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from fileroom.cli.output import print_json, with_current_settings, with_database
from fileroom.core.errors import ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.audit_chain import ChainEnd
    from fileroom.admin.audit_search import AuditQuery, AuditRecord
    from fileroom.admin.audit_verify import AuditVerifyReport
    from fileroom.core.settings import Settings
    from fileroom.db.pool import Pool

app = typer.Typer(help="The audit trail: who did what, when and from where.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Patient = Annotated[str, typer.Option("--patient", help="Patient ID.")]
User = Annotated[str, typer.Option("--user", help="Login, token, AE title or AET@address.")]
Study = Annotated[str, typer.Option("--study", help="Study Instance UID.")]
Since = Annotated[str, typer.Option("--from", help="From then on: 2026-03-01, 2026-03-01T08:00+01:00, or 7d ago.")]
Until = Annotated[str, typer.Option("--to", help="Up to this day (with it) or moment (without it).")]
Event = Annotated[
    str, typer.Option("--event", help="Kind of event: login, view, export ... (docs/audit.md), or a code.")
]
Address = Annotated[str, typer.Option("--address", help="Where it was asked from, for example 10.1.2.3.")]
Outcome = Annotated[str, typer.Option("--outcome", help="failure or success.")]
Failures = Annotated[bool, typer.Option("--failures", help="Only what failed or was refused: --outcome failure.")]

_FORMATS: Final = ("jsonl", "xml", "csv")


@app.command("search")
def search_command(
    patient: Patient = "",
    user: User = "",
    study: Study = "",
    since: Since = "",
    until: Until = "",
    event: Event = "",
    address: Address = "",
    outcome: Outcome = "",
    failures: Failures = False,
    limit: Annotated[int, typer.Option(help="How many, the latest first.")] = 100,
    cursor: Annotated[str, typer.Option(help="Go on where a page ended.")] = "",
    as_json: Json = False,
) -> None:
    """Search the audit trail, the latest first. Example: `fileroom audit search --patient 4711 --from 2026-01-01`"""
    from fileroom.admin.audit_search import search
    from fileroom.admin.audit_xml import to_json_line

    words = _words(patient, user, study, since, until, event, address, outcome, failures)
    query = dataclasses.replace(_query(words), limit=limit, cursor=cursor)
    page = with_database(lambda pool: search(pool, query))
    if as_json:
        lines = b",\n".join(to_json_line(record) for record in page.records)
        typer.echo(f'{{"events": [{lines.decode()}], "next_cursor": "{page.next_cursor}"}}')
        return
    for record in page.records:
        typer.echo(_line(record))
    if page.next_cursor:
        typer.echo(f"There are more: --cursor {page.next_cursor}", err=True)


@app.command("verify")
def verify_command(
    checkpoint: Annotated[
        str, typer.Option(help="POSITION:CHAIN as noted elsewhere, from the log or an earlier verify.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check every event against its seal and the chain of seals. Exits with 1 if something is wrong.

    Example: `fileroom audit verify --checkpoint 1204:9f86d081...`
    """
    from fileroom.admin.audit_checks import note_check
    from fileroom.admin.audit_verify import verify_trail

    expected = _checkpoint(checkpoint) if checkpoint else None

    async def check(pool: Pool) -> AuditVerifyReport:
        report = await verify_trail(pool, expected=expected)
        await note_check(pool, report)
        return report

    report = with_database(check)
    if as_json:
        print_json(_as_json(report))
    else:
        _show(report)
    if report.findings:
        raise typer.Exit(1)


@app.command("export")
def export_command(
    target: Annotated[Path, typer.Argument(help="New file; - for standard output.")],
    form: Annotated[
        str, typer.Option("--format", help="jsonl (a line each), xml (PS3.15 A.5, a message a line) or csv.")
    ] = "jsonl",
    patient: Patient = "",
    user: User = "",
    study: Study = "",
    since: Since = "",
    until: Until = "",
    event: Event = "",
    address: Address = "",
    outcome: Outcome = "",
    failures: Failures = False,
) -> None:
    """Write events to a file, the latest first. Example: `fileroom audit export march.xml --format xml --from 2026-03-01`"""
    if form not in _FORMATS:
        raise InvalidRequestError(f"There is no format {form}; choose jsonl, xml or csv.")
    from fileroom.admin.audit_export import export_pieces
    from fileroom.admin.audit_forward import source_of

    query = _query(_words(patient, user, study, since, until, event, address, outcome, failures))

    async def write(pool: Pool, settings: Settings, file: BinaryIO) -> int:
        count = 0
        async for piece, events in export_pieces(pool, query, form, source_of(settings)):
            file.write(piece)
            count += events
        return count

    if str(target) == "-":
        with_current_settings(lambda pool, settings: write(pool, settings, sys.stdout.buffer))
        return
    try:
        file = target.open("xb")
    except FileExistsError as error:
        raise ConflictError(f"{target} exists; choose another name.") from error
    with file:
        count = with_current_settings(lambda pool, settings: write(pool, settings, file))
    typer.echo(f"Exported {count} events to {target}.")


def _words(
    patient: str,
    user: str,
    study: str,
    since: str,
    until: str,
    event: str,
    address: str,
    outcome: str,
    failures: bool,
) -> dict[str, str]:
    """What was asked for, in the words of `admin.audit_filter`."""
    return {
        "patient": patient,
        "user": user,
        "study": study,
        "from": since,
        "to": until,
        "event": event,
        "address": address,
        "outcome": "failure" if failures else outcome,
    }


def _query(words: dict[str, str]) -> AuditQuery:
    from fileroom.admin.audit_filter import read_filter

    return read_filter(words, dt.datetime.now(dt.UTC))


def _checkpoint(written: str) -> ChainEnd:
    from fileroom.admin.audit_chain import ChainEnd

    position, _, chain = written.partition(":")
    try:
        if not 0 < int(position) < 1 << 63 or len(bytes.fromhex(chain)) != 32:
            raise ValueError(written)
        return ChainEnd(int(position), bytes.fromhex(chain))
    except ValueError as error:
        raise InvalidRequestError("A checkpoint is POSITION:CHAIN, a number and 64 hexadecimal digits.") from error


def _line(record: AuditRecord) -> str:
    from fileroom.admin.audit_sentences import sentence_of

    at = record.occurred_at.astimezone().isoformat(sep=" ", timespec="seconds")
    who = f"{record.actor or 'nobody'} ({record.address})" if record.address else record.actor or "nobody"
    failed = "  FAILED" if record.outcome else ""
    return f"{at}  {who}{failed}  {sentence_of(record)}{''.join(f'  study {one}' for one in record.study_uids)}"


def _show(report: AuditVerifyReport) -> None:
    typer.echo(f"{report.events} events checked, {report.waiting} wait for their seal.")
    if report.kept_since is not None:
        typer.echo(f"What is from before {report.kept_since:%Y-%m-%d} was deleted by the retention.")
    for finding in report.findings:
        at = f" of {finding.occurred_at.isoformat()}" if finding.occurred_at else ""
        typer.echo(
            f"{finding.kind}: position {finding.position}, event {finding.event_id}{at}: {finding.detail}", err=True
        )
    if not report.findings:
        typer.echo(f"The trail is whole. Checkpoint to note: {report.end.position}:{report.end.chain.hex()}")


def _as_json(report: AuditVerifyReport) -> dict[str, object]:
    return {
        "events": report.events,
        "waiting": report.waiting,
        "kept_since": report.kept_since,
        "checkpoint": f"{report.end.position}:{report.end.chain.hex()}",
        "findings": report.findings,
    }
