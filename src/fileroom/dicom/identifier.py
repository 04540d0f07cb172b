"""Identifiers of queries and their answers: small data sets of text (PS3.4 C.4.1), read with pydicom, written by hand.

Answers are many and simple, so they are encoded here straight from the values; sequences, which are few, by pydicom.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from fileroom.core.errors import InvalidRequestError
from fileroom.dicom import charset, uids

_LONG_LENGTH_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_SPECIFIC_CHARACTER_SET: Final = 0x00080005

AnswerValue = str | int | None | Dataset | list[Dataset]


@dataclass(frozen=True, slots=True)
class AnswerElement:
    """One element of an answer: several text values stand in one string, apart by backslashes."""

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


def encode_answer(elements: Iterable[AnswerElement], transfer_syntax: str, wanted_charset: bytes | None) -> bytes:
    """An encoded data set in the order of tags, with the Specific Character Set that its text needs.

    `wanted_charset` is the encoded value of the request's own (0008,0005): the peer can read that one. Where the text
    does not fit it, Latin-1 is used when that is enough, else UTF-8.
    """
    rows = sorted(elements, key=lambda element: element.tag)
    syntax = uids.transfer_syntax(transfer_syntax)
    chosen = _choose_charset(rows, wanted_charset)
    parts: list[bytes] = []
    if chosen.terms:
        terms = AnswerElement(_SPECIFIC_CHARACTER_SET, "CS", "\\".join(chosen.terms))
        rows = sorted([*rows, terms], key=lambda element: element.tag)
    for row in rows:
        parts.append(_encode_element(row, syntax, chosen))
    return b"".join(parts)


def _choose_charset(rows: list[AnswerElement], wanted: bytes | None) -> charset.CharacterSet:
    text = "".join(row.value for row in rows if isinstance(row.value, str))
    nested = any(isinstance(row.value, Dataset | list) for row in rows)
    if text.isascii() and not nested:
        return charset.DEFAULT
    candidates = [charset.character_set(wanted)] if wanted else []
    candidates.append(charset.character_set(b"ISO_IR 100"))
    for candidate in candidates:
        try:
            charset.encode_text(text, candidate)
        except (UnicodeError, LookupError):
            continue
        if not nested:
            return candidate
    return charset.UTF_8


def _encode_element(row: AnswerElement, syntax: uids.TransferSyntax, text_set: charset.CharacterSet) -> bytes:
    order = "<" if syntax.little_endian else ">"
    if isinstance(row.value, Dataset | list):
        return _encode_sequence(row, syntax)
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


def _encode_sequence(row: AnswerElement, syntax: uids.TransferSyntax) -> bytes:
    holder = Dataset()
    items = row.value if isinstance(row.value, list) else [row.value]
    holder.add_new(row.tag, "SQ", items)
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax.little_endian
    buffer.is_implicit_VR = not syntax.explicit_vr
    write_dataset(buffer, holder, parent_encoding="utf_8")
    return bytes(buffer.getvalue())
