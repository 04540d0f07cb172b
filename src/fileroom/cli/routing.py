"""`fileroom route ...`: the rules by which objects are sent on."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fileroom.cli.output import print_json, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.admin.entries import Entry, EntryVersion
    from fileroom.archive.services import Archive
    from fileroom.routing.rule_trials import BackTest, TriedObject

app = typer.Typer(help="Rules: which objects are sent where.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="The rule's name.")]
When = Annotated[str, typer.Option("--when", help="Condition in CEL, for example 'Modality == \"CT\"', or as JSON.")]
NameOrNot = Annotated[str, typer.Argument(help="A rule's name; leave it out with --when.")]
_BAR_CHARS: Final = 40
_SHOWN_MAX: Final = 20


@app.command("add")
def add(
    name: Name,
    when: When,
    to: Annotated[str, typer.Option("--to", help="Destinations, apart by commas.")],
    on: Annotated[
        str, typer.Option("--on", help="instance: at once; series, study: when it is complete.")
    ] = "instance",
    priority: Annotated[int, typer.Option(help="Lower ones are asked first.")] = 100,
    stop: Annotated[bool, typer.Option("--stop", help="Rules after it are not asked where it matches.")] = False,
    urgency: Annotated[str, typer.Option(help="stat, routine, bulk, or seconds.")] = "routine",
    treatment: Annotated[str, typer.Option(help="How objects are changed on the way.")] = "",
    hold: Annotated[bool, typer.Option("--hold", help="What it sends waits until somebody releases it.")] = False,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Change the rule if there is one.")] = False,
) -> None:
    """Add a rule; it holds for what arrives from the next second on.

    Example: `fileroom route add CT --when 'Modality == "CT"' --to PACS,TEACHING --on study`
    """
    fields = {
        "when": _condition(when),
        "on": on,
        "to": to,
        "priority": priority,
        "stop": stop,
        "urgency": urgency,
        "treatment": treatment,
        "hold": hold,
        "description": description,
    }

    async def work(archive: Archive) -> Entry:
        from fileroom.routing.rules import put_rule

        return await put_rule(archive, name, fields, new=None if replace else True)

    made = _with_place(lambda: with_archive(work), when)
    typer.echo(f"{made.name} is version {made.version}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the rules in the order in which they are asked. Example: `fileroom route list --json`"""

    async def work(archive: Archive) -> list[Entry]:
        from fileroom.routing.rules import list_rules

        return await list_rules(archive)

    found = with_archive(work)
    if as_json:
        print_json([_document(one) for one in found])
        return
    for one in found:
        state = "" if one.enabled else "  (disabled)"
        typer.echo(f"{one.fields['priority']:>6}  {one.name}{state}: {_condition_line(one)} -> {_actions(one)}")


@app.command("show")
def show(name: Name, as_json: Json = False) -> None:
    """Show a rule and what was changed. Example: `fileroom route show CT`"""

    async def work(archive: Archive) -> tuple[Entry, list[EntryVersion]]:
        from fileroom.routing.rules import get_rule, rule_versions

        return await get_rule(archive, name), await rule_versions(archive, name)

    rule, versions = with_archive(work)
    if as_json:
        print_json({**_document(rule), "versions": [dataclasses.asdict(one) for one in versions]})
        return
    for field, value in _document(rule).items():
        typer.echo(f"{field:<14}{value}")
    for one in versions:
        typer.echo(f"  {one.version:>3}  {one.changed_at}  {one.changed_by}")


@app.command("test")
def try_on_study(
    first: Annotated[str, typer.Argument(help="A rule's name; with --when the Study Instance UID.", metavar="NAME")],
    study: Annotated[str, typer.Argument(help="Study Instance UID.", metavar="STUDY_UID")] = "",
    when: When = "",
    called: Annotated[str, typer.Option(help="The AE title that the sender called; by itself ours.")] = "",
    as_json: Json = False,
) -> None:
    """Say which objects of a study a rule matches, and which part of it fails on the others. Nothing is sent.

    Example: `fileroom route test CT 1.2.840.113619.2.1` or `fileroom route test --when 'Rows > 256' 1.2.840.113619.2.1`
    """
    name, study_uid = ("", first) if when else (first, study)
    if not study_uid:
        raise InvalidRequestError("Say which study, by its Study Instance UID.")

    async def work(archive: Archive) -> list[TriedObject]:
        from fileroom.routing.rule_trials import try_rule

        return await try_rule(archive, await _fields(archive, name, when), study_uid, called=called.strip())

    tried = _with_place(lambda: with_archive(work), when)
    if as_json:
        print_json([dataclasses.asdict(one) for one in tried])
        return
    for one in tried:
        failed = "; ".join(
            f"{part.text} ({', '.join(f'{key} is {value or chr(39) * 2}' for key, value in part.values.items())})"
            for part in one.parts
            if not part.holds
        )
        typer.echo(
            f"{'match' if one.matched else '-':<6} {one.modality:<4} {one.sop_instance_uid}  {one.failure or failed}"
        )
    typer.echo(f"{sum(one.matched for one in tried)} of {len(tried)} objects match.")


@app.command("backtest")
def backtest(
    name: NameOrNot = "",
    when: When = "",
    days: Annotated[int, typer.Option("--days", help="How many days back.", min=1)] = 30,
    as_json: Json = False,
) -> None:
    """Say what a rule would have matched of all that arrived in the last days. Nothing is sent.

    Example: `fileroom route backtest --when 'Modality == "CT"' --days 30`
    """

    async def work(archive: Archive) -> BackTest:
        from fileroom.routing.rule_trials import backtest as run

        fields = await _fields(archive, name, when)
        return await run(archive, fields, days, progress=_progress if sys.stderr.isatty() else None)

    found = _with_place(lambda: with_archive(work), when)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    typer.echo(f"{found.objects} of {found.asked} objects, in {found.studies} studies, since {found.since}.")
    most = max(found.by_modality.values(), default=1)
    for modality, number in found.by_modality.items():
        studies = found.studies_by_modality[modality]
        bar = "#" * max(1, number * _BAR_CHARS // most)
        typer.echo(f"  {modality or '-':<6}{number:>9} objects {studies:>7} studies  {bar}")
    for one in found.listed[:_SHOWN_MAX]:
        typer.echo(f"  {one.arrived}  {one.study_instance_uid}  {one.objects} objects  {'/'.join(one.modalities)}")
    if len(found.listed) > _SHOWN_MAX:
        typer.echo(f"  ... {found.studies - _SHOWN_MAX} more studies; --json lists them.")
    if found.unreadable:
        typer.echo(f"{found.unreadable} objects could not be read.", err=True)
    if found.stopped:
        typer.echo(found.stopped, err=True)


@app.command("check")
def check(when: Annotated[str, typer.Argument(help="Condition in CEL, or as JSON.")]) -> None:
    """Say whether a condition is one. Example: `fileroom route check 'Modality == "CT" && Rows > 256'`"""
    from fileroom.routing.rules import check_condition

    condition = _with_place(lambda: check_condition(_condition(when)), when)
    typer.echo(condition.text)
    for operand in condition.operands:
        typer.echo(f"  {operand.text}: {operand.type.value}{', several values' if operand.many else ''}")


@app.command("enable")
def enable(name: Name) -> None:
    """Let a rule take part again. Example: `fileroom route enable CT`"""
    _set_enabled(name, enabled=True)


@app.command("disable")
def disable(name: Name) -> None:
    """Let a rule take part no more; what it has planned is still sent. Example: `fileroom route disable CT`"""
    _set_enabled(name, enabled=False)


@app.command("restore")
def restore(name: Name, version: Annotated[int, typer.Argument(help="As 'route show' lists it.")]) -> None:
    """Make a rule what it was. Example: `fileroom route restore CT 3`"""

    async def work(archive: Archive) -> Entry:
        from fileroom.routing.rules import restore_rule

        return await restore_rule(archive, name, version)

    made = with_archive(work)
    typer.echo(f"{made.name} is version {made.version}.")


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a rule; what it has planned is still sent. Example: `fileroom route remove CT`"""

    async def work(archive: Archive) -> None:
        from fileroom.routing.rules import remove_rule

        await remove_rule(archive, name)

    with_archive(work)
    typer.echo(f"Removed {name}.")


def _set_enabled(name: str, *, enabled: bool) -> None:
    async def work(archive: Archive) -> Entry:
        from fileroom.routing.rules import set_rule_enabled

        return await set_rule_enabled(archive, name, enabled=enabled)

    with_archive(work)
    typer.echo(f"{name} is {'enabled' if enabled else 'disabled'}.")


async def _fields(archive: Archive, name: str, when: str) -> dict[str, Any]:
    if bool(name) == bool(when):
        raise InvalidRequestError("Name a rule, or write a condition with --when; not both.")
    if when:
        return {"when": _condition(when)}
    from fileroom.routing.rules import get_rule

    return (await get_rule(archive, name)).fields


def _condition(when: str) -> Any:
    if not when.lstrip().startswith("{"):
        return when
    import orjson

    try:
        return orjson.loads(when)
    except ValueError as error:
        raise InvalidRequestError(f"The condition is no JSON: {error}.") from error


def _with_place(work: Any, when: str) -> Any:
    """Where the condition is wrong, under the condition."""
    from fileroom.routing.expression import ExpressionError

    try:
        return work()
    except ExpressionError as error:
        if when and not when.lstrip().startswith("{") and "\n" not in when:
            typer.echo(f"{when}\n{' ' * error.position}{'^' * max(1, min(error.length, len(when)))}", err=True)
        raise


def _document(rule: Entry) -> dict[str, Any]:
    return {"name": rule.name, **rule.fields, "enabled": rule.enabled, "version": rule.version}


def _condition_line(rule: Entry) -> str:
    from fileroom.routing.condition_tree import text_of_tree

    when = rule.fields["when"]
    return " ".join((when if isinstance(when, str) else text_of_tree(when)).split())


def _actions(rule: Entry) -> str:
    fields = rule.fields
    done = [f"{one['do']} {', '.join(one.get('to', ()))}".strip() for one in fields["actions"]] or [
        f"{'held for ' if fields['hold'] else ''}{', '.join(fields['to'])}"
    ]
    return "; ".join([*done, *(["stop"] if fields["stop"] else [])])


def _progress(asked: int, matched: int) -> None:
    typer.echo(f"\r{matched} of {asked} objects match so far", err=True, nl=False)
