"""`fileroom serve`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.panel import Panel

from fileroom.app.supervisor import Supervisor
from fileroom.cli.output import settings_or_exit
from fileroom.core.settings import Settings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(serve)


def serve(
    demo: Annotated[bool, typer.Option("--demo", help="On an empty archive, add the demo studies.")] = False,
) -> None:
    """Run Fileroom until Ctrl-C: database, DICOM port, web port, background work.

    Example: `FILEROOM_DATA=/srv/fileroom fileroom serve`
    """
    settings = settings_or_exit()
    extra = ("fileroom.app.demo_worker",) if demo else ()
    Supervisor(settings, lambda: _show_address(settings), extra).run()


def _show_address(settings: Settings) -> None:
    web = f"http://{settings.web_host}:{settings.http_port}"
    text = (
        f"Web       [bold]{web}/[/bold]\n"
        f"DICOMweb  {web}/dicom-web\n"
        f"DICOM     AE title [bold]{settings.aet}[/bold] at {settings.host}:{settings.dicom_port}\n"
        f"Log in    not needed yet: the web port answers this machine only\n"
        f"Data      {settings.data.resolve()}\n\n"
        f"Send images: [bold]storescu -aec {settings.aet} {settings.host} {settings.dicom_port} FILE...[/bold]   "
        "Stop: Ctrl-C"
    )
    Console().print(Panel(text, title="Fileroom is running", expand=False))
