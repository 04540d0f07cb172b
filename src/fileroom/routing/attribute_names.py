"""Names of attributes for whoever writes a condition: completion by keyword, name or tag (PS3.6)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from pydicom._dicom_dict import DicomDictionary

from fileroom.core.access import Permission, require
from fileroom.routing.conditions import FUNCTIONS
from fileroom.routing.operands import context_names

FOUND_MAX: Final = 50
"""More than a list under a field shows."""


@dataclass(frozen=True, slots=True)
class AttributeName:
    """One name. `tag` is 0010,0020, `vr` as in PS3.6, `name` for people. Of what is no attribute only the keyword."""

    keyword: str
    tag: str = ""
    vr: str = ""
    name: str = ""
    retired: bool = False


def complete_attribute(text: str, limit: int = FOUND_MAX) -> list[AttributeName]:
    """Names that begin with `text`, then those in which a word does; without regard to case. Raises NotAllowedError."""
    require(Permission.ROUTING_READ)
    wanted = text.strip().casefold()
    if not wanted:
        return []
    digits = wanted.replace(",", "").replace("(", "").replace(")", "")
    begins: list[AttributeName] = []
    within: list[AttributeName] = []
    for one, keyword, name in _names():
        if keyword.startswith(wanted) or (one.tag and one.tag.replace(",", "").lower().startswith(digits)):
            begins.append(one)
        elif name.startswith(wanted) or f" {wanted}" in name or wanted in keyword:
            within.append(one)
    begins.sort(key=lambda one: (one.retired, len(one.keyword), one.keyword))
    within.sort(key=lambda one: (one.retired, len(one.keyword), one.keyword))
    return [*begins, *within][: max(0, min(limit, FOUND_MAX))]


@functools.cache
def _names() -> tuple[tuple[AttributeName, str, str], ...]:
    own = [
        AttributeName(name) for name in (*context_names(), *(f"{name}()" for name in FUNCTIONS)) if "age_in" not in name
    ]
    own += [AttributeName("age_in_years()"), AttributeName("age_in_days()")]
    standard = [
        AttributeName(keyword, f"{tag >> 16:04X},{tag & 0xFFFF:04X}", vr, name, bool(retired))
        for tag, (vr, _, name, retired, keyword) in DicomDictionary.items()
        if keyword and vr != "NONE"
    ]
    return tuple((one, one.keyword.casefold(), one.name.casefold()) for one in (*own, *standard))
