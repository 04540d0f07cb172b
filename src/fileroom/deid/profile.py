"""A profile of de-identification: the Basic Profile of PS3.15 E.2, options, and what a project does otherwise.

`plan` turns it into one action for each tag, once; `deid.deidentify` works by that.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from fileroom.deid.options import Option
from fileroom.deid.regions import DeviceRule
from fileroom.deid.table import SAFE_PRIVATE, TABLE


class Action(enum.StrEnum):
    """What is done to an attribute: the codes of PS3.15 table E.1-1a, and two of projects."""

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    CLEAN = "C"
    REPLACE = "replace"
    HASH = "hash"


class Step(NamedTuple):
    """An action; `otherwise` is what is done when cleaning leaves nothing (CLEAN), `value` what is put (REPLACE)."""

    action: Action
    otherwise: Action = Action.REMOVE
    value: str = ""


@dataclass(frozen=True, slots=True)
class Override:
    """What a project does with an attribute, whatever the table says. `tag` may be a repeating group's first."""

    tag: int
    action: Action
    value: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """The Basic Profile with options. `safe_private` are further private attributes that may be kept, as in
    `table.SAFE_PRIVATE`; `devices` are further rules for text burned into pixels."""

    options: frozenset[Option] = frozenset()
    overrides: tuple[Override, ...] = ()
    safe_private: frozenset[tuple[str, int]] = frozenset()
    devices: tuple[DeviceRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One step for each tag that is not simply kept, and which private attributes are kept."""

    steps: Mapping[int, Step]
    private: frozenset[tuple[str, int]]
    options: frozenset[Option]


_ORDINARY: Final = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{suffix}"
    for suffix in (
        "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "3.1", "4", "6.1", "7", "12.1", "12.2", "20",
    )
)  # fmt: skip
"""Images with the plain General Equipment, General Series and General Image modules (PS3.3 A.2 to A.21)."""

_TYPES: Final[Mapping[int, int]] = MappingProxyType(
    {
        0x00080012: 3, 0x00080013: 3, 0x00080021: 3, 0x00080031: 3, 0x00080022: 3, 0x00080032: 3, 0x0008002A: 3,
        0x00080023: 2, 0x00080033: 2, 0x00080080: 3, 0x00080082: 3, 0x00081010: 3, 0x00081070: 3, 0x00081072: 3,
        0x00081110: 3, 0x00081111: 3, 0x00181000: 3, 0x00181030: 3, 0x00181400: 3, 0x00180010: 2, 0x0018700A: 3,
        0x0018700C: 3, 0x0018700E: 3, 0x00321060: 3, 0x00102203: 2, 0x00400555: 2,
    }
)  # fmt: skip
"""The type (PS3.5 7.4) in those objects of what has a conditional action in the table."""


_GRAPHIC_TEXT: Final = 0x00700006


@lru_cache(maxsize=128)
def plan(profile: Profile, sop_class_uid: str = "") -> Plan:
    """The plan for objects of a SOP class; made once for ordinary images and once for all others."""
    return _plan(profile, ordinary=sop_class_uid in _ORDINARY)


@lru_cache(maxsize=64)
def _plan(profile: Profile, *, ordinary: bool) -> Plan:
    steps: dict[int, Step] = {}
    for tag, row in TABLE.items():
        steps[tag] = _step(
            tag, row.basic, {row.options.get(option, "") for option in profile.options}, ordinary=ordinary
        )
    if Option.GRAPHICS in profile.options:
        steps[_GRAPHIC_TEXT] = Step(Action.CLEAN, Action.DUMMY)  # PS3.15 E.3.3: text on graphics that are kept
    for one in profile.overrides:
        steps[one.tag] = Step(
            one.action, _strongest(TABLE[one.tag].basic) if one.tag in TABLE else Action.EMPTY, one.value
        )
    private = frozenset(profile.safe_private)
    if Option.SAFE_PRIVATE in profile.options:
        private |= SAFE_PRIVATE
    return Plan(MappingProxyType(steps), private, profile.options)


def _step(tag: int, basic: str, asked: set[str], *, ordinary: bool) -> Step:
    """Where one option would keep what another cleans, it is cleaned."""
    otherwise = resolved(basic, _TYPES.get(tag, 0) if ordinary else 0)
    if "C" in asked:
        return Step(Action.CLEAN, otherwise)
    if "K" in asked:
        return Step(Action.KEEP)
    return Step(otherwise)


def resolved(code: str, attribute_type: int) -> Action:
    """One action of a conditional code such as X/Z/D: the first that keeps an attribute of that type (PS3.5 7.4) valid.

    Type 0 is not known: then what is valid in every case.
    """
    if attribute_type == 3:
        return Action(code[0])
    if attribute_type == 2 and "Z" in code:
        return Action.EMPTY
    return _strongest(code)


def _strongest(code: str) -> Action:
    return Action(code.rstrip("*")[-1])
