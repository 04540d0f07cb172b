"""An object's elements as rows, with what was received beside what is shown where corrections have changed it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.core.limits import ATTRIBUTES_SHOWN_MAX, SEQUENCE_DEPTH_MAX

VALUE_CHARS_MAX: Final = 300
_BINARY_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_Path = tuple[int, ...]


class Change(enum.Enum):
    """How an element differs from what was received."""

    NONE = "none"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class AttributeRow:
    """One element. `depth` counts the sequences around it; `received` is what came, where it differs."""

    depth: int
    tag: str
    vr: str
    name: str
    value: str
    change: Change = Change.NONE
    received: str = ""


def attribute_rows(shown: Dataset, received: Dataset) -> list[AttributeRow]:
    """The elements of both in the order of their tags, sequences with their items below; cut at ATTRIBUTES_SHOWN_MAX."""
    before = dict(_walk(received, (), 0))
    after = dict(_walk(shown, (), 0))
    rows: list[AttributeRow] = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if new is None and old is not None:
            rows.append(_with(old, Change.REMOVED, value="", received=old.value))
        elif new is not None and old is None:
            rows.append(_with(new, Change.ADDED, value=new.value, received=""))
        elif new is not None and old is not None:
            same = new.value == old.value and new.vr == old.vr
            rows.append(new if same else _with(new, Change.CHANGED, value=new.value, received=old.value))
        if len(rows) == ATTRIBUTES_SHOWN_MAX:
            break
    return rows


def _with(row: AttributeRow, change: Change, *, value: str, received: str) -> AttributeRow:
    return AttributeRow(row.depth, row.tag, row.vr, row.name, value, change, received)


def _walk(dataset: Dataset, path: _Path, depth: int) -> Iterator[tuple[_Path, AttributeRow]]:
    count = 0
    for tag in sorted(dataset.keys()):
        if count >= ATTRIBUTES_SHOWN_MAX:
            return
        count += 1
        here = (*path, int(tag))
        try:
            element = dataset[tag]
        except Exception:  # noqa: BLE001 - pydicom raises what it likes for values that cannot be read
            yield here, AttributeRow(depth, f"({tag >> 16:04X},{tag & 0xFFFF:04X})", "", "", "?")
            continue
        yield here, _row(element, depth)
        if element.VR == "SQ" and depth < SEQUENCE_DEPTH_MAX:
            for index, item in enumerate(element.value or ()):
                yield from _walk(item, (*here, index), depth + 1)


def _row(element: DataElement, depth: int) -> AttributeRow:
    tag = f"({element.tag.group:04X},{element.tag.element:04X})"
    return AttributeRow(depth, tag, str(element.VR), str(element.name), _value(element))


def _value(element: DataElement) -> str:
    value = element.value
    if element.VR == "SQ":
        return f"[{len(value or ())}]"
    if isinstance(value, bytes) or element.VR in _BINARY_VRS:
        return f"{len(value or b'')} B"
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if not isinstance(value, str) and hasattr(value, "__iter__") else str(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[:VALUE_CHARS_MAX] + "…"
