"""The fields of a de-identification project: checked, and made into a profile.

{"options": ["modified_dates", ...], "pseudonym": "STUDY01-{n:04}", "shift_days": 365, "patient_map": "ID,PSEUDONYM ...",
 "others": "make", "overrides": [{"tag": "StudyDescription", "action": "keep"}],
 "safe_private": [{"creator": "ACME", "tag": "0019xx10"}], "devices": [{"name", "where", "regions"}], "description": ""}
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.admin.entries import Fields, Section
from fileroom.core.errors import InvalidRequestError, told
from fileroom.deid.options import Option
from fileroom.deid.profile import Action, Override, Profile
from fileroom.deid.regions import RULES_MAX, device_rule
from fileroom.dicom.dictionary import tag_of

PATTERN_DEFAULT: Final = "ANON-{n:05}"
SHIFT_DAYS_DEFAULT: Final = 365
SHIFT_DAYS_MAX: Final = 3650
PSEUDONYM_CHARS_MAX: Final = 64
"""Of LO (PS3.5 6.2)."""
OVERRIDES_MAX: Final = 500
MAP_CHARS_MAX: Final = 200_000
_PATTERN: Final = re.compile(r"[A-Za-z0-9 ._-]*\{n(?::0[1-9])?\}[A-Za-z0-9 ._-]*")
_PSEUDONYM: Final = re.compile(r"[A-Za-z0-9 ._-]{1,64}")
_PRIVATE_TAG: Final = re.compile(r"([0-9a-f]{3}[13579bdf])xx([0-9a-f]{2})", re.IGNORECASE)
_ACTIONS: Final = {
    "keep": Action.KEEP,
    "remove": Action.REMOVE,
    "empty": Action.EMPTY,
    "replace": Action.REPLACE,
    "hash": Action.HASH,
    "clean": Action.CLEAN,
}
_KNOWN: Final = frozenset(
    {
        "options",
        "pseudonym",
        "shift_days",
        "patient_map",
        "others",
        "overrides",
        "safe_private",
        "devices",
        "description",
    }
)
_NEVER_KEPT: Final = frozenset({0x00100010, 0x00100020, 0x04000561, 0x04000550, 0xFFFAFFFA})
"""Name and ID are pseudonyms, what was before and signatures would tell what was taken away."""


@dataclass(frozen=True, slots=True)
class Project:
    """A project, ready for use. `patients` is the given map of patient IDs to pseudonyms."""

    id: int
    name: str
    version: int
    profile: Profile
    pseudonym: str = PATTERN_DEFAULT
    shift_days: int = SHIFT_DAYS_DEFAULT
    patients: Mapping[str, str] = field(default_factory=dict, repr=False)
    makes_others: bool = True


def _check(_name: str, fields: Mapping[str, Any]) -> Fields:
    """The normal form. Raises InvalidRequestError."""
    unknown = sorted(set(fields) - _KNOWN)
    if unknown:
        raise InvalidRequestError(told("A project has no field {field}.", field=str(unknown[0])[:60]))
    made: Fields = {
        "options": _options(fields.get("options", [])),
        "pseudonym": _pattern(str(fields.get("pseudonym") or PATTERN_DEFAULT)),
        "shift_days": _shift(fields.get("shift_days", SHIFT_DAYS_DEFAULT)),
        "overrides": [_override(one) for one in _list(fields, "overrides")],
        "safe_private": [_private(one) for one in _list(fields, "safe_private")],
        "devices": _list(fields, "devices"),
        "others": fields.get("others", "make"),
        "description": str(fields.get("description", ""))[:2000],
    }
    if made["others"] not in ("make", "refuse"):
        raise InvalidRequestError('Others (patients that are not in the map) is "make" or "refuse".')
    for one in made["devices"]:
        device_rule(one if isinstance(one, Mapping) else {})
    given = fields.get("patient_map")
    if given:
        made["patient_map"] = str(given)
        if given != "secret":
            patient_map(str(given))
    return made


def _secrets(fields: Fields) -> frozenset[tuple[str, ...]]:
    return frozenset({("patient_map",)}) if fields.get("patient_map") else frozenset()


PROJECTS: Final = Section("projects", "project", _check, _secrets)


def profile_of(fields: Mapping[str, Any]) -> Profile:
    """The profile of checked fields."""
    overrides = tuple(
        Override(int(one["tag"], 16), _ACTIONS[one["action"]], one.get("value", "")) for one in fields["overrides"]
    )
    private = frozenset(
        (one["creator"], int(one["tag"][:4], 16) << 16 | int(one["tag"][6:], 16)) for one in fields["safe_private"]
    )
    devices = tuple(device_rule(one) for one in fields["devices"])
    return Profile(frozenset(Option(one) for one in fields["options"]), overrides, private, devices)


def patient_map(text: str) -> dict[str, str]:
    """Patient IDs to pseudonyms, from lines of `ID,PSEUDONYM`. Raises InvalidRequestError."""
    if len(text) > MAP_CHARS_MAX:
        raise InvalidRequestError(told("The patient map is longer than {most} characters.", most=MAP_CHARS_MAX))
    made: dict[str, str] = {}
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != 2 or not cells[0] or not _PSEUDONYM.fullmatch(cells[1]):
            raise InvalidRequestError(
                told("Line {number} of the patient map is not ID,PSEUDONYM (letters, digits, . _ -).", number=number)
            )
        if cells[1] in made.values() or cells[0] in made:
            raise InvalidRequestError(told("Line {number} of the patient map says something twice.", number=number))
        made[cells[0]] = cells[1]
    return made


def _options(given: Any) -> list[str]:
    if not isinstance(given, list | tuple):
        raise InvalidRequestError("Options is a list.")
    for one in given:
        if one not in list(Option):
            raise InvalidRequestError(
                told("{option} is no option; there are {options}.", option=str(one)[:40], options=", ".join(Option))
            )
    if {Option.FULL_DATES, Option.MODIFIED_DATES} <= set(given):
        raise InvalidRequestError("Dates are either kept or moved: choose full_dates or modified_dates.")
    return [str(option) for option in Option if option in given]


def _pattern(text: str) -> str:
    if not _PATTERN.fullmatch(text) or len(text) > PSEUDONYM_CHARS_MAX - 10:
        raise InvalidRequestError(
            told(
                "{pattern} is no pattern. It has {{n}} or {{n:04}} once; beside it letters, digits, . _ - and blanks.",
                pattern=text[:60],
            )
        )
    return text


def _shift(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= SHIFT_DAYS_MAX:
        raise InvalidRequestError(told("Dates are moved by 1 to {most} days at most.", most=SHIFT_DAYS_MAX))
    return given


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name) or []
    if not isinstance(value, list | tuple) or len(value) > min(OVERRIDES_MAX, RULES_MAX):
        raise InvalidRequestError(told("{name} is a list of at most {most}.", name=name, most=OVERRIDES_MAX))
    return list(value)


def _override(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping) or given.get("action") not in _ACTIONS:
        raise InvalidRequestError(
            told(
                'An override is {{"tag", "action", "value"}} with an action of {actions}.', actions=", ".join(_ACTIONS)
            )
        )
    text = str(given.get("tag", "")).strip("()").replace(",", "")
    tag = tag_of(text) or (int(text, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", text) else None)
    if tag is None or tag >> 16 < 8 or tag >= 0x7FE00000 or tag >> 16 & 1:
        raise InvalidRequestError(
            told("{tag} is no attribute that an override can name; for private ones use safe_private.", tag=text[:40])
        )
    if tag in _NEVER_KEPT and given["action"] in ("keep", "clean"):
        raise InvalidRequestError(told("{tag} is never kept: it tells who the patient is.", tag=f"{tag:08X}"))
    made = {"tag": f"{tag:08X}", "action": str(given["action"])}
    if given["action"] == "replace":
        value = str(given.get("value", ""))
        if not value.isascii() or not value.isprintable() or len(value) > PSEUDONYM_CHARS_MAX:
            raise InvalidRequestError("What an attribute is replaced by is plain ASCII text of at most 64 characters.")
        made["value"] = value
    return made


def _private(given: Any) -> dict[str, str]:
    found = _PRIVATE_TAG.fullmatch(str(given.get("tag", ""))) if isinstance(given, Mapping) else None
    if found is None or not str(given.get("creator", "")).strip():
        raise InvalidRequestError('A safe private attribute is {"creator": "ACME 1.0", "tag": "0019xx10"}.')
    return {"creator": str(given["creator"]).strip()[:64], "tag": f"{found[1].lower()}xx{found[2].lower()}"}
