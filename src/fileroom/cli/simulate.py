"""`fileroom simulate`: a hospital that is not there, at work with a Fileroom that is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from fileroom.cli.output import settings_or_exit


def add_commands(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command("simulate")(simulate_command)


def simulate_command(
    patients_per_hour: Annotated[float, typer.Option(help="How many come in a simulated hour.")] = 30.0,
    patients: Annotated[int, typer.Option(help="How many come in all.")] = 20,
    seed: Annotated[int, typer.Option(help="The same seed gives the same day.")] = 1,
    speed: Annotated[float, typer.Option(min=0.01, max=10_000, help="Simulated seconds in a second.")] = 60.0,
    host: Annotated[str, typer.Option(help="Where Fileroom is; empty: as the settings say.")] = "",
    dicom_port: Annotated[int, typer.Option(help="Its DICOM port; 0: as the settings say.")] = 0,
    hl7_port: Annotated[int, typer.Option(help="Its HL7 port; 0: as the settings say.")] = 0,
    aec: Annotated[str, typer.Option("--aec", help="Its AE title; empty: as the settings say.")] = "",
    ris_down_at: Annotated[float, typer.Option(help="The simulated second at which the RIS falls silent.")] = 0.0,
    ris_down_for: Annotated[
        float, typer.Option(min=0, help="For how many simulated seconds; its messages follow in order. 0: it does not.")
    ] = 0.0,
    truth: Annotated[Path | None, typer.Option(help="Write what must be true afterwards to this JSON file.")] = None,
) -> None:
    """Play a RIS, modalities and a reader: orders, worklist, MPPS, images, reports, merges, and what goes wrong in between.

    The patients have identifiers of the authority SIMULATED. Exits with 1 when something was refused.

    Example: `fileroom simulate --patients-per-hour 60 --patients 20 --truth day.json`
    """
    import orjson

    from fileroom.core.clock import system_now
    from fileroom.net.mllp_client import MllpClient
    from fileroom.simulate.modality import Archive
    from fileroom.simulate.plan import make_stories
    from fileroom.simulate.run import Day, Downtime, Outcome
    from fileroom.simulate.truth import truth_of

    settings = settings_or_exit()
    where = host or settings.host
    archive = Archive(where, dicom_port or settings.dicom_port, aec or settings.aet)
    stories = make_stories(seed, patients, patients_per_hour)
    down = Downtime(ris_down_at, ris_down_for) if ris_down_for else None
    if truth is not None:
        truth.write_bytes(orjson.dumps(truth_of(stories).as_document(), option=orjson.OPT_INDENT_2))

    async def work() -> Outcome:
        async with MllpClient(where, hl7_port or settings.hl7_port) as client:
            day = Day(client.send, archive, system_now, speed=speed, ris_down=down)
            return await day.play(stories, asyncio.Event())

    outcome = asyncio.run(work())
    typer.echo(
        f"{outcome.patients} patients, {outcome.messages} messages, {outcome.images} images, {outcome.reports} messages of "
        "reports."
    )
    for trouble in outcome.troubles:
        typer.echo(trouble, err=True)
    if outcome.troubles:
        raise typer.Exit(1)
