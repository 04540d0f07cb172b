"""`fileroom alerts ...`: what is alarming, who takes care of it, and when something is an alert."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.routing.alert_rules import Condition
    from fileroom.routing.alerts import Alert

app = typer.Typer(help="What is alarming about routing and the disk.", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The condition's name.")]
_COLUMNS = ["id", "state", "severity", "condition_name", "subject", "began_at", "sentence"]


@app.callback()
def alerts(
    context: typer.Context,
    ended: Annotated[bool, typer.Option("--ended", help="What was alarming and is over.")] = False,
    as_json: Json = False,
) -> None:
    """List what is alarming now. Example: `fileroom alerts --json`"""
    if context.invoked_subcommand is not None:
        return

    async def work(archive: Archive) -> list[Alert]:
        from fileroom.routing.alerts import list_alerts

        return await list_alerts(archive, ended=ended)

    found = with_archive(work)
    if not found and not as_json:
        typer.echo("Nothing is alarming." if not ended else "Nothing was alarming.")
        return
    print_rows(_COLUMNS, found, as_json=as_json)


@app.command("acknowledge")
def acknowledge(
    number: Annotated[int, typer.Argument(help="The alert's number, as the list tells it.")],
    note: Annotated[str, typer.Option(help="What is done about it.")] = "",
) -> None:
    """Say that somebody takes care of an alert. Example: `fileroom alerts acknowledge 7 --note 'The line is repaired'`"""

    async def work(archive: Archive) -> Alert:
        from fileroom.routing.alerts import acknowledge_alert

        return await acknowledge_alert(archive, number, note)

    typer.echo(f"Acknowledged: {with_archive(work).sentence}")


@app.command("conditions")
def conditions(as_json: Json = False) -> None:
    """List when something is an alert. Example: `fileroom alerts conditions --json`"""
    from fileroom.routing.alerts import list_conditions

    found = with_archive(list_conditions)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
        return
    if not found:
        typer.echo("There is no condition yet. 'fileroom alerts usual' adds the usual ones.", err=True)
        return
    print_rows(["name", "kind", "above", "severity", "quiet", "repeat_min", "enabled"], found, as_json=False)


@app.command("add")
def add(
    name: Name,
    kind: Annotated[
        str,
        typer.Option(
            help="queue_age, failure_rate, dead_letters, quarantined, destination_down, disk, rule_error, routing_loop, "
            "edge_silent, feed_silent, messages_failed or critical_overdue."
        ),
    ],
    above: Annotated[float | None, typer.Option(help="The limit: minutes, percent or a number.")] = None,
    to: Annotated[list[str] | None, typer.Option("--notify", help="A mail or webhook destination. Repeatable.")] = None,
    destination: Annotated[list[str] | None, typer.Option(help="Only about this destination. Repeatable.")] = None,
    severity: Annotated[str, typer.Option(help="critical or warning.")] = "warning",
    window: Annotated[int, typer.Option(help="Minutes that a rate is taken over.")] = 15,
    quiet: Annotated[str, typer.Option(help="A schedule: while it is open, nobody is told.")] = "",
    repeat: Annotated[int, typer.Option(help="Minutes after which people are told again. 0: never.")] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one that is there.")] = False,
) -> None:
    """Add a condition. Example: `fileroom alerts add 'PACS waits' --kind queue_age --above 30 --notify desk`"""
    fields: dict[str, Any] = {
        "kind": kind,
        "notify": to or [],
        "destinations": destination or [],
        "severity": severity,
        "window_min": window,
        "quiet": quiet,
        "repeat_min": repeat,
    }
    if above is not None:
        fields["above"] = above

    async def work(archive: Archive) -> Condition:
        from fileroom.routing.alerts import put_condition

        return await put_condition(archive, name, fields, new=None if replace else True)

    made = with_archive(work)
    typer.echo(f"{made.name}: {made.kind.value} above {made.above:g}.")


@app.command("usual")
def usual() -> None:
    """Add the usual conditions that are not there yet. Example: `fileroom alerts usual`"""
    from fileroom.routing.alerts import add_usual_alerts

    added = with_archive(add_usual_alerts)
    typer.echo(f"Added {len(added)} conditions. Say with 'alerts add --replace ... --notify' who is told.")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a condition; what fires because of it ends. Example: `fileroom alerts remove 'PACS waits'`"""
    from fileroom.routing.alerts import remove_condition

    with_archive(lambda archive: remove_condition(archive, name))
    typer.echo(f"Removed {name}.")
