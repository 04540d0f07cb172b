"""How settings are marked in `core.settings`, and the table that documents, the settings page and commands read from it.

A setting is one of three kinds. *Start*: the process needs it before there is a database, or the machine alone shall decide
it; it comes from a flag, the environment or `fileroom.toml`. *Secret*: the same, and it is never shown. *Managed*: an
administrator may change it while Fileroom runs (`admin.configuration`); the value is a row in the database and lies between
the default and what the environment says.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from fileroom.core.errors import Told, told

Value = bool | int | float | str
"""What a managed setting may be: what JSON and TOML can say in one word."""


class SettingKind(enum.StrEnum):
    """Who may set it, and when it is read."""

    START = "start"
    SECRET = "secret"  # noqa: S105 - a kind of setting
    MANAGED = "managed"


class Group(enum.StrEnum):
    """The headings of the settings page, in its order."""

    PEOPLE = "People and sessions"
    SIGN_IN = "Login by a directory or provider"
    DICOM = "Receiving images"
    STORAGE = "Storage"
    ROUTING = "Routing"
    REPORTS = "Reports"
    VIEWER = "Viewer"
    TRACES = "Audit trail and ledger"
    NETWORK = "Network and security"
    SYSTEM = "System"


_GROUP: Final = "group"
_UNIT: Final = "unit"
_AFFECTS: Final = "affects"
_SECURITY: Final = "security"
_CHOICES: Final = "choices"
_GIVES_RIGHTS: Final = "gives_rights"


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One setting as people see it. `minimum` is excluded itself where `above` holds."""

    name: str
    description: str
    default: Value
    kind: SettingKind
    type: type
    group: str = ""
    unit: str = ""
    affects: str = ""
    security: bool = False
    gives_rights: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"FILEROOM_{self.name.upper()}"

    @property
    def fits(self) -> Told:
        """In words: which values it takes."""
        if self.choices:
            return told("one of {choices}", choices=", ".join(self.choices))
        if self.type is bool:
            return told("true or false")
        if self.type not in (int, float):
            return told("a text")
        number = told("a whole number") if self.type is int else told("a number")
        if self.unit:
            number = told("{number} of {unit}", number=number, unit=told(self.unit))
        return told("{number} {range}", number=number, range=self._range()) if self.minimum is not None else number

    def _range(self) -> Told:
        low, high = f"{self.minimum:g}", f"{self.maximum:g}" if self.maximum is not None else ""
        if self.above:
            return told("above {low}", low=low) if not high else told("above {low}, up to {high}", low=low, high=high)
        return told("from {low} to {high}", low=low, high=high) if high else told("from {low} on", low=low)


def managed(
    group: Group,
    unit: str = "",
    *,
    affects: str = "",
    security: bool = False,
    choices: Iterable[str] = (),
    gives_rights: bool = False,
) -> dict[str, Any]:
    """The mark, for `json_schema_extra`.

    `affects`: what one should know before changing it. `security`: it is audited as a change of security. `choices`: for a
    text that a validator holds to some words; a Literal says so itself. `gives_rights`: it decides who somebody is or what they
    may do, so only who has every right may change it.
    """
    return {
        _GROUP: group.value,
        _UNIT: unit,
        _AFFECTS: affects,
        _SECURITY: security or gives_rights,
        _CHOICES: list(choices),
        _GIVES_RIGHTS: gives_rights,
    }


def table_of(fields: Mapping[str, FieldInfo]) -> dict[str, SettingEntry]:
    """Every setting of a model by its name."""
    return {name: _entry(name, field) for name, field in fields.items()}


def _entry(name: str, field: FieldInfo) -> SettingEntry:
    default = field.get_default()
    secret = isinstance(default, SecretStr)
    mark: Mapping[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind = SettingKind.SECRET if secret else SettingKind.MANAGED if _GROUP in mark else SettingKind.START
    limits = {type(one): one for one in field.metadata}
    low, above, high = limits.get(Ge), limits.get(Gt), limits.get(Le) or limits.get(Lt)
    literal = get_origin(field.annotation) is Literal
    return SettingEntry(
        name,
        field.description or "",
        "" if secret else default if isinstance(default, Value) else str(default),
        kind,
        field.annotation if isinstance(field.annotation, type) else str,
        mark.get(_GROUP, ""),
        mark.get(_UNIT, ""),
        mark.get(_AFFECTS, ""),
        mark.get(_SECURITY, False),
        mark.get(_GIVES_RIGHTS, False),
        tuple(map(str, get_args(field.annotation))) if literal else tuple(mark.get(_CHOICES, ())),
        _bound(low, "ge") if low else _bound(above, "gt"),
        _bound(high, "le") if high else None,
        low is None and above is not None,
    )


def _bound(limit: object, name: str) -> float | None:
    value = getattr(limit, name, None)
    return float(value) if isinstance(value, int | float) else None
