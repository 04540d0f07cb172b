"""Attribute matching (PS3.4 C.2.2.2): the text of a key to a `Matching`, and what a match means.

`matches` is the reference: plain Python over one stored value. The index does the same in SQL, the worklist uses it as
it is. Normal forms of names, dates and times come from `normal_forms` and are given on from here.
"""

from __future__ import annotations

import re
from typing import Final

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom.normal_forms import (
    Bounds,
    datetime_bounds,
    normalize_date,
    normalize_datetime,
    normalize_name,
    normalize_name_pattern,
    normalize_time,
    time_bounds,
    to_utc,
)
from fileroom.dicom.query import AnyOf, EmptyValue, Matching, Range, SequenceItem, SingleValue, Wildcard

__all__ = [
    "Bounds",
    "datetime_bounds",
    "matches",
    "normalize_date",
    "normalize_datetime",
    "normalize_name",
    "normalize_name_pattern",
    "normalize_time",
    "parse_matching",
    "range_bounds",
    "time_bounds",
    "to_utc",
    "to_utc_bounds",
]

WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
"""PS3.4 C.2.2.2.4. In UI, IS, DS, AS and the binary VRs `*` and `?` are just wrong."""
RANGE_VRS: Final = frozenset({"DA", "TM", "DT"})
SINGLE_TEXT_VRS: Final = frozenset({"LT", "ST", "UR", "UT"})
"""A backslash is part of the value (PS3.5 6.4)."""
_NUMBER_VRS: Final = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_EMPTY: Final = '""'
_MOMENT: Final = r"\d{4,14}(?:\.\d{1,6})?"
_OFFSET: Final = r"(?:[+-](?:0\d|1[0-4])(?:00|15|30|45))?"
_DT_RANGE: Final = re.compile(rf"(?P<start>{_MOMENT}{_OFFSET})?-(?P<end>{_MOMENT}{_OFFSET})?")


def parse_matching(vr: str, text: str) -> Matching | None:
    """How values of `vr` shall match the key `text`; None for universal matching (empty, or nothing but `*`).

    Raises InvalidRequestError for a range whose ends are no dates or times, or that is not a range of two.
    """
    key = text.strip(" \0")
    if not key or not key.strip("*"):
        return None
    if key == _EMPTY:
        return EmptyValue()
    if vr in RANGE_VRS and "\\" not in key:
        return _parse_range(vr, key)
    if "\\" in key and vr not in SINGLE_TEXT_VRS:
        values = tuple(dict.fromkeys(part for part in (part.strip(" \0") for part in key.split("\\")) if part))
        if not values:
            return None
        return AnyOf(values) if len(values) > 1 else parse_matching(vr, values[0])
    if vr in WILDCARD_VRS and ("*" in key or "?" in key):
        return Wildcard(key)
    return SingleValue(key)


def range_bounds(vr: str, matching: Range | SingleValue, timezone: str | None = None) -> Bounds:
    """Lowest and highest canonical text that match, both included, None where open.

    DA: YYYYMMDD. TM: see `normal_forms.time_bounds`. DT: in UTC when a value has an offset or `timezone` gives one. A
    single value of reduced precision is the range that it covers. Raises InvalidRequestError for what is none.
    """
    if isinstance(matching, SingleValue):
        return _value_bounds(vr, matching.value, timezone)
    lower = _value_bounds(vr, matching.start, timezone).lower if matching.start else None
    upper = _value_bounds(vr, matching.end, timezone).upper if matching.end else None
    return Bounds(lower, upper)


def to_utc_bounds(
    date: Range | SingleValue | None, time: Range | SingleValue | None, timezone: str | None = None
) -> Bounds:
    """Combined datetime matching (PS3.4 C.2.2.2.5.2): from the first time on the first day to the last on the last.

    The result is canonical moments (YYYYMMDDHHMMSS.F), moved to UTC when `timezone` is given. Without a date it is
    open.
    """
    days = range_bounds("DA", date) if date else Bounds(None, None)
    clock = range_bounds("TM", time) if time else Bounds(None, None)
    lower = to_utc(days.lower, clock.lower or "00", timezone) if days.lower else None
    upper = to_utc(days.upper, clock.upper or "235960.999999", timezone) if days.upper else None
    return Bounds(lower, upper)


def matches(value: str | None, matching: Matching | None, vr: str) -> bool:
    """Does one stored value (None or empty: absent; several by backslash) match? The reference for every search.

    Sequences are matched by their keys' own callers; a `SequenceItem` here raises TypeError.
    """
    if matching is None:
        return True
    if isinstance(matching, SequenceItem):
        raise TypeError("sequence matching goes item by item, each key by itself")
    stored = (value or "").strip(" \0")
    if isinstance(matching, EmptyValue):
        return not stored
    if not stored:
        return False
    values = [stored] if vr in SINGLE_TEXT_VRS else [part.strip() for part in stored.split("\\")]
    return any(_matches_one(part, matching, vr) for part in values)


def _parse_range(vr: str, key: str) -> Matching:
    if "-" not in key:
        return SingleValue(_normal(vr, key))
    if vr == "DT":
        match = _DT_RANGE.fullmatch(key)
        if re.fullmatch(_MOMENT + _OFFSET, key):  # 20200101-0500 is a moment west of Greenwich, not a range to year 500
            return SingleValue(key)
        ends = [match["start"], match["end"]] if match else []
    else:
        ends = [part.strip() or None for part in key.split("-")]
    if len(ends) != 2 or not any(ends):
        raise InvalidRequestError(f"{key!r} is not a range of {vr} values; give START-END, START- or -END")
    found = Range(*(_normal(vr, end) if end else None for end in ends))
    range_bounds(vr, found)
    return found


def _normal(vr: str, text: str) -> str:
    """DA in today's form; the others as they are, because their precision means something."""
    return (normalize_date(text) or text) if vr == "DA" else text.replace(":", "") if vr == "TM" else text


def _value_bounds(vr: str, text: str, timezone: str | None) -> Bounds:
    if vr == "DA":
        day = normalize_date(text)
        found = Bounds(day, day) if day else None
    else:
        found = time_bounds(text) if vr == "TM" else datetime_bounds(text, timezone)
    if found is None:
        form = {"DA": "YYYYMMDD", "TM": "HHMMSS", "DT": "YYYYMMDDHHMMSS"}[vr]
        raise InvalidRequestError(f"{text!r} is not a {vr} value; write it as {form}")
    return found


def _matches_one(stored: str, matching: SingleValue | AnyOf | Wildcard | Range, vr: str) -> bool:
    if isinstance(matching, AnyOf):
        return any(_matches_one(stored, _single_or_wildcard(vr, value), vr) for value in matching.values)
    if vr == "PN":
        return _matches_name(stored, matching)
    if isinstance(matching, Wildcard):
        return _pattern(matching.pattern).fullmatch(stored) is not None
    if vr in RANGE_VRS:
        return _matches_range(stored, matching, vr)
    if isinstance(matching, Range):
        raise TypeError(f"{vr} values have no range matching")
    return stored == matching.value or (vr in _NUMBER_VRS and _same_number(stored, matching.value))


def _single_or_wildcard(vr: str, value: str) -> SingleValue | Wildcard:
    return Wildcard(value) if vr in WILDCARD_VRS and ("*" in value or "?" in value) else SingleValue(value)


def _matches_range(stored: str, matching: SingleValue | Range, vr: str) -> bool:
    normal = {"DA": normalize_date, "TM": normalize_time, "DT": normalize_datetime}[vr](stored)
    if normal is None:  # what is stored is no date or time: only the very same text matches
        return isinstance(matching, SingleValue) and stored == matching.value
    try:
        lower, upper = range_bounds(vr, matching)
    except InvalidRequestError:
        return False
    return (lower is None or lower <= normal) and (upper is None or normal <= upper)


def _matches_name(stored: str, matching: SingleValue | Wildcard | Range) -> bool:
    """A key of one group matches in any group of the name; a key of several matches group by group."""
    if isinstance(matching, Range):
        raise TypeError("PN values have no range matching")
    wanted = matching.value if isinstance(matching, SingleValue) else matching.pattern
    groups = normalize_name(stored).split("=")
    keys = normalize_name_pattern(wanted).split("=")
    if len(keys) == 1:
        return any(_matches_group(group, keys[0], isinstance(matching, Wildcard)) for group in groups)
    groups += [""] * (len(keys) - len(groups))
    wild = isinstance(matching, Wildcard)
    return all(not key or _matches_group(group, key, wild) for group, key in zip(groups, keys, strict=False))


def _matches_group(group: str, key: str, wild: bool) -> bool:
    if not wild:
        return group == key
    without_rest = key.removesuffix("^*")
    return any(_pattern(one).fullmatch(group) is not None for one in dict.fromkeys((key, without_rest)))


def _pattern(wildcard: str) -> re.Pattern[str]:
    """Each piece between stars is taken at its first place and never given back, so that no pattern takes long."""
    first, *middle = [
        "".join("." if char == "?" else re.escape(char) for char in piece) for piece in re.split(r"\*+", wildcard)
    ]
    if not middle:
        return re.compile(first, re.S)
    *between, last = middle
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in between) + ".*" + last, re.S)


def _same_number(first: str, second: str) -> bool:
    try:
        return float(first) == float(second)
    except ValueError:
        return False
