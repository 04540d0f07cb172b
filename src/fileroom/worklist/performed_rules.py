"""What a modality may say of a performed procedure step, and when (PS3.4 table F.7.2-1): pure checks of DICOM JSON.

Attributes of type 1 must be there with a value. Those of type 2 may be missing: many modalities leave them out, and the
archive loses nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fileroom.core.errors import ConflictError, InvalidRequestError, told
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.normal_forms import normalize_date, normalize_time

SCHEDULED_ATTRIBUTES: Final = 0x00400270
STATUS: Final = 0x00400252
SERIES: Final = 0x00400340
DISCONTINUATION_REASON: Final = 0x00400281
STUDY_UID: Final = 0x0020000D
ACCESSION: Final = 0x00080050
STEP_ID: Final = 0x00400009
PATIENT_ID: Final = 0x00100020
PATIENT_NAME: Final = 0x00100010
_CODE_VALUE: Final = 0x00080100
_STEP: Final = 0x00400253
_STATION: Final = 0x00400241
_START_DATE, _START_TIME = 0x00400244, 0x00400245
_END_DATE, _END_TIME = 0x00400250, 0x00400251
_MODALITY: Final = 0x00080060
_SERIES_UID: Final = 0x0020000E
_PROTOCOL_NAME: Final = 0x00181030
_IMAGES, _OTHER_OBJECTS = 0x00081140, 0x00400220
_SOP_COMMON: Final = frozenset({0x00080016, 0x00080018})

CREATE_TYPE_1: Final = (_MODALITY, _STATION, _START_DATE, _START_TIME, STATUS, _STEP, SCHEDULED_ATTRIBUTES)
NOT_SET: Final = frozenset(
    {
        *(SCHEDULED_ATTRIBUTES, _STEP, _STATION, 0x00400242, 0x00400243, _START_DATE, _START_TIME, _MODALITY),
        *(PATIENT_NAME, PATIENT_ID, 0x00100021, 0x00100030, 0x00100040, 0x00081120, 0x00200010),
    }
)
"""Not allowed in an N-SET: what the step was begun with stays."""
STATES: Final = {"IN PROGRESS": "in_progress", "COMPLETED": "completed", "DISCONTINUED": "discontinued"}
WRONG_ENTRY: Final = "110514"
"""Incorrect worklist entry selected (PS3.16 CID 9301)."""
SERIES_MAX: Final = 10_000
REFERENCES_MAX: Final = 1_000_000
FINAL_TEXT: Final = "Performed Procedure Step Object may no longer be updated"
"""As PS3.4 F.7.2.2.3 has it."""


class AttributesError(InvalidRequestError):
    """Attributes of a data set are wrong; `tags` says which."""

    def __init__(self, message: str, tags: Sequence[int]) -> None:
        super().__init__(message)
        self.tags = tuple(tags)


class MissingAttributeError(AttributesError):
    """An attribute that must be there is not."""


class MissingValueError(AttributesError):
    """An attribute that must have a value has none."""


class NoSuchAttributeError(AttributesError):
    """An attribute may not be set any more."""


class WrongValueError(AttributesError):
    """A value cannot be meant."""


class FinalStateError(ConflictError):
    """The step is completed or discontinued: nothing of it changes any more."""


def check_create(model: JsonObject) -> None:
    """A data set with which a step begins. Raises AttributesError's children."""
    _require(model, CREATE_TYPE_1)
    for item in items_of(model, SCHEDULED_ATTRIBUTES):
        _require(item, (STUDY_UID,))
    if text_of(model, STATUS) != "IN PROGRESS":
        raise WrongValueError(
            told(
                "{tags}: a step begins IN PROGRESS, not {status}.",
                tags=_named([STATUS]),
                status=text_of(model, STATUS)[:20],
            ),
            (STATUS,),
        )
    _check_moments(model)
    _check_size(model)


def merged(now: JsonObject, change: JsonObject) -> JsonObject:
    """The data set after an N-SET. Raises NoSuchAttributeError, WrongValueError, MissingAttributeError ..."""
    tags = [int(key, 16) for key in change]
    wrong = [tag for tag in tags if tag in NOT_SET and change[f"{tag:08X}"] != now.get(f"{tag:08X}")]
    if wrong:
        raise NoSuchAttributeError(told("{tags} may not be changed.", tags=_named(wrong)), wrong)
    if change.get(f"{STATUS:08X}") is not None and text_of(change, STATUS) not in STATES:
        raise WrongValueError(
            told("{tags}: there is no status {status}.", tags=_named([STATUS]), status=text_of(change, STATUS)[:20]),
            (STATUS,),
        )
    after = dict(now) | {key: value for key, value in change.items() if int(key, 16) not in _SOP_COMMON}
    _check_moments(after)
    _check_size(after)
    if text_of(after, STATUS) != "IN PROGRESS":
        _check_final(after)
    return after


def count_images(model: JsonObject) -> int:
    """Objects that the series of a data set name."""
    return sum(len(items_of(series, tag)) for series in items_of(model, SERIES) for tag in (_IMAGES, _OTHER_OBJECTS))


def is_wrong_entry(model: JsonObject) -> bool:
    """Discontinued because the wrong entry of the worklist was chosen."""
    codes = [text_of(item, _CODE_VALUE) for item in items_of(model, DISCONTINUATION_REASON)]
    return text_of(model, STATUS) == "DISCONTINUED" and WRONG_ENTRY in codes


def text_of(model: Mapping[str, Any], tag: int) -> str:
    """The first value of an attribute as text; of a name its first group."""
    values = (model.get(f"{tag:08X}") or {}).get("Value") or [""]
    value = values[0]
    if isinstance(value, dict):
        return str(value.get("Alphabetic", ""))
    return "" if value is None else str(value).strip()


def items_of(model: Mapping[str, Any], tag: int) -> list[JsonObject]:
    """The items of a sequence."""
    values = (model.get(f"{tag:08X}") or {}).get("Value") or []
    return [item for item in values if isinstance(item, dict)]


# --- helpers ---


def _check_final(model: JsonObject) -> None:
    _require(model, (_END_DATE, _END_TIME))
    if text_of(model, STATUS) == "COMPLETED":
        _require(model, (SERIES,))
    for item in items_of(model, SERIES):
        _require(item, (_SERIES_UID, _PROTOCOL_NAME))


def _require(model: JsonObject, tags: Sequence[int]) -> None:
    missing = [tag for tag in tags if f"{tag:08X}" not in model]
    if missing:
        raise MissingAttributeError(told("{tags} must be there.", tags=_named(missing)), missing)
    empty = [tag for tag in tags if not text_of(model, tag) and not items_of(model, tag)]
    if empty:
        raise MissingValueError(told("{tags} must have a value.", tags=_named(empty)), empty)


def _check_moments(model: JsonObject) -> None:
    for tag, normal in (
        (_START_DATE, normalize_date),
        (_START_TIME, normalize_time),
        (_END_DATE, normalize_date),
        (_END_TIME, normalize_time),
    ):
        text = text_of(model, tag)
        if text and normal(text) is None:
            raise WrongValueError(told("{tags} has a value that is no date or time.", tags=_named([tag])), (tag,))


def _check_size(model: JsonObject) -> None:
    series = items_of(model, SERIES)
    if len(series) > SERIES_MAX or count_images(model) > REFERENCES_MAX:
        raise InvalidRequestError(
            told("At most {most} series with {objects} objects.", most=SERIES_MAX, objects=REFERENCES_MAX)
        )


def _named(tags: Sequence[int]) -> str:
    return ", ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags)
