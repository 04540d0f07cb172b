"""Explicit VR Big Endian to Explicit VR Little Endian, byte for byte (PS3.5 7.3, A.2, A.3).

Both encodings have the same lengths everywhere, so words are turned where they stand and nothing is built or re-counted.
It never recurses: 1,000 levels of sequences are no different from two. Values that have no words stay, and so do those of
VR UN, of which nobody knows whether they have any.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import walk
from fileroom.dicom.walk import ITEM, UNDEFINED_LENGTH, RanOutError

WORD_BYTES: Final = {
    **dict.fromkeys((b"AT", b"OW", b"SS", b"US"), 2),
    **dict.fromkeys((b"FL", b"OF", b"OL", b"SL", b"UL"), 4),
    **dict.fromkeys((b"FD", b"OD", b"OV", b"SV", b"UV"), 8),
}
"""Size of the words that a VR's values are made of; other VRs are made of bytes."""

_BITS_ALLOCATED: Final = 0x00280100
_ITEM_START: Final = b"\xff\xfe\xe0\x00"
_DELIMITERS: Final = frozenset({walk.ITEM_DELIMITER, walk.SEQUENCE_DELIMITER})


def to_little_endian(data: bytes) -> bytes:
    """Whole elements of a data set in Explicit VR Big Endian, in Explicit VR Little Endian and of the same length.

    Raises InvalidObjectError when their nesting is broken.
    """
    out = bytearray(data)
    limit = len(data)
    ends: list[int] = []
    position = 0
    try:
        while position < limit:
            while ends and position >= ends[-1]:
                ends.pop()
            position = _turn_element(data, out, position, ends)
            if position > (ends[-1] if ends else limit):
                raise RanOutError(position)
    except RanOutError:
        raise InvalidObjectError(
            f"the elements run past their sequence or the header near byte {position}; the object can only be given as "
            "it is stored, in big endian"
        ) from None
    return bytes(out)


def pixel_word_bytes(header: bytes) -> int:
    """Size of the words in OW pixel data behind this header: 2, or more where a pixel takes more (PS3.5 8.1.1)."""
    try:
        located = walk.locate(header, walk.EXPLICIT_BE, (_BITS_ALLOCATED,))
    except RanOutError:
        located = None
    value = header[located[0].value_start : located[0].value_end] if located else b""
    return {b"\0\x20": 4, b"\0\x40": 8}.get(value, 2)


def turned(data: bytes, word_bytes: int) -> bytes:
    """The bytes of each word in the other order; an incomplete last word stays."""
    out = bytearray(data)
    turn_words(data, out, 0, len(data), word_bytes)
    return bytes(out)


def turn_header(data: bytes, out: bytearray, position: int, value: int, vr: bytes | None) -> None:
    """Turn tag and length of the element header of `data` that stands at `position` before its value, in `out`."""
    turn_words(data, out, position, position + 4, 2)
    length_bytes = 2 if vr is not None and value - position == 8 else 4
    turn_words(data, out, value - length_bytes, value, length_bytes)


def turn_words(data: bytes, out: bytearray, start: int, end: int, word_bytes: int) -> None:
    """Turn the words between `start` and `end`; an incomplete last one stays."""
    whole = end - (end - start) % word_bytes
    for index in range(word_bytes if word_bytes > 1 else 0):
        out[start + index : whole : word_bytes] = data[start + word_bytes - 1 - index : whole : word_bytes]


def _turn_element(data: bytes, out: bytearray, position: int, ends: list[int]) -> int:
    """Turn the element, item or delimiter at `position`; where to go on: behind it, or inside of it."""
    limit = len(data)
    tag, vr, value, length = walk.element_header(data, position, limit, walk.EXPLICIT_BE)
    turn_header(data, out, position, value, vr)
    if tag in _DELIMITERS:
        return value
    if length == UNDEFINED_LENGTH:
        is_open = tag == ITEM or vr not in (None, b"UN")
        # What is of unknown VR holds items in implicit VR little endian, whatever is around them (PS3.5 6.2.2, note 2).
        return value if is_open else walk.end_of_sequence(data, value, limit, walk.IMPLICIT_LE)
    end = value + length
    if end > (ends[-1] if ends else limit):
        raise RanOutError(end)
    if tag == ITEM or (vr == b"SQ" and data[value : value + 4] == _ITEM_START):
        ends.append(end)
        return value
    turn_words(data, out, value, end, WORD_BYTES.get(vr or b"", 1))
    return end
