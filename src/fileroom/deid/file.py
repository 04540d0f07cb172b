"""A whole file de-identified: header, pixels, new file meta information (PS3.15 E.1.1; group 2 is made anew)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, TooLargeError
from fileroom.deid.deidentify import Cleaned, deidentify
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.ocr import TextReader
from fileroom.deid.pixels import cleaned_pixels, is_touched, proven, settled_regions
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import Pseudonyms
from fileroom.dicom import uids
from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels.frames import frame_table, iter_frames
from fileroom.pixels.image_pixel import image_pixel
from fileroom.pixels.source import PixelSource
from fileroom.pixels.transcode import Transcoded
from fileroom.pixels.transcoded import data_set_chunks, header_bytes


def deidentify_file(
    source: PixelSource, profile: Profile, pseudonyms: Pseudonyms, reader: TextReader | None = None
) -> tuple[Cleaned, Iterator[bytes]]:
    """What was done, and the new file in pieces. Pixels on which nothing is to be done keep their encoding.

    Raises CannotCleanError before the first piece when the object must not leave.
    """
    cleaned = deidentify(source.header, profile, pseudonyms, can_read_pixels=reader is not None)
    regions = settled_regions(source, cleaned.pixels, reader)
    touched = is_touched(cleaned.pixels) or bool(regions)
    made = cleaned.dataset
    if regions:
        made.BurnedInAnnotation = "NO"
    done = Cleaned(made, cleaned.actions, proven(cleaned.pixels, regions, reader))
    syntax = uids.EXPLICIT_VR_LITTLE_ENDIAN if touched else source.transfer_syntax
    meta = build_file_meta(str(made.SOPClassUID), str(made.SOPInstanceUID), syntax)
    if source.place is None:
        return done, iter([meta, header_bytes(made, syntax)])
    try:
        if touched:
            pieces = cleaned_pixels(source, made, regions)
        else:
            pieces = _as_stored(source, made)
    except (InvalidObjectError, TooLargeError) as error:
        raise CannotCleanError(f"Its pixels cannot be taken along: {error}") from error
    return done, _with_meta(meta, data_set_chunks(pieces))


def _as_stored(source: PixelSource, header: Dataset) -> Transcoded:
    table = frame_table(source)
    table.segments(table.count - 1)
    pixel = image_pixel(source.header, pixel_keyword=source.pixel_keyword)
    bits = pixel.full_frame_bits if pixel.bits_allocated == 1 else 8 * table.frame_length(0)
    return Transcoded(
        header,
        source.transfer_syntax,
        source.pixel_keyword,
        pixel.bits_allocated,
        bits,
        table.count,
        iter_frames(table, source.read),
    )


def _with_meta(meta: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield meta
    yield from chunks
