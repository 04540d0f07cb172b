"""Configurations as values: sections with named entries, what differs between two of them, and how that is told.

A document is `{"settings": {"ledger_days": 30}, "roles": {"ct-desk": {...}}}`. A section that is not in a document is not
spoken of; an entry that is not in a section is not there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

Section = Mapping[str, Any]
Document = Mapping[str, Section]

SETTINGS: Final = "settings"
_SHOWN_CHARS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Change:
    """One entry before and after; None: it is not there."""

    section: str
    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.title}: {self.before} -> {self.after}"

    @property
    def title(self) -> str:
        """What is changed."""
        return self.name if self.section == SETTINGS else f"{self.section}.{self.name}"

    @property
    def before(self) -> str:
        """The old value in a line."""
        return self._shown(self.old)

    @property
    def after(self) -> str:
        """The new one."""
        return self._shown(self.new)

    def _shown(self, value: Any) -> str:
        if value is None:
            return "(default)" if self.section == SETTINGS else "(none)"
        return shown(value)

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"section": self.section, "name": self.name, "old": self.old, "new": self.new}


def change_from_json(value: Mapping[str, Any]) -> Change:
    """A stored one."""
    return Change(str(value["section"]), str(value["name"]), value["old"], value["new"])


def differences(section: str, old: Section, new: Section) -> list[Change]:
    """What makes `new` of `old`, by name."""
    names = sorted({*old, *new})
    return [Change(section, name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def with_changes(section: Section, changes: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A section with entries put in; None takes one out."""
    result = dict(section)
    for name, value in changes:
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def taken_back(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """By section and name, what was there before `changes`, which come in the order in which they were made."""
    before: dict[str, dict[str, Any]] = {}
    for change in changes:
        before.setdefault(change.section, {}).setdefault(change.name, change.old)
    return before


def together(changes: Iterable[Change]) -> list[Change]:
    """Changes one after the other as one: what was there before the first, and after the last."""
    first: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.section, change.name)
        former = first.get(key)
        first[key] = Change(change.section, change.name, former.old if former else change.old, change.new)
    return [first[key] for key in sorted(first) if first[key].old != first[key].new]


def fingerprint(section: Section) -> str:
    """Of a section's entries: another one when anything of it is changed."""
    text = json.dumps(section, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def shown(value: Any) -> str:
    """A value in a line."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARS_MAX else f"{text[: _SHOWN_CHARS_MAX - 3]}..."
