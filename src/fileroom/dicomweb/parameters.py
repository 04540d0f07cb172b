"""The values of query parameters: bounded, and read as the kinds that PS3.18 8.3.1 knows.

Every function names the parameter in its error, because the person who reads it wrote a URL with several.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.limits import QUERY_PARAMETERS_MAX, QUERY_VALUE_CHARS_MAX

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,2})?")


def bounded(parameters: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The parameters, none of them without bounds or with characters that no DICOM text has.

    Raises:
        TooLargeError: too many parameters, or one too long.
        InvalidRequestError: a control character or half a character in a value.
    """
    for count, (name, value) in enumerate(parameters, start=1):
        if count > QUERY_PARAMETERS_MAX:
            raise TooLargeError(
                f"the query string has more than {QUERY_PARAMETERS_MAX} parameters; ask for less at once"
            )
        if len(name) > QUERY_VALUE_CHARS_MAX or len(value) > QUERY_VALUE_CHARS_MAX:
            raise TooLargeError(f"the parameter {shown(name)} has more than {QUERY_VALUE_CHARS_MAX} characters")
        if _CONTROL.search(value):
            raise InvalidRequestError(f"{shown(name)} holds a control character; check how it is percent-encoded")
        yield name, value


def unique(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The bounded parameters by name. Raises InvalidRequestError if one comes twice with different values."""
    found: dict[str, str] = {}
    for name, value in bounded(parameters):
        if found.setdefault(name, value) != value:
            raise InvalidRequestError(f"the parameter {shown(name)} is given twice with different values; give it once")
    return found


def boolean(name: str, value: str) -> bool:
    """`true` or `false`."""
    text = value.strip().lower()
    if text not in ("true", "false"):
        raise InvalidRequestError(f"{name}={shown(value)} is neither true nor false")
    return text == "true"


def whole_number(name: str, value: str, maximum: int, minimum: int = 0) -> int:
    """A number of ASCII digits from `minimum` to `maximum`."""
    text = value.strip()
    if text.isascii() and text.isdigit() and len(text) <= 18 and minimum <= int(text) <= maximum:
        return int(text)
    raise InvalidRequestError(f"{name}={shown(value)} is not a whole number from {minimum} to {maximum}")


def decimal(name: str, value: str) -> float:
    """A finite decimal number, with an exponent if need be."""
    text = value.strip()
    if _DECIMAL.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    raise InvalidRequestError(f"{name}: {shown(value)!r} is not a number")


def comma_list(value: str) -> list[str]:
    """The members between commas, stripped; empty ones stay, because some lists leave places open."""
    return [part.strip() for part in value.split(",")]


def shown(text: str) -> str:
    """`text` as an error message shows it: not more of it than helps."""
    return text if len(text) <= 80 else text[:80] + "..."
