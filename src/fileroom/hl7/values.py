"""Values of HL7's data types in DICOM's forms, and back: moments, names, identifiers, codes (HL7 v2.5.1 ch. 2A; PS3.5 6.2).

What cannot be read comes back as `Unreadable`, which says what it was, where it stood and why: a wrong date is no reason
to lose an order, but somebody must hear of it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fileroom.core.errors import told
from fileroom.hl7.segment import Field, Repetition

_SHOWN_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is none. `what`: as it came; `where`: its path, as the caller gave it; `why`: half a sentence."""

    what: str
    where: str
    why: str

    def __str__(self) -> str:
        return told("{where} has {what}: {why}", where=self.where or "a value", what=repr(self.what), why=self.why)


class CodedIdentifier(NamedTuple):
    """CX or EI. `authority`: the namespace, else the universal ID, of who assigned it; `kind`: table 0203, "" unsaid."""

    value: str
    authority: str
    kind: str


class CodedEntry(NamedTuple):
    """CE or CWE: one of its codes."""

    value: str
    meaning: str
    scheme: str


# --- moments ---


_MOMENT: Final = re.compile(
    r"(\d{4})(?:-?(\d\d)(?:-?(\d\d)(?:[ T]?(\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d{1,6})?)?)?)?)?)?\s?([+-]\d\d:?\d\d|Z)?"
)
"""DTM (v2.5.1 2.A.22): YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]; and with the dashes and colons of ISO 8601."""
_TIME: Final = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d{1,6})?)?)?\s?([+-]\d\d:?\d\d|Z)?")


def dicom_datetime(text: str, where: str = "", *, zone: dt.tzinfo | None = None) -> str | Unreadable:
    """A DT without offset, as exact as what was said; "" for nothing.

    `zone`: the hospital's; a moment that has an offset is told by the hospital's clock then, else its offset is left out.
    """
    text = _first_component(text)
    if not text or not text.strip("0"):
        return ""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return _unreadable(text, where, told("a moment is written YYYYMMDDHHMMSS"))
    *parts, fraction, offset = found.groups()
    numbers = [int(part) for part in parts if part is not None]
    wrong = _wrong_part(numbers)
    if wrong:
        return _unreadable(text, where, wrong)
    if zone is not None and offset and len(numbers) > 3:
        return _in_zone(numbers, fraction, offset, zone, text, where)
    return "".join(part for part in (*parts, fraction) if part is not None)


def dicom_date(text: str, where: str = "") -> str | Unreadable:
    """A DA, without the time of day that may follow; "" for nothing. A year or month alone is no date."""
    moment = dicom_datetime(text, where)
    if isinstance(moment, Unreadable) or not moment:
        return moment
    if len(moment) < 8:
        return _unreadable(text, where, told("the day is missing"))
    return moment[:8]


def dicom_time(text: str, where: str = "") -> str | Unreadable:
    """A TM from an HL7 time (HHMM[SS[.SSSS]]); "" for nothing."""
    text = _first_component(text)
    if not text:
        return ""
    found = _TIME.fullmatch(text)
    if found is None:
        return _unreadable(text, where, told("a time is written HHMMSS"))
    *parts, fraction, _offset = found.groups()
    wrong = _wrong_part([2000, 1, 1, *(int(part) for part in parts if part is not None)])
    if wrong:
        return _unreadable(text, where, wrong)
    return "".join(part for part in (*parts, fraction) if part is not None)


def hl7_datetime(text: str) -> str:
    """A DA, TM or DT of DICOM as HL7 writes it: the same, with four digits of a second at most."""
    return re.sub(r"(\.\d{4})\d+", r"\1", text.strip().replace(":", ""))


def _wrong_part(numbers: Sequence[int]) -> str:
    """Which part of year, month, day, hour, minute, second cannot be; "" if they all can."""
    year, month, day, hour, minute, second = (*numbers, *(1, 1, 1, 0, 0, 0)[len(numbers) :])
    if not 1 <= month <= 12:
        return told("there is no month {number}", number=month)
    if year < 1:
        return told("there is no year {number}", number=year)
    try:
        dt.date(year, month, day)
    except ValueError:
        return told("there is no day {number} in that month", number=day)
    if hour > 23:
        return told("there is no hour {number}", number=hour)
    if minute > 59:
        return told("there is no minute {number}", number=minute)
    if second > 60:
        return told("there is no second {number}", number=second)
    return ""


def _in_zone(
    numbers: Sequence[int], fraction: str | None, offset: str, zone: dt.tzinfo, text: str, where: str
) -> str | Unreadable:
    minutes = 0 if offset == "Z" else int(offset[1:3]) * 60 + int(offset[-2:])
    if minutes > 14 * 60:
        return _unreadable(text, where, told("{offset} is no offset from UTC", offset=offset))
    year, month, day, hour, minute, second = (*numbers, *(1, 1, 1, 0, 0, 0)[len(numbers) :])
    own = dt.timezone(dt.timedelta(minutes=-minutes if offset[0] == "-" else minutes))
    try:
        there = dt.datetime(year, month, day, hour, minute, min(second, 59), tzinfo=own).astimezone(zone)
    except (ValueError, OverflowError):
        return _unreadable(text, where, told("it is outside of the years that there are"))
    return there.strftime("%Y%m%d%H%M%S").rjust(14, "0")[: 4 + 2 * (len(numbers) - 1)] + (fraction or "")


# --- names ---


_REPRESENTATIONS: Final = {"I": 1, "P": 2}
"""XPN-8, table 0465: ideographic and phonetic; everything else is alphabetic."""
_OTHER_NAMES: Final = frozenset({"A", "B", "C", "M", "N", "P", "S", "T", "U", "BAD"})
"""XPN-7, table 0200: alias, at birth, maiden, nickname ...; L (legal), D (display) and none are the name."""


def person_name(field: Field | Repetition) -> str:
    """A PN from XPN. Repetitions that write the same name in another script become its groups (PS3.5 6.2.1.2)."""
    return _grouped(_main_names(field), start=1)


def other_names(field: Field) -> tuple[str, ...]:
    """The other names of a patient as PN: what repetitions of XPN say that are neither legal nor display."""
    main = _main_names(field)
    names = (_pn(one, 1) for one in field.repetitions if one not in main)
    return tuple(dict.fromkeys(name for name in names if name))


def staff_name(field: Field | Repetition) -> str:
    """A PN from XCN, whose first component is a number; a number without a name is given as it is."""
    one = field.repetitions[0] if isinstance(field, Field) else field
    return _pn(one, 2) or _clean(one.component(1))


def xpn(name: str) -> tuple[str, ...] | list[str | tuple[str | tuple[str, ...], ...]]:
    """A PN as components of XPN, for `build`: family, given, middle, suffix, prefix; other scripts as repetitions."""
    groups = [_xpn_parts(group) for group in name.split("=")[:3]]
    codes = ("A", "I", "P")
    if not any(groups[1:]):
        return groups[0] if groups else ()
    written: list[str | tuple[str | tuple[str, ...], ...]] = []
    for group, code in zip(groups, codes, strict=False):
        if group:
            written.append((*group, *("",) * (7 - len(group)), code))
    return written


def xcn(name: str, number: str = "") -> tuple[str, ...]:
    """A PN as components of XCN, for `build`."""
    return (number, *_xpn_parts(name.split("=")[0]))


def _main_names(field: Field | Repetition) -> list[Repetition]:
    if isinstance(field, Repetition):
        return [field]
    names = [one for one in field.repetitions if one.raw and one.component(7).upper() not in _OTHER_NAMES]
    if not names:
        return [field.repetitions[0]]
    kind = names[0].component(7).upper()
    return [one for one in names if one.component(7).upper() == kind]


def _grouped(names: Sequence[Repetition], start: int) -> str:
    groups = ["", "", ""]
    for one in names:
        place = _REPRESENTATIONS.get(one.component(8).upper(), 0)
        groups[place] = groups[place] or _pn(one, start)
    return "=".join(groups).rstrip("=")


def _pn(one: Repetition, start: int) -> str:
    """family^given^middle^prefix^suffix of components family, given, further, suffix, prefix, degree."""
    family = one.component(start) or " ".join(part for part in (one.sub(start, 2), one.sub(start, 3)) if part)
    given, further, suffix, prefix, degree = (_clean(one.component(start + place)) for place in range(1, 6))
    suffixes = " ".join(part for part in (suffix, degree) if part)
    return "^".join((_clean(family), given, further, prefix, suffixes)).rstrip("^")


def _clean(text: str) -> str:
    """Without what parts a PN into components, groups and values; quotation marks are letters like any other."""
    return re.sub(r"[\s\x00-\x1f^=\\]+", " ", text).strip()


def _xpn_parts(group: str) -> tuple[str, ...]:
    parts = [part.strip() for part in group.split("^")[:5]]
    family, given, middle, prefix, suffix = (*parts, *("",) * (5 - len(parts)))
    ordered = [family, given, middle, suffix, prefix]
    while ordered and not ordered[-1]:
        ordered.pop()
    return tuple(ordered)


# --- identifiers and codes ---


def identifier(one: Repetition) -> CodedIdentifier | None:
    """CX: value, assigning authority, type code; None without a value."""
    value = one.component(1).strip()
    return CodedIdentifier(value, _authority(one, 4), one.component(5).strip()) if value else None


def identifiers(field: Field) -> tuple[CodedIdentifier, ...]:
    """All of a field with CX."""
    return tuple(found for one in field.repetitions if (found := identifier(one)) is not None)


def entity(one: Repetition) -> CodedIdentifier | None:
    """EI, for example a placer order number: value and namespace, else universal ID; None without a value."""
    value = one.component(1).strip()
    return CodedIdentifier(value, one.component(2).strip() or one.component(3).strip(), "") if value else None


def coded(one: Repetition, start: int = 1) -> CodedEntry | None:
    """CE or CWE. `start`: 1, or 4 for the alternate code. None if neither code nor text is there."""
    value, meaning, scheme = (
        one.component(start).strip(),
        one.whole(start + 1).strip(),
        one.component(start + 2).strip(),
    )
    return CodedEntry(value, meaning, scheme) if value or meaning else None


def _authority(one: Repetition, component: int) -> str:
    return one.sub(component, 1).strip() or one.sub(component, 2).strip()


def _first_component(text: str) -> str:
    """TS had a second component up to v2.5, the degree of precision."""
    return text.partition("^")[0].strip()


def _unreadable(text: str, where: str, why: str) -> Unreadable:
    return Unreadable(text[:_SHOWN_CHARS_MAX], where, why)
