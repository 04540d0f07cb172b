"""What differs between two data sets, attribute by attribute, as text for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.dicom.dictionary import keyword_of
from fileroom.pixels.header_values import BROKEN
from fileroom.transform.changes import CONTRIBUTING_EQUIPMENT, ORIGINAL_ATTRIBUTES

DIFFERENCES_MAX: Final = 500
"""Of one object; what is left out is counted."""
_VALUE_CHARS_MAX: Final = 300
_ELEMENTS_MAX: Final = 20_000
_RECORDS: Final = frozenset({ORIGINAL_ATTRIBUTES, CONTRIBUTING_EQUIPMENT})


@dataclass(frozen=True, slots=True)
class Difference:
    """An attribute that is not the same. None: it is not there. `path` names it as steps do, `tag` is (gggg,eeee)."""

    path: str
    tag: str
    before: str | None
    after: str | None


def differences(before: Dataset, after: Dataset) -> list[Difference]:
    """In the order of the data set, without the records of changes themselves, which say the same again."""
    was: dict[str, tuple[str, str]] = {}
    now: dict[str, tuple[str, str]] = {}
    _flatten(before, "", was, 0)
    _flatten(after, "", now, 0)
    found = [
        Difference(path, (was.get(path) or now[path])[0], _value(was, path), _value(now, path))
        for path in {**was, **now}
        if _value(was, path) != _value(now, path)
    ]
    return sorted(found, key=lambda one: (one.tag if "." not in one.path else _first_tag(one, was, now), one.path))


def _first_tag(one: Difference, was: dict[str, tuple[str, str]], now: dict[str, tuple[str, str]]) -> str:
    first = one.path.partition("[")[0]
    return (was.get(first) or now.get(first) or (one.tag, ""))[0]


def _value(values: dict[str, tuple[str, str]], path: str) -> str | None:
    found = values.get(path)
    return found[1] if found is not None else None


def _flatten(level: Dataset, prefix: str, out: dict[str, tuple[str, str]], depth: int) -> None:
    for tag in sorted(level._dict):
        if (not prefix and int(tag) in _RECORDS) or len(out) > _ELEMENTS_MAX:
            continue
        number = f"({int(tag) >> 16:04X},{int(tag) & 0xFFFF:04X})"
        path = prefix + (keyword_of(int(tag)) or number)
        try:
            element = level[tag]
        except BROKEN:
            out[path] = (number, "?")
            continue
        if element.VR == "SQ":
            items = list(element.value or ())
            out[path] = (number, f"{len(items)} x")
            for index, item in enumerate(items):
                if depth < SEQUENCE_DEPTH_MAX:
                    _flatten(item, f"{path}[{index}].", out, depth + 1)
        else:
            out[path] = (number, _text(element))


def _text(element: DataElement) -> str:
    value = element.value
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if value is None:
        return ""
    text = (
        str(value)
        if isinstance(value, str) or not hasattr(value, "__iter__") or element.VM == 1
        else "\\".join(map(str, value))
    )
    return text if len(text) <= _VALUE_CHARS_MAX else text[:_VALUE_CHARS_MAX] + "..."
