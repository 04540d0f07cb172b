"""Functions that conditions call by their own names, beside those of CEL: like, same, at, date.

They take whatever CEL gives them and never raise for a value of an object; a list is true when any of its values is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from fileroom.dicom.matching import matches, parse_matching
from fileroom.dicom.normal_forms import fold_text, normalize_date

PATTERN_CHARS_MAX: Final = 300


def _like(value: Any, pattern: Any) -> bool:
    """Whether a text, or any of a list, fits a pattern of * and ?, without regard to case and accents."""
    some = value if isinstance(value, list) else [value]
    return any(_fits(str(one), str(pattern)) for one in some[:256] if one is not None)


@functools.lru_cache(maxsize=4096)
def _fits(value: str, pattern: str) -> bool:
    if not pattern.strip("*"):
        return bool(value) or pattern == ""
    if not value:
        return False
    matching = parse_matching("PN", _plain(pattern[:PATTERN_CHARS_MAX]))
    return matches(_plain(value[:_LIKE_CHARS_MAX]), matching, "PN")


def _plain(text: str) -> str:
    """Matching as of names folds case and accents; what has a meaning in names shall have none here."""
    return text.translate(_PLAIN)


_PLAIN: Final = str.maketrans("\\=^", "/-~")
_LIKE_CHARS_MAX: Final = 4096


def _same(value: Any, other: Any) -> bool:
    """Whether a text, or any of a list, is the same without regard to case and to blanks around and between words."""
    some = value if isinstance(value, list) else [value]
    wanted = fold_text(str(other))
    return any(fold_text(str(one)) == wanted for one in some if one is not None)


def _at(values: Any, place: Any) -> Any:
    """One value of a list, from 1; empty when there are not so many."""
    some = values if isinstance(values, list) else [values]
    number = int(place)
    return some[number - 1] if 0 < number <= len(some) else ""


def _date(text: Any) -> str:
    return normalize_day(str(text)) or ""


def normalize_day(text: str) -> str | None:
    """A date as people write it, 2026-01-31 too, in its normal form; None when it is none."""
    return normalize_date(text.replace("-", ""))


RUNTIME_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"like": _like, "same": _same, "at": _at, "date": _date}
