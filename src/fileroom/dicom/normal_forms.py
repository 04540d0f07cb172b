"""One spelling for values that can be written in several: names, dates, times, moments.

Search compares these forms as plain text, so they sort as what they mean: dates are YYYYMMDD, times HHMMSS with a
fraction only when there is one, moments YYYYMMDDHHMMSS with a fraction. The older forms of PS3.5 6.2 (YYYY.MM.DD,
HH:MM:SS) are read too. What is no date or time has no normal form: None.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import re
import unicodedata
from typing import Final, NamedTuple

NAME_GROUPS: Final = 3
"""Alphabetic, ideographic, phonetic (PS3.5 6.2.1)."""

_MARKS: Final = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u064b-\u065f\u0670\u1dc0-\u1dff\ufe20-\ufe2f]"
)
"""Accents and points. Vowel signs of Thai or Indic scripts and the voicing of kana are letters, and stay."""

_LETTERS: Final = str.maketrans(
    {
        "ß": "ss",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ħ": "h",
        "ı": "i",
        "ŀ": "l",
        "ŋ": "n",
        "ŧ": "t",
        "ƒ": "f",
        "ĸ": "k",
        "ς": "σ",
        "’": "'",
        "‘": "'",
        "‐": "-",
        "–": "-",
    }
)
"""Letters that Unicode does not take apart into a base and a mark; applied after case folding."""

_TRAILING_PARTS: Final = re.compile(r"(\^\*+)+$")
_TIME: Final = re.compile(r"(\d\d)(?::?([0-5]\d)(?::?([0-5]\d|60)(?:\.(\d{1,6}))?)?)?")
_MOMENT: Final = re.compile(
    r"(?P<date>\d{4}(?:\d\d(?:\d\d)?)?)(?P<time>(?<=\d{8})\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?)?(?P<offset>[+-]\d{4})?"
)
_OFFSET: Final = re.compile(r"([+-])(\d\d)([0-5]\d)")
_OFFSET_MINUTES_MIN: Final = -12 * 60
_OFFSET_MINUTES_MAX: Final = 14 * 60


class Bounds(NamedTuple):
    """Lowest and highest text, both included, that a value of some precision stands for; None is open."""

    lower: str | None
    upper: str | None


@functools.lru_cache(maxsize=4096)
def normalize_name(text: str) -> str:
    """A person name (PS3.5 6.2.1) without case, accents, superfluous blanks and trailing empty parts.

    `Doe^John^^^=` and `DOE^JOHN` have the same form. Groups stay apart by `=`. Wildcards pass unchanged.
    """
    groups = [_normalize_group(group) for group in text.split("=", NAME_GROUPS - 1)]
    return "=".join(groups).rstrip("=")


def normalize_name_pattern(text: str) -> str:
    """The form of a name with wildcards that fits the forms of names.

    A group that ends in `^*` shall also match names that have nothing behind that `^`, because trailing empty parts are
    not kept: compare without the `^*` too. Of several `^*` at the end one is left, as `*` runs over `^`.
    """
    return "=".join(_TRAILING_PARTS.sub("^*", group) for group in normalize_name(text).split("="))


def fold_text(text: str) -> str:
    """Text for comparing without regard to case and to blanks around and between words."""
    return " ".join(text.casefold().split())


def normalize_date(text: str) -> str | None:
    """DA as YYYYMMDD; None when it is no day of the calendar."""
    digits = text.strip()
    if len(digits) == 10 and digits[4] == digits[7] == ".":
        digits = digits.replace(".", "")
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    if not (year >= 1 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    return digits


def normalize_time(text: str) -> str | None:
    """TM as HHMMSS or HHMMSS.F, missing parts zero, no trailing zeros in the fraction; None when it is no time."""
    match = _TIME.fullmatch(text.strip())
    if match is None or match[1] > "23":
        return None
    fraction = (match[4] or "").rstrip("0")
    return f"{match[1]}{match[2] or '00'}{match[3] or '00'}{'.' + fraction if fraction else ''}"


def normalize_datetime(text: str, timezone: str | None = None) -> str | None:
    """DT as YYYYMMDDHHMMSS or with a fraction, in UTC when it has an offset or `timezone` (+HHMM) gives one.

    Missing parts become the first month, day, hour ...; None when it is no moment.
    """
    bounds = datetime_bounds(text, timezone)
    return bounds.lower if bounds else None


def to_utc(date: str, time: str, offset: str | None) -> str | None:
    """DA and TM at `offset` (+HHMM, None is UTC) as one moment in UTC; an empty time is midnight; None if no moment."""
    day, clock = normalize_date(date), normalize_time(time or "00")
    return None if day is None or clock is None else _shift(day + clock, offset_minutes(offset))


def offset_minutes(offset: str | None) -> int:
    """Minutes east of UTC of +HHMM; 0 for None and for what is no offset (PS3.5 6.2: -1200 to +1400)."""
    match = _OFFSET.fullmatch((offset or "").strip())
    if match is None:
        return 0
    minutes = int(match[2]) * 60 + int(match[3])
    minutes = -minutes if match[1] == "-" else minutes
    return minutes if _OFFSET_MINUTES_MIN <= minutes <= _OFFSET_MINUTES_MAX else 0


def time_bounds(text: str) -> Bounds | None:
    """The first and last time that TM `text` may mean: `10` is 10 up to 105960.999999; None when it is no time.

    The lower bound is written as short as possible, so that it also lies below the short form of the same time.
    """
    match = _TIME.fullmatch(text.strip())
    normal = normalize_time(text)
    if match is None or normal is None:
        return None
    lower = normal
    while len(lower) > 2 and len(lower) % 2 == 0 and lower.endswith("00"):
        lower = lower[:-2]
    return Bounds(lower, _upper_time(match))


def datetime_bounds(text: str, timezone: str | None = None) -> Bounds | None:
    """The first and last moment that DT `text` may mean, in UTC when an offset is known; None when it is no moment."""
    match = _MOMENT.fullmatch(text.strip())
    if match is None or not _is_offset(match["offset"]):
        return None
    date = match["date"]
    first = normalize_date(date + "0101"[len(date) - 4 :])
    if first is None:
        return None
    month = date[4:6] or "12"
    last = date[:4] + month + (date[6:8] or f"{calendar.monthrange(int(date[:4]), int(month))[1]:02}")
    clock = _TIME.fullmatch(match["time"]) if match["time"] else None
    if match["time"] and (clock is None or clock[1] > "23"):
        return None
    lower = first + (normalize_time(match["time"] or "00") or "")
    upper = last + (_upper_time(clock) if clock else "235960.999999")
    minutes = offset_minutes(match["offset"] or timezone)
    return Bounds(_shift(lower, minutes), _shift(upper, minutes))


def _normalize_group(group: str) -> str:
    if not group.isascii():
        taken_apart = _MARKS.sub("", unicodedata.normalize("NFKD", group))
        group = unicodedata.normalize("NFKC", taken_apart).casefold().translate(_LETTERS)
    else:
        group = group.lower()
    parts = [" ".join(part.split()) for part in group.split("^")]
    return "^".join(parts).rstrip("^")


def _upper_time(match: re.Match[str]) -> str:
    """Second 60 is let in, because a leap second is a time of its minute."""
    hour, minute, second, fraction = match.groups()
    if second is None:
        return f"{hour}{minute or '59'}60.999999"
    return f"{hour}{minute}{second}.{(fraction or '').ljust(6, '9')}"


def _is_offset(text: str | None) -> bool:
    return text is None or text in ("+0000", "-0000") or offset_minutes(text) != 0


def _shift(moment: str, minutes: int) -> str | None:
    """Canonical moment text minus an offset; None outside of the calendar."""
    if minutes == 0:
        return moment
    second = "59" if moment[12:14] == "60" else moment[12:14]
    whole = dt.datetime.strptime(moment[:12] + second, "%Y%m%d%H%M%S")
    try:
        shifted = whole - dt.timedelta(minutes=minutes)
    except OverflowError:
        return None
    return f"{shifted:%Y%m%d%H%M}".zfill(12) + moment[12:14] + moment[14:]
