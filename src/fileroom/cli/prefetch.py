"""`fileroom prefetch ...`: rules that fetch earlier studies from other archives before anybody asks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fileroom.cli.output import print_json, with_archive
from fileroom.core.errors import InvalidRequestError

app = typer.Typer(help="Earlier studies that are fetched before anybody asks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The rule's name.")]


@app.command("put")
def put(
    name: Name,
    fields: Annotated[str, typer.Argument(help="The fields as JSON.")] = "{}",
    disabled: Annotated[bool, typer.Option("--disabled", help="Keep it, but do not let it work.")] = False,
) -> None:
    """Add a rule, or change it.

    Example: `fileroom prefetch put ct-priors '{"on": "arrival", "when": "Modality == \\"CT\\"", "years_max": 5}'`
    """
    from fileroom.routing.prefetch_rules import put_prefetch_rule

    wanted = _object(fields)
    entry = with_archive(lambda archive: put_prefetch_rule(archive, name, wanted, enabled=not disabled))
    typer.echo(f"{entry.name} is version {entry.version}.")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the rules. Example: `fileroom prefetch list --json`"""
    from fileroom.routing.prefetch_rules import list_prefetch_rules

    entries = with_archive(list_prefetch_rules)
    if as_json:
        print_json(
            [{"name": one.name, "enabled": one.enabled, "version": one.version, **one.fields} for one in entries]
        )
        return
    for one in entries:
        state = "" if one.enabled else " (disabled)"
        to = ", ".join(one.fields["push_to"])
        typer.echo(
            f"{one.name}{state}: on {one.fields['on']}, at most {one.fields['count_max']}{f', to {to}' if to else ''}"
        )


@app.command("remove")
def remove(name: Name) -> None:
    """Remove a rule. Example: `fileroom prefetch remove ct-priors`"""
    from fileroom.routing.prefetch_rules import remove_prefetch_rule

    with_archive(lambda archive: remove_prefetch_rule(archive, name))
    typer.echo(f"Removed {name}.")


def _object(text: str) -> dict[str, Any]:
    """Raises InvalidRequestError."""
    import orjson

    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"The fields are no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequestError('The fields are a JSON object, for example {"on": "arrival"}.')
    return value
