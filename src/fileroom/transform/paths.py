"""How a step names an attribute: by keyword or tag, in items of sequences, private ones by their creator.

    PatientName   (0010,0010)   00100010                         an attribute
    RequestAttributesSequence[0].AccessionNumber                 of the first item
    RequestAttributesSequence[*].AccessionNumber                 of every item
    (0029,10,"SIEMENS CSA HEADER")                               private: group, number in the block, creator

A private block lies where its creator stands (PS3.5 7.8.1), so its element number differs from object to object.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.core.errors import InvalidObjectError, InvalidRequestError, told
from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.dicom.dictionary import UNKNOWN, keyword_of, tag_of, vr_of
from fileroom.pixels.header_values import BROKEN

PATH_CHARS_MAX: Final = 500
ALL_ITEMS: Final = -1
ITEM_INDEX_MAX: Final = 9999

_PART: Final = re.compile(
    r"""(?: (?P<keyword>[A-Z][A-Za-z0-9]*)
          | \(\s*(?P<group>[0-9A-Fa-f]{4})\s*,\s*(?P<number>[0-9A-Fa-f]{4})\s*\)
          | (?P<whole>[0-9A-Fa-f]{8})
          | \(\s*(?P<odd>[0-9A-Fa-f]{4})\s*,\s*(?:xx)?(?P<low>[0-9A-Fa-f]{2})\s*,\s*"(?P<creator>[^"\\]{1,64})"\s*\)
        )(?:\[(?P<item>\*|\d{1,4})\])?""",
    re.VERBOSE,
)
_FIRST: Final = 0x00080001
_PIXELS: Final = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003, 0x7FE00008, 0x7FE00009, 0x7FE00010})


@dataclass(frozen=True, slots=True)
class Part:
    """One attribute of a path. `tag` of a private one with `creator` is group and the low byte of its number. `item`: the
    item of it that the path goes on in (from 0, ALL_ITEMS), None at the end."""

    tag: int
    creator: str = ""
    item: int | None = None

    def __str__(self) -> str:
        name = keyword_of(self.tag) if not self.creator else ""
        if self.creator:
            name = f'({self.tag >> 16:04X},{self.tag & 0xFF:02X},"{self.creator}")'
        name = name or f"({self.tag >> 16:04X},{self.tag & 0xFFFF:04X})"
        return name if self.item is None else f"{name}[{'*' if self.item == ALL_ITEMS else self.item}]"


@dataclass(frozen=True, slots=True)
class AttributePath:
    """Where an attribute is."""

    parts: tuple[Part, ...]

    def __str__(self) -> str:
        return ".".join(map(str, self.parts))

    @property
    def last(self) -> Part:
        """The attribute itself."""
        return self.parts[-1]


def attribute_path(text: str) -> AttributePath:
    """Raises InvalidRequestError, which says what is wrong with it."""
    if len(text) > PATH_CHARS_MAX:
        raise InvalidRequestError(told("The name of an attribute has at most {most} characters.", most=PATH_CHARS_MAX))
    parts: list[Part] = []
    rest = text.strip()
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise _no_path(text)
        parts.append(_part(match, text))
        rest = rest[match.end() :]
        if rest and not rest.startswith("."):
            raise _no_path(text)
        rest = rest[1:] if len(rest) > 1 else rest.replace(".", "?", 1)
    if not parts or parts[-1].item is not None or any(part.item is None for part in parts[:-1]):
        raise _no_path(text)
    if len(parts) > SEQUENCE_DEPTH_MAX:
        raise InvalidRequestError(told("{path} is nested too deeply.", path=text))
    return AttributePath(tuple(parts))


def _part(match: re.Match[str], text: str) -> Part:
    item = match["item"]
    index = None if item is None else ALL_ITEMS if item == "*" else int(item)
    if match["creator"]:
        group = int(match["odd"], 16)
        if group % 2 == 0 or group < 9:
            raise InvalidRequestError(told("{path}: private attributes are in odd groups from 0009 on.", path=text))
        return Part(group << 16 | int(match["low"], 16), match["creator"].strip(), index)
    if match["keyword"]:
        tag = tag_of(match["keyword"])
        if tag is None:
            raise InvalidRequestError(told("There is no attribute {name}.", name=match["keyword"]))
    else:
        tag = int(match["whole"] or match["group"] + match["number"], 16)
    if tag < _FIRST or tag in _PIXELS or tag & 0xFFFF == 0 or tag >> 16 >= 0xFFFC:
        raise InvalidRequestError(
            told("{path} cannot be changed: it is no attribute of the header, or follows from others.", path=text)
        )
    return Part(tag, "", index)


def _no_path(text: str) -> InvalidRequestError:
    return InvalidRequestError(
        told(
            "{path} names no attribute. Write a keyword (PatientName), a tag (0010,0010), an attribute of an item "
            '(RequestAttributesSequence[0].AccessionNumber, [*] for all) or a private one (0029,10,"CREATOR").',
            path=text[:80] or "-",
        )
    )


# --- in a data set ---


def places(dataset: Dataset, path: AttributePath, *, make: bool = False) -> Iterator[tuple[Dataset, int]]:
    """(level, tag) for every place that the path leads to; with `make`, the item one past the last one is added.

    Nothing where an item or a private creator on the way is not there. Raises InvalidObjectError with `make` when an item
    further behind is asked for, or no block is free.
    """
    yield from _places(dataset, path.parts, make=make)


def _places(level: Dataset, parts: tuple[Part, ...], *, make: bool) -> Iterator[tuple[Dataset, int]]:
    part, rest = parts[0], parts[1:]
    tag = block_tag(level, part, make=make)
    if tag is None:
        return
    if not rest:
        yield level, tag
        return
    items = items_at(level, tag)
    if make and part.item is not None and part.item == len(items):
        items = [*items, Dataset()]
        level[tag] = DataElement(tag, "SQ", Sequence(items))
        items = items_at(level, tag)
    if part.item == ALL_ITEMS:
        for item in items:
            yield from _places(item, rest, make=make)
    elif part.item is not None and part.item < len(items):
        yield from _places(items[part.item], rest, make=make)
    elif make:
        raise InvalidObjectError(
            f"{part} is not there: the sequence has {len(items)} items, and only the next one can be added"
        )


def items_at(level: Dataset, tag: int) -> list[Dataset]:
    """The items of a sequence; none when it is not there or is no sequence."""
    try:
        element = level.get(tag)
        value = element.value if element is not None else None
    except BROKEN:
        return []
    return list(value) if isinstance(value, Sequence) else []


def block_tag(level: Dataset, part: Part, *, make: bool) -> int | None:
    """The tag as it is in this data set: of a private attribute, in the block of its creator; None without that."""
    if not part.creator:
        return part.tag
    group = part.tag >> 16
    free = 0
    for block in range(0x10, 0x100):
        at = group << 16 | block
        if at not in level:
            free = free or at
        elif str(_plain(level, at)).strip() == part.creator:
            return group << 16 | block << 8 | part.tag & 0xFF
    if not make:
        return None
    if not free:
        raise InvalidObjectError(f"there is no free private block in group {group:04X} for {part.creator}")
    level[free] = DataElement(free, "LO", part.creator)
    return group << 16 | (free & 0xFF) << 8 | part.tag & 0xFF


def vr_at(level: Dataset, tag: int, part: Part) -> str:
    """The VR of an attribute: as it is there, else of the dictionary. LO for private ones that nobody knows."""
    if tag in level:
        try:
            vr = str(level[tag].VR)
        except BROKEN:
            vr = UNKNOWN
        if len(vr) == 2 and vr != UNKNOWN:
            return vr
    signed = _plain(level, 0x00280103) == 1
    vr = vr_of(tag, part.creator, signed=signed)
    return "LO" if vr == UNKNOWN else vr


def _plain(level: Dataset, tag: int) -> object:
    try:
        element = level.get(tag)
        return element.value if element is not None else None
    except BROKEN:
        return None


def isolated(dataset: Dataset, tag: int) -> None:
    """Replace a sequence by a copy of it, so that changes in its items do not reach a data set that shares it."""
    if items_at(dataset, tag):
        dataset[tag] = copy.deepcopy(dataset[tag])
