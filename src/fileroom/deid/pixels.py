"""The pixels of a de-identified object: which rectangles are blanked in the end, and blanking them, losslessly.

`settled_regions` looks at every frame before the first byte leaves, so that nothing leaves of an object whose last frame
cannot be decoded. Pixels on which nothing is to be done are never touched.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, NotFoundError, TooLargeError, UnsupportedError
from fileroom.deid.burned_in import PixelWork
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.ocr import TextReader, regions_of
from fileroom.deid.regions import Region
from fileroom.dicom import uids
from fileroom.pixels import colour
from fileroom.pixels.decode import decode_stored
from fileroom.pixels.encoders import native_bytes, packed_bits
from fileroom.pixels.frames import frame_table, iter_frames
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.source import PixelSource
from fileroom.pixels.transcode import Transcoded

Array = NDArray[Any]

_UNREADABLE: Final = (InvalidObjectError, UnsupportedError, TooLargeError, NotFoundError)
_REGIONS_MAX: Final = 2000
"""That a reader may find in all frames together; more text than that is a document."""


def is_touched(work: PixelWork) -> bool:
    """Whether anything is to be done with the pixels."""
    return bool(work.regions or work.overlay_bits or work.reading)


def _is_read(work: PixelWork, reader: TextReader | None) -> bool:
    return reader is not None and (bool(work.reading) or work.is_picture)


def settled_regions(source: PixelSource, work: PixelWork, reader: TextReader | None = None) -> tuple[Region, ...]:
    """The rectangles that are blanked in every frame, after every frame was decoded and, where asked for, read.

    Raises CannotCleanError for pixels that cannot be decoded, and where reading is needed and nobody reads.
    """
    if not (is_touched(work) or _is_read(work, reader)) or source.place is None:
        return ()
    if work.reading and reader is None:
        raise CannotCleanError(work.reading)
    found: dict[Region, None] = dict.fromkeys(work.regions)
    try:
        pixel = image_pixel(source.header, pixel_keyword=source.pixel_keyword)
        _require_overlays_outside(pixel, work.overlay_bits)
        for frame in iter_frames(frame_table(source), source.read):
            decoded = decode_stored(pixel, source.transfer_syntax, frame)
            if reader is not None and _is_read(work, reader):
                found.update(dict.fromkeys(regions_of(reader, _picture(pixel, decoded.samples, decoded.photometric))))
            if len(found) > _REGIONS_MAX:
                raise CannotCleanError("There is more text in its pixels than in any picture; it is a document.")
    except _UNREADABLE as error:
        if isinstance(error, CannotCleanError):
            raise
        raise CannotCleanError(f"Its pixels cannot be decoded to be cleaned: {error}") from error
    return tuple(found)


def cleaned_pixels(source: PixelSource, header: Dataset, regions: Sequence[Region]) -> Transcoded:
    """The object in Explicit VR Little Endian with the rectangles blanked and overlay bits cleared; `header` is that of
    `deidentify`, which is changed to fit. Frames are made as they are taken."""
    pixel = image_pixel(source.header, pixel_keyword=source.pixel_keyword)
    table = frame_table(source)
    first = decode_stored(pixel, source.transfer_syntax, next(iter_frames(table, source.read)))
    header.PhotometricInterpretation = first.photometric
    if pixel.samples_per_pixel > 1:
        header.PlanarConfiguration = 0
    if pixel.high_bit != pixel.bits_stored - 1:
        header.HighBit = pixel.bits_stored - 1
    return Transcoded(
        header,
        uids.EXPLICIT_VR_LITTLE_ENDIAN,
        source.pixel_keyword,
        pixel.bits_allocated,
        pixel.full_frame_bits,
        table.count,
        blank(iter_frames(table, source.read), pixel, source.transfer_syntax, regions),
    )


def blank(
    frames: Iterable[bytes], pixel: ImagePixel, transfer_syntax: str, regions: Sequence[Region]
) -> Iterator[bytes]:
    """Encoded frames to native ones, little endian, colour by pixel, with the rectangles black.

    Only stored values are kept: bits outside of Bits Stored (overlays of the retired form) are cleared.
    """
    for frame in frames:
        decoded = decode_stored(pixel, transfer_syntax, frame)
        samples = blanked(decoded.samples, decoded.photometric, pixel, regions)
        yield packed_bits(samples) if pixel.bits_allocated == 1 else native_bytes(samples)


def blanked(samples: Array, photometric: str, pixel: ImagePixel, regions: Sequence[Region]) -> Array:
    """A copy with the rectangles black; palette colours get index 0."""
    made = np.array(samples)
    black: Any = 0
    if photometric == "MONOCHROME1":
        black = pixel.value_range[1]
    elif photometric == "MONOCHROME2" and pixel.is_signed and made.size:
        black = made.min()
    elif photometric.startswith("YBR") and made.ndim == 3:
        black = np.array([0, 1 << (pixel.bits_stored - 1), 1 << (pixel.bits_stored - 1)], made.dtype)
    for one in regions:
        made[one.top : one.bottom, one.left : one.right] = black
    return made


def _require_overlays_outside(pixel: ImagePixel, bits: int) -> None:
    used = ((1 << pixel.bits_stored) - 1) << (pixel.high_bit + 1 - pixel.bits_stored)
    if bits & used:
        raise CannotCleanError(
            "An overlay lies in the bits of its pixel values themselves; it cannot be taken out of them."
        )


def _picture(pixel: ImagePixel, samples: Array, photometric: str) -> NDArray[np.uint8]:
    """8 bits a sample for a reader of text, the whole range of values spread over them."""
    if pixel.is_color:
        samples = colour.to_rgb(samples, photometric)
    low, high = (float(samples.min()), float(samples.max())) if samples.size else (0.0, 1.0)
    if samples.dtype == np.uint8 and photometric != "PALETTE COLOR":
        made = samples
    else:
        made = ((samples.astype(np.float64) - low) * (255.0 / max(high - low, 1.0))).astype(np.uint8)
    return 255 - made if photometric == "MONOCHROME1" else made


def proven(work: PixelWork, regions: Sequence[Region], reader: TextReader | None) -> PixelWork:
    """What was done, for the report: the regions in the end and who has read the pixels."""
    read = f"read by {reader.name}" if reader is not None and _is_read(work, reader) else ""
    proof = ", ".join(filter(None, (work.proof, read)))
    return dataclasses.replace(work, regions=tuple(regions), reading="", proof=proof)
