"""The proof that the pixels which leave are those that are stored: SHA-256 over what is read back of the finished object.

Where pixels are not re-encoded, the bytes of the pixel element are compared; where they are, every frame is decoded again.
Blanked regions are blanked on both sides: everything around them must be the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import IO, Final

from fileroom.archive.random_access import lasting_reader
from fileroom.core.errors import RequestError
from fileroom.core.limits import HEADER_BYTES_MAX, KIB, MIB
from fileroom.deid.pixels import blanked
from fileroom.deid.regions import Region
from fileroom.dicom import uids
from fileroom.dicom.header_scan import NeedMoreData, scan_header
from fileroom.pixels.decode import decode_stored
from fileroom.pixels.frames import FrameTable, frame_bytes, frame_table
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.source import PixelSource, open_source
from fileroom.routing.made_object import MadeObject
from fileroom.routing.object_parts import pixel_element, take_apart

_SPOOL_BYTES: Final = 16 * MIB
"""An object that is made anew is kept in memory up to this size while it is proven, larger ones in a temporary file."""
_FIRST_BYTES: Final = 64 * KIB


async def prove_pixels(made: MadeObject) -> str:
    """Empty when they are the same, else a sentence. Raises StorageError, NotFoundError."""
    if made.parts.pixels is None:
        return ""
    try:
        if made.has_stored_pixels and made.transfer_syntax_uid == made.plain_syntax:
            return await _same_bytes(made)
        return await _same_frames(made)
    except RequestError as error:
        return f"That its pixels are the same cannot be proven: {error}"


async def _same_bytes(made: MadeObject) -> str:
    """The pixel element of the finished object, found by reading it, against that of a fresh look at the stored one."""
    parts = await take_apart(made.archive, made.instance)
    stored = hashlib.sha256()
    async for piece in pixel_element(made.archive, made.instance, parts):
        stored.update(piece)
    opened = await made.open(part10=False)
    leaving = await _digest_of_pixels(opened.chunks, opened.transfer_syntax, parts.pixel_bytes)
    return "" if leaving == stored.digest() else _different(made, "its pixel data has other bytes")


async def _digest_of_pixels(chunks: AsyncIterator[bytes], syntax: str, length: int) -> bytes:
    """SHA-256 over `length` bytes from the place at which a reader finds the pixel element."""
    head, wanted = b"", _FIRST_BYTES
    async for piece in chunks:
        head += piece
        if len(head) < wanted:
            continue
        try:
            start = scan_header(head[:HEADER_BYTES_MAX], syntax, frozenset(), complete=False).pixel_data
            break
        except NeedMoreData as more:
            wanted = max(more.bytes_needed, 2 * len(head))
    else:
        start = scan_header(head, syntax, frozenset(), complete=True).pixel_data
    if start is None:
        return b""
    digest, left = hashlib.sha256(), length
    first = head[start.offset : start.offset + left]
    digest.update(first)
    left -= len(first)
    async for piece in chunks:
        digest.update(piece[:left])
        left -= min(left, len(piece))
    return digest.digest() if not left else b""


async def _same_frames(made: MadeObject) -> str:
    loop = asyncio.get_running_loop()
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as file:
        opened = await made.open(part10=True)
        size = 0
        async for piece in opened.chunks:
            size += len(piece)
            await asyncio.to_thread(file.write, piece)

        def compare() -> str:
            stored = open_source(lasting_reader(made.archive, made.instance, loop), made.instance.file_bytes)
            leaving = open_source(lambda offset, length: _read(file, offset, length), size)
            return _compare(made, stored, leaving)

        return await asyncio.to_thread(compare)


def _read(file: IO[bytes], offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _compare(made: MadeObject, stored: PixelSource, leaving: PixelSource) -> str:
    stored_table, leaving_table = frame_table(stored), frame_table(leaving)
    numbers = range(stored_table.count) if made.frame is None else range(made.frame, made.frame + 1)
    if leaving_table.count != len(numbers):
        return _different(made, f"it has {leaving_table.count} frames, not {len(numbers)}")
    before = image_pixel(stored.header, pixel_keyword=stored.pixel_keyword)
    after = image_pixel(leaving.header, pixel_keyword=leaving.pixel_keyword)
    is_same_encoding = made.regions is None and _encoding(stored) == _encoding(leaving)
    for place, number in enumerate(numbers):
        if is_same_encoding:
            one = hashlib.sha256(frame_bytes(stored_table, number, stored.read)).digest()
            other = hashlib.sha256(frame_bytes(leaving_table, place, leaving.read)).digest()
        else:
            one = _digest(before, stored_table, number, stored, made.regions or ())
            other = _digest(after, leaving_table, place, leaving, ())
        if one != other:
            return _different(made, f"frame {number + 1} has other pixels")
    return ""


def _encoding(source: PixelSource) -> tuple[str, bool]:
    syntax = uids.transfer_syntax(source.transfer_syntax)
    return (source.transfer_syntax if syntax.encapsulated else "native", syntax.little_endian)


def _digest(
    pixel: ImagePixel, table: FrameTable, number: int, source: PixelSource, regions: tuple[Region, ...]
) -> bytes:
    frame = frame_bytes(table, number, source.read)
    decoded = decode_stored(pixel, source.transfer_syntax, frame)
    samples = blanked(decoded.samples, decoded.photometric, pixel, regions) if regions else decoded.samples
    return hashlib.sha256(
        f"{samples.shape}".encode() + samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    ).digest()


def _different(made: MadeObject, what: str) -> str:
    return (
        f"The pixels that would leave are not those that are stored: {what} ({made.instance.sop_instance_uid}). Nothing was "
        "sent; run 'fileroom verify', and send it without a change of transfer syntax."
    )
