"""What the models of all resources have in common: strict when asked, lenient when shown, times in UTC.

Whatever contradicts these models is answered 400 before a service sees it; what a service then refuses is 422.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from fileroom.core.access import RowScope
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.core.limits import ROW_SCOPE_ENTRIES_MAX

YEAR_MIN: Final = 1900
YEAR_MAX: Final = 2999
"""Moments that databases and calendars everywhere understand; nothing here happened earlier or later."""
NUMBER_MAX: Final = (1 << 53) - 1
"""What every JSON reader keeps exactly (RFC 8259 6)."""
_BLANK_FOR_PLUS: Final = re.compile(r" (?=\d\d:\d\d$)")
_NO_CONTROLS: Final = r"^[^\x00-\x1f\x7f]*$"
_UID: Final = r"^[0-9]+(\.[0-9]+)*$"


class Shown(BaseModel):
    """What is answered; made from the services' own values by their attributes."""

    model_config = ConfigDict(from_attributes=True)


class Asked(BaseModel):
    """What is sent: members that are not known are refused, not overlooked, and nothing is converted."""

    model_config = ConfigDict(extra="forbid")


def _moment(value: object) -> object:
    """RFC 3339 with its zone; a `+` that a URL has made a blank counts."""
    if not isinstance(value, str):
        return value
    try:
        moment = dt.datetime.fromisoformat(_BLANK_FOR_PLUS.sub("+", value.upper()))
    except ValueError:
        raise ValueError("write a moment as 2026-11-22T08:00:00Z or 2026-11-22T09:00:00+01:00") from None
    if moment.tzinfo is None or "T" not in value.upper():
        raise ValueError("a moment needs a time and its zone, for example 2026-11-22T08:00:00Z")
    if moment.year <= YEAR_MIN:
        return moment.replace(year=YEAR_MIN, month=1, day=1)
    return moment if moment.year < YEAR_MAX else moment.replace(year=YEAR_MAX, month=1, day=1)


def _whole(value: object) -> object:
    """For JSON 5.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC)


Moment = Annotated[dt.datetime, AfterValidator(_in_utc)]
"""An answered moment, RFC 3339, in UTC."""
AskedMoment = Annotated[
    dt.datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
Text = Annotated[str, Field(strict=True, max_length=1000, pattern=_NO_CONTROLS)]
ShortText = Annotated[str, Field(strict=True, max_length=200, pattern=_NO_CONTROLS)]
Name = Annotated[str, Field(strict=True, min_length=1, max_length=100, pattern=_NO_CONTROLS)]
Secret = Annotated[str, Field(strict=True, min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
Flag = Annotated[bool, Field(strict=True)]
Uid = Annotated[str, Path(pattern=_UID, max_length=UID_CHARS_MAX, examples=["1.2.840.113619.2.1"])]
AskedUid = Annotated[str, Query(pattern=_UID, max_length=UID_CHARS_MAX)]
NameInPath = Annotated[str, Path(min_length=1, max_length=200, pattern=_NO_CONTROLS)]
NumberInPath = Annotated[int, Path(ge=1, le=NUMBER_MAX)]
INTEGRAL: Final = BeforeValidator(_whole)
"""Behind the bounds of a strict integer: nothing is made of a text or of true."""


_Entries = Annotated[list[ShortText], Field(max_length=ROW_SCOPE_ENTRIES_MAX)]


class Rows(Asked):
    """Which studies somebody sees: those that fit every list that is given; without any, all."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    institutions: _Entries = Field(default_factory=list)
    modalities: _Entries = Field(default_factory=list)
    referring_physicians: _Entries = Field(default_factory=list)
    patient_ids: _Entries = Field(default_factory=list)
    own_uploads: Flag = False

    def scope(self) -> RowScope:
        """As services take it; they check the entries."""
        return RowScope(
            institutions=tuple(self.institutions),
            modalities=tuple(self.modalities),
            referring_physicians=tuple(self.referring_physicians),
            patient_ids=tuple(self.patient_ids),
            own_uploads=self.own_uploads,
        )


class NewSecret(Shown):
    """A secret that is told once."""

    secret: str


class Count(Shown):
    """How many."""

    count: int


def given(model: BaseModel) -> dict[str, Any]:
    """The members that the request named."""
    return {name: getattr(model, name) for name in model.model_fields_set}
