"""How values are written on pages: names, dates, ages, numbers, UIDs. Everything comes in as the index keeps it.

All of these return plain text; the templates escape it. What cannot be understood is shown as it is: a person who looks
for a mistake must see it.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from dataclasses import dataclass
from typing import Final

from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_decimal

from fileroom.dicom.normal_forms import normalize_date, normalize_time
from fileroom.web.console.language import Reader, reader_of

NOTHING: Final = "–"
UID_SHOWN_CHARS: Final = 24
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class PersonName:
    """A name in its groups, each as a person reads it (PS3.5 6.2.1)."""

    main: str
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.main, *(f"({other})" for other in self.others)))


@functools.lru_cache(maxsize=4096)
def person_name(text: str | None) -> PersonName:
    """`DOE^JOHN^^DR` as *Doe, John, Dr*: family name, then the rest; ideographic and phonetic groups beside it.

    Capitals stay capitals: nobody but the registry knows how a name is written.
    """
    first, *others = (text or "").split("\\")[0].split("=")[:3]
    # Ideographic and phonetic names are written without a comma.
    written = [_name_group(first), *(" ".join(re.split(r"[\s^]+", group)).strip() for group in others)]
    kept = [group for group in written if group]
    return PersonName(kept[0], tuple(kept[1:])) if kept else PersonName(NOTHING)


def _name_group(group: str) -> str:
    family, given, middle, prefix, suffix, *_ = [part.strip() for part in group.split("^")] + [""] * 5
    rest = " ".join(part for part in (prefix, given, middle) if part)
    return ", ".join(part for part in (family, rest, suffix) if part)


def short_uid(uid: str | None) -> str:
    """A UID shortened in its middle, where all of one site look the same."""
    text = uid or NOTHING
    return text if len(text) <= UID_SHOWN_CHARS else f"{text[:10]}…{text[-12:]}"


@functools.lru_cache(maxsize=8192)
def date(text: str | None, tag: str, width: str = "medium") -> str:
    """A DA value in the reader's way, `tag` naming their language and region."""
    day = normalize_date(text or "")
    if day is None:
        return text or NOTHING
    value = dt.date(int(day[:4]), int(day[4:6]), int(day[6:]))
    return format_date(value, _width(width), locale=reader_of(tag).locale)


@functools.lru_cache(maxsize=8192)
def time(text: str | None, tag: str) -> str:
    """A TM value to the minute; empty where there is none."""
    clock = normalize_time(text or "")
    if clock is None:
        return text or ""
    value = dt.time(int(clock[:2]), int(clock[2:4]))
    return format_time(value, "short", locale=reader_of(tag).locale)


def moment(value: dt.datetime | None, tag: str, width: str = "short", zone: dt.tzinfo | None = None) -> str:
    """A moment in the reader's time zone, else in the server's."""
    if value is None:
        return NOTHING
    return format_datetime(value.astimezone(zone).replace(tzinfo=None), _width(width), locale=reader_of(tag).locale)


@functools.lru_cache(maxsize=8192)
def number(value: int | float | None, tag: str) -> str:
    """A number with the reader's separators."""
    return NOTHING if value is None else format_decimal(value, locale=reader_of(tag).locale)


def size(value: int | None, tag: str) -> str:
    """Bytes in the unit that leaves one to three digits before the separator."""
    if value is None:
        return NOTHING
    amount, unit = float(value), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    shown = format_decimal(amount, "0" if unit == 0 or amount >= 100 else "0.0", locale=reader_of(tag).locale)
    return f"{shown}\u202f{_UNITS[unit]}"


def age(birth_date: str | None, at_date: str | None, stated: str | None, reader: Reader) -> str:
    """The age at a study: as the images state it (AS: 034Y, 006M), else from the birth date; empty where unknown."""
    text = (stated or "").strip().upper()
    if len(text) == 4 and text[:3].isdigit():
        return _age_words(int(text[:3]), text[3], reader)
    born, day = normalize_date(birth_date or ""), normalize_date(at_date or "")
    if born is None or day is None or day < born:
        return ""
    years = int(day[:4]) - int(born[:4]) - (day[4:] < born[4:])
    if years >= 2:
        return _age_words(years, "Y", reader)
    months = (int(day[:4]) - int(born[:4])) * 12 + int(day[4:6]) - int(born[4:6]) - (day[6:] < born[6:])
    return _age_words(months, "M", reader)


def _age_words(count: int, unit: str, reader: Reader) -> str:
    if unit == "Y":
        return reader.ngettext("%(n)d year", "%(n)d years", count) % {"n": count}
    if unit == "M":
        return reader.ngettext("%(n)d month", "%(n)d months", count) % {"n": count}
    if unit == "W":
        return reader.ngettext("%(n)d week", "%(n)d weeks", count) % {"n": count}
    if unit == "D":
        return reader.ngettext("%(n)d day", "%(n)d days", count) % {"n": count}
    return f"{count}{unit}"


def _width(width: str) -> str:
    return width if width in ("short", "medium", "long", "full") else "medium"
