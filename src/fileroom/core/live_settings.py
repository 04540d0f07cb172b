"""The settings of a running process: what is given from outside, with the managed values of the database below it.

Everybody holds the one `LiveSettings` object and reads a value when it is needed; `exchange` puts all values of a new version
in at once. So a change takes effect without a restart wherever nobody has copied a value away.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fileroom.core.errors import told
from fileroom.core.setting_marks import Group, SettingEntry, SettingKind, Value, table_of
from fileroom.core.settings import Settings

TEXT_SETTING_CHARS_MAX: Final = 20_000
"""Of one managed text: a list of a few hundred groups with their roles; more is a mistake."""
WHOLE_NUMBER_MAX: Final = 2**53
"""Numbers up to this are the same in JSON, TOML and the browser."""


def settings_table() -> dict[str, SettingEntry]:
    """Every setting by its name, in the order of `core.settings`."""
    return table_of(Settings.model_fields)


def managed_settings() -> dict[str, SettingEntry]:
    """Those that administrators may change while Fileroom runs."""
    return {name: entry for name, entry in settings_table().items() if entry.kind is SettingKind.MANAGED}


def setting_texts() -> set[str]:
    """What the settings say to people, for the catalogues: help, units, headings."""
    table = settings_table().values()
    texts = {text for entry in table for text in (entry.description, entry.unit, entry.affects)}
    return {*texts, *Group} - {""}


class LiveSettings(Settings):
    """Settings whose values are exchanged as a whole. `model_fields_set` are those that are set from outside."""

    @classmethod
    def of(cls, given: Settings) -> LiveSettings:
        """With the values of `given`, to begin with."""
        live: LiveSettings = cls.model_construct()
        live.exchange(given)
        return live

    def exchange(self, values: Settings) -> None:
        """Have the values of `values` from now on. One assignment: nobody sees half of it."""
        object.__setattr__(self, "__pydantic_fields_set__", set(values.model_fields_set))
        object.__setattr__(self, "__dict__", dict(values.__dict__))


class _Complete(Settings):
    """Settings from the values given to it alone."""

    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is given."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be used: of which setting, why, and what would fit (a `Told` where that is our own sentence)."""

    name: str
    value: object
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.reason}"
            if self.value is None
            else f"{self.name} = {_shown(self.value)}: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Combined:
    """Settings with the managed values that could be used; `refused` are those that could not."""

    settings: Settings
    refused: tuple[Problem, ...] = field(default_factory=tuple)


def check_values(values: Mapping[str, object]) -> tuple[dict[str, Value], list[Problem]]:
    """Managed values as the settings take them (`"30"` becomes 30), and what is wrong with the others."""
    table, good, problems = settings_table(), {}, []
    for name, value in values.items():
        problem = _refusal(value, table.get(name))
        if problem is None:
            good[name] = value
        else:
            problems.append(Problem(name, value, problem))
    try:
        return _taken(good), problems
    except ValidationError as error:
        found = [_problem(one, good, table) for one in error.errors()]
        left = {name: value for name, value in good.items() if name not in {one.name for one in found}}
        taken, more = check_values(left) if len(left) < len(good) else ({}, [])
        return taken, [*problems, *found, *more]


def combined(given: Settings, managed: Mapping[str, object]) -> Combined:
    """`given` with managed values for what it does not say itself. A value that is no good any more is left out.

    What was good when it was set may not be so for newer code: that must not keep Fileroom from starting.
    """
    good, refused = check_values(managed)
    outside = set(given.model_fields_set)
    values: dict[str, Any] = {name: getattr(given, name) for name in type(given).model_fields}
    values |= {name: value for name, value in good.items() if name not in outside}
    try:
        settings: Settings = _Complete(**values)
        object.__setattr__(settings, "__pydantic_fields_set__", outside)
    except ValidationError as error:
        # Each is good alone and they do not go together with what the environment says.
        reason = _words(error.errors()[0])
        refused.extend(Problem(name, value, reason) for name, value in good.items() if name not in outside)
        settings = given
    return Combined(settings, tuple(refused))


def _refusal(value: object, entry: SettingEntry | None) -> str | None:
    """Why a value cannot be a managed one, before the settings themselves look at it."""
    if entry is None:
        return told("there is no such setting")
    if entry.kind is not SettingKind.MANAGED:
        return told("it is set from outside only, as {variable}", variable=entry.variable)
    if not isinstance(value, Value) or (isinstance(value, bool) and entry.type is not bool):
        return told("it is {fits}", fits=entry.fits)
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= WHOLE_NUMBER_MAX):
        return told("it is {fits}", fits=entry.fits)
    if isinstance(value, str) and (len(value) > TEXT_SETTING_CHARS_MAX or not value.isprintable()):
        return told("it is a text of up to {most} characters in one line", most=TEXT_SETTING_CHARS_MAX)
    if isinstance(value, str) and entry.type is float and not _is_finite(value):
        return told("it is {fits}", fits=entry.fits)
    return None


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _taken(values: Mapping[str, object]) -> dict[str, Value]:
    """Raises ValidationError."""
    settings = _Complete(**dict(values))  # type: ignore[arg-type]  # that they fit is what it finds out
    return {name: getattr(settings, name) for name in values}


def _problem(error: Any, values: Mapping[str, object], table: Mapping[str, SettingEntry]) -> Problem:
    name = str(error["loc"][0]) if error["loc"] else next(iter(values))
    entry = table[name]
    by_itself = error["type"] == "value_error"
    reason = _words(error) if by_itself and not entry.choices else told("it is {fits}", fits=entry.fits)
    return Problem(name, values.get(name, ""), reason)


def _words(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ").rstrip(".")


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
