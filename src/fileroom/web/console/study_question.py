"""What a person types into the study list's search fields, as matching keys.

The wildcards are DICOM's (PS3.4 C.2.2.2.4). Whoever types none means the beginning of an ID, any part of a description,
and any name of which every word that was typed begins a word; two quotation marks around it mean exactly that.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.dicom.matching import parse_matching, range_bounds
from fileroom.dicom.normal_forms import normalize_date
from fileroom.dicom.query import Key, Matching, Range, SingleValue
from fileroom.web.console.language import N_
from fileroom.web.console.study_columns import COLUMNS

FIELD_CHARS_MAX: Final = 200
STATUSES: Final = ("receiving", "exception")
DATE_WORDS: Final = (N_("today"), N_("yesterday"))

_FIELDS: Final = tuple(column.field for column in COLUMNS if column.field and column.field != "status")
_DAYS: Final = re.compile(r"(\d{1,4}) ?[dt]")
"""7d, in German 7t."""


@dataclass(frozen=True, slots=True)
class StudyQuestion:
    """The search as typed (by field), as keys, and what is wrong with a field (message ids)."""

    typed: dict[str, str] = field(default_factory=dict)
    keys: tuple[Key, ...] = ()
    fuzzy_names: bool = False
    status: str = ""
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Nothing was asked for."""
        return not self.typed


def read_question(parameters: Iterable[tuple[str, str]], today: dt.date, words: dict[str, str]) -> StudyQuestion:
    """The question in the parameters of an address. `words` gives, for words in the reader's language, those of DATE_WORDS.

    A field that cannot be understood is told in `problems`, and matches nothing rather than everything.
    """
    asked = {name: value.strip()[:FIELD_CHARS_MAX] for name, value in parameters}
    typed = {name: asked[name] for name in _FIELDS if asked.get(name, "").strip("*")}
    keys: list[Key] = []
    problems: dict[str, str] = {}
    fuzzy = False
    for name, text in typed.items():
        vr = vr_of(tag_of(name) or 0)
        try:
            matching, is_fuzzy = _matching(name, vr, text, today, words)
        except InvalidRequestError:
            problems[name] = _DATE_PROBLEM if vr == "DA" else _OTHER_PROBLEM
            continue
        fuzzy = fuzzy or is_fuzzy
        if matching is not None:
            keys.append(Key(tag_of(name) or 0, vr, matching))
    status = asked.get("status", "")
    if status in STATUSES:
        typed["status"] = status
    return StudyQuestion(typed, tuple(keys), fuzzy, status if status in STATUSES else "", problems)


_DATE_PROBLEM: Final = N_("This is no date. Write 2026-11-20, 2026-11-01..2026-11-20, today or 7d.")
_OTHER_PROBLEM: Final = N_("This cannot be searched for.")


def _matching(name: str, vr: str, text: str, today: dt.date, words: dict[str, str]) -> tuple[Matching | None, bool]:
    """How a field shall match, and whether names may match by the beginnings of their words."""
    if "\0" in text:
        raise InvalidRequestError("NUL stands in no value.")
    if len(text) > 2 and text[0] == text[-1] == '"':
        return SingleValue(text[1:-1]), False
    if vr == "DA":
        return _date(text, today, words), False
    if vr == "PN":
        return _name(text)
    if vr == "CS":
        return parse_matching(vr, "\\".join(re.split(r"[\s,;\\]+", text.upper()))), False
    if "*" in text or "?" in text:
        return parse_matching(vr, text), False
    if name == "StudyDescription":
        # The index compares letter by letter; descriptions are written in one of three ways.
        ways = dict.fromkeys((text, text.upper(), text.lower(), text.capitalize(), text.title()))
        return parse_matching(vr, "\\".join(f"*{way}*" for way in ways)), False
    ways = dict.fromkeys((text, text.upper()))
    return parse_matching(vr, "\\".join(f"{way}*" for way in ways)), False


def _name(text: str) -> tuple[Matching | None, bool]:
    written = re.sub(r"\s*,\s*", "^", text)
    if "^" not in written and "*" not in written and "?" not in written:
        return SingleValue(written), True
    return parse_matching("PN", written if written.endswith("*") else written + "*"), False


def _date(text: str, today: dt.date, words: dict[str, str]) -> Matching | None:
    word = words.get(text.lower(), text.lower())
    if word == "today":
        return SingleValue(f"{today:%Y%m%d}")
    if word == "yesterday":
        return SingleValue(f"{today - dt.timedelta(1):%Y%m%d}")
    if days := _DAYS.fullmatch(word):
        return Range(f"{today - dt.timedelta(int(days[1]) - 1):%Y%m%d}", None)
    if re.fullmatch(r"[12]\d{3}", word):
        return Range(f"{word}0101", f"{word}1231")
    if ".." in text:
        first, _, last = (part.strip() for part in text.partition(".."))
        found = Range(_day(first) if first else None, _day(last) if last else None)
        range_bounds("DA", found)
        return found if first or last else None
    if re.fullmatch(r"(\d{8})?-(\d{8})?", text):
        return parse_matching("DA", text)
    return SingleValue(_day(text))


def _day(text: str) -> str:
    """A day as people write it: 2026-11-20, 20261120, 20.11.2026. What could be two days is none."""
    if match := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
        text = f"{match[1]}{match[2]:0>2}{match[3]:0>2}"
    elif match := re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text):
        text = f"{match[3]}{match[2]:0>2}{match[1]:0>2}"
    day = normalize_date(text)
    if day is None:
        raise InvalidRequestError(f"{text!r:.40} is no day")
    return day
