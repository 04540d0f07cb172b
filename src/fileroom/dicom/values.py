"""Values of a VR (PS3.5 6.2): encoded bytes to the values of the DICOM JSON Model (PS3.18 F.2) and back.

Decoding takes what devices really write: a value that is no number stays text, NaN and infinity become text, what
cannot be read at all is left out. Encoding is strict and raises InvalidObjectError.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final

from fileroom.core.errors import InvalidObjectError
from fileroom.dicom.charset import CharacterSet, decode_text, encode_text

BULK_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
"""Values that JSON and XML carry as base64 or by reference."""
TEXT_VRS: Final = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Text that Specific Character Set applies to."""

_NUMBERS: Final = {
    "US": ("H", 2),
    "SS": ("h", 2),
    "UL": ("I", 4),
    "SL": ("i", 4),
    "UV": ("Q", 8),
    "SV": ("q", 8),
    "FL": ("f", 4),
    "FD": ("d", 8),
}
_WORD_BYTES: Final = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
_DS_CHARS_MAX: Final = 16
_EXACT_DIGITS: Final = 15
"""Any decimal with so many digits survives the way through a double."""
_EXACT_INTEGER_MAX: Final = 2**53
_NAME_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")

Value = str | int | float | dict[str, str] | None
"""One entry of a JSON `Value` array, sequences apart."""


def decode_values(raw: bytes, vr: str, charset: CharacterSet, *, little_endian: bool = True) -> list[Value]:
    """The values of an element that is neither a sequence nor of a bulk VR; an empty list when there is no value."""
    return _DECODERS.get(vr, _decode_texts)(raw, vr, charset, little_endian)


def encode_values(vr: str, values: Sequence[Value], charset: CharacterSet, *, little_endian: bool = True) -> bytes:
    """The encoded, padded value. Raises InvalidObjectError for what `vr` cannot hold, UnicodeEncodeError for text that
    the character set does not have."""
    try:
        if vr in _NUMBERS:
            order = "<" if little_endian else ">"
            convert = float if vr in ("FL", "FD") else int
            numbers = [convert(value) for value in values if value is not None]  # type: ignore[arg-type]  # checked below
            return struct.pack(f"{order}{len(numbers)}{_NUMBERS[vr][0]}", *numbers)
        if vr == "AT":
            words = [part for value in values for part in divmod(int(str(value), 16), 0x10000)]
            return struct.pack(f"{'<' if little_endian else '>'}{len(words)}H", *words)
        text = "\\".join(_text_of(value, vr) for value in values)
    except (ValueError, TypeError, OverflowError, struct.error) as error:
        raise InvalidObjectError(f"the value cannot be written in VR {vr}; correct it and send it again") from error
    return padded(encode_text(text, charset), vr)


def padded(raw: bytes, vr: str) -> bytes:
    """To even length: text with a blank, UIDs and binary values with NUL (PS3.5 6.2)."""
    if len(raw) % 2 == 0:
        return raw
    return raw + (b"\0" if vr == "UI" or vr in BULK_VRS else b" ")


def swapped(raw: bytes, vr: str) -> bytes:
    """The other byte order of a bulk value."""
    size = _WORD_BYTES.get(vr, 1)
    whole = len(raw) - len(raw) % size
    out = bytearray(raw)
    for index in range(size):
        out[index:whole:size] = raw[size - 1 - index : whole : size]
    return bytes(out)


_Decoder = Callable[[bytes, str, CharacterSet, bool], list[Value]]


def _decode_texts(raw: bytes, _vr: str, charset: CharacterSet, _little: bool) -> list[Value]:
    text = decode_text(raw, charset).strip(" \0")
    if not text:
        return []
    if "\0" in text:
        text = text.replace("\0", "")
    if "\\" in text:
        return [part.strip(" ") or None for part in text.split("\\")]
    return [text]


def _decode_long_text(raw: bytes, _vr: str, charset: CharacterSet, _little: bool) -> list[Value]:
    """A backslash is part of the text, and leading blanks mean something."""
    text = decode_text(raw, charset).rstrip(" \0").replace("\0", "")
    return [text] if text else []


def _decode_names(raw: bytes, vr: str, charset: CharacterSet, little: bool) -> list[Value]:
    texts = _decode_texts(raw, vr, charset, little)
    return [_name_groups(text) if isinstance(text, str) else None for text in texts]


def _name_groups(text: str) -> dict[str, str] | None:
    if "=" not in text:
        return {"Alphabetic": text}
    parts = (part.strip(" ") for part in text.split("=", len(_NAME_GROUPS) - 1))
    return {name: part for name, part in zip(_NAME_GROUPS, parts, strict=False) if part} or None


def _decode_decimals(raw: bytes, vr: str, charset: CharacterSet, little: bool) -> list[Value]:
    texts = _decode_texts(raw, vr, charset, little)
    return [_number(text) if isinstance(text, str) else None for text in texts]


def _number(text: str) -> int | float | str:
    """The number when JSON can carry it without loss, else the text."""
    try:
        number = float(text)
        if "_" in text or not text.isascii() or not math.isfinite(number):
            return text
        if number.is_integer() and abs(number) < _EXACT_INTEGER_MAX and text.lstrip("+-").isdigit():
            return int(number)
        if len(text) <= _EXACT_DIGITS or Decimal(repr(number)) == Decimal(text):
            return number
    except (ValueError, InvalidOperation):
        pass
    return text


def _decode_numbers(raw: bytes, vr: str, _charset: CharacterSet, little: bool) -> list[Value]:
    code, size = _NUMBERS[vr]
    return list(struct.unpack_from(f"{'<' if little else '>'}{len(raw) // size}{code}", raw))


def _decode_floats(raw: bytes, vr: str, charset: CharacterSet, little: bool) -> list[Value]:
    numbers = _decode_numbers(raw, vr, charset, little)
    return [number if math.isfinite(number) else _NOT_FINITE[str(number)] for number in numbers]  # type: ignore[arg-type]  # floats


_NOT_FINITE: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _decode_tags(raw: bytes, _vr: str, _charset: CharacterSet, little: bool) -> list[Value]:
    words = struct.unpack_from(f"{'<' if little else '>'}{len(raw) // 4 * 2}H", raw)
    return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]


_DECODERS: Final[dict[str, _Decoder]] = {
    **dict.fromkeys(("LT", "ST", "UT", "UR"), _decode_long_text),
    **dict.fromkeys(("IS", "DS"), _decode_decimals),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV"), _decode_numbers),
    **dict.fromkeys(("FL", "FD"), _decode_floats),
    "PN": _decode_names,
    "AT": _decode_tags,
}


def _text_of(value: Value, vr: str) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return "=".join(str(value.get(name, "")) for name in _NAME_GROUPS).rstrip("=")
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{value} is no value")
    if isinstance(value, float):
        return _decimal_string(value) if vr == "DS" else str(int(value) if value.is_integer() else value)
    return str(value)


def _decimal_string(value: float) -> str:
    """As many digits as fit in 16 characters."""
    text = repr(value)
    for digits in range(17, 0, -1):
        if len(text) <= _DS_CHARS_MAX:
            break
        text = f"{value:.{digits}g}"
    return text
