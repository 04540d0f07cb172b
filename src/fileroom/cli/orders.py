"""`fileroom order ...` and `fileroom procedure ...`: orders, and what a procedure code means."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.worklist.changes import Effect
    from fileroom.worklist.order_rows import Order
    from fileroom.worklist.order_search import OrderChange
    from fileroom.worklist.procedure_codes import ProcedureCode

app = typer.Typer(help="Orders of the RIS, or entered here.", no_args_is_help=True)
procedure_app = typer.Typer(
    help="What a procedure code means for modalities, stations and rooms.", no_args_is_help=True
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[str, typer.Argument(help="Accession number, placer's or filler's number, or #ROW.")]
_STATES = "scheduled, arrived, in_progress, completed, cancelled or discontinued"


@app.command("list")
def list_orders(
    text: Annotated[str, typer.Argument(help="What begins a number, a Patient ID or a name; none: all.")] = "",
    state: Annotated[str, typer.Option(help=f"Only those that are {_STATES}.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    as_json: Json = False,
) -> None:
    """List orders, the newest first. Example: `fileroom order list A123 --json`"""

    async def work(archive: Archive) -> list[Order]:
        from fileroom.worklist.order_search import OrderFilter, search_orders

        return await search_orders(archive, OrderFilter(text, (_state(state),) if state else ()), limit=limit)

    found = with_archive(work)
    if as_json:
        print_json([_document(one) for one in found])
    elif not found:
        typer.echo(
            "There is no such order. They come from the RIS; 'fileroom order add --help' shows how to enter one.",
            err=True,
        )
    else:
        print_rows(
            ["order", "state", "patient", "name", "procedure", "when", "station"],
            [_Row(one) for one in found],
            as_json=False,
        )


@app.command("show")
def show(number: Number, as_json: Json = False) -> None:
    """Show an order with its steps and history. Example: `fileroom order show A123`"""

    async def work(archive: Archive) -> tuple[Order, list[OrderChange]]:
        from fileroom.worklist.order_search import read_history

        order = await _find(archive, number)
        return order, await read_history(archive, order.id)

    order, history = with_archive(work)
    if as_json:
        changes = [
            {
                "at": one.changed_at.isoformat(),
                "by": one.changed_by,
                "message": one.message,
                "what": list(one.sentences),
            }
            for one in history
        ]
        print_json({**_document(order), "history": changes})
        return
    row = _Row(order)
    typer.echo(
        f"{order.name}: {row.state}, {row.procedure or 'no procedure'}, patient {row.patient or 'not told yet'} {row.name}"
    )
    typer.echo(
        f"  placer {order.placer_number or '-'}, filler {order.filler_number or '-'}, study {order.study_instance_uid}"
    )
    for step in order.steps:
        stations = " ".join(step.station_aets) or "any station"
        typer.echo(f"  step {step.step_id}: {step.modality or '?'} {stations} {_when(step)} ({step.state.value})")
    for change in history:
        typer.echo(f"  {change.changed_at:%Y-%m-%d %H:%M} {change.changed_by}: {'; '.join(change.sentences)}")


@app.command("add")
def add(
    procedure: Annotated[str, typer.Option(help="Procedure code, or CODE^SCHEME^MEANING.")],
    patient: Annotated[str, typer.Option(help="Patient ID, or ID^AUTHORITY.")],
    name: Annotated[str, typer.Option(help="Family^Given, where the patient is new.")] = "",
    birth_date: Annotated[str, typer.Option(help="YYYYMMDD")] = "",
    sex: Annotated[str, typer.Option(help="F, M or O")] = "",
    accession: Annotated[str, typer.Option(help="Accession number; none: one is given.")] = "",
    placer: Annotated[str, typer.Option(help="The placer's order number.")] = "",
    start: Annotated[str, typer.Option(help="When, by the hospital's clock: 2026-11-22T10:30.")] = "",
    modality: Annotated[str, typer.Option(help="None: as the procedure code table says.")] = "",
    station: Annotated[list[str] | None, typer.Option(help="AE title of a station. Repeatable.")] = None,
    priority: Annotated[str, typer.Option(help="STAT, HIGH, ROUTINE, MEDIUM or LOW")] = "ROUTINE",
    reason: Annotated[str, typer.Option(help="Why it is asked for.")] = "",
) -> None:
    """Enter an order. Example: `fileroom order add --procedure CTABD --patient 4711 --name Lovelace^Ada --start
    2026-11-22T10:30 --station CT1`
    """

    async def work(archive: Archive) -> tuple[int, list[Effect]]:
        from fileroom.worklist.changes import PutOrder
        from fileroom.worklist.facts import Code, Identifier, OrderFacts, PatientFacts, StepFacts
        from fileroom.worklist.orders import save_order

        identifier, _, authority = patient.partition("^")
        step = StepFacts(
            modality=modality or None,
            station_aets=tuple(station) if station else None,
            start="".join(one for one in start if one.isalnum() and one != "T") or None,
        )
        facts = OrderFacts(
            placer=Identifier(placer) if placer else None,
            accession=Identifier(accession) if accession else None,
            procedure=Code(*(part.strip() for part in (*procedure.split("^", 2), "", "")[:3])),
            priority=priority,
            reason=reason or None,
            steps=(step,),
        )
        person = PatientFacts((Identifier(identifier, authority),), name or None, birth_date or None, sex or None)
        return await save_order(archive, PutOrder(facts, person))

    _, effects = with_archive(work)
    _tell(effects)


@app.command("state")
def set_state(
    number: Number,
    state: Annotated[str, typer.Argument(help=f"{_STATES}; scheduled reopens what is final.")],
    reason: Annotated[str, typer.Option(help="It stands in the history and the audit trail.")] = "",
) -> None:
    """Say what an order is now. Example: `fileroom order state A123 cancelled --reason "patient left"`"""

    async def work(archive: Archive) -> list[Effect]:
        from fileroom.worklist.orders import set_order_state

        order = await _find(archive, number)
        return await set_order_state(archive, order.id, _state(state), reason=reason)

    _tell(with_archive(work))


# --- the procedure code table ---


@procedure_app.command("list")
def list_procedures(
    text: Annotated[str, typer.Argument(help="What begins a code or stands in its meaning; none: all.")] = "",
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as `import` takes it.")] = False,
) -> None:
    """List procedure codes. Example: `fileroom procedure list CT --csv`"""

    async def work(archive: Archive) -> list[ProcedureCode]:
        from fileroom.worklist.procedure_codes import list_procedure_codes

        return await list_procedure_codes(archive, text)

    found = with_archive(work)
    if as_csv:
        from fileroom.worklist.procedure_codes import write_csv

        typer.echo(write_csv(found), nl=False)
    elif as_json:
        import dataclasses

        print_json([dataclasses.asdict(one) for one in found])
    elif not found:
        typer.echo(
            "There is no procedure code yet. 'fileroom procedure import --help' shows how a table is read.", err=True
        )
    else:
        print_rows(
            ["code", "meaning", "modality", "stations", "location"], [_CodeRow(one) for one in found], as_json=False
        )


@procedure_app.command("put")
def put_procedure(
    code: Annotated[str, typer.Argument(help="The code, or CODE^SCHEME^MEANING.")],
    modality: Annotated[str, typer.Option(help="CT, MR ...")] = "",
    station: Annotated[list[str] | None, typer.Option(help="AE title of a station. Repeatable.")] = None,
    location: Annotated[str, typer.Option(help="The room.")] = "",
    body_part: Annotated[str, typer.Option(help="Body part examined, ABDOMEN for instance.")] = "",
    minutes: Annotated[int, typer.Option(min=0, max=1440, help="How long it takes; 0: not known.")] = 0,
    protocol: Annotated[list[str] | None, typer.Option(help="CODE^SCHEME^MEANING. Repeatable.")] = None,
) -> None:
    """Add a procedure code, or replace it. Example: `fileroom procedure put CTABD^L^Abdomen --modality CT --station CT1`"""

    async def work(archive: Archive) -> ProcedureCode:
        from fileroom.worklist.procedure_codes import ProcedureCode, protocols_from_text, put_procedure_code

        value, scheme, meaning = (part.strip() for part in (*code.split("^", 2), "", "")[:3])
        row = ProcedureCode(
            code=value,
            scheme=scheme,
            meaning=meaning,
            modality=modality,
            body_part=body_part,
            station_aets=tuple(station or ()),
            location=location,
            minutes=minutes,
            protocol_codes=protocols_from_text("\n".join(protocol or ())),
        )
        return await put_procedure_code(archive, row)

    typer.echo(f"Saved {with_archive(work).code}.")


@procedure_app.command("remove")
def remove_procedure(
    code: Annotated[str, typer.Argument(help="The code.")],
    scheme: Annotated[str, typer.Option(help="Its scheme.")] = "",
) -> None:
    """Remove a procedure code; orders keep what it gave them. Example: `fileroom procedure remove CTABD --scheme L`"""

    async def work(archive: Archive) -> None:
        from fileroom.worklist.procedure_codes import remove_procedure_code

        await remove_procedure_code(archive, code, scheme)

    with_archive(work)
    typer.echo(f"Removed {code}.")


@procedure_app.command("import")
def import_procedures(
    file: Annotated[Path, typer.Argument(help="CSV with a head line; - reads standard input.")],
) -> None:
    """Add and replace procedure codes from CSV, all or none. Columns: code, scheme, meaning, modality, body_part, laterality,
    stations, location, minutes, protocols. Example: `fileroom procedure import codes.csv`
    """
    from fileroom.core.errors import InvalidRequestError

    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{file} cannot be read as UTF-8 text: {error}") from error

    async def work(archive: Archive) -> tuple[int, int]:
        from fileroom.worklist.procedure_codes import import_procedure_codes

        return await import_procedure_codes(archive, text)

    made, changed = with_archive(work)
    typer.echo(f"{made} new, {changed} changed.")


# --- helpers ---


class _Row:
    """A line of the list."""

    def __init__(self, order: Order) -> None:
        self.order, self.state, self.patient, self.name = (
            order.name,
            order.state.value,
            order.patient_id,
            order.patient_name,
        )
        self.procedure = order.procedure_meaning or order.procedure_code
        step = order.steps[0] if order.steps else None
        self.when = _when(step) if step else ""
        self.station = (" ".join(step.station_aets) or step.station_name or step.modality) if step else ""


class _CodeRow:
    """A line of the table."""

    def __init__(self, code: ProcedureCode) -> None:
        self.code, self.meaning, self.modality, self.location = code.code, code.meaning, code.modality, code.location
        self.stations = " ".join(code.station_aets)


def _when(step: Any) -> str:
    day, time = step.start_date, step.start_time
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}".rstrip(" :") if day else ""


def _document(order: Order) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(order)


def _state(text: str) -> Any:
    from fileroom.core.errors import InvalidRequestError
    from fileroom.worklist.facts import OrderState

    try:
        return OrderState(text)
    except ValueError:
        raise InvalidRequestError(f"{text!r} is no state of an order: {_STATES}.") from None


async def _find(archive: Archive, number: str) -> Order:
    """The one order that is called this. Raises NotFoundError, ConflictError."""
    from fileroom.core.errors import ConflictError, NotFoundError
    from fileroom.worklist.order_search import OrderFilter, get_order, search_orders

    if number.startswith("#") and number[1:].isdigit():
        return await get_order(archive, int(number[1:]))
    found = await search_orders(archive, OrderFilter(number), limit=20)
    exact = [one for one in found if number in (one.accession_number, one.placer_number, one.filler_number)]
    if not exact:
        raise NotFoundError(f"There is no order {number}. 'fileroom order list' shows them.")
    if len(exact) > 1:
        raise ConflictError(
            f"{len(exact)} orders are called {number}: {', '.join(f'#{one.id}' for one in exact)}. Say which."
        )
    return exact[0]


def _tell(effects: list[Effect]) -> None:
    for effect in effects:
        typer.echo(effect.words)
