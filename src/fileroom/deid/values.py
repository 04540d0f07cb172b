"""Values that stand for others: dummies by VR, moved dates, ages that single nobody out."""

from __future__ import annotations

import datetime
import re
from typing import Any, Final

from pydicom.dataelem import DataElement

DUMMY_TEXT: Final = "REMOVED"
_DUMMIES: Final[dict[str, Any]] = {
    "PN": DUMMY_TEXT, "LO": DUMMY_TEXT, "SH": DUMMY_TEXT, "LT": DUMMY_TEXT, "ST": DUMMY_TEXT, "UT": DUMMY_TEXT,
    "UC": DUMMY_TEXT, "CS": DUMMY_TEXT, "AE": DUMMY_TEXT, "UR": "urn:removed",
    "DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "IS": "0", "DS": "0",
    "US": 0, "SS": 0, "UL": 0, "SL": 0, "UV": 0, "SV": 0, "FL": 0.0, "FD": 0.0, "AT": 0,
    "OB": b"\0\0", "OW": b"\0\0", "UN": b"\0\0", "OD": bytes(8), "OF": bytes(4), "OL": bytes(4), "OV": bytes(8),
}  # fmt: skip
_DATE: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(.*)", re.DOTALL)
_OLD_DATE: Final = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})$")
_AGE: Final = re.compile(r"(\d{1,3})Y")
_OLDEST_TOLD: Final = 89
"""Years: who is older belongs to a group so small that the age itself singles out (45 CFR 164.514(b)(2)(i)(C))."""


def dummy(tag: int, vr: str) -> DataElement:
    """An element with a value that says nothing; UIDs and sequences are not made here."""
    return DataElement(tag, vr, _DUMMIES.get(vr, DUMMY_TEXT))


def moved_date(text: str, days: int) -> str | None:
    """A DA or DT value some days on, time and zone as they are; None when it is no full date, or would leave the calendar."""
    text = text.strip(" \0")
    old = _OLD_DATE.match(text)
    found = _DATE.match("".join(old.groups()) if old else text)
    if found is None:
        return None
    try:
        day = datetime.date(int(found[1]), int(found[2]), int(found[3])) + datetime.timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day.year:04d}{day.month:02d}{day.day:02d}{found[4]}"


def capped_age(text: str) -> str:
    """An AS value; above 89 years it is 90."""
    found = _AGE.match(text.strip(" \0"))
    return "090Y" if found and int(found[1]) > _OLDEST_TOLD else text
