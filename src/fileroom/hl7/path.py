"""Places in a message, as administrators write them: `PID-3`, `PID-3[2].4.2`, `OBX(3)-5`.

Segment, in () which of several of that name, field, in [] the repetition, component, subcomponent. All count from one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fileroom.core.errors import Hl7Error, told

_TEXT_SHOWN_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Path:
    """Where something stands, each from one on; `component` and `sub` 0: the whole above it."""

    segment: str
    occurrence: int = 1
    field: int = 0
    repetition: int = 1
    component: int = 0
    sub: int = 0

    def __str__(self) -> str:
        occurrence = f"({self.occurrence})" if self.occurrence > 1 else ""
        repetition = f"[{self.repetition}]" if self.repetition > 1 else ""
        parts = "".join(f".{part}" for part in (self.component, self.sub) if part)
        return f"{self.segment}{occurrence}" + (f"-{self.field}{repetition}{parts}" if self.field else "")


_PATH: Final = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\(([1-9][0-9]{0,4})\)|\[([1-9][0-9]{0,4})\])?"
    r"(?:-([1-9][0-9]{0,3})(?:\[([1-9][0-9]{0,3})\])?(?:\.([1-9][0-9]{0,2})(?:\.([1-9][0-9]{0,2}))?)?)?"
)


@lru_cache(maxsize=4096)
def read_path(text: str) -> Path:
    """A path in words. Raises Hl7Error with how one is written."""
    found = _PATH.fullmatch(text.strip())
    if found is None:
        raise Hl7Error(
            told(
                "{path} is no place in a message; write it like PID-3, PID-3[2].4.2 or OBX(2)-5",
                path=text[:_TEXT_SHOWN_MAX],
            )
        )
    name, occurrence, bracket, field, repetition, component, sub = found.groups()
    return Path(
        name, int(occurrence or bracket or 1), int(field or 0), int(repetition or 1), int(component or 0), int(sub or 0)
    )
