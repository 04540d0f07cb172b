"""Identifiers of queries and their answers: small data sets of text (PS3.4 C.4.1), read with pydicom, written by hand.

Answers are many and simple, so they are encoded here straight from the values; sequences stand in them as DICOM JSON, as
the index keeps them, or as pydicom's data sets.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from fileroom.core.errors import InvalidObjectError, InvalidRequestError
from fileroom.dicom import charset, uids
from fileroom.dicom.header_scan import declared_encoding
from fileroom.dicom.json_model import JsonObject, ModelEncoder, encoded_to_model

_LONG_LENGTH_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_SPECIFIC_CHARACTER_SET: Final = 0x00080005

AnswerValue = str | int | None | list[Dataset] | list[JsonObject]


@dataclass(frozen=True, slots=True)
class AnswerElement:
    """One element of an answer: several text values stand in one string, apart by backslashes. Items are a list."""

    tag: int
    vr: str
    value: AnswerValue


def decode_identifier(encoded: bytes, transfer_syntax: str) -> Dataset:
    """The data set of a request. Raises InvalidRequestError when the bytes are none."""
    syntax = uids.transfer_syntax(transfer_syntax)
    try:
        dataset = read_dataset(io.BytesIO(encoded), not syntax.explicit_vr, syntax.little_endian)
        for element in dataset:  # pydicom reads lazily: find what is broken now
            _ = element.value
    except Exception as error:
        raise InvalidRequestError(f"The identifier cannot be read: {type(error).__name__}.") from error
    return dataset


def encode_answer(
    elements: Iterable[AnswerElement],
    transfer_syntax: str,
    wanted_charset: bytes | None,
    *,
    must_fit: bool = False,
) -> bytes:
    """An encoded data set in the order of tags, with the Specific Character Set that its text needs.

    `wanted_charset` is the encoded value of the request's own (0008,0005): the peer can read that one. Where the text
    does not fit it, Latin-1 is used when that is enough, else UTF-8; with `must_fit`, letters that it lacks become "?".
    """
    rows = sorted(map(_with_json_items, elements), key=lambda element: element.tag)
    syntax = uids.transfer_syntax(transfer_syntax)
    if must_fit and wanted_charset:
        fitting = charset.character_set(wanted_charset)
        rows = [replace(row, value=_fitted(row.value, fitting)) for row in rows]
    chosen = _choose_charset(rows, wanted_charset)
    parts: list[bytes] = []
    if chosen.terms:
        terms = AnswerElement(_SPECIFIC_CHARACTER_SET, "CS", "\\".join(chosen.terms))
        rows = sorted([*rows, terms], key=lambda element: element.tag)
    for row in rows:
        parts.append(_encode_element(row, syntax, chosen))
    return b"".join(parts)


def _choose_charset(rows: list[AnswerElement], wanted: bytes | None) -> charset.CharacterSet:
    text = "\\".join(text for row in rows for text in _texts(row.value))
    if text.isascii():
        return charset.DEFAULT
    candidates = [charset.character_set(wanted)] if wanted else []
    candidates.append(charset.character_set(b"ISO_IR 100"))
    for candidate in candidates:
        try:
            charset.encode_text(text, candidate)
        except (UnicodeError, LookupError):
            continue
        return candidate
    return charset.UTF_8


def _fitted(value: Any, text_set: charset.CharacterSet) -> Any:
    """The value with a question mark for each letter that the set lacks, in items too."""
    if isinstance(value, str):
        return value if value.isascii() else "".join(_fitted_letter(letter, text_set) for letter in value)
    if isinstance(value, dict):
        return {key: _fitted(inner, text_set) for key, inner in value.items()}
    return [_fitted(inner, text_set) for inner in value] if isinstance(value, list) else value


def _fitted_letter(letter: str, text_set: charset.CharacterSet) -> str:
    try:
        charset.encode_text(letter, text_set)
    except (UnicodeError, LookupError):
        return "?"
    return letter


def _texts(value: object) -> Iterator[str]:
    """Every text in a value, those inside of items too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _encode_element(row: AnswerElement, syntax: uids.TransferSyntax, text_set: charset.CharacterSet) -> bytes:
    order = "<" if syntax.little_endian else ">"
    if isinstance(row.value, list):
        return _encode_sequence(row, row.value, syntax, text_set)
    value = _encode_value(row, order, text_set)
    group, element = row.tag >> 16, row.tag & 0xFFFF
    if not syntax.explicit_vr:
        return struct.pack(order + "HHI", group, element, len(value)) + value
    vr = row.vr.encode("ascii")
    if row.vr in _LONG_LENGTH_VRS:
        return struct.pack(order + "HH2sHI", group, element, vr, 0, len(value)) + value
    return struct.pack(order + "HH2sH", group, element, vr, min(len(value), 0xFFFE)) + value[:0xFFFE]


def _encode_value(row: AnswerElement, order: str, text_set: charset.CharacterSet) -> bytes:
    value = row.value
    if value is None or value == "":
        return b""
    code = _NUMBERS.get(row.vr)
    if code is not None:
        return struct.pack(order + code, float(str(value)) if code in "fd" else int(str(value)))
    encoded = charset.encode_text(str(value), text_set)
    padding = b"\0" if row.vr == "UI" else b" "
    return encoded + padding if len(encoded) % 2 else encoded


def _encode_sequence(
    row: AnswerElement, items: Sequence[object], syntax: uids.TransferSyntax, text_set: charset.CharacterSet
) -> bytes:
    encoder = ModelEncoder(None, declared_encoding(syntax.uid), text_set)
    try:
        return encoder.element(row.tag, {"vr": "SQ", "Value": items}, (), 0)
    except (
        InvalidObjectError
    ):  # what a device wrote wrongly cannot be said rightly; the match is an answer all the same
        return encoder.element(row.tag, {"vr": "SQ"}, (), 0)


def _with_json_items(row: AnswerElement) -> AnswerElement:
    """Items that are pydicom's data sets as DICOM JSON."""
    if not isinstance(row.value, list):
        return row
    return AnswerElement(row.tag, "SQ", [_model(item) if isinstance(item, Dataset) else item for item in row.value])


def _model(item: Dataset) -> JsonObject:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, item, parent_encoding="utf_8")  # text that names no character set is read as UTF-8 below
    return encoded_to_model(buffer.getvalue(), uids.EXPLICIT_VR_LITTLE_ENDIAN)
