"""The hot path: read the wanted attributes of an encoded data set and find its pixel data, without building objects.

One pass over the top level of the data set (PS3.5 section 7) with precompiled structs: Implicit VR Little Endian,
Explicit VR in both byte orders, and deflated data sets (inflated first). Sequences are stepped over whole; a wanted one
is kept as its encoded items, for `ScannedHeader.items`. What the values mean is told by the caller, who knows the VRs.

The head of an object is enough: when more is needed to get to the pixel data, `NeedMoreData` says how much.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import HEADER_BYTES_MAX
from fileroom.dicom import charset, uids, walk
from fileroom.dicom.walk import LONG_VRS, SHORT_VRS, UNDEFINED_LENGTH, Encoding, RanOutError

PIXEL_DATA: Final = 0x7FE00010
FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA: Final = 0x7FE00009
SPECIFIC_CHARACTER_SET: Final = 0x00080005

PIXEL_TAGS: Final = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
_FIRST_HEAD_BYTES: Final = 64 * 1024
"""Holds the header of nearly every object."""
_HEADER_GROWTH: Final = 4


class NeedMoreData(Exception):
    """The head given ends too early. `bytes_needed` from the start of the data set let the scan go on; give at least
    twice what you gave, so that many small pieces do not cost a scan each."""

    def __init__(self, bytes_needed: int) -> None:
        super().__init__(f"{bytes_needed} bytes of the data set are needed to go on with the scan")
        self.bytes_needed = bytes_needed


@dataclass(frozen=True, slots=True)
class PixelDataPlace:
    """Where Pixel Data lies: `offset` of its header and `value_offset` of its value from the start of the data set,
    `length` of the value in bytes, None when undefined (encapsulated fragments). `vr` is None in implicit VR."""

    tag: int
    vr: str | None
    offset: int
    value_offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class ScannedHeader:
    """What the scan found.

    `values` are raw bytes by tag, of sequences the encoded items. `vrs` are the VRs as encoded (nothing in implicit
    VR). `end` is the offset of Pixel Data, else of the end of what was scanned. `truncated`: the data set ends inside
    an element. `limited`: HEADER_BYTES_MAX was reached before Pixel Data, and `end` is the start of an element.
    `inflated`: the data set was deflated, and offsets count in the inflated bytes. `encoding` is how the bytes really
    are, which may contradict the transfer syntax.
    """

    values: dict[int, bytes]
    vrs: dict[int, bytes]
    encoding: Encoding
    pixel_data: PixelDataPlace | None
    end: int
    truncated: bool = False
    limited: bool = False
    inflated: bool = False
    charset: charset.CharacterSet = field(default=charset.DEFAULT)

    def text(self, tag: int) -> str:
        """The first value as clean text on one line; empty when absent."""
        raw = self.values.get(tag)
        if not raw:
            return ""
        text = charset.decode_text(raw, self.charset)
        return charset.clean(text if "\\" not in text else text.partition("\\")[0])

    def texts(self, tag: int) -> tuple[str, ...]:
        """All values as clean text; empty when absent."""
        raw = self.values.get(tag)
        if not raw:
            return ()
        return tuple(charset.clean(part) for part in charset.decode_text(raw, self.charset).split("\\"))

    def long_text(self, tag: int) -> str:
        """The whole value of LT, ST, UT, UC or UR, where a backslash is just a character."""
        return charset.clean_lines(charset.decode_text(self.values.get(tag, b""), self.charset))

    def integer(self, tag: int, vr: str = "US") -> int | None:
        """The first value of a binary integer (US, SS, UL, SL, UV, SV) or of an IS; None when absent or no number."""
        raw = self.values.get(tag)
        if not raw:
            return None
        code = _INTEGER_CODES.get(vr)
        if code is None:
            return _parse_integer(self.text(tag))
        layout = struct.Struct(("<" if self.encoding.little_endian else ">") + code)
        return int(layout.unpack_from(raw)[0]) if len(raw) >= layout.size else None

    def items(self, tag: int, wanted: frozenset[int] | Mapping[int, object]) -> list[ScannedHeader]:
        """The items of a wanted sequence, each scanned for `wanted`. A broken end loses only the items behind it."""
        raw = self.values.get(tag)
        if not raw:
            return []
        encoding = walk.encoding_of_items(self.encoding, self.vrs.get(tag))
        outer = self.charset
        found: list[ScannedHeader] = []
        try:
            for first, last, _ in walk.items(raw, encoding):
                found.append(_scan(raw[first:last], encoding, frozenset(wanted), complete=True, outer=outer))
        except (RanOutError, InvalidObjectError):
            return found
        return found


def scan_header(
    data: bytes | memoryview, transfer_syntax: str, wanted: frozenset[int] | Mapping[int, object], *, complete: bool
) -> ScannedHeader:
    """Scan a data set from its first byte (no preamble, no file meta) up to its Pixel Data.

    `data` is its head, or all of it when `complete`. `wanted` are top-level tags as 32 bit numbers; give a frozenset
    that lives long, it is compiled once.
    Raises NeedMoreData when the head is too short (never when `complete`, never past HEADER_BYTES_MAX) and
    InvalidObjectError when the bytes are no data set.
    """
    syntax = uids.transfer_syntax(transfer_syntax)
    tags = wanted if isinstance(wanted, frozenset) else frozenset(wanted)
    if syntax.deflated:
        return _scan_deflated(data, tags, complete=complete)
    encoding = declared_encoding(transfer_syntax)
    if isinstance(data, bytes) and len(data) <= HEADER_BYTES_MAX:
        return _scan(data, encoding, tags, complete=complete)
    return _scan_growing(data, encoding, tags, complete=complete)


def declared_encoding(transfer_syntax: str) -> Encoding:
    """VR and byte order as the transfer syntax has them."""
    syntax = uids.transfer_syntax(transfer_syntax)
    if not syntax.explicit_vr:
        return walk.IMPLICIT_LE
    return walk.EXPLICIT_LE if syntax.little_endian else walk.EXPLICIT_BE


def real_encoding(head: bytes, transfer_syntax: str) -> Encoding:
    """VR and byte order as the first element of a data set shows them: devices mix up implicit and explicit VR."""
    return _real_encoding(head, declared_encoding(transfer_syntax))


def inflate(data: bytes | memoryview, bytes_max: int) -> tuple[bytes, bool]:
    """(inflated bytes, at most `bytes_max`; did the stream end?) of a deflated data set (PS3.5 A.5).

    Some writers add the zlib header that the standard forbids. Raises InvalidObjectError when it is neither.
    """
    enough = data[: bytes_max + bytes_max // 1024 + 1024]  # deflated bytes are at most that much longer
    for window_bits in (-zlib.MAX_WBITS, zlib.MAX_WBITS):
        stream = zlib.decompressobj(window_bits)
        try:
            return stream.decompress(enough, bytes_max), stream.eof
        except zlib.error:
            continue
    raise InvalidObjectError("the data set is not deflated although its transfer syntax says so; send it again")


_INTEGER_CODES: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q"}


def _parse_integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return None


def _scan_deflated(data: bytes | memoryview, wanted: frozenset[int], *, complete: bool) -> ScannedHeader:
    inflated, ended = inflate(data, HEADER_BYTES_MAX)
    try:
        found = _scan(inflated, walk.EXPLICIT_LE, wanted, complete=ended or complete)
    except NeedMoreData:
        raise NeedMoreData(len(data) * 2) from None
    truncated = found.truncated or (complete and not ended and found.pixel_data is None and not found.limited)
    return ScannedHeader(
        found.values,
        found.vrs,
        found.encoding,
        found.pixel_data,
        found.end,
        truncated,
        found.limited,
        True,
        found.charset,
    )


def _scan_growing(
    data: bytes | memoryview, encoding: Encoding, wanted: frozenset[int], *, complete: bool
) -> ScannedHeader:
    """Scan a copy of the head that grows while it must, so that gigabytes behind the header are never copied."""
    total = len(data)
    size = min(total, _FIRST_HEAD_BYTES, HEADER_BYTES_MAX)
    while True:
        whole = size == total
        try:
            return _scan(bytes(data[:size]), encoding, wanted, complete=whole and complete)
        except NeedMoreData as need:
            if whole:
                raise
            size = min(total, max(size * _HEADER_GROWTH, need.bytes_needed), HEADER_BYTES_MAX)


def _scan(
    head: bytes,
    declared: Encoding,
    wanted: frozenset[int],
    *,
    complete: bool,
    outer: charset.CharacterSet = charset.DEFAULT,
) -> ScannedHeader:
    encoding = _real_encoding(head, declared)
    values: dict[int, bytes] = {}
    vrs: dict[int, bytes] = {}
    plan = _plan(wanted, encoding.little_endian)
    walk_level = _walk_explicit if encoding.explicit_vr else _walk_implicit
    pixel_data, end, short_by = walk_level(head, encoding, plan, values, vrs)
    limited = False
    if pixel_data is None and not complete:
        if len(head) < HEADER_BYTES_MAX:
            raise NeedMoreData(max(short_by, len(head) + 12))
        limited = True
    own = values.get(SPECIFIC_CHARACTER_SET)
    return ScannedHeader(
        values,
        vrs,
        encoding,
        pixel_data,
        end,
        truncated=complete and short_by > 0,
        limited=limited,
        charset=charset.character_set(own) if own is not None else outer,
    )


def _real_encoding(head: bytes, declared: Encoding) -> Encoding:
    if len(head) < 8 or not declared.little_endian:
        return declared
    vr = head[4:6]
    if declared.explicit_vr:
        looks_implicit = vr not in SHORT_VRS and vr not in LONG_VRS and not (vr.isalpha() and vr.isupper())
        return walk.IMPLICIT_LE if looks_implicit else declared
    looks_explicit = vr in SHORT_VRS or (vr in LONG_VRS and head[6:8] == b"\0\0")
    return walk.EXPLICIT_LE if looks_explicit else declared


@functools.lru_cache(maxsize=64)
def _plan(wanted: frozenset[int], little_endian: bool) -> dict[int, int]:
    """First four bytes of an element, read as one number, to its tag; the pixel data tags are negative.

    Read that way a little endian tag has its two halves swapped, which the table undoes once instead of each element.
    """

    def key(tag: int) -> int:
        return (tag & 0xFFFF) << 16 | tag >> 16 if little_endian else tag

    plan = {key(tag): tag for tag in wanted | {SPECIFIC_CHARACTER_SET}}
    plan.update({key(tag): -tag for tag in PIXEL_TAGS})
    plan[0] = 0  # (0000,0000): not an element of a data set, but padding behind its end
    return plan


_Walked = tuple[PixelDataPlace | None, int, int]
"""Pixel data if met; where the walk ended (the start of an element); how many bytes the next step needs, 0 if none."""


def _walk_explicit(
    head: bytes, encoding: Encoding, plan: dict[int, int], values: dict[int, bytes], vrs: dict[int, bytes]
) -> _Walked:
    order = "<" if encoding.little_endian else ">"
    unpack = _EXPLICIT_HEADERS[order].unpack_from
    unpack_length = encoding.word.unpack_from
    wanted_tag = plan.get
    limit = len(head)
    start = position = 0
    try:
        while position + 8 <= limit:
            start = position
            key, vr, length = unpack(head, position)
            if vr in SHORT_VRS:
                position += 8
            elif vr in LONG_VRS:
                (length,) = unpack_length(head, position + 8)
                position += 12
            else:
                _, found_vr, position, length = walk.element_header(head, position, limit, encoding)
                vr = found_vr or b""
            tag = wanted_tag(key)
            if tag is not None and tag <= 0:
                return _stop(tag, vr, start, position, length)
            if length == UNDEFINED_LENGTH:
                value = position
                position = walk.end_of_sequence(head, value, limit, walk.encoding_of_items(encoding, vr or None))
                length = position - 8 - value
            else:
                value = position
                position += length
            if tag is not None:
                if position > limit:
                    return None, start, position
                values[tag] = head[value : value + length]
                vrs[tag] = vr
    except RanOutError as short:
        return None, start, short.needed
    except struct.error:
        return None, start, start + 12
    return _reached(start, position, limit)


def _walk_implicit(
    head: bytes, encoding: Encoding, plan: dict[int, int], values: dict[int, bytes], _vrs: dict[int, bytes]
) -> _Walked:
    unpack = _IMPLICIT_HEADER.unpack_from
    wanted_tag = plan.get
    limit = len(head)
    start = position = 0
    try:
        while position + 8 <= limit:
            start = position
            key, length = unpack(head, position)
            position += 8
            tag = wanted_tag(key)
            if tag is not None and tag <= 0:
                return _stop(tag, None, start, position, length)
            if length == UNDEFINED_LENGTH:
                value = position
                position = walk.end_of_sequence(head, value, limit, encoding)
                length = position - 8 - value
            else:
                value = position
                position += length
            if tag is not None:
                if position > limit:
                    return None, start, position
                values[tag] = head[value : value + length]
    except RanOutError as short:
        return None, start, short.needed
    return _reached(start, position, limit)


_EXPLICIT_HEADERS: Final = {order: struct.Struct(order + "I2sH") for order in "<>"}
_IMPLICIT_HEADER: Final = struct.Struct("<II")


def _stop(tag: int, vr: bytes | None, start: int, value: int, length: int) -> _Walked:
    if tag == 0:
        return None, start, 0
    place = PixelDataPlace(
        tag=-tag,
        vr=vr.decode("latin_1") if vr else None,
        offset=start,
        value_offset=value,
        length=None if length == UNDEFINED_LENGTH else length,
    )
    return place, start, 0


def _reached(start: int, position: int, limit: int) -> _Walked:
    """The walk came to the end of the bytes: exactly, past it, or with a rest too short for an element."""
    if position == limit:
        return None, position, 0
    return (None, start, position) if position > limit else (None, position, position + 8)
