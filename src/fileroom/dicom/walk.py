"""Walking over encoded data elements (PS3.5 section 7) without building objects for them.

The header scan, the JSON model and the corrections stand on it. It never recurses: nesting costs one list entry per
level, so 1,000 levels are no different from two. What the bytes mean is left to the callers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from fileroom.core.errors import InvalidObjectError

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_DELIMITER: Final = 0xFFFEE00D
SEQUENCE_DELIMITER: Final = 0xFFFEE0DD

SHORT_VRS: Final = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()  # PS3.5 table 7.1-2
)
LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # PS3.5 table 7.1-1


class RanOutError(Exception):
    """The bytes end before the element does; `needed` is how many bytes from the start would be enough to go on."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Encoding:
    """VR and byte order of a data set. The three constants below are all there are."""

    explicit_vr: bool
    little_endian: bool
    header: struct.Struct = field(repr=False, compare=False)
    """Explicit: tag words, VR, 16 bit length. Implicit: tag words, 32 bit length."""
    word: struct.Struct = field(repr=False, compare=False)
    """One unsigned 32 bit number."""


def _encoding(*, explicit_vr: bool, little_endian: bool) -> Encoding:
    order = "<" if little_endian else ">"
    header = struct.Struct(order + ("HH2sH" if explicit_vr else "HHI"))
    return Encoding(explicit_vr, little_endian, header, struct.Struct(order + "I"))


IMPLICIT_LE: Final = _encoding(explicit_vr=False, little_endian=True)
EXPLICIT_LE: Final = _encoding(explicit_vr=True, little_endian=True)
EXPLICIT_BE: Final = _encoding(explicit_vr=True, little_endian=False)


class Element(NamedTuple):
    """Where one element lies: header at `start`, value at `value_start` up to `value_end`, next element at `end`.

    `vr` is None in implicit VR. With `undefined_length` the value ends before its Sequence Delimitation Item.
    """

    tag: int
    vr: bytes | None
    start: int
    value_start: int
    value_end: int
    end: int
    undefined_length: bool


def elements(data: bytes, encoding: Encoding, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """The elements of one level between `start` and `end`, in the order of the bytes; values are not looked at.

    Raises RanOutError when an element runs past `end`, InvalidObjectError when the nesting is broken.
    """
    limit = len(data) if end is None else end
    position = start
    while position < limit:
        element = element_at(data, position, limit, encoding)
        yield element
        position = element.end


def element_at(data: bytes, position: int, limit: int, encoding: Encoding) -> Element:
    """The element whose header stands at `position`; see `elements`."""
    tag, vr, value_start, length = element_header(data, position, limit, encoding)
    if length == UNDEFINED_LENGTH:
        end = end_of_sequence(data, value_start, limit, encoding_of_items(encoding, vr))
        return Element(tag, vr, position, value_start, end - 8, end, True)
    end = value_start + length
    if end > limit:
        raise RanOutError(end)
    return Element(tag, vr, position, value_start, end, end, False)


def locate(data: bytes, encoding: Encoding, path: tuple[int, ...]) -> tuple[Element, Encoding] | None:
    """The element at `path` (a tag, or tags with item indexes from 0 between them) and the encoding it stands in.

    None when there is none. Raises as `elements` does.
    """
    start, end = 0, len(data)
    for step in range(0, len(path), 2):
        level = elements(data, encoding, start, end)
        element = next((found for found in level if found.tag == path[step]), None)
        if element is None or step == len(path) - 1:
            return (element, encoding) if element else None
        encoding = encoding_of_items(encoding, element.vr)
        content = items(data, encoding, element.value_start, element.value_end)
        found_item = next((place for index, place in enumerate(content) if index == path[step + 1]), None)
        if found_item is None:
            return None
        start, end, _ = found_item
    return None


def element_header(data: bytes, position: int, limit: int, encoding: Encoding) -> tuple[int, bytes | None, int, int]:
    """(tag, VR or None, offset of the value, length) of the header at `position` (PS3.5 7.1).

    An explicit VR stream may hold what is not a known VR: two capital letters that are no VR of ours count as a VR of
    a later edition (32 bit length, PS3.5 6.2.2), anything else as an implicit VR element written by mistake.
    """
    if position + 8 > limit:
        raise RanOutError(position + 8)
    if not encoding.explicit_vr:
        group, number, length = encoding.header.unpack_from(data, position)
        return group << 16 | number, None, position + 8, length
    group, number, vr, length = encoding.header.unpack_from(data, position)
    tag = group << 16 | number
    if vr in SHORT_VRS:
        return tag, vr, position + 8, length
    if group == 0xFFFE or not _looks_like_vr(vr):
        return tag, None, position + 8, encoding.word.unpack_from(data, position + 4)[0]
    if position + 12 > limit:
        raise RanOutError(position + 12)
    if vr not in LONG_VRS and (length or data[position + 12 : position + 14] in SHORT_VRS):
        return tag, vr, position + 8, length  # written short by mistake; an empty one shows by the header behind it
    return tag, vr, position + 12, encoding.word.unpack_from(data, position + 8)[0]


def encoding_of_items(encoding: Encoding, vr: bytes | None) -> Encoding:
    """Items of an element of unknown VR are in implicit VR, whatever is around them (PS3.5 6.2.2, note 2)."""
    return IMPLICIT_LE if encoding.explicit_vr and (vr is None or vr == b"UN") else encoding


def items(data: bytes, encoding: Encoding, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, bool]]:
    """(first, last, undefined length) of the content of each item in a sequence value.

    Bytes that are no item end the sequence. Raises as `elements` does.
    """
    limit = len(data) if end is None else end
    position = start
    while position + 8 <= limit:
        tag, _, content, length = element_header(data, position, limit, encoding)
        if tag == ITEM_DELIMITER:
            position = content
            continue
        if tag != ITEM:
            return
        if length == UNDEFINED_LENGTH:
            position = end_of_item(data, content, limit, encoding)
            yield content, position - 8, True
        else:
            position = content + length
            if position > limit:
                raise RanOutError(position)
            yield content, position, False


def end_of_sequence(data: bytes, position: int, limit: int, encoding: Encoding) -> int:
    """Offset behind the Sequence Delimitation Item of the sequence (or fragments) that begins at `position`."""
    return _end_of(data, position, limit, [(False, encoding)])


def end_of_item(data: bytes, position: int, limit: int, encoding: Encoding) -> int:
    """Offset behind the Item Delimitation Item that closes the item whose content begins at `position`."""
    return _end_of(data, position, limit, [(True, encoding)])


def encode_element(tag: int, vr: bytes, value: bytes, encoding: Encoding) -> bytes:
    """One element of defined length. A value too long for a short VR is written as UN (PS3.5 6.2.2)."""
    return encode_header(tag, vr, len(value), encoding) + value


def encode_header(tag: int, vr: bytes, length: int, encoding: Encoding) -> bytes:
    """The header of an element with a value of `length` bytes."""
    if not encoding.explicit_vr:
        return encoding.header.pack(tag >> 16, tag & 0xFFFF, length)
    if vr in SHORT_VRS and length <= 0xFFFF:
        return encoding.header.pack(tag >> 16, tag & 0xFFFF, vr, length)
    return encoding.header.pack(tag >> 16, tag & 0xFFFF, b"UN" if vr in SHORT_VRS else vr, 0) + encoding.word.pack(
        length
    )


def encode_item(content: bytes, encoding: Encoding) -> bytes:
    """One item of defined length."""
    return _mark(ITEM, len(content), encoding) + content


def encode_undefined_item(content: bytes, encoding: Encoding) -> bytes:
    """One item of undefined length with its delimiter."""
    return _mark(ITEM, UNDEFINED_LENGTH, encoding) + content + _mark(ITEM_DELIMITER, 0, encoding)


def encode_unknown_sequence(tag: int, items: bytes, encoding: Encoding) -> bytes:
    """Items in implicit VR as an element of VR UN and undefined length, in explicit VR (PS3.5 6.2.2, note 2)."""
    return encode_header(tag, b"UN", UNDEFINED_LENGTH, encoding) + items + sequence_delimiter(IMPLICIT_LE)


def sequence_delimiter(encoding: Encoding) -> bytes:
    """What ends a sequence of undefined length."""
    return _mark(SEQUENCE_DELIMITER, 0, encoding)


def _mark(tag: int, length: int, encoding: Encoding) -> bytes:
    return struct.pack(("<" if encoding.little_endian else ">") + "HHI", tag >> 16, tag & 0xFFFF, length)


def _end_of(data: bytes, position: int, limit: int, open_levels: list[tuple[bool, Encoding]]) -> int:
    """Walk until all of `open_levels` (each: is it an item? and its encoding) are closed."""
    while open_levels:
        in_item, encoding = open_levels[-1]
        tag, vr, value_start, length = element_header(data, position, limit, encoding)
        if tag == ITEM and not in_item:
            if length == UNDEFINED_LENGTH:
                open_levels.append((True, encoding))
                length = 0
        elif tag == SEQUENCE_DELIMITER or (tag == ITEM_DELIMITER and in_item):
            length = 0
            open_levels.pop()
            if tag == SEQUENCE_DELIMITER and in_item and open_levels:
                open_levels.pop()  # the item before it was not closed
        elif tag == ITEM_DELIMITER:
            length = 0
        elif tag == ITEM or not in_item:
            raise InvalidObjectError(
                f"the sequence nesting is broken at byte {position}: found ({tag >> 16:04X},{tag & 0xFFFF:04X}) where "
                "an item or its end belongs; the object cannot be read past this point"
            )
        elif length == UNDEFINED_LENGTH:
            open_levels.append((False, encoding_of_items(encoding, vr)))
            length = 0
        position = value_start + length
        if position > limit:
            raise RanOutError(position)
    return position


def _looks_like_vr(vr: bytes) -> bool:
    return b"A" <= vr[:1] <= b"Z" and b"A" <= vr[1:] <= b"Z"
