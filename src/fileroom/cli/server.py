"""`fileroom serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fileroom.cli.output import settings_or_exit

if TYPE_CHECKING:
    from fileroom.admin.first_account import FirstAccount
    from fileroom.core.settings import Settings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command()(serve)


def serve(
    demo: Annotated[bool, typer.Option("--demo", help="On an empty archive, add the demo studies.")] = False,
) -> None:
    """Run Fileroom until Ctrl-C: database, DICOM port, web port, HL7 port, background work.

    Example: `FILEROOM_DATA=/srv/fileroom fileroom serve`
    """
    from fileroom.app.supervisor import Supervisor

    settings = settings_or_exit()
    extra = ("fileroom.app.demo_worker",) if demo else ()
    supervisor = Supervisor(settings, lambda: _show_address(settings, supervisor.first_account), extra)
    supervisor.run()


def _show_address(settings: Settings, first: FirstAccount | None) -> None:
    from rich.console import Console
    from rich.panel import Panel

    from fileroom.web.address import listens_on_loopback_only

    # Beyond loopback plain HTTP is led to HTTPS, unless the settings have it otherwise.
    is_plain = settings.web_plain_http == "everywhere" or (
        settings.web_plain_http == "loopback" and listens_on_loopback_only(settings.web_host)
    )
    web = f"{'http' if is_plain else 'https'}://{settings.web_host}:{settings.http_port}"
    secure = f", over TLS at port {settings.dicom_tls_port}" if settings.dicom_tls_port else ""
    hl7 = f"HL7       {settings.host}:{settings.hl7_port} (MLLP)\n" if settings.hl7_workers else ""
    text = (
        f"Web       [bold]{web}/[/bold]\n"
        f"DICOMweb  {web}/dicom-web\n"
        f"DICOM     AE title [bold]{settings.aet}[/bold] at {settings.host}:{settings.dicom_port}{secure}\n"
        f"{hl7}"
        f"Log in    {_how_to_log_in(settings, first)}\n"
        f"Data      {settings.data.resolve()}\n\n"
        f"Send images: [bold]storescu -aec {settings.aet} {settings.host} {settings.dicom_port} FILE...[/bold]   "
        "Stop: Ctrl-C"
    )
    Console().print(Panel(text, title="Fileroom is running", expand=False))


def _how_to_log_in(settings: Settings, first: FirstAccount | None) -> str:
    """The password of the first account stands here, and nowhere else ever again."""
    from fileroom.web.address import listens_on_loopback_only

    if first is None:
        who = "with your account"
    elif first.password is None:
        who = f"as [bold]{first.login}[/bold] with FILEROOM_ADMIN_PASSWORD"
    else:
        who = f"as [bold]{first.login}[/bold] with password [bold]{first.password}[/bold] (shown this once)"
    if settings.web_login == "beyond-loopback" and listens_on_loopback_only(settings.web_host):
        return f"{who}; not needed from this machine"
    return who
