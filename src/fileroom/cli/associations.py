"""`fileroom associations`: who called, whom Fileroom called, what happened, and what to do about what failed."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fileroom.cli.output import print_json, print_rows, settings_or_exit, with_archive

if TYPE_CHECKING:
    from fileroom.admin.ledger_search import AssociationEntry
    from fileroom.archive.associations import CarriedStudy

app = typer.Typer(help="The association ledger.", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_MARKS: Final = ("ok", "warning", "FAILED")


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    """One association in the list."""

    id: int
    began: str
    peer: str
    way: str
    mark: str
    outcome: str
    objects: int
    seconds: str
    why: str


@app.callback()
def list_associations(
    context: typer.Context,
    failed: Annotated[bool, typer.Option("--failed", help="Only what went wrong.")] = False,
    aet: Annotated[str, typer.Option("--aet", help="AE title of the peer.")] = "",
    host: Annotated[str, typer.Option("--address", help="Address of the peer.")] = "",
    node: Annotated[str, typer.Option("--node", help="Name of a node: its AE title is looked for.")] = "",
    patient: Annotated[str, typer.Option("--patient", help="Patient ID or name, * and ? as wildcards.")] = "",
    since: Annotated[str, typer.Option("--since", help="From then on: 2h, 7d, or 2026-11-22T08:00.")] = "",
    until: Annotated[str, typer.Option("--until", help="Until then, written likewise.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most so many.")] = 50,
    after: Annotated[str, typer.Option("--after", help="Go on behind this place (JSON: place).")] = "",
    as_json: Json = False,
) -> None:
    """List associations, the newest first, with what to do about those that failed.

    Example: `fileroom associations --failed --since 1d`
    """
    if context.invoked_subcommand is not None:
        return
    from fileroom.admin.ledger_search import LedgerFilter, Place
    from fileroom.admin.moments import read_moment
    from fileroom.archive.associations import search_associations

    now = dt.datetime.now(dt.UTC)
    wanted = LedgerFilter(
        aet=aet, host=host, since=read_moment(since, now), until=read_moment(until, now, end=True), failed=failed
    )
    place = Place.parse(after) if after else None

    entries = with_archive(
        lambda archive: search_associations(archive, wanted, patient=patient, node=node, after=place, limit=limit)
    )
    own_aet = settings_or_exit().aet
    if as_json:
        print_json([_as_json(entry, own_aet) for entry in entries])
    else:
        columns = ["id", "began", "peer", "way", "mark", "outcome", "objects", "seconds", "why"]
        print_rows(columns, [_line(entry, own_aet) for entry in entries], as_json=False)


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Its number in the list.")], as_json: Json = False
) -> None:
    """Show one association: what was agreed, every operation, what failed and what to do.

    Example: `fileroom associations show 4711`
    """
    from fileroom.archive.associations import show_association

    entry, studies = with_archive(lambda archive: show_association(archive, number))
    own_aet = settings_or_exit().aet
    if as_json:
        values = _as_json(entry, own_aet) | {
            "contexts": [dataclasses.asdict(context) for context in entry.contexts],
            "operations": [dataclasses.asdict(row) for row in entry.operations],
            "studies": [dataclasses.asdict(study) for study in studies],
        }
        print_json(values)
    else:
        _print_whole(entry, studies, own_aet)


def _line(entry: AssociationEntry, own_aet: str) -> _Line:
    from fileroom.admin.ledger_advice import advise
    from fileroom.admin.ledger_rows import Direction

    incoming = entry.direction is Direction.IN
    advice = advise(entry, own_aet)
    return _Line(
        id=entry.id or 0,
        began=f"{entry.began_at.astimezone():%Y-%m-%d %H:%M:%S}",
        peer=f"{entry.calling_aet if incoming else entry.called_aet}@{entry.peer_host}",
        way="in" if incoming else f"out {entry.purpose}",
        mark=_MARKS[entry.mark],
        outcome=str(entry.outcome),
        objects=entry.objects,
        seconds="" if entry.duration_s is None else f"{entry.duration_s:.1f}",
        why=advice[0].what_text if advice else "",
    )


def _as_json(entry: AssociationEntry, own_aet: str) -> dict[str, Any]:
    from fileroom.admin.ledger_advice import advise

    values = dataclasses.asdict(entry)
    del values["contexts"], values["operations"]
    values["mark"] = _MARKS[entry.mark].lower()
    values["place"] = str(entry.place)
    values["advice"] = [{"what": advice.what_text, "next": advice.next_text} for advice in advise(entry, own_aet)]
    return values


def _print_whole(entry: AssociationEntry, studies: list[CarriedStudy], own_aet: str) -> None:
    from fileroom.admin.ledger_advice import advise
    from fileroom.dicom.uids import uid_name

    line = _line(entry, own_aet)
    typer.echo(f"Association {line.id}: {entry.calling_aet} called {entry.called_aet}, {line.way}, {line.mark}")
    typer.echo(
        f"  {line.began}, {line.seconds or '...'} s, {entry.outcome}{': ' if entry.detail else ''}{entry.detail}"
    )
    typer.echo(
        f"  peer {entry.peer_host}:{entry.peer_port} {entry.implementation_version} {entry.implementation_class_uid}"
    )
    if entry.peer_certificate:
        typer.echo(f"  certificate {entry.peer_certificate}")
    typer.echo(
        f"  {entry.bytes_in} bytes in, {entry.bytes_out} bytes out, {entry.objects} objects, {entry.failures} failures"
    )
    for advice in advise(entry, own_aet):
        typer.echo(f"\n! {advice.what_text}\n  -> {advice.next_text}")
    if entry.contexts:
        typer.echo("\nPresentation contexts")
        results = {
            0: "accepted",
            1: "refused",
            2: "refused",
            3: "no such service here",
            4: "none of these transfer syntaxes",
        }
        for context in entry.contexts:
            syntaxes = ", ".join(
                map(uid_name, (context.transfer_syntax,) if context.is_accepted else context.transfer_syntaxes)
            )
            result = "no answer" if context.result is None else results.get(context.result, str(context.result))
            typer.echo(f"  {context.id:3} {uid_name(context.abstract_syntax)}: {result} ({syntaxes})")
    if entry.operations:
        typer.echo("\nOperations")
        for row in entry.operations:
            status = "-" if row.status is None else f"{row.status:04X}"
            when = f"{row.began_at.astimezone():%H:%M:%S}"
            text = f"  {when} {row.kind} x{row.count} {status} {row.busy_s:.3f} s {row.bytes} bytes"
            about = row.sop_instance_uid or row.series_instance_uid or row.destination
            typer.echo(" ".join(filter(None, (text, about, row.reason))))
    for study in studies:
        typer.echo(f"\nStudy {study.study_instance_uid}: {study.patient_name} {study.patient_id} {study.study_date}")
