"""`fileroom deliveries`: the delivery ledger, and what may be done about what stands in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.routing.deliveries import Changed, DeliveryFilter, DeliveryRow

app = typer.Typer(
    help="Objects on their way to destinations: state, cause, attempts.",
    invoke_without_command=True,
    no_args_is_help=False,
)

State = Annotated[list[str] | None, typer.Option("--state", help="Only those in this state. Repeatable.")]
To = Annotated[str, typer.Option("--destination", help="Only those to this destination.")]
Study = Annotated[str, typer.Option("--study", help="Only those of this Study Instance UID.")]
Ids = Annotated[list[int] | None, typer.Option("--id", help="Only these. Repeatable.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit trail.")]

_COLUMNS = ("id", "destination", "state", "cause", "attempts", "study_instance_uid", "sop_instance_uid", "due_at")


@app.callback()
def deliveries(
    context: typer.Context,
    state: State = None,
    destination: To = "",
    study: Study = "",
    limit: Annotated[int, typer.Option(help="At most so many, the newest first; 0: all.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List deliveries, the newest first: one line for each object and destination.

    Example: `fileroom deliveries --state failed --json`
    """
    if context.invoked_subcommand is not None:
        return
    wanted = _filter(state, destination, study, None)

    async def work(archive: Archive) -> list[DeliveryRow]:
        from fileroom.routing.deliveries import export_deliveries

        found: list[DeliveryRow] = []
        async for row in export_deliveries(archive, wanted):
            found.append(row)
            if limit and len(found) >= limit:
                break
        return found

    rows = with_archive(work)
    print_rows(_COLUMNS, rows, as_json=as_json)


@app.command("retry")
def retry(reason: Reason, state: State = None, destination: To = "", study: Study = "", one: Ids = None) -> None:
    """Send again, now, what failed, was cancelled or waits for its next try.

    Example: `fileroom deliveries retry --destination WS1 --state failed --reason "disk is free again"`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import retry_deliveries

        return await retry_deliveries(archive, _filter(state, destination, study, one), reason)

    _tell(work, "sent again")


@app.command("hold")
def hold(reason: Reason, state: State = None, destination: To = "", study: Study = "", one: Ids = None) -> None:
    """Keep back what waits.

    Example: `fileroom deliveries hold --destination WS1 --reason "upgrade tonight"`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import hold_deliveries

        return await hold_deliveries(archive, _filter(state, destination, study, one), reason)

    _tell(work, "held")


@app.command("release")
def release(reason: Reason, state: State = None, destination: To = "", study: Study = "", one: Ids = None) -> None:
    """Let go what is held.

    Example: `fileroom deliveries release --destination WS1 --reason "upgrade is done"`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import release_deliveries

        return await release_deliveries(archive, _filter(state, destination, study, one), reason)

    _tell(work, "released")


@app.command("cancel")
def cancel(reason: Reason, state: State = None, destination: To = "", study: Study = "", one: Ids = None) -> None:
    """Never send.

    Example: `fileroom deliveries cancel --study 1.2.3 --destination WS1 --reason "wrong patient"`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import cancel_deliveries

        return await cancel_deliveries(archive, _filter(state, destination, study, one), reason)

    _tell(work, "cancelled")


@app.command("redirect")
def redirect(
    to: Annotated[str, typer.Option("--to", help="The destination that shall get them instead.")],
    reason: Reason,
    state: State = None,
    destination: To = "",
    study: Study = "",
    one: Ids = None,
) -> None:
    """Send to another destination what has not been delivered.

    Example: `fileroom deliveries redirect --destination WS1 --to WS2 --reason "WS1 is being repaired"`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import redirect_deliveries

        return await redirect_deliveries(archive, _filter(state, destination, study, one), to, reason)

    _tell(work, f"redirected to {to}")


@app.command("send")
def send(
    studies: Annotated[list[str], typer.Argument(help="Study Instance UIDs.")],
    to: Annotated[str, typer.Option("--to", help="The destination.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit trail.")] = "",
) -> None:
    """Order that studies be delivered to a destination; what it has got already, it does not get again.

    Example: `fileroom deliveries send 1.2.3 --to WS1`
    """

    async def work(archive: Archive) -> Changed:
        from fileroom.routing.deliveries import order_delivery

        return await order_delivery(archive, studies, to, reason)

    _tell(work, f"ordered to {to}")


def _filter(state: list[str] | None, destination: str, study: str, ids: list[int] | None) -> DeliveryFilter:
    from fileroom.routing.deliveries import DeliveryFilter
    from fileroom.routing.delivery_rows import DeliveryState

    known = [one.value for one in DeliveryState]
    for one in state or ():
        if one not in known:
            raise InvalidRequestError(f"There is no state {one}; there are {', '.join(known)}.")
    return DeliveryFilter(tuple(ids or ()), tuple(state or ()), destination=destination, study_instance_uid=study)


def _tell(work: Callable[[Archive], Awaitable[Changed]], word: str) -> None:
    changed = with_archive(work)
    typer.echo(f"{changed.deliveries} deliveries of {changed.studies} studies {word}.")
