"""Looking into a DICOM JSON object by keyword, and completing it.

Uploaded metadata stay such objects until `dicom.json_model` encodes them; what is asked of them on the way is little.
"""

from __future__ import annotations

import re

from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.dicom.json_model import JsonObject


def key_of(keyword: str) -> str:
    """The name of the attribute in the JSON model."""
    tag = tag_of(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}"


def text_of(model: JsonObject, keyword: str) -> str:
    """The first value as text, empty if there is none."""
    attribute = model.get(key_of(keyword))
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    first = values[0] if isinstance(values, list) and values else None
    return str(first).strip(" \0") if isinstance(first, str | int | float) else ""


def number_of(model: JsonObject, keyword: str) -> int | None:
    """The first value as a whole number; None if there is none, or it is no such number."""
    text = text_of(model, keyword)
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None


def put(model: JsonObject, keyword: str, *values: str | int | float) -> None:
    """Set an attribute, with the dictionary's VR."""
    key = key_of(keyword)
    model[key] = {"vr": vr_of(int(key, 16)), "Value": list(values)}


def put_if_absent(model: JsonObject, keyword: str, *values: str | int | float) -> None:
    """Set an attribute that has no value yet."""
    if not text_of(model, keyword):
        put(model, keyword, *values)
