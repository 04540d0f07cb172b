"""What conditions can refer to, and how its value is read: attributes of an object, who sent it, the time, its study.

An `Operand` has one type, by the VR of its attribute (PS3.5 6.2), so that a condition means the same for every object:
numbers are doubles (None: not there), dates and times their sortable normal form (dicom.normal_forms), names are
folded, other text is as received without the blanks around it ("": not there). An attribute that may have several values
(PS3.6) is a list. Nothing here raises for what an object holds: what cannot be read is not there.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydicom.datadict import dictionary_VM

from fileroom.archive.examine import Claim
from fileroom.dicom.dictionary import is_private_creator, keyword_of, tag_of, vr_of
from fileroom.dicom.header_scan import PIXEL_TAGS, ScannedHeader
from fileroom.dicom.normal_forms import normalize_date, normalize_datetime, normalize_name, normalize_time
from fileroom.dicom.values import BULK_VRS, decode_values
from fileroom.routing.calendars import is_holiday

VALUE_BYTES_MAX: Final = 64 * 1024
"""Of an attribute, that conditions look at: nobody writes a rule about the rest of a novel."""
VALUES_MAX: Final = 256
"""Of an attribute or over the items of a sequence, that conditions look at."""
STEPS_MAX: Final = 6
"""Sequences within sequences."""
_PIXEL_REPRESENTATION: Final = 0x00280103
_CHOICES: Final = ("US", "SS")
_DAYS_OF_YEAR: Final = 365.2425
_AGE: Final = re.compile(r"(\d{1,3})([DWMY])")
_AGE_DAYS: Final = {"D": 1.0, "W": 7.0, "M": 30.436875, "Y": _DAYS_OF_YEAR}
_PATIENT_BIRTH_DATE: Final = 0x00100030
_PATIENT_AGE: Final = 0x00101010
_STUDY_DATE: Final = 0x00080020
_INSTITUTION_NAME: Final = 0x00080080
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Type(enum.Enum):
    """Of an operand's values."""

    TEXT = "text"
    NAME = "name"
    NUMBER = "number"
    DATE = "date"
    TIME = "time"
    MOMENT = "date and time"
    FLAG = "true or false"


_TYPES: Final = {
    "PN": Type.NAME,
    "DA": Type.DATE,
    "TM": Type.TIME,
    "DT": Type.MOMENT,
    **dict.fromkeys(("DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"), Type.NUMBER),
}


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What is known of a study when it is complete."""

    instances: int = 0
    series: int = 0
    modalities: tuple[str, ...] = ()
    age_minutes: float = 0
    """Since its first object arrived."""
    status: str = ""


OrderFacts = Mapping[str, str]
"""What is known of the order that a study belongs to: by the names of ORDER_FIELDS. Empty where none is known."""

ORDER_FIELDS: Final = (
    "accession", "number", "status", "priority", "modality", "procedure", "procedure_code", "station", "department",
    "requester", "reason", "patient_class",
)  # fmt: skip


class Facts(NamedTuple):
    """All that a condition may ask about one object."""

    header: ScannedHeader
    claim: Claim
    node: str
    now: dt.datetime
    study: StudyFacts | None = None
    order: OrderFacts | None = None
    holidays: str = ""
    """Whose holidays `now.holiday` means (routing.calendars)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One element on a path: a tag, or for a private one its creator and (group, two digits); `item` from 1, 0: all."""

    tag: int
    creator: str = ""
    item: int = 0

    def tags(self) -> frozenset[int]:
        """Those that must be scanned to find it."""
        if not self.creator:
            return frozenset({self.tag})
        group, element = self.tag & ~0xFFFF, self.tag & 0xFF
        blocks = range(0x10, 0x100)
        return frozenset(group | block for block in blocks) | frozenset(
            group | block << 8 | element for block in blocks
        )

    def find(self, header: ScannedHeader) -> tuple[int, bytes] | None:
        """Its tag in this data set, and its raw value."""
        if not self.creator:
            raw = header.values.get(self.tag)
            return None if raw is None else (self.tag, raw)
        group = self.tag >> 16
        wanted = self.creator.casefold()
        for tag, creator in header.values.items():
            if (
                tag >> 16 == group
                and is_private_creator(tag)
                and creator.strip(b" \0").decode("latin-1").casefold() == wanted
            ):
                found = tag & ~0xFFFF | (tag & 0xFF) << 8 | self.tag & 0xFF
                raw = header.values.get(found)
                return None if raw is None else (found, raw)
        return None


@dataclass(frozen=True)
class Operand:
    """Something that has a value. `what`: value, present, values, number, days_since, years_since, or a context's name.

    Equal operands are equal columns of a cache's key.
    """

    what: str
    path: tuple[Step, ...] = ()
    type: Type = Type.TEXT
    many: bool = False
    text: str = field(default="", compare=False)
    """As people write it."""
    argument: str = ""

    @functools.cached_property
    def tags(self) -> frozenset[int]:
        """Top-level tags that it needs."""
        if self.path:
            choice = {_PIXEL_REPRESENTATION} if len(self.path) == 1 and _is_choice(self.path[0].tag) else set()
            return self.path[0].tags() | choice
        return _CONTEXT_TAGS.get(self.what, frozenset())

    @property
    def simple_tag(self) -> int:
        """The one tag whose raw bytes decide its value; 0 where it is more than that."""
        only = self.path[0] if len(self.path) == 1 and self.what in ("value", "values", "number", "present") else None
        return only.tag if only is not None and not only.creator and len(self.tags) == 1 else 0

    @property
    def is_late(self) -> bool:
        """Only known when the study is complete."""
        return self.what.startswith(("study.", "order."))

    def key(self, facts: Facts) -> object:
        """What its value depends on."""
        header = facts.header
        if not self.path:
            tags = self.tags
            return (facts.now.date(), *map(header.values.get, sorted(tags))) if tags else self.read(facts)
        found = self.path[0].find(header)
        parts = [found[1] if found else None, header.vrs.get(found[0]) if found else None]
        if _PIXEL_REPRESENTATION in self.tags:
            parts.append(header.values.get(_PIXEL_REPRESENTATION))
        if self.what in ("days_since", "years_since"):
            parts.append(facts.now.date())  # type: ignore[arg-type]  # any hashable will do
        return tuple(parts)

    def read(self, facts: Facts) -> Any:
        """Its value: a list where it may have several."""
        context = _CONTEXT.get(self.what)
        if context is not None:
            return context(facts, self.argument)
        found = _raw_values(facts.header, self.path)
        if self.what == "present":
            return any(raw.strip(b" \0") for _, _, raw in found)
        if self.path and vr_of(self.path[-1].tag, self.path[-1].creator) == "SQ":
            return float(len(found))
        values = [value for one in found for value in _values(one, self.path[-1])][:VALUES_MAX]
        if self.what == "number":
            return _number(values[0]) if values else None
        if self.what in ("days_since", "years_since"):
            return _since(values, facts.now, self.what)
        normal = [value for value in (_normal(value, self.type) for value in values) if value is not None]
        if self.many:
            return normal
        if self.type is Type.NUMBER:
            return normal[0] if normal else None
        return "\\".join(normal) if self.type is Type.TEXT else (normal[0] if normal else "")


# --- the names of operands ---


def attribute_operand(path: tuple[Step, ...], text: str, what: str = "value") -> Operand:
    """The operand of an attribute. Raises ValueError, with a sentence, for what has no value to compare."""
    last = path[-1]
    vr = vr_of(last.tag, last.creator)
    if last.tag in PIXEL_TAGS:
        raise ValueError("Conditions do not look at pixels.")
    if what == "present":
        return Operand(what, path, Type.FLAG, text=text)
    if what in ("number", "days_since", "years_since"):
        return Operand(what, path, Type.NUMBER, text=text)
    several = any(step.item == 0 for step in path[:-1])
    if vr == "SQ":
        return Operand(what, path, Type.NUMBER, text=text)
    if vr in BULK_VRS and vr != "UN":
        raise ValueError(f"{text} is binary; a condition can only ask present({text}).")
    many = what == "values" or several or _is_multiple(last.tag)
    return Operand(what, path, _TYPES.get(vr, Type.TEXT), many, text)


def context_operand(name: str, argument: str = "") -> Operand | None:
    """The operand of `association.calling`, `now.hour` ...; None when there is none of that name."""
    row = _CONTEXT_TYPES.get(name)
    return None if row is None else Operand(name, (), row[0], row[1], name, argument)


def parse_path(text: str) -> tuple[Step, ...]:
    """`RequestAttributesSequence[1].AccessionNumber` or `0040,0275.0008,0050` as steps. Raises ValueError (a sentence)."""
    pieces = text.split(".")
    if len(pieces) > STEPS_MAX:
        raise ValueError(f"At most {STEPS_MAX} sequences stand in each other.")
    return tuple(_parse_step(piece.strip()) for piece in pieces)


def private_step(creator: str, element: str) -> Step:
    """`29,10` of a creator. Raises ValueError (a sentence)."""
    match = re.fullmatch(r"\(?([0-9A-Fa-f]{1,4}),\s*(?:xx)?([0-9A-Fa-f]{1,2})\)?", element.strip())
    if match is None or not int(match[1], 16) & 1:
        raise ValueError(f'"{element}" is no private element; write an odd group and two digits, like "29,10".')
    if not creator.strip():
        raise ValueError("A private element needs its private creator.")
    return Step(int(match[1], 16) << 16 | 0x1000 | int(match[2], 16), creator.strip())


def context_names() -> tuple[str, ...]:
    """All names that are no attributes."""
    return tuple(_CONTEXT_TYPES)


def _parse_step(piece: str) -> Step:
    match = re.fullmatch(r"(\w+|\(?[0-9A-Fa-f]{4},\s*[0-9A-Fa-f]{4}\)?)(?:\[(\d{1,4})\])?", piece, re.A)
    if match is None:
        raise ValueError(f'"{piece}" is neither the keyword of an attribute nor a tag like 0010,0020.')
    item = int(match[2] or 0)
    digits = re.sub(r"[(), ]", "", match[1])
    if "," in match[1] or re.fullmatch(r"[0-9A-Fa-f]{8}", match[1]):
        return Step(int(digits, 16), item=item)
    tag = tag_of(match[1])
    if tag is None:
        raise KeyError(match[1])
    return Step(tag, item=item)


def _is_multiple(tag: int) -> bool:
    try:
        return bool(dictionary_VM(tag) != "1")
    except KeyError:
        return False


def _is_choice(tag: int) -> bool:
    return bool(keyword_of(tag)) and vr_of(tag) == "US" and vr_of(tag, signed=True) == "SS"


# --- reading ---

_Raw = tuple[ScannedHeader, int, bytes]


def _raw_values(header: ScannedHeader, path: tuple[Step, ...]) -> list[_Raw]:
    """Where the path ends: the data set, the tag there and its raw value. Of a sequence at the end, its items."""
    headers = [header]
    for place, step in enumerate(path):
        last = place == len(path) - 1
        found = [(one, place_of) for one in headers if (place_of := step.find(one)) is not None]
        if last and vr_of(step.tag, step.creator) != "SQ":
            return [(one, tag, raw[:VALUE_BYTES_MAX]) for one, (tag, raw) in found if raw]
        if last:
            return [(item, tag, b"1") for one, (tag, _) in found for item in one.items(tag, frozenset())][:VALUES_MAX]
        headers = [
            item
            for one, (tag, _) in found
            for number, item in enumerate(one.items(tag, path[place + 1].tags()), 1)
            if step.item in (0, number)
        ][:VALUES_MAX]
    return []


def _values(found: _Raw, step: Step) -> list[Any]:
    header, tag, raw = found
    vr = vr_of(step.tag, step.creator)
    if vr == "UN":
        vr = (header.vrs.get(tag) or b"UN").decode("latin-1")
    elif _is_choice(tag):
        given = (header.vrs.get(tag) or b"").decode("latin-1")
        vr = given if given in _CHOICES else vr_of(tag, signed=header.integer(_PIXEL_REPRESENTATION) == 1)
    if vr in BULK_VRS or vr == "SQ":
        vr = "LO"
    try:
        return decode_values(raw, vr, header.charset, little_endian=header.encoding.little_endian)
    except (ValueError, ArithmeticError, LookupError):
        return []


def _normal(value: Any, type_: Type) -> Any:
    if isinstance(value, dict):  # a name
        value = "=".join(value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
        return normalize_name(value)
    if type_ is Type.NUMBER:
        return float(value) if isinstance(value, int | float) else None
    text = "" if value is None else str(value)
    if type_ is Type.DATE:
        return normalize_date(text)
    if type_ is Type.TIME:
        return normalize_time(text)
    if type_ is Type.MOMENT:
        return normalize_datetime(text)
    return text


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None


def _day(text: str) -> dt.date | None:
    normal = normalize_date(text[:8])
    return dt.date(int(normal[:4]), int(normal[4:6]), int(normal[6:])) if normal else None


def _since(values: list[Any], now: dt.datetime, what: str) -> float | None:
    day = _day(str(values[0])) if values else None
    if day is None:
        return None
    days = float((now.date() - day).days)
    return days if what == "days_since" else float(int(days / _DAYS_OF_YEAR + 1e-9))


def _age_days(facts: Facts, _argument: str = "") -> float | None:
    """On the day of the study, by the date of birth; else as Patient's Age says (AS, PS3.5 6.2)."""
    born = _day(facts.header.text(_PATIENT_BIRTH_DATE))
    if born is not None:
        return float(((_day(facts.header.text(_STUDY_DATE)) or facts.now.date()) - born).days)
    match = _AGE.fullmatch(facts.header.text(_PATIENT_AGE))
    return float(match[1]) * _AGE_DAYS[match[2]] if match else None


def _age_years(facts: Facts, _argument: str = "") -> float | None:
    """Whole years, as people count them."""
    born = _day(facts.header.text(_PATIENT_BIRTH_DATE))
    if born is not None:
        day = _day(facts.header.text(_STUDY_DATE)) or facts.now.date()
        return float(day.year - born.year - ((day.month, day.day) < (born.month, born.day)))
    days = _age_days(facts)
    return None if days is None else float(int(days / _DAYS_OF_YEAR + 1e-9))


def _holiday(facts: Facts, code: str) -> bool:
    code = code or facts.holidays
    return bool(code) and is_holiday(code, facts.now.date())


_Reader = Callable[[Facts, str], Any]
_CONTEXT: Final[dict[str, _Reader]] = {
    "association.calling": lambda facts, _: (facts.claim.sending_aet or "").strip(),
    "association.called": lambda facts, _: (facts.claim.receiving_aet or "").strip(),
    "node": lambda facts, _: facts.node,
    "received_by": lambda facts, _: facts.claim.received_by,
    "institution": lambda facts, _: facts.header.text(_INSTITUTION_NAME),
    "transfer_syntax": lambda facts, _: facts.claim.transfer_syntax_uid,
    "now.weekday": lambda facts, _: WEEKDAYS[facts.now.weekday()],
    "now.hour": lambda facts, _: float(facts.now.hour),
    "now.time": lambda facts, _: f"{facts.now:%H%M}00",
    "now.date": lambda facts, _: f"{facts.now:%Y%m%d}",
    "now.holiday": _holiday,
    "study.instances": lambda facts, _: float(facts.study.instances) if facts.study else None,
    "study.series": lambda facts, _: float(facts.study.series) if facts.study else None,
    "study.modalities": lambda facts, _: list(facts.study.modalities) if facts.study else [],
    "study.age_minutes": lambda facts, _: float(facts.study.age_minutes) if facts.study else None,
    "study.status": lambda facts, _: facts.study.status if facts.study else "",
    "age_in_years": _age_years,
    "age_in_days": _age_days,
    **{
        f"order.{name}": lambda facts, _, name=name: (facts.order or {}).get(name, "")  # type: ignore[misc]  # its own name
        for name in ORDER_FIELDS
    },
}
_CONTEXT_TYPES: Final[dict[str, tuple[Type, bool]]] = {
    **dict.fromkeys(_CONTEXT, (Type.TEXT, False)),
    **dict.fromkeys(
        ("now.hour", "study.instances", "study.series", "study.age_minutes", "age_in_years", "age_in_days"),
        (Type.NUMBER, False),
    ),
    "study.modalities": (Type.TEXT, True),
    "now.time": (Type.TIME, False),
    "now.date": (Type.DATE, False),
    "now.holiday": (Type.FLAG, False),
}
_AGE_TAGS: Final = frozenset({_PATIENT_BIRTH_DATE, _STUDY_DATE, _PATIENT_AGE})
_CONTEXT_TAGS: Final[dict[str, frozenset[int]]] = {
    "institution": frozenset({_INSTITUTION_NAME}),
    "age_in_years": _AGE_TAGS,
    "age_in_days": _AGE_TAGS,
}
