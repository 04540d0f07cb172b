"""Rules for prefetching: on which occasion, whose priors, from which sources, how many, and where they are pushed to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    get_entry,
    list_entries,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, told
from fileroom.routing.conditions import compile_condition
from fileroom.routing.relevance import Measure

OCCASIONS: Final = ("arrival", "order", "timer")
COUNT_MAX: Final = 50
YEARS_MAX: Final = 120
EVERY_MINUTES_MAX: Final = 7 * 24 * 60
_NAMES_MAX: Final = 50
_NAME_CHARS_MAX: Final = 64
_WORDS_MAX: Final = 200
_KNOWN: Final = frozenset(
    (
        *("on", "when", "sources", "push_to", "modalities", "body_parts", "same_body_part"),
        *("years_max", "count_max", "every_minutes"),
    )
)


@dataclass(frozen=True, slots=True)
class PrefetchRule:
    """One rule. `sources` empty: all that may be prefetched from."""

    name: str
    on: str
    when: str
    sources: tuple[str, ...]
    push_to: tuple[str, ...]
    every_minutes: int
    measure: Measure


def check_prefetch(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a rule in their normal form. Raises InvalidRequestError."""
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise InvalidRequestError(
            told(
                "A prefetch rule has no field {field}. It has: {known}.",
                field=unknown[0],
                known=", ".join(sorted(_KNOWN)),
            )
        )
    on = str(fields.get("on") or "arrival")
    if on not in OCCASIONS:
        raise InvalidRequestError(told("{name}: on is one of arrival, order, timer.", name=name))
    when = fields.get("when") or ""
    if not isinstance(when, str):
        raise InvalidRequestError(told("{name}: when is a condition, as a text.", name=name))
    if when.strip():
        compile_condition(when)
    same = fields.get("same_body_part", True)
    if not isinstance(same, bool):
        raise InvalidRequestError(told("{field} is true or false.", field="same_body_part"))
    return {
        "on": on,
        "when": when.strip(),
        "sources": _names("sources", fields.get("sources")),
        "push_to": _names("push_to", fields.get("push_to")),
        "modalities": _table("modalities", fields.get("modalities")),
        "body_parts": _table("body_parts", fields.get("body_parts")),
        "same_body_part": same,
        "years_max": _number("years_max", fields.get("years_max"), 10, 1, YEARS_MAX),
        "count_max": _number("count_max", fields.get("count_max"), 3, 1, COUNT_MAX),
        "every_minutes": _number("every_minutes", fields.get("every_minutes"), 60, 1, EVERY_MINUTES_MAX),
    }


PREFETCH: Final = Section("prefetch", "prefetch rule", check_prefetch)


async def list_prefetch_rules(archive: Archive) -> list[Entry]:
    """All rules by name. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, PREFETCH)


async def get_prefetch_rule(archive: Archive, name: str) -> Entry:
    """One rule. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, PREFETCH, name)


async def put_prefetch_rule(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a rule or change it; see `entries.put_entry`."""
    return await put_entry(
        archive.pool, archive.settings, PREFETCH, name, fields, enabled=enabled, version=version, new=new
    )


async def remove_prefetch_rule(archive: Archive, name: str) -> None:
    """Remove a rule; what it has ordered is still fetched. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, PREFETCH, name)


async def read_prefetch_rules(archive: Archive) -> list[PrefetchRule]:
    """The rules that are enabled. Raises DatabaseError."""
    return [rule_of(entry) for entry in await read_entries(archive.pool, PREFETCH) if entry.enabled]


def rule_of(entry: Entry) -> PrefetchRule:
    """An entry as a rule."""
    fields = entry.fields
    measure = Measure(
        same_body_part=fields["same_body_part"],
        body_parts=fields["body_parts"],
        modalities=fields["modalities"],
        years_max=fields["years_max"],
        count_max=fields["count_max"],
    )
    return PrefetchRule(
        entry.name,
        fields["on"],
        fields["when"],
        tuple(fields["sources"]),
        tuple(fields["push_to"]),
        fields["every_minutes"],
        measure,
    )


def _names(field: str, value: object) -> list[str]:
    if value is None:
        return []
    if (
        not isinstance(value, (list, tuple))
        or len(value) > _NAMES_MAX
        or not all(isinstance(one, str) and 0 < len(one) <= _NAME_CHARS_MAX for one in value)
    ):
        raise InvalidRequestError(told("{field} is a list of names.", field=field))
    return list(dict.fromkeys(value))


def _table(field: str, value: object) -> dict[str, list[str]]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > _WORDS_MAX:
        raise InvalidRequestError(told("{field} is a table of lists, for example CT = CT, MR.", field=field))
    return {
        str(key).upper()[:_NAME_CHARS_MAX]: [one.upper() for one in _names(field, words)]
        for key, words in value.items()
    }


def _number(field: str, value: object, usual: int, least: int, most: int) -> int:
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(
            told("{field} is a number from {least} to {most}.", field=field, least=least, most=most)
        )
    return value
