"""The `fileroom` command: its sub-commands, and the one place where errors become exit codes.

Exit 0: done. 1: Fileroom or a peer failed. 2: asked wrongly. The reason is one line on standard error.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fileroom import __version__
from fileroom.cli import (
    alerts,
    archive,
    associations,
    audit,
    certificates,
    configuration,
    deid,
    deliveries,
    destinations,
    doctor,
    edge,
    exceptions,
    hl7,
    network,
    nodes,
    orders,
    patients,
    people,
    prefetch,
    reports,
    routing,
    schedules,
    server,
    simulate,
    sources,
    treatments,
    worklist,
)
from fileroom.core.access import SYSTEM, set_process_access
from fileroom.core.errors import FileroomError, RequestError
from fileroom.core.logs import configure_logs

app = typer.Typer(
    name="fileroom",
    help="An open PACS and the desk of the person who runs it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(nodes.app, name="node")
app.add_typer(associations.app, name="associations")
app.add_typer(audit.app, name="audit")
app.add_typer(certificates.app, name="certificate")
app.add_typer(configuration.app, name="config")
app.add_typer(deid.app, name="deid")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(destinations.app, name="destination")
app.add_typer(edge.app, name="edge")
app.add_typer(exceptions.app, name="exceptions")
app.add_typer(orders.app, name="order")
app.add_typer(orders.procedure_app, name="procedure")
app.add_typer(patients.app, name="patients")
app.add_typer(reports.app, name="reports")
app.add_typer(hl7.app, name="hl7")
app.add_typer(schedules.app, name="schedule")
app.add_typer(alerts.app, name="alerts")
app.add_typer(treatments.app, name="treatment")
app.add_typer(worklist.app, name="worklist")
app.add_typer(prefetch.app, name="prefetch")
app.add_typer(sources.app, name="source")
app.add_typer(routing.app, name="route")
app.add_typer(people.user_app, name="user")
app.add_typer(people.token_app, name="token")
for _module in (server, archive, network, doctor, simulate):
    _module.add_commands(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"Fileroom {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """An open PACS and the desk of the person who runs it."""


def main() -> None:
    """Run the command line and exit."""
    set_process_access(SYSTEM)
    configure_logs("ERROR", "cli")  # what the services warn of, commands say themselves
    try:
        app()
    except RequestError as error:
        _fail(error, 2)
    except _failures() as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _failures() -> tuple[type[Exception], ...]:
    """Our own errors, and psycopg's if the command has loaded it; one that only asks a peer has not."""
    psycopg = sys.modules.get("psycopg")
    return (FileroomError, psycopg.Error) if psycopg else (FileroomError,)


def _fail(error: Exception, code: int) -> None:
    sys.stdout.flush()
    typer.echo(f"fileroom: {error}", err=True)
    sys.exit(code)
