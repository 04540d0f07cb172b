"""From what a search parameter was asked with to an SQL condition (FHIR R4 3.1.1.4 and following).

A builder gets one parameter with its values, of which any may match, and makes the condition. Columns are our own texts;
what a client sends is only ever a value.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, told
from fileroom.index.conditions import Condition

NEVER: Final = Condition("false")
_DATE: Final = re.compile(
    r"(eq|ne|ge|le|gt|lt|sa|eb|)"
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_NUMBER_DIGITS_MAX: Final = 18


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter as it was asked: any of `values` may match. `base` is the root of our own addresses."""

    name: str
    values: tuple[str, ...]
    modifier: str = ""
    base: str = ""
    zone: dt.tzinfo | None = None


Builder = Callable[[Asked], Condition]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter. `type` is FHIR's; `missing` the SQL that is true where the element is not there."""

    name: str
    type: str
    build: Builder
    modifiers: frozenset[str] = frozenset()
    missing: str = ""
    target: str = ""
    """The kind that a reference leads to."""
    needs: Permission | None = None
    """Beside that of the resource."""


@dataclass(frozen=True, slots=True)
class Token:
    """`system|value`. `system` None: any, empty: none; `value` empty: any of the system."""

    value: str
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What a date stands for, from `start` to before `end`; `is_days`: it names whole days."""

    prefix: str
    start: dt.datetime
    end: dt.datetime
    is_days: bool


def token(name: str, build: Callable[[Token, Asked], Condition], *, missing: str = "") -> SearchParameter:
    """A token; `:not` turns it round."""

    def any_of(asked: Asked) -> Condition:
        found = Condition.any_of([build(read_token(one), asked) for one in asked.values])
        return _turned(found) if asked.modifier == "not" else found

    return SearchParameter(name, "token", any_of, frozenset({"not"}), missing)


def code(
    name: str, column: str, meanings: Mapping[str, Sequence[str]], systems: Iterable[str] = (), *, missing: str = ""
) -> SearchParameter:
    """A token of a code list: which values of the column each code stands for. Codes that there are none of find nothing."""
    known = frozenset(systems)

    def one(wanted: Token, _asked: Asked) -> Condition:
        if wanted.system and wanted.system not in known:
            return NEVER
        stored = meanings.get(wanted.value, ())
        return Condition(f"{column} = ANY(%s)", (list(stored),)) if stored else NEVER

    return token(name, one, missing=missing)


def number(name: str, column: str) -> SearchParameter:
    """`_id` of a row."""
    return token(
        name, lambda wanted, _: Condition(f"{column} = %s", (row,)) if (row := as_row(wanted.value)) else NEVER
    )


def string(name: str, parts: Callable[[str, str], Condition]) -> SearchParameter:
    """A string: begins with it, `:contains`, `:exact`. `parts` gets the value and the modifier."""
    return SearchParameter(
        name,
        "string",
        lambda asked: Condition.any_of([parts(_plain(one), asked.modifier) for one in asked.values]),
        frozenset({"exact", "contains"}),
    )


def reference(
    name: str,
    target: str,
    build: Callable[[list[str]], Condition],
    *,
    missing: str = "",
    needs: Permission | None = None,
) -> SearchParameter:
    """A reference: `12`, `Patient/12` or an address of ours that ends so; others find nothing."""

    def all_of(asked: Asked) -> Condition:
        ids = [found for one in asked.values if (found := _referred(one, target, asked.base))]
        return build(ids) if ids else NEVER

    return SearchParameter(name, "reference", all_of, frozenset({target}), missing, target, needs)


def moment(name: str, column: str) -> SearchParameter:
    """A date parameter over a column of type timestamptz."""

    def one(span: Span) -> Condition:
        return _compared(span, column, column, span.start, span.end)

    return _date(name, one, missing=f"{column} IS NULL")


def local_day(name: str, column: str) -> SearchParameter:
    """A date parameter over a column of DA; moments are taken as their days."""

    def one(span: Span) -> Condition:
        last = span.end - dt.timedelta(microseconds=1)
        start, end = _da(span.start), _da((last + dt.timedelta(days=1)) if last.year < dt.MAXYEAR else last)
        compared = _compared(span, column, column, start, end)
        return Condition.all_of([Condition(f"{column} <> ''"), compared])

    return _date(name, one, missing=f"coalesce({column}, '') = ''")


def local_moment(name: str, date: str, time: str) -> SearchParameter:
    """A date parameter over columns of DA and TM, by the hospital's clock."""
    both = f"{date} || rpad(left(coalesce({time}, ''), 6), 6, '0')"

    def one(span: Span) -> Condition:
        if span.is_days:
            return Condition.all_of(
                [Condition(f"{date} <> ''"), _compared(span, date, date, _da(span.start), _da(span.end))]
            )
        start, end = (f"{one:%H%M%S}" for one in (span.start, span.end))
        compared = _compared(span, both, both, _da(span.start) + start, _da(span.end) + end)
        return Condition.all_of([Condition(f"{date} <> ''"), compared])

    return _date(name, one, missing=f"coalesce({date}, '') = ''")


def read_token(text: str) -> Token:
    """A token (3.1.1.4.10)."""
    system, bar, value = split(text, "|", 2) if "|" in text else ("", "", text)
    return Token(value, system) if bar else Token(value)


def read_date(name: str, text: str, zone: dt.tzinfo | None) -> Span:
    """A date with its prefix (3.1.1.4.5); without an offset it is of the zone. Raises InvalidRequestError."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise InvalidRequestError(
            told(
                "{name} is a date as 2026-11-22 or 2026-11-22T10:30:00+01:00, with eq, ne, ge, le, gt, lt, sa or eb in front.",
                name=name,
            )
        )
    prefix, year, month, day_, hour, minute, second, offset = found.groups()
    try:
        start = dt.datetime(
            int(year), int(month or 1), int(day_ or 1), int(hour or 0), int(minute or 0), min(int(second or 0), 59)
        )
        if month is None:
            end = start.replace(year=start.year + 1)
        elif day_ is None:
            end = (start.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
        elif hour is None:
            end = start + dt.timedelta(days=1)
        else:
            end = start + (dt.timedelta(seconds=1) if second else dt.timedelta(minutes=1))
        start, end = (_in_zone(one, offset, zone) for one in (start, end))
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(told("{name}: there is no day {date}.", name=name, date=text[:20])) from error
    return Span(prefix or "eq", start, end, hour is None)


def split(text: str, separator: str, parts_max: int = 0) -> tuple[str, ...]:
    r"""The parts of a value, `\` before a separator taken as it stands (3.1.1.4.2). With two parts at most: (first, the
    separator, rest)."""
    pieces: list[str] = [""]
    characters = iter(range(len(text)))
    for place in characters:
        if text[place] == "\\" and place + 1 < len(text) and text[place + 1] in ",|$\\":
            pieces[-1] += text[place + 1] if separator == "|" else text[place : place + 2]
            next(characters)
        elif text[place] == separator and (not parts_max or len(pieces) < parts_max):
            pieces.append("")
        else:
            pieces[-1] += text[place]
    if parts_max:
        return (pieces[0], separator, pieces[1]) if len(pieces) > 1 else ("", "", pieces[0])
    return tuple(pieces)


def authority_of(wanted: Token, base: str) -> str | None:
    """Which assigning authority a token's system means: None: any, empty: none. Raises ValueError for no authority of ours."""
    if not wanted.system:
        return wanted.system
    root = f"{base}/authority/"
    if not wanted.system.startswith(root):
        raise ValueError(wanted.system)
    return unquote(wanted.system.removeprefix(root))


def identifiers(
    build: Callable[[str, str | None], Condition], other: Callable[[Token], Condition] | None = None
) -> SearchParameter:
    """`identifier`: `build` gets the value (may be empty) and the authority; `other` what has another system."""

    def one(wanted: Token, asked: Asked) -> Condition:
        found = other(wanted) if other else Condition()
        if found.text:
            return found
        try:
            return build(wanted.value, authority_of(wanted, asked.base))
        except ValueError:
            return NEVER

    return token("identifier", one)


def as_row(text: str) -> int:
    """A row's number; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX else 0


def like(text: str) -> str:
    """Text as LIKE takes it literally."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _plain(text: str) -> str:
    return re.sub(r"\\([,|$\\])", r"\1", text)


def _date(name: str, build: Callable[[Span], Condition], *, missing: str) -> SearchParameter:
    return SearchParameter(
        name,
        "date",
        lambda asked: Condition.any_of([build(read_date(asked.name, one, asked.zone)) for one in asked.values]),
        missing=missing,
    )


def _compared(span: Span, low: str, high: str, start: object, end: object) -> Condition:
    match span.prefix:
        case "ge":
            return Condition(f"{low} >= %s", (start,))
        case "gt" | "sa":
            return Condition(f"{low} >= %s", (end,))
        case "le":
            return Condition(f"{high} < %s", (end,))
        case "lt" | "eb":
            return Condition(f"{high} < %s", (start,))
        case "ne":
            return Condition(f"({low} < %s OR {high} >= %s)", (start, end))
        case _:
            return Condition(f"({low} >= %s AND {high} < %s)", (start, end))


def _turned(found: Condition) -> Condition:
    return Condition(f"NOT coalesce(({found.text}), false)", found.parameters)


def _in_zone(naive: dt.datetime, offset: str | None, zone: dt.tzinfo | None) -> dt.datetime:
    """As a moment of the hospital's clock."""
    if offset is None:
        return naive.replace(tzinfo=zone) if zone else naive.astimezone()
    aware = dt.datetime.fromisoformat(naive.isoformat() + offset.replace("Z", "+00:00"))
    return aware.astimezone(zone)


def _da(moment_: dt.datetime) -> str:
    return f"{moment_:%Y%m%d}".zfill(8)


def _referred(text: str, target: str, base: str) -> str:
    kind, slash, number_ = text.removeprefix(f"{base}/").rpartition("/")
    if not slash:
        return text
    return number_ if kind == target else ""
