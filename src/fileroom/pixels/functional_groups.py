"""Attributes of one frame, wherever the object keeps them (PS3.3 C.7.6.16): at its top level, in the functional groups
shared by all frames, or in those of the frame."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset


def frame_group(header: Dataset, index: int, keyword: str) -> Dataset | None:
    """The first item of functional group `keyword` for frame `index` (from 0); None when the object has none."""
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    if 0 <= index < len(per_frame):
        own = first_item(per_frame[index], keyword)
        if own is not None:
            return own
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    return first_item(shared, keyword) if shared is not None else None


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty when it is absent or broken."""
    value = header.get(keyword)
    try:
        return list(value) if value is not None and not isinstance(value, (str, bytes)) else []
    except TypeError:
        return []


def first_item(header: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, None when there is none."""
    found = items(header, keyword)
    return found[0] if found and isinstance(found[0], Dataset) else None


def number(header: Dataset, keyword: str, place: int = 0) -> float | None:
    """Value `place` of a numeric attribute; None when it is absent, empty or no finite number."""
    found = numbers(header, keyword)
    return found[place] if place < len(found) else None


def numbers(header: Dataset, keyword: str) -> list[float]:
    """All values of a numeric attribute; empty when one of them is no finite number."""
    try:
        value: Any = header.get(keyword)
        if value is None or value == "":
            return []
        many = value if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)) else [value]
        found = [float(one) for one in many]
    except (TypeError, ValueError, OverflowError):
        return []
    return found if all(abs(one) < 1e300 for one in found) else []


def text(header: Dataset, keyword: str) -> str:
    """A code string in upper case, the first of several; empty when absent."""
    try:
        value: Any = header.get(keyword)
    except (TypeError, ValueError):
        return ""
    if value is not None and not isinstance(value, (str, bytes)) and hasattr(value, "__getitem__") and len(value):
        value = value[0]
    return str(value or "").strip().upper()
