"""A transcoded object written out: header, then Pixel Data element (PS3.5 8.1, A.4), in pieces as frames come.

Fragments get an offset table, Basic up to 4 GiB and Extended beyond (PS3.3 C.7.6.3.1.8). A table stands before what it
tells about, so the encoded frames wait for it, the first in memory and more in a temporary file. Who wants the first byte
early leaves the table empty, which every reader must accept.
"""

from __future__ import annotations

import copy
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import STREAM_CHUNK_BYTES, TRANSCODE_SPOOL_BYTES
from fileroom.dicom import uids
from fileroom.pixels.byte_order import turn_words
from fileroom.pixels.header_values import BROKEN
from fileroom.pixels.transcode import Transcoded

_ITEM: Final = struct.Struct("<HHI")
_TAGS: Final = {"PixelData": 0x0010, "FloatPixelData": 0x0008, "DoubleFloatPixelData": 0x0009}
_BASIC_TABLE_REACH: Final = 0xFFFFFFFF
_DELIMITER: Final = _ITEM.pack(0xFFFE, 0xE0DD, 0)


def data_set_chunks(made: Transcoded, *, offset_table: bool = True, behind: Iterable[bytes] = ()) -> Iterator[bytes]:
    """The whole data set (no preamble, no file meta) in pieces; frames are encoded as it is taken.

    `behind` are the elements behind the pixel data, encoded (`pixels.behind`).

    Raises InvalidObjectError when the header cannot be written in the new encoding, or while it is taken when a frame is
    corrupt or missing: then what was taken so far is no object and must be thrown away.
    """
    chunks = chain(_plain_chunks(made, offset_table=offset_table), behind)
    if uids.transfer_syntax(made.transfer_syntax).deflated:
        return _deflated(chunks)
    return chunks


def native_value_bytes(made: Transcoded) -> int:
    """Length of the value that uncompressed frames make together, padded to an even number of bytes."""
    length = (made.frame_bits * made.frame_count + 7) // 8
    return length + length % 2


def native_value(made: Transcoded) -> Iterator[bytes]:
    """Uncompressed frames one behind the other, as Pixel Data has them."""
    if made.frame_bits % 8:
        yield from _packed_together(made.frames, made.frame_bits)
    else:
        yield from made.frames
    if (made.frame_bits * made.frame_count + 7) // 8 % 2:
        yield b"\0"


def header_bytes(header: Dataset, transfer_syntax: str) -> bytes:
    """`header` (words little endian) encoded in `transfer_syntax`, not deflated. Raises InvalidObjectError."""
    syntax = uids.transfer_syntax(transfer_syntax)
    stream = DicomBytesIO()
    stream.is_implicit_VR = not syntax.explicit_vr
    stream.is_little_endian = syntax.little_endian
    try:
        if not syntax.little_endian:
            header = copy.deepcopy(header)
            turn_words(header)
        write_dataset(stream, header)
    except BROKEN as error:
        raise InvalidObjectError(
            f"the header cannot be written as {syntax.name}: {error}; the object can only be sent as it was stored"
        ) from error
    return stream.getvalue()


def _plain_chunks(made: Transcoded, *, offset_table: bool) -> Iterator[bytes]:
    yield header_bytes(made.header, made.transfer_syntax)
    if made.is_native:
        yield _native_start(made, native_value_bytes(made))
        yield from native_value(made)
    elif offset_table:
        yield from _fragments_with_table(made.frames)
    else:
        yield _encapsulated_start() + _ITEM.pack(0xFFFE, 0xE000, 0)
        for frame in made.frames:
            yield _fragment_header(frame)
            yield frame
        yield _DELIMITER


# --- native ---


def _native_start(made: Transcoded, length: int) -> bytes:
    syntax = uids.transfer_syntax(made.transfer_syntax)
    order = "<" if syntax.little_endian else ">"
    tag = _TAGS[made.pixel_keyword]
    if not syntax.explicit_vr:
        return struct.pack(order + "HHI", 0x7FE0, tag, length)
    vr = {0x0008: b"OF", 0x0009: b"OD"}.get(tag, b"OW" if made.bits_allocated > 8 else b"OB")
    return struct.pack(order + "HH2sHI", 0x7FE0, tag, vr, 0, length)


def _packed_together(frames: Iterator[bytes], frame_bits: int) -> Iterator[bytes]:
    """1-bit frames follow each other without any bit between them (PS3.5 8.1.1)."""
    left = np.zeros(0, np.uint8)
    for frame in frames:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:frame_bits]
        bits = np.concatenate([left, bits])
        whole = len(bits) // 8 * 8
        left = bits[whole:]
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
    if len(left):
        yield np.packbits(left, bitorder="little").tobytes()


# --- encapsulated ---


def _fragments_with_table(frames: Iterator[bytes]) -> Iterator[bytes]:
    with tempfile.SpooledTemporaryFile(max_size=TRANSCODE_SPOOL_BYTES) as spool:
        offsets, lengths = _spooled(frames, spool)
        if offsets[-1] > _BASIC_TABLE_REACH:
            yield _extended_table(offsets, lengths)
            yield _encapsulated_start() + _ITEM.pack(0xFFFE, 0xE000, 0)
        else:
            table = struct.pack(f"<{len(offsets)}I", *offsets)
            yield _encapsulated_start() + _ITEM.pack(0xFFFE, 0xE000, len(table)) + table
        spool.seek(0)
        while chunk := spool.read(STREAM_CHUNK_BYTES):
            yield chunk
    yield _DELIMITER


def _spooled(frames: Iterator[bytes], spool: IO[bytes]) -> tuple[list[int], list[int]]:
    """Write all fragments; (offset of each item from the first, length of its value)."""
    offsets, lengths, position = [], [], 0
    for frame in frames:
        offsets.append(position)
        lengths.append(len(frame))
        spool.write(_fragment_header(frame))
        spool.write(frame)
        position += 8 + len(frame)
    return offsets, lengths


def _extended_table(offsets: list[int], lengths: list[int]) -> bytes:
    """(7FE0,0001) and (7FE0,0002), explicit VR little endian as every encapsulated syntax is."""
    elements = []
    for number, values in ((0x0001, offsets), (0x0002, lengths)):
        elements.append(struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, 8 * len(values)))
        elements.append(struct.pack(f"<{len(values)}Q", *values))
    return b"".join(elements)


def _encapsulated_start() -> bytes:
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)


def _fragment_header(frame: bytes) -> bytes:
    return _ITEM.pack(0xFFFE, 0xE000, len(frame))


def _deflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1951 around the data set, padded to even length (PS3.5 A.5)."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    total = 0
    for chunk in chunks:
        packed = packer.compress(chunk)
        total += len(packed)
        if packed:
            yield packed
    packed = packer.flush()
    total += len(packed)
    yield packed + b"\0" if total % 2 else packed
