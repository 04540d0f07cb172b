"""Data elements written byte by byte (PS3.5 section 7), so that each can be as odd as wanted.

`Body` is a small, right CT object whose elements can be replaced, dropped or added; `part10` puts a file meta in front.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
DEFLATED_LE: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
CT_IMAGE_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
UNDEFINED: Final = 0xFFFFFFFF
LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
SIDE: Final = 16
"""Rows and columns of the small image."""

SOP_CLASS: Final = 0x00080016
SOP_INSTANCE: Final = 0x00080018
CHARACTER_SET: Final = 0x00080005
STUDY: Final = 0x0020000D
SERIES: Final = 0x0020000E
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
PIXEL_DATA: Final = 0x7FE00010


@dataclass(frozen=True, slots=True)
class Coder:
    """How elements are encoded: with or without VR, in which byte order."""

    explicit: bool = True
    big: bool = False

    @property
    def order(self) -> str:
        """The byte order as `struct` writes it."""
        return ">" if self.big else "<"

    def tag(self, tag: int) -> bytes:
        """The four bytes of a tag."""
        return struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)

    def element(self, tag: int, vr: str, value: bytes, *, length: int | None = None, pad: bool = True) -> bytes:
        """One element. `length` is what the header says if it shall lie; `pad` makes the value even."""
        if pad and len(value) % 2:
            value += b"\0" if vr in ("UI", "OB", "UN") else b" "
        said = len(value) if length is None else length
        if not self.explicit:
            return self.tag(tag) + struct.pack(self.order + "I", said) + value
        if vr in LONG_VRS:
            return self.tag(tag) + vr.encode("latin-1") + b"\0\0" + struct.pack(self.order + "I", said) + value
        return self.tag(tag) + vr.encode("latin-1") + struct.pack(self.order + "H", said & 0xFFFF) + value

    def item(self, content: bytes, *, undefined: bool = False) -> bytes:
        """One item of a sequence (PS3.5 7.5)."""
        if undefined:
            return self.mark(0xFFFEE000, UNDEFINED) + content + self.mark(0xFFFEE00D, 0)
        return self.mark(0xFFFEE000, len(content)) + content

    def sequence(
        self,
        tag: int,
        items: Iterable[bytes],
        *,
        undefined: bool = False,
        items_undefined: bool = False,
        vr: str = "SQ",
    ) -> bytes:
        """A sequence of items given by their content."""
        value = b"".join(self.item(content, undefined=items_undefined) for content in items)
        if undefined:
            return self.element(tag, vr, b"", length=UNDEFINED) + value + self.mark(0xFFFEE0DD, 0)
        return self.element(tag, vr, value)

    def mark(self, tag: int, length: int) -> bytes:
        """The header of an item or of a delimiter, which never has a VR."""
        return self.tag(tag) + struct.pack(self.order + "I", length)

    def number(self, value: int, code: str = "H") -> bytes:
        """A binary number."""
        return struct.pack(self.order + code, value)


EXPLICIT: Final = Coder()
IMPLICIT: Final = Coder(explicit=False)
BIG: Final = Coder(big=True)


@dataclass(slots=True)
class Body:
    """A small CT object, element by element; its UIDs follow from `name`."""

    name: str
    coder: Coder = EXPLICIT
    sop_class: str = CT_IMAGE_STORAGE
    elements: dict[int, bytes] = field(default_factory=dict)
    tail: bytes = b""
    """Raw bytes behind the last element."""

    def __post_init__(self) -> None:
        self.put(SOP_CLASS, "UI", self.sop_class)
        self.put(SOP_INSTANCE, "UI", self.sop_instance)
        self.put(STUDY, "UI", odd_uid(self.name, "study"))
        self.put(SERIES, "UI", odd_uid(self.name, "series"))
        for tag, vr, value in _PLAIN:
            self.put(tag, vr, value)
        self.put(0x00081030, "LO", self.name[:64])
        self.put(PATIENT_ID, "LO", "ODD-" + hashlib.sha256(self.name.encode()).hexdigest()[:10].upper())
        for tag, number in (
            (0x00280002, 1),
            (0x00280010, SIDE),
            (0x00280011, SIDE),
            (0x00280100, 16),
            (0x00280101, 12),
        ):
            self.put(tag, "US", self.coder.number(number))
        self.put(0x00280102, "US", self.coder.number(11))
        self.put(0x00280103, "US", self.coder.number(0))
        self.put(PIXEL_DATA, "OW", b"".join(self.coder.number(n * 7 % 4096) for n in range(SIDE * SIDE)))

    @property
    def sop_instance(self) -> str:
        """The SOP Instance UID that a sender announces."""
        return odd_uid(self.name, "instance")

    def put(self, tag: int, vr: str, value: bytes | str, *, length: int | None = None, pad: bool = True) -> Body:
        """Set one element; text is taken as Latin-1."""
        raw = value.encode("latin-1") if isinstance(value, str) else value
        self.elements[tag] = self.coder.element(tag, vr, raw, length=length, pad=pad)
        return self

    def raw(self, tag: int, encoded: bytes) -> Body:
        """Put these encoded bytes where `tag` belongs."""
        self.elements[tag] = encoded
        return self

    def drop(self, *tags: int) -> Body:
        """Leave elements out."""
        for tag in tags:
            self.elements.pop(tag, None)
        return self

    def encoded(self) -> bytes:
        """The data set in order of tags, and the tail."""
        return b"".join(self.elements[tag] for tag in sorted(self.elements)) + self.tail


def odd_uid(name: str, kind: str) -> str:
    """A UID under 2.25 made from the name of the object."""
    digest = hashlib.sha256(f"odd/{name}/{kind}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15])}"


def file_meta(sop_class: str, sop_instance: str, transfer_syntax: str) -> bytes:
    """Group 2 with its length, without preamble (PS3.10 7.1)."""
    rest = b"".join(
        (
            EXPLICIT.element(0x00020001, "OB", b"\0\1"),
            EXPLICIT.element(0x00020002, "UI", sop_class.encode("latin-1", "replace")),
            EXPLICIT.element(0x00020003, "UI", sop_instance.encode("latin-1", "replace")),
            EXPLICIT.element(0x00020010, "UI", transfer_syntax.encode("latin-1")),
            EXPLICIT.element(0x00020012, "UI", b"2.25.329800735698586629295641978511506172918"),
            EXPLICIT.element(0x00020013, "SH", b"ODD_CORPUS"),
        )
    )
    return EXPLICIT.element(0x00020000, "UL", struct.pack("<I", len(rest))) + rest


PREAMBLE: Final = bytes(128) + b"DICM"

_PLAIN: Final = (
    (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"),
    (0x00080020, "DA", "20240229"),
    (0x00080023, "DA", "20240229"),
    (0x00080030, "TM", "112233"),
    (0x00080033, "TM", "112233.5"),
    (0x00080050, "SH", "ODD"),
    (0x00080060, "CS", "CT"),
    (0x00080070, "LO", "Fileroom"),
    (0x00080090, "PN", "Referrer^Rita"),
    (PATIENT_NAME, "PN", "Odd^Object"),
    (0x00100030, "DA", "19700101"),
    (0x00100040, "CS", "O"),
    (0x00180050, "DS", "1.0"),
    (0x00180060, "DS", "120"),
    (0x00200010, "SH", "1"),
    (0x00200011, "IS", "1"),
    (0x00200013, "IS", "1"),
    (0x00200032, "DS", "0\\0\\0"),
    (0x00200037, "DS", "1\\0\\0\\0\\1\\0"),
    (0x00200052, "UI", "2.25.20202020"),
    (0x00201040, "LO", ""),
    (0x00280004, "CS", "MONOCHROME2"),
    (0x00280030, "DS", "1\\1"),
    (0x00281052, "DS", "-1024"),
    (0x00281053, "DS", "1"),
)
