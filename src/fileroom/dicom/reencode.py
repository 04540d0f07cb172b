"""Data elements from explicit to implicit VR and back, little endian (PS3.5 7.1): headers change, values stay.

Sequences are written with defined lengths. Values are never decoded, so nothing in them can be lost; an unknown element
gets VR UN, whose content is the same in both encodings. So does a sequence of implicit VR that is nested deeper than
SEQUENCE_DEPTH_MAX: as UN of undefined length it stays as it is, and every reader knows what it is (PS3.5 6.2.2, note 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.dicom import walk
from fileroom.dicom.dictionary import is_private_creator, vr_of
from fileroom.dicom.walk import Element, Encoding

_PIXEL_REPRESENTATION: Final = 0x00280103
_DELIMITERS: Final = 0xFFFE
_CHARS: Final = "latin_1"


@dataclass(slots=True)
class Surroundings:
    """What VRs of implicit elements depend on: Pixel Representation, and the private creators by (group, block)."""

    signed: bool = False
    creators: dict[int, str] = field(default_factory=dict)


def reencode(
    data: bytes, source: Encoding, target: Encoding, around: Surroundings | None = None, *, depth: int = 0
) -> bytes:
    """Whole elements of one level, re-encoded. Group lengths (gggg,0000) are left out, for they would be wrong, and so
    are delimiters that close nothing.

    `around` is filled with what elements further on depend on. Raises InvalidObjectError when the nesting is broken,
    `walk.RanOutError` when `data` ends inside an element.
    """
    surroundings = around if around is not None else Surroundings()
    parts: list[bytes] = []
    for element in walk.elements(data, source):
        if element.tag & 0xFFFF == 0 or element.tag >> 16 == _DELIMITERS:
            continue
        value = data[element.value_start : element.value_end]
        _take_notice(element.tag, value, surroundings)
        vr = vr_in(element, surroundings)
        if vr == b"SQ":
            inner = walk.encoding_of_items(source, element.vr)
            if depth >= SEQUENCE_DEPTH_MAX and inner == walk.IMPLICIT_LE and target.explicit_vr:
                parts.append(walk.encode_unknown_sequence(element.tag, value, target))
                continue
            value = _reencode_items(value, inner, target, surroundings, depth + 1)
        parts.append(walk.encode_element(element.tag, vr, value, target))
    return b"".join(parts)


def vr_in(element: Element, around: Surroundings) -> bytes:
    """The VR of an element, looked up where the bytes do not say it. What has items is a sequence."""
    if element.vr is not None and element.vr != b"UN":
        return element.vr
    if element.undefined_length:
        return b"SQ"
    if element.vr == b"UN":
        return element.vr
    creator = around.creators.get(element.tag >> 16 << 8 | element.tag >> 8 & 0xFF, "")
    return vr_of(element.tag, creator, signed=around.signed).encode()


def _take_notice(tag: int, value: bytes, around: Surroundings) -> None:
    if tag == _PIXEL_REPRESENTATION:
        around.signed = value[:1] == b"\x01"
    elif is_private_creator(tag):
        around.creators[tag >> 16 << 8 | tag & 0xFF] = value.decode(_CHARS).strip(" \0")


def _reencode_items(value: bytes, source: Encoding, target: Encoding, around: Surroundings, depth: int) -> bytes:
    items = [
        walk.encode_item(reencode(value[first:last], source, target, Surroundings(around.signed), depth=depth), target)
        for first, last, _ in walk.items(value, source)
    ]
    return b"".join(items)
