"""An object as it was made for a destination: new attributes, and pixels as they are stored or as they had to become.

The pixels stream from the stored file untouched unless they really are others (one frame of many, blanked regions) or
another transfer syntax is asked for; then they are made frame by frame, so that an object of 2 GB costs a few megabytes.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from fileroom.archive.outgoing import SAME_VALUES, chain, deflate, recode
from fileroom.archive.random_access import lasting_reader
from fileroom.archive.retrieve import OpenedObject, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import UnsupportedError
from fileroom.deid.pixels import blank
from fileroom.deid.regions import Region
from fileroom.dicom import uids
from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.dicom.header_scan import declared_encoding
from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels.decode import decode_stored
from fileroom.pixels.encoders import NATIVE, LossyOptions
from fileroom.pixels.frames import frame_bytes, frame_table, iter_frames
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.source import PixelSource, open_source
from fileroom.pixels.transcode import Transcoded, transcode
from fileroom.pixels.transcoded import data_set_chunks, header_bytes
from fileroom.routing.object_parts import FIRST_PIXEL_TAG, ObjectParts, pixel_element
from fileroom.transform.changes import shallow

_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)


@dataclass(frozen=True, slots=True)
class MadeObject:
    """An OutgoingObject. `dataset` has no pixel data and must not be changed.

    `frame` is the one frame of the stored object (from 0) that this one has, None: all. `regions` are blanked, and bits
    without a meaning cleared (overlays in them); None: pixels are not touched, also where `frame` cuts them out.
    """

    archive: Archive
    delivery_id: int
    instance: StoredInstance
    """What it was made of."""
    parts: ObjectParts = field(repr=False)
    dataset: Dataset = field(repr=False)
    transfer_syntax_uid: str
    """In which it leaves where the destination asks for no other one."""
    frame: int | None = None
    regions: tuple[Region, ...] | None = None
    lossy: LossyOptions | None = None

    @property
    def study_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("StudyInstanceUID", ""))

    @property
    def series_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SeriesInstanceUID", ""))

    @property
    def sop_instance_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SOPInstanceUID", ""))

    @property
    def sop_class_uid(self) -> str:
        """With which it leaves."""
        return str(self.dataset.get("SOPClassUID", ""))

    @property
    def file_bytes(self) -> int:
        """About as large as what it was made of."""
        return self.instance.file_bytes // (1 if self.frame is None else max(self.instance.number_of_frames or 1, 1))

    @property
    def has_stored_pixels(self) -> bool:
        """The pixel element leaves as it is stored where no other transfer syntax is asked for."""
        return self.frame is None and self.regions is None

    @property
    def plain_syntax(self) -> str:
        """The transfer syntax that it has without any transcoding."""
        return uids.EXPLICIT_VR_LITTLE_ENDIAN if self.regions is not None else self.parts.syntax

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """As `archive.retrieve.open_object`."""
        require(Permission.STUDY_EXPORT)
        syntax = transfer_syntax or self.transfer_syntax_uid
        if self.lossy is not None and syntax != self.transfer_syntax_uid:
            raise UnsupportedError(
                f"{self.sop_instance_uid} was made a lossy copy in {uids.uid_name(self.transfer_syntax_uid)}; the destination "
                "does not take that. Change the transfer syntax of the treatment."
            )
        opened = await self._open_data_set(syntax)
        if not part10:
            return opened
        meta = build_file_meta(self.sop_class_uid, self.sop_instance_uid, syntax)
        length = None if opened.length is None else len(meta) + opened.length
        return OpenedObject(syntax, length, None, chain(meta, opened.chunks))

    async def header(self) -> Dataset:
        """A copy that may be changed."""
        return copy.deepcopy(self.dataset)

    # --- ways to open ---

    async def _open_data_set(self, syntax: str) -> OpenedObject:
        is_plain = syntax == self.plain_syntax
        if (self.has_stored_pixels or self.parts.pixels is None) and (
            is_plain or {syntax, self.plain_syntax} <= SAME_VALUES
        ):
            return await self._open_around_stored_pixels(syntax)
        if self.parts.pixels is None:
            raise UnsupportedError(
                f"{self.sop_instance_uid} has no pixels that could be had in {uids.uid_name(syntax)}"
            )
        if not self.has_stored_pixels and {syntax, self.plain_syntax} <= SAME_VALUES:
            syntax_made = self.plain_syntax
        else:
            syntax_made = uids.EXPLICIT_VR_LITTLE_ENDIAN if uids.transfer_syntax(syntax).deflated else syntax
        loop = asyncio.get_running_loop()

        def begin() -> tuple[bytes, Iterator[bytes]]:
            pieces = self._made(loop, syntax_made)
            return next(pieces, b""), pieces

        first, pieces = await asyncio.to_thread(begin)
        chunks = chain(first, _in_threads(pieces))
        if syntax_made != syntax and not uids.transfer_syntax(syntax).deflated:
            chunks = recode(first, _in_threads(pieces), declared_encoding(syntax_made), syntax)
        if uids.transfer_syntax(syntax).deflated:
            chunks = deflate(chunks)
        return OpenedObject(syntax, None, None, chunks)

    async def _open_around_stored_pixels(self, syntax: str) -> OpenedObject:
        head, behind = await asyncio.to_thread(self._encoded, self.plain_syntax)
        rest = _behind(pixel_element(self.archive, self.instance, self.parts), behind)
        if syntax == self.plain_syntax:
            length = len(head) + self.parts.pixel_bytes + len(behind)
            return OpenedObject(syntax, length, None, chain(head, rest))
        pieces = recode(head, rest, declared_encoding(self.plain_syntax), syntax)
        chunks = chain(await anext(pieces), pieces)
        return OpenedObject(syntax, None, None, deflate(chunks) if uids.transfer_syntax(syntax).deflated else chunks)

    def _encoded(self, syntax: str) -> tuple[bytes, bytes]:
        """(elements before the pixel element, those behind it)."""
        before, behind = _around_pixels(self.dataset)
        return header_bytes(before, syntax), header_bytes(behind, syntax) if behind else b""

    def _made(self, loop: asyncio.AbstractEventLoop, syntax: str) -> Iterator[bytes]:
        source = open_source(lasting_reader(self.archive, self.instance, loop), self.instance.file_bytes)
        before, behind = _around_pixels(self.dataset)
        made = self._transcoded(source, before, syntax)
        return data_set_chunks(made, behind=(header_bytes(behind, syntax),) if behind else ())

    def _transcoded(self, source: PixelSource, header: Dataset, syntax: str) -> Transcoded:
        """The pixels with the new header, in `syntax`."""
        table = frame_table(source)
        keyword = source.pixel_keyword
        frames: Iterator[bytes]
        if self.frame is None:
            table.segments(table.count - 1)
            frames = iter_frames(table, source.read)
        else:
            frames = iter([frame_bytes(table, self.frame, source.read)])
        found = source.transfer_syntax
        pixel = image_pixel(source.header, pixel_keyword=keyword)
        if self.regions is not None:
            photometric = decode_stored(pixel, found, frame_bytes(table, 0, source.read)).photometric
            frames = blank(frames, pixel, found, self.regions)
            pixel, found = _as_native(pixel, photometric), uids.EXPLICIT_VR_LITTLE_ENDIAN
            header = _native_header(header, pixel)
        if syntax != found and not (syntax in SAME_VALUES and found in SAME_VALUES):
            return transcode(header, frames, found, syntax, pixel_keyword=keyword, lossy=self.lossy)
        count = table.count if self.frame is None else 1
        bits = pixel.full_frame_bits if pixel.bits_allocated == 1 or self.regions is not None else pixel.frame_bits
        if found in NATIVE and self.regions is None and pixel.bits_allocated != 1:
            bits = 8 * table.frame_length(self.frame or 0)
        return Transcoded(header, syntax, keyword, pixel.bits_allocated, bits, count, frames)


def _as_native(pixel: ImagePixel, photometric: str) -> ImagePixel:
    """The description of frames that `deid.pixels.blank` has made."""
    return dataclasses.replace(
        pixel, photometric=photometric, planar_configuration=0, high_bit=max(pixel.bits_stored - 1, 0)
    )


def _native_header(header: Dataset, pixel: ImagePixel) -> Dataset:
    made = shallow(header)
    values: dict[str, object] = {"PhotometricInterpretation": pixel.photometric, "HighBit": pixel.high_bit}
    if pixel.samples_per_pixel > 1:
        values["PlanarConfiguration"] = 0
    for keyword, value in values.items():
        tag = tag_of(keyword) or 0
        made[tag] = DataElement(tag, vr_of(tag), value)
    for tag in _OFFSET_TABLES:
        made._dict.pop(BaseTag(tag), None)
    return made


def _around_pixels(dataset: Dataset) -> tuple[Dataset, Dataset]:
    before, behind = shallow(dataset), shallow(dataset)
    before._dict = {tag: one for tag, one in dataset._dict.items() if tag < FIRST_PIXEL_TAG}
    behind._dict = {tag: one for tag, one in dataset._dict.items() if tag > FIRST_PIXEL_TAG}
    return before, behind


async def _behind(first: AsyncIterator[bytes], last: bytes) -> AsyncIterator[bytes]:
    async for piece in first:
        yield piece
    if last:
        yield last


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
