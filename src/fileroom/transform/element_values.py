"""Values of an attribute as text, and text as values of its VR (PS3.5 6.2), checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydicom import config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from fileroom.core.errors import InvalidObjectError
from fileroom.dicom.charset import UTF_8
from fileroom.dicom.values import BULK_VRS, encode_values
from fileroom.pixels.header_values import BROKEN

TEXT_CHARS_MAX: Final = 10_240
"""Of one value that is set: as long as LT may be (PS3.5 table 6.2-1)."""
VALUES_MAX: Final = 1000
_SINGLE: Final = frozenset({"LT", "ST", "UT", "UR"})
"""A backslash is a character of theirs."""
_WHOLE: Final = frozenset({"US", "SS", "UL", "SL", "UV", "SV"})
_FLOATS: Final = frozenset({"FL", "FD"})
_NOT_TEXT: Final = BULK_VRS | {"SQ", "AT"}


def texts_at(level: Dataset, tag: int) -> list[str] | None:
    """The values as text; empty list without a value, None when the attribute is not there.

    Raises InvalidObjectError for what is no text: sequences and binary values, broken ones.
    """
    if tag not in level:
        return None
    try:
        element = level[tag]
        value = element.value
    except BROKEN as error:
        raise InvalidObjectError(f"its value is broken ({type(error).__name__})") from error
    if str(element.VR) in _NOT_TEXT:
        raise InvalidObjectError(f"a value of VR {element.VR} is no text")
    if value is None or value == "":
        return []
    if isinstance(value, (str, bytes, int, float)) or not isinstance(value, Sequence):
        return [str(value)]
    return ["" if one is None else str(one) for one in value]


def element_of(tag: int, vr: str, texts: Sequence[str]) -> DataElement:
    """An element with these values. Raises InvalidObjectError when the VR does not hold them."""
    if vr in _NOT_TEXT:
        raise InvalidObjectError(f"a value of VR {vr} cannot be written as text")
    if len(texts) > VALUES_MAX or any(len(text) > TEXT_CHARS_MAX for text in texts):
        raise InvalidObjectError(f"at most {VALUES_MAX} values of {TEXT_CHARS_MAX} characters")
    values = [_converted(vr, text) for text in texts]
    for value in values:
        _require_valid(vr, value)
    if vr in _SINGLE and len(values) > 1:
        raise InvalidObjectError(f"VR {vr} has one value only")
    plain: Any = values[0] if len(values) == 1 else values or None
    try:
        return DataElement(tag, vr, plain)
    except BROKEN as error:
        raise InvalidObjectError(f"VR {vr} does not hold it: {error}") from error


def _converted(vr: str, text: str) -> str | int | float:
    try:
        if vr in _WHOLE:
            return int(text)
        if vr in _FLOATS:
            return float(text)
    except ValueError:
        raise InvalidObjectError(f"VR {vr} is a number") from None
    if "\\" in text and vr not in _SINGLE:
        raise InvalidObjectError("a backslash stands between values and in none of them")
    return text


def _require_valid(vr: str, value: str | float) -> None:
    try:
        if value != "":
            validate_value(vr, value, config.RAISE)
            encode_values(vr, [value], UTF_8)
    except BROKEN as error:
        raise InvalidObjectError(f"VR {vr} does not hold it ({str(error)[:160]})") from error
