"""A structured report as a tree of headings, values and references that a template can show (PS3.3 C.17.3).

The content items of an object become nodes; what a device wrote wrongly becomes a node with the text that there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from fileroom.core.limits import REPORT_NODES_MAX, SEQUENCE_DEPTH_MAX

SHOWN_CHARS_MAX: Final = 10_000

_TEXT_KEYWORDS: Final = {
    "TEXT": "TextValue",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
}


@dataclass(frozen=True, slots=True)
class ReportNode:
    """One content item. `kind` is its value type (PS3.3 C.17.3.2.1); `value` what it says; `uid` the object it refers to."""

    kind: str
    relation: str
    name: str
    value: str
    date: str = ""
    time: str = ""
    person: str = ""
    uid: str = ""
    children: tuple[ReportNode, ...] = ()


def report_of(dataset: Dataset) -> ReportNode | None:
    """The tree of a report; None where the object has no content items."""
    if "ContentSequence" not in dataset and "ConceptNameCodeSequence" not in dataset:
        return None
    counter = iter(range(REPORT_NODES_MAX))
    return _node(dataset, counter, 0)


def _node(item: Dataset, counter: Iterator[int], depth: int) -> ReportNode:
    kind = _text(item, "ValueType").upper()
    children: list[ReportNode] = []
    if depth < SEQUENCE_DEPTH_MAX:
        for child in _items(item, "ContentSequence"):
            if next(counter, None) is None:
                break
            children.append(_node(child, counter, depth + 1))
    return ReportNode(
        kind=kind,
        relation=_text(item, "RelationshipType").upper(),
        name=_code(item, "ConceptNameCodeSequence"),
        value=_value(item, kind),
        date=_text(item, "Date") if kind == "DATE" else "",
        time=_text(item, "Time") if kind == "TIME" else "",
        person=_text(item, "PersonName") if kind == "PNAME" else "",
        uid=_reference(item),
        children=tuple(children),
    )


def _value(item: Dataset, kind: str) -> str:
    if kind in _TEXT_KEYWORDS:
        return _text(item, _TEXT_KEYWORDS[kind])
    if kind == "CODE":
        return _code(item, "ConceptCodeSequence")
    if kind == "NUM":
        return _number(item)
    if kind in ("SCOORD", "SCOORD3D"):
        return _text(item, "GraphicType")
    return ""


def _number(item: Dataset) -> str:
    for measured in _items(item, "MeasuredValueSequence"):
        unit = next((_text(code, "CodeValue") for code in _items(measured, "MeasurementUnitsCodeSequence")), "")
        # "1" and words in braces are UCUM's ways to say that there is no unit.
        shown = "" if unit == "1" or unit.startswith("{") else unit
        return f"{_text(measured, 'NumericValue')} {shown}".strip()
    return _code(item, "NumericValueQualifierCodeSequence")


def _code(item: Dataset, keyword: str) -> str:
    return next((_text(code, "CodeMeaning") or _text(code, "CodeValue") for code in _items(item, keyword)), "")


def _reference(item: Dataset) -> str:
    return next((_text(one, "ReferencedSOPInstanceUID") for one in _items(item, "ReferencedSOPSequence")), "")


def _items(item: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; nothing where the element is absent or is none."""
    try:
        value = item.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom raises what it likes for values that are none
        return []
    return [one for one in value if isinstance(one, Dataset)] if isinstance(value, (list, MultiValue)) or value else []


def _text(item: Dataset, keyword: str) -> str:
    try:
        value = item.get(keyword)
    except Exception:  # noqa: BLE001 - as above
        return ""
    if value is None:
        return ""
    if isinstance(value, (list, MultiValue)):
        value = "\\".join(map(str, value))
    return str(value)[:SHOWN_CHARS_MAX]
