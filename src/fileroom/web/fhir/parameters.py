"""Search parameters of FHIR R4 (3.1.1): tokens, dates with prefixes, strings, references, pages."""

from __future__ import annotations

import datetime as dt
import re
from calendar import monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.query import Range

COUNT_DEFAULT: Final = 20
COUNT_MAX: Final = 100
"""Resources in one page; each patient is a question of its own."""
OFFSET_MAX: Final = 100_000
_LAST: Final = "99991231"
_PAGE: Final = ("_count", "_offset", "_format")
_DATE: Final = re.compile(r"(eq|ge|le|gt|lt|)(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?(?:T.*)?")


@dataclass(frozen=True, slots=True)
class Token:
    """`system|value`; `system` None: any, empty: none."""

    value: str
    system: str | None = None


class Parameters:
    """What a search was asked with. Unknown parameters are refused where the client wants it so (Prefer: handling=strict)."""

    def __init__(self, request: Request, known: Iterable[str]) -> None:
        allowed = {*known, *_PAGE}
        asked = [(key, value) for key, value in request.query_params.multi_items() if value]
        unknown = [key for key, _ in asked if key not in allowed]
        if unknown and "handling=strict" in request.headers.get("prefer", "").replace(" ", ""):
            raise InvalidRequestError(
                told(
                    "{name} is no parameter of this search; there are {names}.",
                    name=unknown[0][:60],
                    names=", ".join(sorted(allowed)),
                )
            )
        self._asked = [(key, value) for key, value in asked if key in allowed]
        self.count = self._number("_count", COUNT_DEFAULT, COUNT_MAX)
        self.offset = self._number("_offset", 0, OFFSET_MAX)

    def text(self, name: str) -> str:
        """The value of a parameter; empty where it was not given. Raises InvalidRequestError when it was given twice."""
        values = [value for key, value in self._asked if key == name]
        if len(values) > 1:
            raise InvalidRequestError(told("{name} was given twice.", name=name))
        return values[0][:200] if values else ""

    def token(self, name: str) -> Token | None:
        """A token (3.1.1.4.10)."""
        text = self.text(name)
        if not text:
            return None
        system, bar, value = text.rpartition("|")
        return Token(value, system) if bar else Token(value)

    def reference(self, name: str, kind: str) -> str:
        """The id of a reference to a resource of this kind: `12`, `Patient/12` or an address that ends so."""
        return self.text(name).rpartition(f"{kind}/")[2]

    def day_range(self, name: str) -> Range | None:
        """The days that all values of a date parameter allow, both ends included. Raises InvalidRequestError."""
        start, end = "", _LAST
        values = [value for key, value in self._asked if key == name]
        for value in values:
            first, last = _days(name, value)
            start, end = max(start, first), min(end, last)
        return Range(start or None, end) if values else None

    def address(self, base: str, offset: int) -> str:
        """The same search, another page."""
        kept = [(key, value) for key, value in self._asked if key not in _PAGE]
        return f"{base}?{urlencode([*kept, ('_count', self.count), ('_offset', offset)])}"

    def _number(self, name: str, default: int, most: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidRequestError(told("{name} is a whole number.", name=name))
        return min(int(text), most)


def _days(name: str, value: str) -> tuple[str, str]:
    found = _DATE.fullmatch(value)
    if found is None:
        raise InvalidRequestError(
            told("{name} is a date as 2026-11-22, with eq, ge, le, gt or lt in front.", name=name)
        )
    prefix, year, month, day = found.groups()
    try:
        first = dt.date(int(year), int(month or 1), int(day or 1))
        last = dt.date(int(year), int(month or 12), int(day) if day else monthrange(int(year), int(month or 12))[1])
        bounds = {
            "ge": (_da(first), _LAST),
            "gt": (_da(last + dt.timedelta(days=1)), _LAST),
            "le": ("", _da(last)),
            "lt": ("", _da(first - dt.timedelta(days=1))),
        }
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(told("{name}: there is no day {date}.", name=name, date=value[:20])) from error
    return bounds.get(prefix, (_da(first), _da(last)))


def _da(day: dt.date) -> str:
    return f"{day:%Y%m%d}".zfill(8)
