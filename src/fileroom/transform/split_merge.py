"""Series taken apart and put together, with UIDs that follow from the old ones, so that a resend gives the same series.

Each object is looked at alone: what is sent later, or again, lands in the same new series. An object in another series is
another object (PS3.3 A.1.2), so it gets a new SOP Instance UID too; its references to others of the same study stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.pixels.header_values import integer, numbers, value_of
from fileroom.transform.changes import shallow
from fileroom.transform.derived_uids import derived_uid
from fileroom.transform.element_values import texts_at
from fileroom.transform.errors import CannotChangeError
from fileroom.transform.paths import AttributePath, attribute_path, places

SPLIT_WAYS: Final = ("attribute", "echo", "orientation", "frames", "count")
MERGE_WAYS: Final = ("frame of reference", "study")
COUNT_MAX: Final = 100_000
NUMBERS_PER_SERIES: Final = 10_000
"""Merged instances are numbered series number times this, plus instance number: no two meet, and order is kept."""
_DESCRIPTION_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Split:
    """How a series is taken apart: by the value of an attribute, by echo, by orientation, single from multi-frame images
    (`frames`), or after every `count` images by their instance numbers."""

    by: str
    attribute: AttributePath | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """Which series become one: those of the same Frame of Reference and modality, or all of the study's of a modality."""

    by: str
    description: str = ""


def checked_split(fields: object) -> Split | None:
    """None for nothing. Raises InvalidRequestError."""
    if not fields:
        return None
    if (
        not isinstance(fields, Mapping)
        or fields.get("by") not in SPLIT_WAYS
        or fields.keys() - {"by", "attribute", "count"}
    ):
        raise InvalidRequestError(told("split needs by: one of {choices}.", choices=", ".join(SPLIT_WAYS)))
    by = str(fields["by"])
    if by == "attribute":
        return Split(by, attribute_path(str(fields.get("attribute", ""))))
    count = fields.get("count", 0)
    if by == "count" and (not isinstance(count, int) or not 1 <= count <= COUNT_MAX):
        raise InvalidRequestError(told("split by count needs count, a number from 1 to {most}.", most=COUNT_MAX))
    return Split(by, count=count if by == "count" else 0)


def checked_merge(fields: object) -> Merge | None:
    """None for nothing. Raises InvalidRequestError."""
    if not fields:
        return None
    if not isinstance(fields, Mapping) or fields.get("by") not in MERGE_WAYS or fields.keys() - {"by", "description"}:
        raise InvalidRequestError(told("merge needs by: one of {choices}.", choices=", ".join(MERGE_WAYS)))
    return Merge(str(fields["by"]), str(fields.get("description", ""))[:_DESCRIPTION_CHARS_MAX])


def split_series(dataset: Dataset, how: Split, secret: str, scope: str) -> Dataset:
    """The object in its new series; the same data set where it has nothing to be told apart by."""
    key = _key(dataset, how)
    if not key:
        return dataset
    made = shallow(dataset)
    series = _text(dataset, "SeriesInstanceUID")
    _put(made, "SeriesInstanceUID", derived_uid(secret, scope, "split", series, key))
    _new_instance(made, secret, scope, "split")
    _put(made, "SeriesNumber", str(integer(dataset, "SeriesNumber", 0) * 1000 + _ordinal(key)))
    description = f"{_text(dataset, 'SeriesDescription')} [{key}]".strip()
    _put(made, "SeriesDescription", description if len(description) <= _DESCRIPTION_CHARS_MAX else f"[{key[:62]}]")
    return made


def merge_series(dataset: Dataset, how: Merge, secret: str, scope: str) -> Dataset:
    """The object in the series that all of its kind become; the same data set where it has no Frame of Reference.

    Raises CannotChangeError when its numbers leave no room for an order.
    """
    group = _text(dataset, "StudyInstanceUID")
    if how.by == "frame of reference":
        frame = _text(dataset, "FrameOfReferenceUID")
        if not frame:
            return dataset
        group = f"{group} {frame}"
    made = shallow(dataset)
    modality = _text(dataset, "Modality")
    series_number, number = integer(dataset, "SeriesNumber", 0), integer(dataset, "InstanceNumber", 0)
    if not (0 <= number < NUMBERS_PER_SERIES and 0 <= series_number <= 200_000):
        raise CannotChangeError(
            told(
                "The series cannot be merged: image {number} of series {series} leaves no room for numbers in order.",
                number=number,
                series=series_number,
            )
        )
    _put(made, "SeriesInstanceUID", derived_uid(secret, scope, "merge", group, modality))
    _new_instance(made, secret, scope, "merge")
    _put(made, "InstanceNumber", str(series_number * NUMBERS_PER_SERIES + number))
    _put(made, "SeriesNumber", "1")
    if how.description:
        _put(made, "SeriesDescription", how.description)
    return made


# --- what tells them apart ---


def _key(dataset: Dataset, how: Split) -> str:
    if how.by == "echo":
        return next((text for name in ("EchoNumbers", "EchoTime") if (text := _text(dataset, name))), "")
    if how.by == "orientation":
        return _orientation(dataset)
    if how.by == "frames":
        count = integer(dataset, "NumberOfFrames", 0)
        return "multi-frame" if count > 1 else "single frames" if integer(dataset, "Rows", 0) else ""
    if how.by == "count":
        number = integer(dataset, "InstanceNumber", 0)
        return str((number - 1) // how.count + 1) if number > 0 else ""
    assert how.attribute is not None
    for level, tag in places(dataset, how.attribute):
        if values := texts_at(level, tag):
            return "\\".join(values).replace("\\", " ")
    return ""


def _orientation(dataset: Dataset) -> str:
    """Axial, coronal or sagittal where it is near to one, else the direction of the normal, rounded."""
    cosines = numbers(dataset, "ImageOrientationPatient")
    if len(cosines) != 6:
        return ""
    (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    for name, part in zip(("sagittal", "coronal", "axial"), normal, strict=True):
        if abs(part) > 0.9:
            return name
    return "oblique " + " ".join(f"{round(part, 1) + 0.0:g}" for part in normal)


def _ordinal(key: str) -> int:
    """A number below 1000 for a part of a series: its own number where it is one, else one that follows from its name."""
    if key.isdecimal() and 0 < int(key) < 1000:
        return int(key)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 899 + 101


def _new_instance(made: Dataset, secret: str, scope: str, way: str) -> None:
    _put(made, "SOPInstanceUID", derived_uid(secret, scope, way, _text(made, "SOPInstanceUID")))


def _text(dataset: Dataset, keyword: str) -> str:
    value: Any = value_of(dataset, keyword)
    if value is None:
        return ""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return " ".join(map(str, value))


def _put(made: Dataset, keyword: str, value: object) -> None:
    tag = tag_of(keyword) or 0
    made[tag] = DataElement(tag, vr_of(tag), value)
