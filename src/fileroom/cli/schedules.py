"""`fileroom schedule ...`: when destinations are sent to, and when alerts keep quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.routing.schedules import NamedSchedule

app = typer.Typer(help="When destinations are sent to, and when alerts keep quiet.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The schedule's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("add")
def add(
    name: Name,
    window: Annotated[
        list[str] | None,
        typer.Option("--window", help="Days and hours, for example 'mon-fri 18:00-06:00'. Repeatable. None: always."),
    ] = None,
    holidays: Annotated[str, typer.Option(help="Country, or a part of one: DE, DE-BY, US-NY.")] = "",
    date: Annotated[
        list[str] | None, typer.Option("--date", help="A holiday of the house: 2026-12-24, or 12-24. Repeatable.")
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of the hours.")] = "UTC",
    replace: Annotated[bool, typer.Option("--replace", help="Change the one that is there.")] = False,
) -> None:
    """Add a schedule. On holidays only windows that name `holiday` (or `daily`) are open.

    Example: `fileroom schedule add nights --window 'mon-fri 18:00-06:00' --window 'sat,sun,holiday 00:00-24:00'
    --holidays DE-BY --zone Europe/Berlin`
    """
    from fileroom.routing.calendars import windows_from_text

    fields: dict[str, Any] = {
        "windows": windows_from_text("\n".join(window or ())),
        "holidays": holidays,
        "dates": date or [],
        "zone": zone,
    }

    async def work(archive: Archive) -> NamedSchedule:
        from fileroom.routing.schedules import put_schedule

        return await put_schedule(archive, name, fields, new=None if replace else True)

    made = with_archive(work)
    typer.echo(f"{made.name} is {_state(made)}.")


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """List the schedules, and whether they are open now. Example: `fileroom schedule list --json`"""
    from fileroom.routing.calendars import windows_to_text
    from fileroom.routing.schedules import list_schedules

    found = with_archive(list_schedules)
    if as_json:
        print_json([_document(one) for one in found])
        return
    if not found:
        typer.echo("There is no schedule yet. 'fileroom schedule add --help' shows how to make one.", err=True)
        return
    rows = []
    for one in found:
        hours = windows_to_text(one.schedule).replace("\n", "; ") or "always"
        rows.append(_Row(one.name, _state(one), hours, one.schedule.holidays, one.schedule.zone))
    print_rows(["name", "now", "hours", "holidays", "zone"], rows, as_json=False)


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a schedule that nothing keeps to. Example: `fileroom schedule remove nights`"""
    from fileroom.routing.schedules import remove_schedule

    with_archive(lambda archive: remove_schedule(archive, name))
    typer.echo(f"Removed {name}.")


class _Row:
    """A line of the list."""

    def __init__(self, name: str, now: str, hours: str, holidays: str, zone: str) -> None:
        self.name, self.now, self.hours, self.holidays, self.zone = name, now, hours, holidays, zone


def _document(one: NamedSchedule) -> dict[str, Any]:
    changes_at = one.changes_at.isoformat() if one.changes_at else None
    state = {"enabled": one.enabled, "open": one.open_now, "changes_at": changes_at, "version": one.version}
    return {"name": one.name, **one.fields, **state}


def _state(one: NamedSchedule) -> str:
    if not one.enabled:
        return "disabled (always open)"
    word = "open" if one.open_now else "closed"
    return f"{word} until {one.changes_at:%Y-%m-%d %H:%M} UTC" if one.changes_at else word
