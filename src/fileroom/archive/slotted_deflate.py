"""Deflated text with an address left open, filled in without inflating it (RFC 1951, RFC 1952).

Metadata name their bulk data by addresses that begin with that of the service, which only a request tells. A document is
therefore deflated with a slot of fixed length wherever the address belongs: the first slot is written plain, and every
other one as a hand-made match, "copy the slot before". Who fills in the plain one has filled all.

    text  ..."BulkDataURI":<slot>/studies/1...   text   "BulkDataURI":<slot>/studies/1...
    bytes [deflated block]  [plain block: slot]  [deflated]          [match]  [deflated]

What stands in the slot is a JSON string's beginning with blanks before its quotation mark, so it has the same length for
every address. The checksum follows by arithmetic: a CRC is linear, and the sum of the places where the slots stand, as
powers of x modulo the CRC's polynomial, is kept in the document.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

SLOT_BYTES: Final = 258
"""The longest match of deflate; far longer than the address of a service."""
FILLER: Final = b"\xff" * SLOT_BYTES
"""Stands for a slot. No text in UTF-8 has such bytes, so no other match can reach into one."""
GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"

_WINDOW_BYTES: Final = 32768
_PLAIN_HEAD: Final = struct.Struct("<BHH")
_TRAILER: Final = struct.Struct("<QQIII8s")
_MAGIC: Final = b"FRSLOT1\n"
_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 1 << 31
"""x to the power of 0, in the order of bits that CRC-32 has."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a document's last bytes say of it: `deflated_bytes` of deflated `text_bytes`, and what filling it in needs.

    `crc` is that of the text with FILLER in its slots, `places` the sum of x^(8 * bytes behind the slot) of all of them,
    `plain_slots` where slots stand plain among the deflated bytes.
    """

    deflated_bytes: int
    text_bytes: int
    crc: int
    places: int
    plain_slots: tuple[int, ...]

    def filled_crc(self, address: bytes) -> int:
        """The CRC of the text with `address` (of SLOT_BYTES) in its slots."""
        return self.crc ^ _product(self.places, zlib.crc32(FILLER) ^ zlib.crc32(address))


class SlottedDeflater:
    """Makes a document. Feed it text in pieces with `slot` between them, then take the `end`."""

    def __init__(self, level: int) -> None:
        self._level = level
        self._window = b""
        self._slot_behind = 0
        """How many bytes of text ago the last slot began; 0 when there was none."""
        self._deflated_bytes = self._text_bytes = self._crc = self._places = 0
        self._plain_slots: list[int] = []

    def text(self, data: bytes) -> bytes:
        """Deflate text, in which no FILLER byte may stand."""
        if not data:
            return b""
        deflater = zlib.compressobj(self._level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=self._window)
        return self._taken(data, deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))

    def slot(self) -> bytes:
        """A place for the address."""
        distance = self._slot_behind
        if 0 < distance <= _WINDOW_BYTES:
            packed = _match(distance)
        else:
            self._plain_slots.append(self._deflated_bytes + _PLAIN_HEAD.size)
            packed = plain_block(FILLER)
        self._slot_behind = 0
        taken = self._taken(FILLER, packed)
        self._slot_behind = SLOT_BYTES
        self._places ^= _ONE
        return taken

    def end(self) -> bytes:
        """The last bytes of the document."""
        slots = struct.pack(f"<{len(self._plain_slots)}Q", *self._plain_slots)
        sizes = self._deflated_bytes, self._text_bytes, self._crc, self._places, len(self._plain_slots)
        return slots + _TRAILER.pack(*sizes, _MAGIC)

    def _taken(self, data: bytes, packed: bytes) -> bytes:
        self._window = (self._window + data)[-_WINDOW_BYTES:]
        self._slot_behind += len(data) if self._slot_behind else 0
        self._places = _product(self._places, _power(8 * len(data)))
        self._crc = zlib.crc32(data, self._crc)
        self._text_bytes += len(data)
        self._deflated_bytes += len(packed)
        return packed


def trailer_bytes(tail: bytes) -> int:
    """How many bytes at the end of a document are no text, told from its last TAIL_BYTES. Raises ValueError."""
    _, _, _, _, slots, magic = _TRAILER.unpack(tail[-_TRAILER.size :])
    if magic != _MAGIC:
        raise ValueError("it is no document of this kind")
    return _TRAILER.size + 8 * int(slots)


TAIL_BYTES: Final = _TRAILER.size


def read_layout(trailer: bytes) -> Layout:
    """Read what `trailer_bytes` told to be the end of a document."""
    deflated_bytes, text_bytes, crc, places, slots, _ = _TRAILER.unpack(trailer[-_TRAILER.size :])
    return Layout(deflated_bytes, text_bytes, crc, places, struct.unpack(f"<{slots}Q", trailer[: 8 * slots]))


async def filled(deflated: AsyncIterator[bytes], plain_slots: Sequence[int], address: bytes) -> AsyncIterator[bytes]:
    """The deflated bytes of a document with `address` (of SLOT_BYTES) in its plain slots."""
    position = 0
    async for piece in deflated:
        end = position + len(piece)
        inside = [slot for slot in plain_slots if slot < end and slot + SLOT_BYTES > position]
        if inside:
            out = bytearray(piece)
            for slot in inside:
                first, last = max(slot, position), min(slot + SLOT_BYTES, end)
                out[first - position : last - position] = address[first - slot : last - slot]
            piece = bytes(out)
        yield piece
        position = end


class GzipJoiner:
    """A gzip stream made of deflated pieces: keeps its checksum and length."""

    def __init__(self) -> None:
        self._crc = self._text_bytes = 0

    def plain(self, text: bytes) -> bytes:
        """A few bytes as they are."""
        self.add(zlib.crc32(text), len(text))
        return plain_block(text)

    def add(self, crc: int, text_bytes: int) -> None:
        """Deflated blocks of so much text were sent."""
        self._crc = _product(self._crc, _power(8 * text_bytes)) ^ crc
        self._text_bytes += text_bytes

    def end(self) -> bytes:
        """An empty last block, and the trailer of RFC 1952."""
        return b"\x03\0" + struct.pack("<II", self._crc, self._text_bytes & 0xFFFFFFFF)


def plain_block(data: bytes) -> bytes:
    """A stored block of RFC 1951, not the last one, on a byte boundary."""
    return _PLAIN_HEAD.pack(0, len(data), len(data) ^ 0xFFFF) + data


def _match(distance: int) -> bytes:
    """A block with fixed codes (RFC 1951 3.2.6) that copies SLOT_BYTES from `distance` back; ends on a byte boundary."""
    extra_bits = max((distance - 1).bit_length() - 2, 0)
    code = distance - 1 if distance <= 4 else 2 * (extra_bits + 1) + (distance - 1 >> extra_bits & 1)
    extra = distance - 1 & (1 << extra_bits) - 1
    # Not the last block, fixed codes; length 258 is code 285; codes go in from their highest bit, numbers from the lowest.
    bits = "0" + "10" + "11000101" + f"{code:05b}" + (f"{extra:0{extra_bits}b}"[::-1] if extra_bits else "") + "0000000"
    bits += "000"  # an empty stored block: it fills the byte
    packed = int(bits[::-1], 2).to_bytes((len(bits) + 7) // 8, "little")
    return packed + b"\0\0\xff\xff"


def _product(a: int, b: int) -> int:
    """a * b modulo the polynomial of CRC-32."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


def _power(exponent: int) -> int:
    """x to the power of `exponent` modulo the polynomial of CRC-32."""
    power, square = _ONE, _ONE >> 1
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power
