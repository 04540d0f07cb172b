"""Encoded data sets for tests: a tree of elements, an encoder of its own (PS3.5 section 7), hypothesis strategies."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hypothesis import strategies as st

LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
TEXTS = ("AE", "CS", "LO", "SH", "PN", "ST", "LT", "UT", "UI", "DA", "TM", "DT", "IS", "DS", "AS", "UC", "UR")
BINARIES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "OB": 1, "OW": 2, "UV": 8, "SV": 8, "AT": 4, "UN": 1}


@dataclass
class Node:
    """One element: `value` bytes, or items (lists of nodes) for a sequence."""

    tag: int
    vr: str
    value: bytes | list[list[Node]]
    undefined: bool = False
    undefined_items: bool = False


def encode(nodes: list[Node], *, explicit: bool = True, order: str = "<") -> bytes:
    """The nodes one after another, in the order given."""
    return b"".join(element(node, explicit=explicit, order=order) for node in nodes)


def element(node: Node, *, explicit: bool = True, order: str = "<") -> bytes:
    """Header and value of one element."""
    if isinstance(node.value, bytes):
        return header(node.tag, node.vr, len(node.value), explicit=explicit, order=order) + node.value
    inner_explicit = explicit and node.vr != "UN"
    content = b"".join(item(nodes, node.undefined_items, explicit=inner_explicit, order=order) for nodes in node.value)
    if not node.undefined:
        return header(node.tag, node.vr, len(content), explicit=explicit, order=order) + content
    head = header(node.tag, node.vr, 0xFFFFFFFF, explicit=explicit, order=order)
    return head + content + mark(0xE0DD, 0, order)


def item(nodes: list[Node], undefined: bool, *, explicit: bool, order: str = "<") -> bytes:
    """One item of a sequence."""
    content = encode(nodes, explicit=explicit, order=order)
    if undefined:
        return mark(0xE000, 0xFFFFFFFF, order) + content + mark(0xE00D, 0, order)
    return mark(0xE000, len(content), order) + content


def mark(number: int, length: int, order: str = "<") -> bytes:
    """An item or delimiter of group FFFE."""
    return struct.pack(order + "HHI", 0xFFFE, number, length)


def header(tag: int, vr: str, length: int, *, explicit: bool = True, order: str = "<") -> bytes:
    """Tag, VR and length."""
    group, number = tag >> 16, tag & 0xFFFF
    if not explicit:
        return struct.pack(order + "HHI", group, number, length)
    if vr in LONG:
        return struct.pack(order + "HH2sHI", group, number, vr.encode(), 0, length)
    return struct.pack(order + "HH2sH", group, number, vr.encode(), length)


def text(tag: int, vr: str, value: str, codec: str = "ascii") -> Node:
    """A text element, padded."""
    raw = value.encode(codec)
    return Node(tag, vr, raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2))


def sequence(tag: int, *items: list[Node], undefined: bool = False) -> Node:
    """A sequence, all of its lengths undefined or none."""
    return Node(tag, "SQ", list(items), undefined, undefined)


def nested(levels: int, *, explicit: bool = True) -> bytes:
    """A sequence in a sequence in a sequence ..., all of undefined length."""
    content = encode([text(0x00080100, "SH", "deep")], explicit=explicit)
    head = header(0x00081140, "SQ", 0xFFFFFFFF, explicit=explicit) + mark(0xE000, 0xFFFFFFFF)
    return head * levels + content + (mark(0xE00D, 0) + mark(0xE0DD, 0)) * levels


_groups = st.sampled_from([0x0008, 0x0009, 0x0010, 0x0018, 0x0019, 0x0020, 0x0028, 0x0040, 0x0051, 0x5400])
_tags = st.builds(lambda group, number: group << 16 | number, _groups, st.integers(0x0006, 0xFFFE))


@st.composite
def _plain(draw: st.DrawFn) -> Node:
    vr = draw(st.sampled_from([*TEXTS, *BINARIES]))
    if vr in BINARIES:
        size = BINARIES[vr]
        value = draw(st.binary(max_size=24))
        value = value[: len(value) - len(value) % size]
    else:
        value = draw(st.binary(max_size=24))  # odd lengths are forbidden and do occur
    return Node(draw(_tags), vr, value)


def _sequences(children: st.SearchStrategy[list[Node]]) -> st.SearchStrategy[Node]:
    return st.builds(
        Node,
        _tags,
        st.sampled_from(["SQ", "SQ", "UN"]),
        st.lists(children, max_size=3),
        st.booleans(),
        st.booleans(),
    ).map(_un_sequences_are_undefined)


def _un_sequences_are_undefined(node: Node) -> Node:
    if node.vr == "UN":
        node.undefined = True  # of a defined length it would be plain bytes
    return node


def _level(elements: st.SearchStrategy[Node]) -> st.SearchStrategy[list[Node]]:
    unique = st.lists(elements, max_size=6, unique_by=lambda node: node.tag)
    return unique.map(lambda nodes: sorted(nodes, key=lambda node: node.tag))


data_sets = st.recursive(_level(_plain()), lambda inner: _level(_plain() | _sequences(inner)), max_leaves=12)
"""Lists of nodes with unique ascending tags: private tags, odd lengths, nested sequences of every kind of length."""


def without_unknown_sequences(nodes: list[Node]) -> list[Node]:
    """The same with SQ for UN: pydicom loses its way in nested sequences of unknown VR."""
    for node in nodes:
        if not isinstance(node.value, bytes):
            node.vr = "SQ"
            node.value = [without_unknown_sequences(item) for item in node.value]
    return nodes
