"""Where each frame lies in a stored object, so that one frame can be served without reading the others.

Native pixel data (PS3.5 8.1): offsets follow from the Image Pixel module, 1-bit pixels packed across frames.
Encapsulated pixel data (PS3.5 A.4): by the Extended Offset Table (PS3.3 C.7.6.3.1.8), the Basic Offset Table, or a
walk over the fragments. Video (PS3.5 8.2.5) is one stream over all fragments. Nothing is decoded here, and no more is
read than item headers and the tables.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from fileroom.core.errors import InvalidObjectError, NotFoundError, TooLargeError
from fileroom.core.limits import FRAGMENT_SCAN_BYTES, FRAGMENTS_MAX, FRAME_BYTES_MAX, FRAMES_MAX
from fileroom.dicom import uids
from fileroom.dicom.header_scan import PixelDataPlace
from fileroom.dicom.walk import ITEM, SEQUENCE_DELIMITER
from fileroom.pixels.header_values import integer, value_of
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.source import PixelSource, Read

Segment = tuple[int, int]
"""(offset from the start of the file, length in bytes)."""

_ITEM_HEADER: Final = struct.Struct("<HHI")
_UNDEFINED: Final = 0xFFFFFFFF
_CODESTREAM_STARTS: Final = (b"\xff\xd8", b"\xff\x4f", b"\xff\x0a", b"\x00\x00\x00\x0c")
"""JPEG and JPEG-LS SOI, JPEG 2000 SOC, JPEG XL codestream, JP2 or JPEG XL container."""


@dataclass(frozen=True, slots=True)
class NativeLayout:
    """Frames of equal size one behind the other, without any byte between them.

    `frame_bits` need not be a multiple of 8 (1-bit pixels). `swapped_words`: 8-bit or 1-bit pixels in big endian OW, so
    that the two bytes of each word stand in the other order (PS3.5 8.1.2).
    """

    value_offset: int
    value_bytes: int
    frame_bits: int
    swapped_words: bool = False


@dataclass(frozen=True, slots=True)
class FragmentLayout:
    """Fragments (without their item headers) and which of them start a frame, as compact arrays."""

    offsets: array[int]
    lengths: array[int]
    first_of_frame: array[int]


@dataclass(frozen=True, slots=True)
class FrameTable:
    """All frames of one object. `count` frames can be asked for, from 0; a video has one: the whole stream.

    `has_offset_table` says that a Basic or Extended Offset Table told the places.
    """

    count: int
    transfer_syntax: str
    layout: NativeLayout | FragmentLayout
    is_video: bool = False
    has_offset_table: bool = False

    @property
    def is_encapsulated(self) -> bool:
        """Frames are made of fragments."""
        return isinstance(self.layout, FragmentLayout)

    def segments(self, index: int) -> tuple[Segment, ...]:
        """The pieces of frame `index` in order; joined they are the frame.

        A native 1-bit frame may begin and end inside a byte: the piece then covers both bytes, and `frame_bytes`
        aligns it. Raises NotFoundError when there is no such frame, InvalidObjectError when the object ends before it.
        """
        if not 0 <= index < self.count:
            raise NotFoundError(f"frame {index + 1} was asked for, but the object has {self.count}")
        if isinstance(self.layout, NativeLayout):
            return (_native_segment(self.layout, index),)
        layout = self.layout
        first = layout.first_of_frame[index]
        last = layout.first_of_frame[index + 1] if index + 1 < self.count else len(layout.offsets)
        return tuple(zip(layout.offsets[first:last], layout.lengths[first:last], strict=True))

    def frame_length(self, index: int) -> int:
        """Bytes of frame `index` as `segments` gives it."""
        return sum(length for _, length in self.segments(index))


def frame_table(source: PixelSource) -> FrameTable:
    """Find the frames of `source`.

    Raises NotFoundError when it has no pixel data, InvalidObjectError when the pixel data contradicts itself.
    """
    if source.place is None:
        raise NotFoundError("the object has no pixel data, so it has no frames")
    syntax = uids.transfer_syntax(source.transfer_syntax)
    if syntax.is_video or syntax.encapsulated:
        declared = max(integer(source.header, "NumberOfFrames", 1), 1)
        return _encapsulated(source, source.place, 1 if syntax.is_video else declared, is_video=syntax.is_video)
    pixel = image_pixel(source.header, pixel_keyword=source.pixel_keyword)
    return _native(pixel, source, source.place)


def frame_bytes(table: FrameTable, index: int, read: Read) -> bytes:
    """The encoded bytes of frame `index`: its fragments joined, or native pixels starting at a byte boundary.

    Raises like `FrameTable.segments`, TooLargeError past FRAME_BYTES_MAX, InvalidObjectError when `read` ends early.
    """
    segments = table.segments(index)
    total = sum(length for _, length in segments)
    if total > FRAME_BYTES_MAX:
        raise TooLargeError(f"frame {index + 1} has {total} bytes; at most {FRAME_BYTES_MAX} are decoded at once")
    layout = table.layout
    if isinstance(layout, NativeLayout) and (layout.swapped_words or layout.frame_bits % 8):
        return _aligned(layout, index, read)
    pieces = [_read_exactly(read, offset, length, index) for offset, length in segments]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def iter_frames(table: FrameTable, read: Read) -> Iterator[bytes]:
    """Every frame in order, one in memory at a time."""
    for index in range(table.count):
        yield frame_bytes(table, index, read)


# --- native ---


def _native(pixel: ImagePixel, source: PixelSource, place: PixelDataPlace) -> FrameTable:
    if place.length is None:
        raise InvalidObjectError(
            f"transfer syntax {source.transfer_syntax} is uncompressed, but the pixel data has undefined length; "
            "the object names the wrong transfer syntax"
        )
    _check_count(pixel.number_of_frames)
    value_bytes = min(place.length, max(source.bytes_total - place.value_offset, 0))
    bits = pixel.frame_bits
    if bits != pixel.full_frame_bits and place.length // pixel.number_of_frames * 8 >= pixel.full_frame_bits:
        bits = pixel.full_frame_bits  # says 4:2:2 but holds every sample, as some writers do
    big_endian = not uids.transfer_syntax(source.transfer_syntax).little_endian
    swapped = big_endian and place.vr == "OW" and pixel.bits_allocated <= 8
    layout = NativeLayout(place.value_offset, value_bytes, bits, swapped)
    return FrameTable(pixel.number_of_frames, source.transfer_syntax, layout)


def _native_segment(layout: NativeLayout, index: int) -> Segment:
    first = index * layout.frame_bits // 8
    last = ((index + 1) * layout.frame_bits + 7) // 8
    if last > layout.value_bytes:
        raise InvalidObjectError(
            f"frame {index + 1} ends at byte {last} of the pixel data, which has only {layout.value_bytes}; "
            "the object is truncated or its Rows, Columns or NumberOfFrames are wrong"
        )
    return layout.value_offset + first, last - first


def _aligned(layout: NativeLayout, index: int, read: Read) -> bytes:
    """A frame that begins inside a byte or inside a swapped word, moved to a byte boundary."""
    first_bit = index * layout.frame_bits
    last_bit = first_bit + layout.frame_bits
    first, last = first_bit // 8, (last_bit + 7) // 8
    if layout.swapped_words:
        start = first & ~1
        stop = min(last + (last & 1), layout.value_bytes)
        raw = _read_exactly(read, layout.value_offset + start, stop - start, index)
        words = np.frombuffer(raw + b"\0" * (len(raw) & 1), "<u2").byteswap().tobytes()
        raw = words[first - start : last - start]
    else:
        raw = _read_exactly(read, layout.value_offset + first, last - first, index)
    shift = first_bit % 8
    if shift == 0:
        return raw
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
    return np.packbits(bits[shift : shift + layout.frame_bits], bitorder="little").tobytes()


# --- encapsulated ---


def _encapsulated(source: PixelSource, place: PixelDataPlace, declared: int, *, is_video: bool) -> FrameTable:
    _check_count(declared)
    end = source.bytes_total if place.length is None else min(place.value_offset + place.length, source.bytes_total)
    walker = _FragmentWalker(source.read, place.value_offset, end)
    basic = walker.basic_offset_table()
    first_item = walker.position
    layout = None if is_video else _by_extended_table(source, first_item, end, declared)
    has_table = layout is not None
    if layout is None:
        offsets, lengths = walker.fragments()
        firsts, has_table = _frame_starts(source.read, offsets, lengths, first_item, basic, declared, is_video=is_video)
        layout = FragmentLayout(offsets, lengths, firsts)
    return FrameTable(declared, source.transfer_syntax, layout, is_video, has_table)


def _by_extended_table(source: PixelSource, first_item: int, end: int, declared: int) -> FragmentLayout | None:
    """The places from (7FE0,0001) and (7FE0,0002), when they are there and agree with the first and the last item."""
    raw_offsets = value_of(source.header, "ExtendedOffsetTable")
    raw_lengths = value_of(source.header, "ExtendedOffsetTableLengths")
    if not isinstance(raw_offsets, bytes) or not isinstance(raw_lengths, bytes):
        return None
    if len(raw_offsets) != 8 * declared or len(raw_lengths) != 8 * declared:
        return None
    relative = np.frombuffer(raw_offsets, "<u8")
    lengths = np.frombuffer(raw_lengths, "<u8")
    room = max(end - first_item - 8, 0)
    if bool((relative > room).any()) or bool((lengths > room - relative).any()):
        return None
    for index in (0, declared - 1):
        offset = first_item + int(relative[index])
        header = source.read(offset, 8)
        if len(header) < 8 or _tag(header) != ITEM:
            return None
        item_length = _ITEM_HEADER.unpack(header)[2]
        if not item_length - 1 <= int(lengths[index]) <= item_length:
            return None
    offsets = array("Q", (relative + np.uint64(first_item + 8)).tobytes())
    return FragmentLayout(offsets, array("Q", lengths.tobytes()), array("Q", range(declared)))


class _FragmentWalker:
    """Steps over items from `position` to `end`, reading small blocks."""

    def __init__(self, read: Read, position: int, end: int) -> None:
        self.position = position
        self._read = read
        self._end = end
        self._block = b""
        self._block_offset = 0

    def basic_offset_table(self) -> tuple[int, ...]:
        """The entries of the first item; leaves `position` behind it. A table of odd size counts as empty."""
        length = self._next_item()
        if length is None:
            raise InvalidObjectError("the encapsulated pixel data does not begin with a Basic Offset Table item")
        if length > 4 * FRAMES_MAX:
            raise InvalidObjectError(f"the Basic Offset Table has {length} bytes, more than any object has frames")
        raw = _read_exactly(self._read, self.position, length, 0)
        self.position += length
        if length % 4:
            return ()
        return struct.unpack(f"<{length // 4}I", raw)

    def fragments(self) -> tuple[array[int], array[int]]:
        """(offsets, lengths) of all fragments up to the delimiter, or to the end of the object when it is missing."""
        offsets, lengths = array("Q"), array("Q")
        while (length := self._next_item()) is not None:
            if len(offsets) >= FRAGMENTS_MAX:
                raise TooLargeError(f"the pixel data has more than {FRAGMENTS_MAX} fragments")
            offsets.append(self.position)
            lengths.append(length)
            self.position += length
        if not offsets:
            raise InvalidObjectError("the encapsulated pixel data holds no fragment; the object is truncated")
        return offsets, lengths

    def _next_item(self) -> int | None:
        """The length of the item at `position`, which moves to its value; None at the end of the sequence."""
        header = self._peek()
        if len(header) < 8:
            return None
        length = int(_ITEM_HEADER.unpack(header)[2])
        tag = _tag(header)
        if tag == SEQUENCE_DELIMITER:
            return None
        if tag != ITEM:
            if header == bytes(8) or 0x7FE00010 < tag < ITEM:
                return None  # no delimiter: padding, or the next element of the data set
            raise InvalidObjectError(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) stands at byte {self.position} where a fragment should begin"
            )
        self.position += 8
        if length == _UNDEFINED or self.position + length > self._end:
            shown = "undefined length" if length == _UNDEFINED else f"{length} bytes"
            raise InvalidObjectError(
                f"the fragment at byte {self.position} has {shown}, past the end of the object at {self._end}; "
                "it is truncated or corrupt"
            )
        return length

    def _peek(self) -> bytes:
        """Up to 8 bytes at `position`."""
        wanted = min(8, max(self._end - self.position, 0))
        start = self.position - self._block_offset
        if not 0 <= start <= len(self._block) - wanted:
            size = min(FRAGMENT_SCAN_BYTES, max(self._end - self.position, 0))
            self._block = self._read(self.position, size)
            self._block_offset = self.position
            start = 0
        return self._block[start : start + wanted]


def _frame_starts(
    read: Read,
    offsets: array[int],
    lengths: array[int],
    first_item: int,
    basic: tuple[int, ...],
    declared: int,
    *,
    is_video: bool,
) -> tuple[array[int], bool]:
    """(index of the first fragment of each frame, was it told by the Basic Offset Table)."""
    if is_video or declared == 1:
        return array("Q", [0]), len(basic) == 1
    told = _starts_by_table(offsets, first_item, basic, declared)
    if told is not None:
        return told, True
    if len(offsets) == declared:
        return array("Q", range(declared)), False
    if len(offsets) < declared:
        raise InvalidObjectError(
            f"the object declares {declared} frames but has only {len(offsets)} fragments; it is truncated, or "
            "NumberOfFrames is wrong"
        )
    return _starts_by_signature(read, offsets, lengths, declared), False


def _starts_by_table(offsets: array[int], first_item: int, basic: tuple[int, ...], declared: int) -> array[int] | None:
    if len(basic) != declared or basic[0] != 0:
        return None
    starts = array("Q")
    for entry in basic:
        value_offset = first_item + entry + 8
        index = bisect_left(offsets, value_offset)
        if index == len(offsets) or offsets[index] != value_offset or (starts and index <= starts[-1]):
            return None
        starts.append(index)
    return starts


def _starts_by_signature(read: Read, offsets: array[int], lengths: array[int], declared: int) -> array[int]:
    """Without a usable table a frame begins where a codestream begins."""
    starts = array("Q")
    for index, offset in enumerate(offsets):
        if lengths[index] >= 4 and read(offset, 4).startswith(_CODESTREAM_STARTS):
            starts.append(index)
            if len(starts) > declared:
                break
    if len(starts) == declared and starts[0] == 0:
        return starts
    raise InvalidObjectError(
        f"the object has {len(offsets)} fragments for {declared} frames and no offset table that fits; "
        "which fragments make a frame cannot be told"
    )


# --- shared ---


def _check_count(count: int) -> None:
    if count > FRAMES_MAX:
        raise InvalidObjectError(f"NumberOfFrames is {count}; at most {FRAMES_MAX} are handled")


def _tag(header: bytes) -> int:
    group, element = struct.unpack_from("<HH", header)
    return (int(group) << 16) | int(element)


def _read_exactly(read: Read, offset: int, length: int, index: int) -> bytes:
    data = read(offset, length)
    if len(data) != length:
        raise InvalidObjectError(
            f"frame {index + 1}: {length} bytes were expected at byte {offset}, but the object has only {len(data)}"
        )
    return data
