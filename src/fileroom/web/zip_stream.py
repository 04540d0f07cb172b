"""A ZIP file that is written while it goes out: nothing is kept, nothing compressed (PS3.18 8.6.1.3, APPNOTE 4.3.9).

Medical images hardly shrink under deflate, and lossless codecs have done better already.
"""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fileroom.web.answers import Piece


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file in the ZIP file. The name is made by us, never from what was received."""

    name: str
    body: AsyncIterator[Piece]


async def zip_pieces(entries: AsyncIterator[ZipEntry], made_at: dt.datetime) -> AsyncIterator[Piece]:
    """The bytes of the ZIP file, piece by piece."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        async for entry in entries:
            # The length stands behind the data, so that it need not be known; with 64 bits, as it may be long.
            info = zipfile.ZipInfo(entry.name, made_at.timetuple()[:6])
            with archive.open(info, "w", force_zip64=True) as out:
                async for piece in entry.body:
                    out.write(piece)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """What the ZIP writer has written since the last look."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """It only takes."""
        return True

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]  # RawIOBase asks for any buffer
        """Keep the bytes until they are taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """What has gathered."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
