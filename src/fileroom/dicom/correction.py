"""Attribute corrections laid over an encoded header on its way out; the stored bytes never change.

The header keeps its transfer syntax, and every element that no correction touches keeps its bytes. A sequence on the way
to a corrected attribute keeps its form (defined or undefined length). Group lengths of changed groups are left out. When
new text does not fit the data set's character set, all of its text moves to UTF-8 (ISO_IR 192). What was there before
can be told in an item of the Original Attributes Sequence (PS3.3 C.12.1.1.9).
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.core.errors import InvalidObjectError, InvalidRequestError
from fileroom.core.limits import DEFLATED_OBJECT_BYTES_MAX, SEQUENCE_DEPTH_MAX
from fileroom.dicom import charset as charsets
from fileroom.dicom import uids, walk
from fileroom.dicom.charset import CharacterSet
from fileroom.dicom.dictionary import vr_of
from fileroom.dicom.header_scan import PIXEL_TAGS, inflate, real_encoding
from fileroom.dicom.json_model import BulkPath, ModelEncoder
from fileroom.dicom.values import TEXT_VRS, padded
from fileroom.dicom.walk import Element, Encoding, RanOutError

ALL_ITEMS: Final = -1
"""In a path: every item that is there."""

_CHARACTER_SET: Final = 0x00080005
_ORIGINAL_ATTRIBUTES: Final = 0x04000561
_FIRST_ALLOWED: Final = 0x00040000


@dataclass(frozen=True, slots=True)
class AttributeCorrection:
    """What one attribute shall be.

    `path` is a tag, or tags with item indexes (from 0, or ALL_ITEMS) between them: (0x00400275, 0, 0x00400009). An index
    one past the last item adds one. `value` holds values as in DICOM JSON (a name may be plain text, an item of a
    sequence is a JSON object), or bytes for a binary VR; empty for an empty attribute, None removes it.
    """

    path: BulkPath
    vr: str
    value: tuple[Any, ...] | bytes | None


@dataclass(frozen=True, slots=True)
class Modification:
    """Who changed it, when and why, for the Original Attributes Sequence. `datetime` is DT text, `reason` COERCE or
    CORRECT, `source_of_previous_values` who had written what was there before."""

    datetime: str
    modifying_system: str
    reason: str = "CORRECT"
    source_of_previous_values: str = ""


def correct_header(
    data: bytes,
    transfer_syntax: str,
    corrections: Sequence[AttributeCorrection],
    *,
    modification: Modification | None = None,
) -> bytes:
    """The corrected header in the same transfer syntax.

    `data` is the encoded data set up to its Pixel Data; of a deflated one it is all of it. With `modification` an item
    that keeps the previous values is added. Raises InvalidRequestError for corrections that cannot be made, and
    InvalidObjectError when the header cannot be read.
    """
    if not corrections:
        return data
    plan = _plan(corrections)
    deflated = uids.transfer_syntax(transfer_syntax).deflated
    if deflated:
        data, _ = inflate(data, DEFLATED_OBJECT_BYTES_MAX)
    encoding = real_encoding(data, transfer_syntax)
    try:
        corrected = _correct(data, encoding, plan, modification)
    except RanOutError as error:
        raise InvalidObjectError("the stored header is truncated; it cannot be corrected on its way out") from error
    return _deflate(corrected) if deflated else corrected


def to_utf_8(data: bytes, encoding: Encoding) -> bytes:
    """The same elements with all text in UTF-8 and ISO_IR 192 as Specific Character Set, nested ones too.

    Values of unknown VR stay as they are, for nobody can say whether they are text.
    """
    level = _utf_8_level(data, encoding, charsets.DEFAULT, 0)
    return _Level(level, encoding, charsets.UTF_8).replaced({_CHARACTER_SET: _character_set_element(encoding)})


_Rewrite = Callable[[bytes, Encoding], bytes]
"""The content of an item to its new content."""


@dataclass(slots=True)
class _Node:
    """Corrections of one level: whole attributes, and those inside of items of sequences."""

    leaves: dict[int, AttributeCorrection] = field(default_factory=dict)
    sequences: dict[int, dict[int, _Node]] = field(default_factory=dict)

    @property
    def tags(self) -> set[int]:
        return self.leaves.keys() | self.sequences.keys()


def _plan(corrections: Sequence[AttributeCorrection]) -> _Node:
    """The corrections as a tree; later ones win."""
    root = _Node()
    for correction in corrections:
        path = correction.path
        if len(path) % 2 == 0 or len(path) > 2 * SEQUENCE_DEPTH_MAX:
            raise InvalidRequestError(f"{path!r:.60} is no path to an attribute: tag, or tag, item index, ..., tag")
        _check_tag(path[-1])
        node = root
        for tag, index in zip(path[:-1:2], path[1::2], strict=True):
            _check_tag(tag)
            node.leaves.pop(tag, None)
            node = node.sequences.setdefault(tag, {}).setdefault(index, _Node())
        node.leaves[path[-1]] = correction
        node.sequences.pop(path[-1], None)
    return root


def _check_tag(tag: int) -> None:
    reason = ""
    if not _FIRST_ALLOWED <= tag < min(PIXEL_TAGS):
        reason = "only attributes of the data set before its pixel data can be corrected"
    elif tag & 0xFFFF == 0:
        reason = "group lengths follow from the other attributes"
    elif tag == _CHARACTER_SET:
        reason = "Specific Character Set follows from the text"
    if reason:
        raise InvalidRequestError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) cannot be corrected: {reason}")


def _correct(data: bytes, encoding: Encoding, plan: _Node, modification: Modification | None) -> bytes:
    try:
        return _corrected_in_its_own_charset(data, encoding, plan, modification)
    except UnicodeEncodeError:
        return _corrected_in_its_own_charset(to_utf_8(data, encoding), encoding, plan, modification)


def _corrected_in_its_own_charset(
    data: bytes, encoding: Encoding, plan: _Node, modification: Modification | None
) -> bytes:
    level = _Level(data, encoding, charsets.DEFAULT)
    corrected = level.corrected(plan)
    if modification is None:
        return corrected
    item = _original_attributes_item(level, plan, modification)
    return _with_appended_item(corrected, encoding, item)


class _Level:
    """The elements of a data set or of one item, and what they become."""

    __slots__ = ("charset", "data", "elements", "encoding")

    def __init__(self, data: bytes, encoding: Encoding, outer: CharacterSet) -> None:
        self.data = data
        self.encoding = encoding
        self.elements = list(walk.elements(data, encoding))
        own = self.find(_CHARACTER_SET)
        self.charset = charsets.character_set(data[own.value_start : own.value_end]) if own else outer

    def find(self, tag: int) -> Element | None:
        """The element of `tag`, None when it is not there."""
        return next((element for element in self.elements if element.tag == tag), None)

    def raw(self, element: Element) -> bytes:
        """Header and value as they are."""
        return self.data[element.start : element.end]

    def corrected(self, node: _Node) -> bytes:
        """The level with the corrections of `node`."""
        changes: dict[int, bytes | None] = {}
        for tag, correction in node.leaves.items():
            changes[tag] = self._encoded(correction)
        for tag, items in node.sequences.items():
            changes[tag] = self._corrected_sequence(tag, items)
        return self.replaced(changes)

    def replaced(self, changes: dict[int, bytes | None]) -> bytes:
        """The level with whole elements replaced, added in the order of tags, or (None) removed."""
        groups = {tag >> 16 for tag in changes}
        waiting = sorted(((tag, raw) for tag, raw in changes.items() if raw is not None and self.find(tag) is None))
        done: set[int] = set()
        parts: list[bytes] = []
        for element in self.elements:
            tag = element.tag
            while waiting and waiting[0][0] < tag:
                parts.append(waiting.pop(0)[1])
            if tag in changes:
                replacement = changes[tag]
                if replacement is not None and tag not in done:
                    parts.append(replacement)
                done.add(tag)
            elif tag & 0xFFFF or tag >> 16 not in groups:
                parts.append(self.raw(element))
        parts.extend(raw for _, raw in waiting)
        return b"".join(parts)

    def _encoded(self, correction: AttributeCorrection) -> bytes | None:
        if correction.value is None:
            return None
        tag, vr, value = correction.path[-1], correction.vr, correction.value
        entry: dict[str, Any] = {"vr": vr}
        if isinstance(value, bytes):
            entry["InlineBinary"] = base64.b64encode(value).decode("ascii")
        elif value:
            entry["Value"] = list(value)
        return _encode(tag, entry, self.encoding, self.charset)

    def _corrected_sequence(self, tag: int, nodes: dict[int, _Node]) -> bytes:
        element = self.find(tag)
        if element is None:
            return self._new_sequence(tag, nodes)
        inner = walk.encoding_of_items(self.encoding, element.vr)
        index = 0

        def rewrite(content: bytes, encoding: Encoding) -> bytes:
            nonlocal index
            for key in (ALL_ITEMS, index):
                if key in nodes:
                    content = _Level(content, encoding, self.charset).corrected(nodes[key])
            index += 1
            return content

        content = _rewrite_items(self.data, element, inner, rewrite)
        extra = self._added_items([key for key in nodes if key >= index], index, nodes, inner)
        return _sequence_like(element, content + extra, self.encoding)

    def _new_sequence(self, tag: int, nodes: dict[int, _Node]) -> bytes:
        wanted = [key for key in nodes if key != ALL_ITEMS]
        content = self._added_items(wanted, 0, nodes, self.encoding)
        return walk.encode_element(tag, b"SQ", content, self.encoding)

    def _added_items(self, wanted: list[int], count: int, nodes: dict[int, _Node], encoding: Encoding) -> bytes:
        """Items that a correction speaks of and that are not there yet, one after the other."""
        if sorted(wanted) != list(range(count, count + len(wanted))):
            raise InvalidRequestError(
                f"item {max(wanted)} cannot be corrected: the sequence has {count} items; add the next one first"
            )
        empty = _Level(b"", encoding, self.charset)
        return b"".join(walk.encode_item(empty.corrected(nodes[key]), encoding) for key in sorted(wanted))


def _rewrite_items(data: bytes, element: Element, encoding: Encoding, rewrite: _Rewrite) -> bytes:
    """The content of a sequence with each item's content rewritten; items keep their form."""
    parts: list[bytes] = []
    for first, last, undefined in walk.items(data, encoding, element.value_start, element.value_end):
        content = rewrite(data[first:last], encoding)
        parts.append(
            walk.encode_undefined_item(content, encoding) if undefined else walk.encode_item(content, encoding)
        )
    return b"".join(parts)


def _sequence_like(element: Element, content: bytes, encoding: Encoding) -> bytes:
    """A sequence with new content and the header of the old one, apart from its length."""
    vr = element.vr or b"SQ"
    if not element.undefined_length:
        return walk.encode_element(element.tag, vr, content, encoding)
    head = walk.encode_header(element.tag, vr, walk.UNDEFINED_LENGTH, encoding)
    return head + content + walk.sequence_delimiter(encoding)


def _encode(tag: int, entry: dict[str, Any], encoding: Encoding, charset: CharacterSet) -> bytes:
    try:
        return ModelEncoder(None, encoding, charset).element(tag, entry, (), 0)
    except InvalidObjectError as error:
        raise InvalidRequestError(f"the correction cannot be made: {error}") from error


def _original_attributes_item(level: _Level, plan: _Node, modification: Modification) -> bytes:
    """PS3.3 C.12.1.1.9: the previous values, empty ones for attributes that were not there."""
    previous: list[bytes] = []
    for tag in sorted(plan.tags - {_ORIGINAL_ATTRIBUTES}):
        element = level.find(tag)
        if element is not None:
            previous.append(level.raw(element))
        else:
            vr = plan.leaves[tag].vr if tag in plan.leaves else "SQ"
            previous.append(walk.encode_element(tag, vr.encode(), b"", level.encoding))
    modified = walk.encode_item(b"".join(previous), level.encoding)
    rows = [
        (0x04000562, {"vr": "DT", "Value": [modification.datetime]}),
        (0x04000563, {"vr": "LO", "Value": [modification.modifying_system]}),
        (0x04000564, {"vr": "LO", "Value": [modification.source_of_previous_values]}),
        (0x04000565, {"vr": "CS", "Value": [modification.reason]}),
    ]
    described = b"".join(_encode(tag, entry, level.encoding, level.charset) for tag, entry in rows)
    content = walk.encode_element(0x04000550, b"SQ", modified, level.encoding) + described
    return walk.encode_item(content, level.encoding)


def _with_appended_item(data: bytes, encoding: Encoding, item: bytes) -> bytes:
    """The Original Attributes Sequence grows at its end; the oldest change stands first."""
    level = _Level(data, encoding, charsets.DEFAULT)
    element = level.find(_ORIGINAL_ATTRIBUTES)
    if element is None:
        sequence = walk.encode_element(_ORIGINAL_ATTRIBUTES, b"SQ", item, encoding)
    else:
        content = data[element.value_start : element.value_end] + item
        sequence = _sequence_like(element, content, encoding)
    return level.replaced({_ORIGINAL_ATTRIBUTES: sequence})


def _utf_8_level(data: bytes, encoding: Encoding, outer: CharacterSet, depth: int) -> bytes:
    level = _Level(data, encoding, outer)
    changes: dict[int, bytes | None] = {}
    for element in level.elements:
        vr = _text_or_sequence(element)
        if vr == "SQ" and depth < SEQUENCE_DEPTH_MAX:
            inner = walk.encoding_of_items(encoding, element.vr)

            def rewrite(content: bytes, used: Encoding) -> bytes:
                return _utf_8_level(content, used, level.charset, depth + 1)

            content = _rewrite_items(data, element, inner, rewrite)
            changes[element.tag] = _sequence_like(element, content, encoding)
        elif vr in TEXT_VRS:
            raw = data[element.value_start : element.value_end]
            text = charsets.decode_text(raw, level.charset).rstrip(" \0")
            changed = padded(text.encode("utf-8", "replace"), vr)
            if changed != raw and not (raw.isascii() and b"\x1b" not in raw):
                changes[element.tag] = walk.encode_element(element.tag, vr.encode(), changed, encoding)
    if level.find(_CHARACTER_SET) is not None:
        changes[_CHARACTER_SET] = _character_set_element(encoding)
    return level.replaced(changes)


def _text_or_sequence(element: Element) -> str:
    if element.undefined_length and element.vr in (None, b"UN", b"SQ"):
        return "SQ"
    return element.vr.decode("latin_1") if element.vr else vr_of(element.tag)


def _character_set_element(encoding: Encoding) -> bytes:
    return walk.encode_element(_CHARACTER_SET, b"CS", b"ISO_IR 192", encoding)


def _deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = stream.compress(data) + stream.flush()
    return packed + b"\0" * (len(packed) % 2)
