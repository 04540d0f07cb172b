"""A stored object with its pixels in another transfer syntax, frame by frame (PS3.5 A; the work is `pixels.transcode`'s).

Everything that reads or decodes runs in threads; one frame is in memory at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from fileroom.archive.random_access import lasting_reader
from fileroom.archive.services import Archive
from fileroom.core.limits import MIB
from fileroom.dicom import uids
from fileroom.dicom.correction import correct_header
from fileroom.index.stored import StoredInstance
from fileroom.pixels.behind import chunks_behind
from fileroom.pixels.frames import frame_table
from fileroom.pixels.source import PixelSource, open_source
from fileroom.pixels.transcode import transcode_source
from fileroom.pixels.transcoded import data_set_chunks, header_bytes

TABLE_OBJECT_BYTES_MAX: Final = 64 * MIB
"""Larger objects get an empty Basic Offset Table: a table would have to wait until the last frame is encoded."""


@dataclass(frozen=True, slots=True)
class TranscodedObject:
    """The bare data set in pieces, not deflated. `chunks` can be iterated once."""

    transfer_syntax: str
    chunks: AsyncIterator[bytes]


async def transcode_object(archive: Archive, instance: StoredInstance, syntax: str) -> TranscodedObject:
    """The object in `syntax`, its corrections laid over. A deflated syntax is answered in Explicit VR Little Endian.

    The first frame is decoded here, so that what cannot be done is known before anything leaves. Raises
    UnsupportedError, InvalidObjectError, NotFoundError, StorageError.
    """
    plain = uids.EXPLICIT_VR_LITTLE_ENDIAN if uids.transfer_syntax(syntax).deflated else syntax
    read = lasting_reader(archive, instance, asyncio.get_running_loop())

    def begin() -> tuple[bytes, Iterator[bytes]]:
        pieces = _encoded(open_source(read, instance.file_bytes), plain)
        return correct_header(next(pieces, b""), plain, instance.corrections), pieces

    header, pieces = await asyncio.to_thread(begin)
    return TranscodedObject(plain, _chunks(header, pieces))


async def _chunks(header: bytes, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    yield header
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def _encoded(source: PixelSource, syntax: str) -> Iterator[bytes]:
    """The data set in pieces, the first of which is everything before the pixel data."""
    if source.place is None:
        return iter([header_bytes(source.header, syntax)])
    has_table = source.bytes_total <= TABLE_OBJECT_BYTES_MAX
    table = frame_table(source)
    made = transcode_source(source, syntax, table=table)
    return data_set_chunks(made, offset_table=has_table, behind=chunks_behind(source, table, syntax))
