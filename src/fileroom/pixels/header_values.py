"""Values of a header that nobody has checked: what is absent, empty or broken is the same thing, None or nothing.

pydicom parses an element when it is first looked at, and raises then when its bytes make no sense. One broken attribute
must not make an image unreadable that does not need it, so everything in this room reads headers through here.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

BROKEN: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
    EOFError,
    struct.error,
    BytesLengthException,
)
"""What pydicom raises for bytes that make no sense."""


def value_of(header: Dataset, key: str | int) -> Any:
    """The value of an element by keyword or tag; None when it is absent, empty or broken."""
    try:
        if isinstance(key, str):
            value = header.get(key)
        else:
            element = header.get(key)
            value = None if element is None else element.value
    except BROKEN:
        return None
    return None if isinstance(value, str) and value == "" else value


def integer(header: Dataset, key: str | int, default: int) -> int:
    """The first value as an integer; `default` when there is none."""
    value = value_of(header, key)
    try:
        if not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__getitem__"):
            value = value[0]
        return int(value)
    except BROKEN:
        return default


def number(header: Dataset, keyword: str, place: int = 0) -> float | None:
    """Value `place` of a numeric attribute; None when there is none or it is no finite number."""
    found = numbers(header, keyword)
    return found[place] if place < len(found) else None


def numbers(header: Dataset, keyword: str) -> list[float]:
    """All values of a numeric attribute; empty when one of them is no finite number."""
    value = value_of(header, keyword)
    if value is None:
        return []
    try:
        many = value if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else [value]
        found = [float(one) for one in many]
    except BROKEN:
        return []
    return found if all(abs(one) < 1e300 for one in found) else []


def text(header: Dataset, keyword: str) -> str:
    """A code string in upper case, the first of several; empty when there is none."""
    value = value_of(header, keyword)
    if value is not None and not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__") and len(value):
        value = value[0]
    return str(value or "").strip().upper()


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty when there are none."""
    value = value_of(header, keyword)
    try:
        found = [] if value is None or isinstance(value, (str, bytes)) else list(value)
    except BROKEN:
        return []
    return [item for item in found if isinstance(item, Dataset)]


def first_item(header: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, None when there is none."""
    found = items(header, keyword)
    return found[0] if found else None
