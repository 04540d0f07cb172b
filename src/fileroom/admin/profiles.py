"""What a person has chosen for themselves: language, time zone, columns, theme. Kept as JSON, checked whenever it is read."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told

LANGUAGES: Final = ("en", "de")
THEMES: Final = ("dark", "light")
LAYOUTS: Final = ("images", "series", "panels")
DENSITIES: Final = ("compact", "normal", "roomy")
_NAME_CHARS_MAX: Final = 64
_COLUMNS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Profile:
    """Empty: as the browser or the installation has it."""

    language: str = ""
    time_zone: str = ""
    """IANA name, for example Europe/Berlin."""
    theme: str = ""
    density: str = ""
    columns: tuple[str, ...] = ()
    """Columns of the study list, in their order."""
    layout: str = ""
    """Which panels are open beside the images of the viewer: one of LAYOUTS."""
    hanging_protocol: str = ""
    """How the viewer hangs a study first: a protocol that it has."""


def profile_from_json(value: object) -> Profile:
    """Raises InvalidRequestError that names the member."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError(told("A profile is an object."))
    known = {field.name for field in fields(Profile)}
    if unknown := [name for name in value if name not in known]:
        raise InvalidRequestError(told("A profile has no {value}.", value=f"{unknown[0]!r:.60}"))
    columns = value.get("columns", ())
    if not isinstance(columns, (list, tuple)) or len(columns) > _COLUMNS_MAX:
        raise InvalidRequestError(told("columns of a profile is a list of at most {count} names.", count=_COLUMNS_MAX))
    texts: dict[str, str] = {name: _text(name, value.get(name, "")) for name in known - {"columns"}}
    chosen = (("language", LANGUAGES), ("theme", THEMES), ("density", DENSITIES), ("layout", LAYOUTS))
    for name, choices in chosen:
        if texts[name] and texts[name] not in choices:
            raise InvalidRequestError(
                told("{name} of a profile is one of {names}.", name=name, names=", ".join(choices))
            )
    if texts["time_zone"] and texts["time_zone"] not in zoneinfo.available_timezones():
        raise InvalidRequestError(
            told("{value} is no time zone, for example Europe/Berlin.", value=f"{texts['time_zone']!r}")
        )
    return Profile(columns=tuple(_text("columns", entry) for entry in columns), **texts)


def stored_profile(value: object) -> Profile:
    """The profile of a row. One that another version wrote and this one does not understand counts as empty."""
    try:
        return profile_from_json(value)
    except InvalidRequestError:
        return Profile()


def profile_to_json(profile: Profile) -> dict[str, Any]:
    """Only what was chosen."""
    return {name: value for name, value in asdict(profile).items() if value}


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > _NAME_CHARS_MAX or not (value.isprintable() or not value):
        raise InvalidRequestError(
            told("{name} of a profile is text of at most {count} characters.", name=name, count=_NAME_CHARS_MAX)
        )
    return value
