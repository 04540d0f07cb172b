"""Documents of series metadata in the object store: written once, given out as text or as the deflated bytes they are.

A document holds the DICOM JSON of a series, one instance a line, without brackets around. Its addresses of bulk data are
open (`slotted_deflate`), since only a request tells the address of the DICOMweb service.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import orjson

from fileroom.archive.services import Archive
from fileroom.archive.slotted_deflate import (
    FILLER,
    SLOT_BYTES,
    TAIL_BYTES,
    GzipJoiner,
    Layout,
    SlottedDeflater,
    filled,
    read_layout,
    trailer_bytes,
)
from fileroom.core.errors import NotFoundError
from fileroom.core.limits import STREAM_CHUNK_BYTES
from fileroom.storage.store import new_object_key

FOLDER: Final = "documents"
_SUFFIX: Final = ".json.deflate"
_LEVEL: Final = 3
"""5 MB of metadata in 0.2 s to 4 % of their size; higher levels take much longer for little."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is there."""

    key: str
    layout: Layout


async def write_document(archive: Archive, lines_for: Callable[[str], AsyncIterator[bytes]]) -> str:
    """Write the text that `lines_for` gives for an address of the service; the key of the document. Raises StorageError."""
    root = f"https://{secrets.token_hex(16)}.invalid"  # RFC 2606 keeps .invalid free, and nobody can guess the rest
    mark = _json_start(root)
    writer = archive.store.begin(new_object_key(archive.now(), FOLDER).removesuffix(".dcm") + _SUFFIX)
    deflater = SlottedDeflater(_LEVEL)
    try:
        async for lines in lines_for(root):
            writer.write(await asyncio.to_thread(_deflated, deflater, lines.split(mark)))
            await writer.drain()
        writer.write(deflater.end())
        writer.seal()
        await writer.flush()
    except BaseException:
        await writer.abort()
        raise
    return writer.key


async def open_document(archive: Archive, key: str) -> Document:
    """Raises NotFoundError when it is lost or is not of this kind, StorageError."""
    size = (await archive.store.stat(key)).size
    try:
        count = trailer_bytes(await archive.store.read(key, max(size - TAIL_BYTES, 0), min(size, TAIL_BYTES)))
        trailer = await archive.store.read(key, size - count, count)
        layout = read_layout(trailer)
    except ValueError as error:
        raise NotFoundError(f"{key} is damaged: {error}.") from error
    if layout.deflated_bytes + count != size:
        raise NotFoundError(f"{key} is damaged: it has {size} bytes, not {layout.deflated_bytes + count}.")
    return Document(key, layout)


async def document_text(archive: Archive, document: Document, root: str) -> AsyncIterator[bytes]:
    """Its text with `root` as the address of the service, whole lines at a time. Raises NotFoundError, StorageError."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    address = _json_start(root)
    left = b""
    async for packed in archive.store.stream(document.key, 0, document.layout.deflated_bytes):
        while packed:
            plain = await asyncio.to_thread(inflater.decompress, packed, STREAM_CHUNK_BYTES)
            packed = inflater.unconsumed_tail
            whole, newline, rest = (left + plain).rpartition(b"\n")
            left = rest
            if whole:
                yield (whole + newline).replace(FILLER, address)
    yield (left + inflater.flush()).replace(FILLER, address)


def fits(root: str) -> bool:
    """Can `root` be filled into a document as it is deflated?"""
    return len(_json_start(root)) <= SLOT_BYTES


async def document_packed(archive: Archive, document: Document, root: str, joiner: GzipJoiner) -> AsyncIterator[bytes]:
    """The same as deflated blocks, for a `root` that `fits`: the stored bytes but for the address. Told to `joiner`."""
    layout = document.layout
    # Blanks before a JSON string mean nothing, so every address fills the slot.
    address = _json_start(root).rjust(SLOT_BYTES)
    stored = archive.store.stream(document.key, 0, layout.deflated_bytes)
    async for piece in filled(stored, layout.plain_slots, address):
        yield piece
    joiner.add(layout.filled_crc(address), layout.text_bytes)


def _json_start(root: str) -> bytes:
    """A JSON string that begins with `root`, up to there."""
    return orjson.dumps(root)[:-1]


def _deflated(deflater: SlottedDeflater, texts: list[bytes]) -> bytes:
    """Texts with a slot between them."""
    return b"".join(
        [deflater.text(texts[0]), *(piece for text in texts[1:] for piece in (deflater.slot(), deflater.text(text)))]
    )
