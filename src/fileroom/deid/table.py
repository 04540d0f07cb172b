"""PS3.15 Table E.1-1 (Application Level Confidentiality Profile Attributes) and Table E.3.10-1 (safe private attributes).

The rows are data beside this file; the first lines of each tell its edition.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

from fileroom.deid.options import Option

EDITION: Final = "2025a"

CURVE: Final = 0x5000_0000
OVERLAY_DATA: Final = 0x6000_3000
OVERLAY_COMMENTS: Final = 0x6000_4000
PRIVATE: Final = 0x0001_0000
"""What stands in TABLE for repeating groups (any element of 50xx; 60xx,3000; 60xx,4000) and for all private ones."""

_PATTERNS: Final = {
    "50xxxxxx": CURVE,
    "60xx3000": OVERLAY_DATA,
    "60xx4000": OVERLAY_COMMENTS,
    "gggggggg": PRIVATE,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute: `basic` is its action in the Basic Profile, `options` those of the options that say something."""

    tag: int
    name: str
    basic: str
    options: dict[Option, str]
    edition: str


def _read() -> dict[int, Row]:
    lines = [line for line in _lines("confidentiality.tsv") if line]
    columns = lines[0].split("\t")
    rows = {}
    for line in lines[1:]:
        cells = dict(zip(columns, line.split("\t"), strict=True))
        tag = _PATTERNS.get(cells["tag"])
        tag = int(cells["tag"], 16) if tag is None else tag
        options = {option: cells[option] for option in Option if cells.get(option)}
        rows[tag] = Row(tag, cells["name"], cells["basic"], options, cells["edition"])
    return rows


def _read_safe_private() -> frozenset[tuple[str, int]]:
    found = set()
    for line in _lines("safe_private.tsv")[1:]:
        if line:
            creator, group, elements = line.split("\t")
            found |= {(creator, int(group, 16) << 16 | int(element, 16)) for element in elements.split()}
    return frozenset(found)


def _lines(name: str) -> list[str]:
    text = (resources.files("fileroom.deid") / name).read_text("utf-8")
    return [line for line in text.split("\n") if not line.startswith("#")]


TABLE: Final = _read()
SAFE_PRIVATE: Final = _read_safe_private()
"""(private creator, group << 16 | low byte of the element) of every attribute that is safe."""
