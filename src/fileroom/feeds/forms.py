"""Texts at a place of a message in DICOM's forms: dates, times, names, persons, places, coded entries.

Senders write what their users typed. What can be understood is; what cannot raises `UnusableError` with the reason.
"""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.identifiers import UID
from fileroom.dicom.charset import clean, clean_lines
from fileroom.feeds.paths import Path
from fileroom.hl7 import values
from fileroom.hl7.message import Field, Repetition
from fileroom.worklist.facts import Code

_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")
_NULL: Final = b'""'
_NOT_IN_NAMES: Final = str.maketrans({"^": " ", "=": " ", "\\": " "})

_MODALITIES: Final = (
    "AR AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT IVUS KER "
    "KO LEN LS MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE "
    "RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XC "
    "XAPROTOCOL "
)
MODALITIES: Final = frozenset(_MODALITIES.split())
"""PS3.3 C.7.3.1.1.1."""


class UnusableError(Exception):
    """A value that is left out. `words`: why."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def plain(one: Repetition, path: Path, *, whole: bool = False) -> str:
    """The component that the path names, else the first. `whole`: with its subcomponents."""
    component = path.component or 1
    if path.sub:
        return clean(one.sub(component, path.sub))
    return clean(one.whole(component) if whole else one.component(component))


def lines(one: Repetition, path: Path) -> str:
    """A text that may have several lines, and separators that nobody escaped."""
    return clean_lines(one.whole(path.component) if path.component else one.text)


def is_null(one: Repetition, path: Path) -> bool:
    """Whether the value is to be taken away."""
    if one.is_null:
        return True
    if path.component:
        return one.said(path.component, path.sub or 1) == ""
    parts = one.components
    return _NULL in parts and all(part in (b"", _NULL) for part in parts)


def is_said(one: Repetition, path: Path) -> bool:
    """Whether anything stands where the path leads."""
    if path.component:
        return bool(plain(one, path, whole=True))
    return any(part not in (b"", _NULL) for part in one.components)


def date(text: str) -> str:
    """DA. Raises UnusableError."""
    return _day_at_least(values.dicom_date(text))


def moment(text: str, zone: ZoneInfo | None) -> str:
    """DT of the hospital's clock without an offset, the day and as much of the time as is said. Raises UnusableError."""
    return _day_at_least(values.dicom_datetime(text, zone=zone))[:14]


def _day_at_least(found: str | values.Unreadable) -> str:
    if isinstance(found, values.Unreadable):
        raise UnusableError(found.why)
    if len(found) < 8:
        raise UnusableError(told("the day is missing"))
    return found


def uid(text: str) -> str:
    """A UID. Raises UnusableError."""
    try:
        return str(UID(text))
    except InvalidRequestError as error:
        raise UnusableError(error.sentence) from None


def decimal(text: str) -> str:
    """A number as DS takes it. Raises UnusableError."""
    if not _DECIMAL.fullmatch(text):
        raise UnusableError(told("it is no number"))
    return text


def code_string(text: str) -> str:
    """A CS. Raises UnusableError."""
    found = text.upper()
    if not _CODE_STRING.fullmatch(found):
        raise UnusableError(
            told("it has more than 16 characters, or others than letters, digits, blanks and underscores")
        )
    return found


def name(one: Repetition, path: Path, order: str, field: Field | None = None) -> str:
    """PN of an XPN (2.A.88). `order`: of the sender's parts, one of NAME_ORDERS. `field`: whose repetitions may write the
    same name in other scripts."""
    if path.component:
        return _in_order([plain(one, path, whole=True)], order)
    if order == "hl7":
        return values.person_name(field or one)
    return _in_order([one.component(number) for number in range(1, 7)], order)


def person(one: Repetition, path: Path, order: str) -> str:
    """PN of an XCN (2.A.86), or of a CNN in a component (2.A.7); of one that has no name what stands for it."""
    is_whole = path.component == 1 and not one.sub(1, 2) and one.component(2) and not one.component(2)[:1].isdigit()
    if path.component and not is_whole:  # an XCN where a CNN should stand, as many write it, is read as what it is
        parts = [one.sub(path.component, number) for number in range(1, 8)]
    elif order == "hl7":
        return values.staff_name(one)
    else:
        parts = [one.component(number) for number in range(1, 8)]
    return _in_order(parts[1:], order) or _in_order(parts[:1], order)


def _in_order(parts: list[str], order: str) -> str:
    """From family, given, middle, suffix, prefix, degree as HL7 has them, or from DICOM's order."""
    cleaned = [clean(part).translate(_NOT_IN_NAMES).strip() for part in parts] + [""] * (6 - len(parts))
    family, given, middle, suffix, prefix, degree = cleaned[:6]
    if order == "dicom":
        suffix, prefix, degree = prefix, suffix, ""
    if order == "comma" and "," in family and not given:
        family, _, given = (part.strip() for part in family.partition(","))
    if degree and degree != suffix:
        suffix = f"{suffix} {degree}".strip()
    return "^".join((family, given, middle, prefix, suffix)).rstrip("^")


def place(one: Repetition, path: Path) -> str:
    """Point of care, room and bed of a PL (2.A.53)."""
    if path.component:
        return plain(one, path, whole=True)
    return " ".join(part for number in (1, 2, 3) if (part := clean(one.component(number))))


def address(one: Repetition, path: Path) -> str:
    """Street, other designation, city, state, postal code and country of an XAD (2.A.85)."""
    if path.component:
        return plain(one, path, whole=True)
    return ", ".join(part for number in range(1, 7) if (part := clean(one.component(number)))).replace("\\", "/")


def code(one: Repetition, path: Path) -> Code | None:
    """A coded entry that begins at the component of the path. What has only a meaning is its own code."""
    found = values.coded(one, path.component or 1)
    if found is None:
        return None
    value, meaning, scheme = (clean(text).replace("\\", "/") for text in found)
    return Code((value or meaning)[:64], scheme[:16] if value else "", meaning[:64])
