"""What names this very patient in this very object, and finding it again in text.

Names, numbers, addresses, the institution, dates and UIDs that the object itself tells are looked for in everything that
is kept. What it does not tell (a relative's name typed into a comment) cannot be found so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from pydicom.dataset import Dataset

from fileroom.deid.profile import Action, Plan
from fileroom.pixels.header_values import value_of

GONE: Final = "***"
"""What stands where something was taken out of a text."""

_NAMING: Final = (
    0x00080050, 0x00080080, 0x00080081, 0x00080092, 0x00080094, 0x00081010, 0x00100020, 0x00100021, 0x00101000, 0x00101001,
    0x00101005, 0x00101040, 0x00101050, 0x00101060, 0x00101090, 0x00102154, 0x00102155, 0x00102297, 0x00120040, 0x00120042,
    0x00181000, 0x00200010, 0x00321020, 0x00380010, 0x00380060, 0x00400009, 0x00400253, 0x00401001, 0x00401103, 0x00402016,
    0x00402017, 0x00102160,
)  # fmt: skip
"""Attributes whose whole value names somebody or something. StudyID and the like may be short: see _SHORTEST."""
_DATES: Final = (0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x0008002A, 0x00380020, 0x00400002, 0x00400244)
_BIRTH_DATE: Final = 0x00100030
_UIDS: Final = (0x00080018, 0x0020000D, 0x0020000E, 0x00200052)
_SHORTEST: Final = 3
_FREE_STANDING: Final = 5
"""Words from this length on are found inside of longer words too."""
_PIECES_MAX: Final = 400


def identifiers_of(header: Dataset, plan: Plan, *, dates_kept: bool) -> tuple[str, ...]:
    """Every text that must not be found in what leaves, in a fixed order. Looks at the top level and one level below."""
    found: set[str] = set()
    for level in _levels(header):
        found.update(_of_level(level, plan, dates_kept=dates_kept))
    return tuple(sorted(found))[:_PIECES_MAX]


@lru_cache(maxsize=256)
def finder(identifiers: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds any of them in text; None when there is none."""
    return re.compile("|".join(_alternatives(identifiers)), re.IGNORECASE) if identifiers else None


@lru_cache(maxsize=256)
def byte_finder(identifiers: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """Finds any of them in encoded values of any character set that is in use: one pass over all values of an object."""
    if not identifiers:
        return None
    found: set[bytes] = set()
    for one in identifiers:
        for form in {one, one.upper(), one.lower(), one.title()}:
            for encoding in ("utf-8", "latin_1", "gb18030", "shift_jis", "euc_kr", "euc_jp", "iso8859_5", "iso8859_7",
                             "iso8859_6", "iso8859_8", "iso8859_2", "iso8859_9", "utf-16-le"):  # fmt: skip
                if encoding != "utf-8" and form.isascii() and encoding != "utf-16-le":
                    continue
                try:
                    found.add(form.encode(encoding))
                except UnicodeEncodeError:
                    continue
    return re.compile(b"|".join(map(re.escape, sorted(found, key=len, reverse=True))), re.IGNORECASE)


def without_identifiers(text: str, identifiers: tuple[str, ...]) -> str:
    """The text with GONE where an identifier stood."""
    pattern = finder(identifiers)
    return pattern.sub(GONE, text) if pattern else text


def suspicious(text: str) -> bool:
    """Whether cleaned text still looks as if it names somebody: a date, a long number, an address, a title, a caret."""
    return _SUSPICIOUS.search(text) is not None


_SUSPICIOUS: Final = re.compile(
    r"\d{5,}|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|@|https?:|\^|"
    r"\b(?:dr|prof|mr|mrs|ms|herr|frau|mme|sig|sr|sra|geb|born|dob|mrn|pat(?:ient)?[ -]?id)\b\.?",
    re.IGNORECASE,
)


def _levels(header: Dataset) -> Iterator[Dataset]:
    yield header
    for tag in _HOLDERS:
        if tag in header:
            value = value_of(header, tag)
            if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
                yield from (item for item in value if isinstance(item, Dataset))


_HOLDERS: Final = (
    0x00101002,
    0x00400275,
    0x00081110,
    0x00081111,
    0x00081120,
    0x0040A073,
    0x0040A370,
    0x04000561,
    0x00080082,
)


def _of_level(level: Dataset, plan: Plan, *, dates_kept: bool) -> Iterator[str]:
    for tag in level.keys() & _INTERESTING:
        step = plan.steps.get(tag)
        if step is not None and step.action is Action.KEEP:
            continue
        if tag in _DATES and dates_kept:
            continue
        for text in _texts(level, tag):
            if tag in _DATE_TAGS:
                yield from _date_forms(text)
            elif tag in _UIDS:
                yield text
            elif tag in _NAME_TAGS:
                yield from _name_forms(text)
            elif len(text) >= _SHORTEST:
                yield text


def _texts(level: Dataset, tag: int) -> list[str]:
    value = value_of(level, tag)
    if value is None:
        return []
    many = (
        [value]
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") or hasattr(value, "components")
        else value
    )
    return [text for one in many if (text := str(one).strip(" \0"))]


def _name_forms(name: str) -> Iterator[str]:
    """The parts of a name, and first and last run together as file names have them."""
    for group in name.split("="):
        parts = [part for part in re.split(r"[\^\s,]+", group) if len(part) >= 2]
        yield from parts
        if len(parts) >= 2:
            yield parts[0] + parts[1]
            yield parts[1] + parts[0]


def _date_forms(text: str) -> Iterator[str]:
    digits = text[:8]
    if len(digits) == 8 and digits.isdigit() and digits > "1800":
        year, month, day = digits[:4], digits[4:6], digits[6:]
        yield from (
            digits,
            f"{year}-{month}-{day}",
            f"{day}.{month}.{year}",
            f"{day}/{month}/{year}",
            f"{month}/{day}/{year}",
        )


_DATE_TAGS: Final = frozenset({*_DATES, _BIRTH_DATE})
_NAME_TAGS: Final = frozenset(
    {0x00080090, 0x0008009C, 0x00081048, 0x00081050, 0x00081060, 0x00081070, 0x00100010, 0x00101001, 0x00101005, 0x00101060,
     0x00102297, 0x00120021, 0x00321032, 0x00400006, 0x0040A075, 0x0040A123, 0x00402008, 0x40080102, 0x4008010A, 0x4008010C,
     0x40080114, 0x00700084}
)  # fmt: skip
_INTERESTING: Final = frozenset({*_NAMING, *_DATE_TAGS, *_UIDS, *_NAME_TAGS})


def _alternatives(identifiers: tuple[str, ...]) -> list[str]:
    found = []
    for one in sorted(identifiers, key=len, reverse=True):
        escaped = re.escape(one).replace(r"\ ", r"[\s_^-]+")
        found.append(escaped if len(one) >= _FREE_STANDING else rf"(?<![^\W_]){escaped}(?![^\W_])")
    return found
