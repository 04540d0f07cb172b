"""What a structured report says in words (PS3.3 C.17.3): its containers as sections, texts, codes and numbers as lines.

Pure: a data set comes in. Trees from outside are walked to a bounded depth and number of items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pydicom.dataset import Dataset

from fileroom.dicom.charset import clean, clean_lines
from fileroom.reports.documents import HEADING_CHARS_MAX, TEXT_CHARS_MAX
from fileroom.reports.facts import ReportSection

DEPTH_MAX: Final = 40
ITEMS_MAX: Final = 20_000
SECTIONS_MAX: Final = 150
_CONTEXT: Final = frozenset(
    ("HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS ACQ CONTEXT", "HAS PROPERTIES", "INFERRED FROM")
)
"""Relationships (C.17.3.2.4) to what is about the words, not among them."""
_NO_REPORTS: Final = frozenset(("113701", "113500", "121058", "113000", "111036", "112000", "112220"))
"""Roots (PS3.16) of dose reports, procedure logs, key objects and computer-aided detection."""
_NO_NARRATIVE: Final = frozenset(("111001", "111003", "112039", "112040", "121106"))
"""Texts that name an algorithm, a tracked lesion, or comment a number: no narrative by themselves."""
_PLAIN: Final = frozenset(("Finding", "Findings", "Impression", "Conclusion", "Recommendation", "History", "Text"))
_OBSERVER_NAME: Final = "121008"


@dataclass(frozen=True, slots=True)
class Narrative:
    """`has_text` False: there are only codes and numbers, or it is no report for readers."""

    title: str
    sections: tuple[ReportSection, ...]
    observer: str
    has_text: bool


@dataclass(slots=True)
class _Walk:
    runs: list[tuple[str, list[str]]] = field(default_factory=list)
    items: int = 0
    chars: int = 0
    observer: str = ""
    has_text: bool = False

    def say(self, heading: str, line: str) -> None:
        self.chars += len(line)
        if self.chars > TEXT_CHARS_MAX:
            return
        is_new = not self.runs or self.runs[-1][0] != heading
        if is_new and len(self.runs) < SECTIONS_MAX:
            self.runs.append((heading, []))
        elif is_new:
            line = f"{heading}: {line}" if heading else line
        self.runs[-1][1].append(line)


def read_narrative(dataset: Dataset) -> Narrative:
    """The words of an SR document. Never raises for odd content: what cannot be read is left out."""
    walk = _Walk()
    code, title = _concept(dataset)
    _walk(walk, _items(dataset, "ContentSequence"), "", 0)
    sections = tuple(ReportSection(heading, "\n".join(lines).strip()) for heading, lines in walk.runs)
    return Narrative(title, sections, walk.observer, walk.has_text and code not in _NO_REPORTS)


# --- helpers ---


def _walk(walk: _Walk, items: Iterable[Dataset], heading: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        return
    for item in items:
        walk.items += 1
        if walk.items > ITEMS_MAX:
            return
        kind = _text(item, "ValueType").upper()
        code, name = _concept(item)
        if code == _OBSERVER_NAME and kind == "PNAME":
            walk.observer = walk.observer or _text(item, "PersonName")
        if _text(item, "RelationshipType").upper() in _CONTEXT and kind != "CONTAINER":
            continue
        inner = heading
        if kind == "CONTAINER":
            inner = (name or heading)[:HEADING_CHARS_MAX]
        elif kind == "TEXT":
            text = clean_lines(_raw(item, "TextValue"))
            if text:
                walk.has_text = walk.has_text or code not in _NO_NARRATIVE
                _say_text(walk, heading, name, text)
        else:
            said = _value(item, kind)
            if said:
                walk.say(heading, f"{name}: {said}" if name else said)
        _walk(walk, _items(item, "ContentSequence"), inner, depth + 1)


def _say_text(walk: _Walk, heading: str, name: str, text: str) -> None:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not heading:
        walk.say(name[:HEADING_CHARS_MAX], text)
    elif not name or name in _PLAIN or name.casefold().rstrip("s") in heading.casefold():
        walk.say(heading, text)
    else:
        walk.say(heading, f"{name}: {text}")


def _value(item: Dataset, kind: str) -> str:
    match kind:
        case "CODE":
            return next((_concept_of(one)[1] for one in _items(item, "ConceptCodeSequence")), "")
        case "NUM":
            for one in _items(item, "MeasuredValueSequence"):
                unit = next((_text(each, "CodeValue") for each in _items(one, "MeasurementUnitsCodeSequence")), "")
                return f"{_text(one, 'NumericValue')} {unit if unit not in ('1', 'no units') else ''}".strip()
        case "DATE":
            return _text(item, "Date")
        case "TIME":
            return _text(item, "Time")
        case "DATETIME":
            return _text(item, "DateTime")
        case "PNAME":
            return _text(item, "PersonName").replace("^", " ").strip()
    return ""


def _concept(item: Dataset) -> tuple[str, str]:
    return next((_concept_of(one) for one in _items(item, "ConceptNameCodeSequence")), ("", ""))


def _concept_of(code: Dataset) -> tuple[str, str]:
    value = _text(code, "CodeValue") or _text(code, "LongCodeValue") or _text(code, "URNCodeValue")
    return value, _text(code, "CodeMeaning") or value


def _items(item: Dataset, keyword: str) -> Iterable[Dataset]:
    found: Any = item.get(keyword)
    return (
        (one for one in found if isinstance(one, Dataset))
        if isinstance(found, list) or hasattr(found, "__iter__")
        else ()
    )


def _text(item: Dataset, keyword: str) -> str:
    return clean(_raw(item, keyword))


def _raw(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
