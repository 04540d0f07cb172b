"""The same pixels in another transfer syntax (PS3.5 8.2, annex A): frame by frame, so that memory stays bounded.

Lossless targets always; JPEG baseline and JPEG 2000 with loss only when `LossyOptions` are given. A lossy copy is another
image: it needs a new SOP Instance UID, Image Type DERIVED and a reference to its source (PS3.3 C.7.6.1.1.5), and that is
left to the caller. A lossy source stays lossy whatever it becomes. How the answer is written is told by `transcoded`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, NotFoundError, UnsupportedError
from fileroom.core.limits import OVERLAY_GROUPS_MAX
from fileroom.dicom import uids
from fileroom.dicom.uids import Family
from fileroom.pixels import codecs, colour
from fileroom.pixels.byte_order import turned
from fileroom.pixels.codecs import Decoded
from fileroom.pixels.decode import decode_stored
from fileroom.pixels.encoders import (
    NATIVE,
    WORDS,
    LossyOptions,
    encode_frame,
    native_bytes,
    packed_bits,
    refusal,
    targets,
    written_photometric,
)
from fileroom.pixels.frames import FrameTable, frame_table, iter_frames
from fileroom.pixels.header_values import BROKEN, integer, text, value_of
from fileroom.pixels.image_pixel import ImagePixel, image_pixel
from fileroom.pixels.source import PixelSource

Array = NDArray[Any]

NATIVE_BYTES_MAX: Final = 0xFFFFFFFE
"""The 32 bit length of an element (PS3.5 7.1); longer pixel data must be encapsulated."""

_TABLE_KEYWORDS: Final = (
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "EncapsulatedPixelDataValueTotalLength",
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """May it be done? True or false in conditions; `reason` says why not."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class Transcoded:
    """An object on its way. `frames` can be taken once, one frame at a time; `header` has no pixel data.

    A native frame of 1-bit pixels begins at a byte boundary here. `frame_bits` is the size of a native frame.
    """

    header: Dataset
    transfer_syntax: str
    pixel_keyword: str
    bits_allocated: int
    frame_bits: int
    frame_count: int
    frames: Iterator[bytes]

    @property
    def is_native(self) -> bool:
        """Pixel data of defined length, not fragments."""
        return self.transfer_syntax in NATIVE


def lossless_targets() -> frozenset[str]:
    """The transfer syntaxes that `transcode` writes without loss."""
    return NATIVE | {syntax for syntax, target in targets().items() if not target.method}


def can_transcode(
    source_syntax: str, target_syntax: str, header: Dataset, *, pixel_keyword: str | None = None, lossy: bool = False
) -> Verdict:
    """Can the pixels of an object with `header` be brought from one transfer syntax to another? Looks at no pixels."""
    if source_syntax == target_syntax:
        return Verdict(True)
    try:
        pixel = image_pixel(header, pixel_keyword=pixel_keyword)
    except (InvalidObjectError, UnsupportedError) as error:
        return Verdict(False, str(error))
    reason = _why_not(source_syntax, target_syntax, header, pixel, lossy=lossy)
    return Verdict(not reason, reason)


def transcode_source(
    source: PixelSource, target_syntax: str, *, table: FrameTable | None = None, lossy: LossyOptions | None = None
) -> Transcoded:
    """`transcode` for a stored object; `table` is its frame table, where that is known already.

    That its last frame is there is seen before the first one leaves.
    """
    table = table or frame_table(source)
    table.segments(table.count - 1)
    frames = iter_frames(table, source.read)
    return transcode(
        source.header, frames, source.transfer_syntax, target_syntax, pixel_keyword=source.pixel_keyword, lossy=lossy
    )


def transcode(
    header: Dataset,
    frames: Iterable[bytes],
    source_syntax: str,
    target_syntax: str,
    *,
    pixel_keyword: str = "PixelData",
    lossy: LossyOptions | None = None,
) -> Transcoded:
    """Bring `frames` (as `frames.frame_bytes` gives them) from one transfer syntax to another.

    `header` is not changed; the answer's header shares its values. The first frame is decoded here, the others when the
    answer's `frames` are taken. Raises UnsupportedError when it cannot be done (see `can_transcode`), InvalidObjectError
    here or while frames are taken when a frame is corrupt or one is missing.
    """
    if source_syntax == target_syntax:
        raise UnsupportedError("the object already has the transfer syntax that was asked for; send its stored bytes")
    pixel = image_pixel(header, pixel_keyword=pixel_keyword)
    reason = _why_not(source_syntax, target_syntax, header, pixel, lossy=lossy is not None)
    if reason:
        raise UnsupportedError(f"the object stays in {uids.uid_name(source_syntax)}: {reason}")
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise NotFoundError("the object has no frames to transcode")
    all_frames = _counted(chain([first], rest), pixel.number_of_frames)
    if source_syntax in NATIVE and target_syntax in NATIVE:
        return _reordered(header, pixel, pixel_keyword, first, all_frames, source_syntax, target_syntax)
    return _reencoded(header, pixel, first, all_frames, source_syntax, target_syntax, lossy)


# --- what can be done ---


def _why_not(source_syntax: str, target_syntax: str, header: Dataset, pixel: ImagePixel, *, lossy: bool) -> str:
    source = uids.transfer_syntax(source_syntax)
    if source.is_video or not codecs.can_decode(source_syntax):
        return f"{source.name} is not decoded"
    if target_syntax in NATIVE:
        return _why_not_native(source_syntax, pixel)
    target = targets().get(target_syntax)
    if target is None:
        return f"{uids.uid_name(target_syntax)} is not written"
    if target.method and not lossy:
        return f"{uids.uid_name(target_syntax)} loses information, which must be asked for explicitly"
    if target.method and pixel.photometric == "PALETTE COLOR":
        return "palette indices do not survive lossy compression"
    if target_syntax not in WORDS and _has_embedded_overlay(header):
        return "it has overlays in unused bits of its pixels, which compression would lose"
    photometric = _expected_photometric(source_syntax, pixel)
    return refusal(target_syntax, pixel, _to_lossy_photometric(photometric) if target.method else photometric)


def _why_not_native(source_syntax: str, pixel: ImagePixel) -> str:
    is_reordering = source_syntax in NATIVE
    bits = pixel.frame_bits if is_reordering else pixel.full_frame_bits
    if (bits * pixel.number_of_frames + 7) // 8 > NATIVE_BYTES_MAX:
        return "uncompressed it has more than 4 GiB, which no uncompressed transfer syntax holds"
    return ""


def _expected_photometric(source_syntax: str, pixel: ImagePixel) -> str:
    """What decoding will most likely give; the first frame decides in the end."""
    source = uids.transfer_syntax(source_syntax)
    if not pixel.is_color:
        return pixel.photometric
    if (source.family is Family.JPEG and source.lossy) or pixel.photometric in ("YBR_RCT", "YBR_ICT"):
        return "RGB"
    return "YBR_FULL" if pixel.photometric == "YBR_FULL_422" else pixel.photometric


def _to_lossy_photometric(photometric: str) -> str:
    """Lossy encoders take RGB and make their own YBR of it."""
    return "RGB" if photometric.startswith("YBR") else photometric


def _has_embedded_overlay(header: Dataset) -> bool:
    for group in range(0x6000, 0x6000 + 2 * OVERLAY_GROUPS_MAX, 2):
        if integer(header, (group << 16) | 0x0102, 0) and (group << 16) | 0x3000 not in header:
            return True
    return False


# --- native to native ---


def _reordered(
    header: Dataset,
    pixel: ImagePixel,
    pixel_keyword: str,
    first: bytes,
    frames: Iterator[bytes],
    source_syntax: str,
    target_syntax: str,
) -> Transcoded:
    """Only the byte order may differ; everything else stays as it is, also bits that mean nothing."""
    same_order = uids.transfer_syntax(source_syntax).little_endian == uids.transfer_syntax(target_syntax).little_endian
    word_bytes = 1 if same_order else max(pixel.bits_allocated // 8, 1)
    frame_bits = pixel.full_frame_bits if pixel.bits_allocated == 1 else 8 * len(first)
    return Transcoded(
        header=_copied(header),
        transfer_syntax=target_syntax,
        pixel_keyword=pixel_keyword,
        bits_allocated=pixel.bits_allocated,
        frame_bits=frame_bits,
        frame_count=pixel.number_of_frames,
        frames=(turned(frame, word_bytes) for frame in frames),
    )


# --- through samples ---


def _reencoded(
    header: Dataset,
    pixel: ImagePixel,
    first: bytes,
    frames: Iterator[bytes],
    source_syntax: str,
    target_syntax: str,
    lossy: LossyOptions | None,
) -> Transcoded:
    decoded = _samples(pixel, source_syntax, target_syntax, first)
    encoded_as = dataclasses.replace(pixel, photometric=decoded.photometric, planar_configuration=0)
    if target_syntax not in NATIVE:
        reason = refusal(target_syntax, encoded_as, decoded.photometric)
        if reason:
            raise UnsupportedError(f"the object stays in {uids.uid_name(source_syntax)}: {reason}")

    def encoded() -> Iterator[bytes]:
        for frame in frames:
            found = _samples(pixel, source_syntax, target_syntax, frame)
            if found.photometric != encoded_as.photometric:
                raise InvalidObjectError("the frames of the object have different colour models; it stays as it is")
            yield _encode(encoded_as, found.samples, target_syntax, lossy)

    made = _updated(header, encoded_as, decoded, source_syntax, target_syntax)
    if target_syntax in targets() and targets()[target_syntax].method:
        size = len(_encode(encoded_as, decoded.samples, target_syntax, lossy))
        _note_loss(made, targets()[target_syntax].method, decoded.samples.nbytes / max(size, 1))
    return Transcoded(
        header=made,
        transfer_syntax=target_syntax,
        pixel_keyword="PixelData",
        bits_allocated=pixel.bits_allocated,
        frame_bits=pixel.full_frame_bits,
        frame_count=pixel.number_of_frames,
        frames=encoded(),
    )


def _samples(pixel: ImagePixel, source_syntax: str, target_syntax: str, frame: bytes) -> Decoded:
    """Whole words where source and target keep them, else stored values; RGB for lossy targets."""
    if source_syntax in WORDS and (target_syntax in WORDS):
        decoded = codecs.decode(pixel, source_syntax, frame)
    else:
        decoded = decode_stored(pixel, source_syntax, frame)
    photometric = "YBR_FULL" if decoded.photometric == "YBR_FULL_422" else decoded.photometric
    target = targets().get(target_syntax)
    if target is not None and target.method and photometric.startswith("YBR"):
        return dataclasses.replace(decoded, samples=colour.to_rgb(decoded.samples, photometric), photometric="RGB")
    return dataclasses.replace(decoded, photometric=photometric)


def _encode(pixel: ImagePixel, samples: Array, target_syntax: str, lossy: LossyOptions | None) -> bytes:
    if target_syntax not in NATIVE:
        return encode_frame(pixel, np.ascontiguousarray(samples), target_syntax, lossy)
    if pixel.bits_allocated == 1:
        return packed_bits(samples)
    return native_bytes(samples, little_endian=uids.transfer_syntax(target_syntax).little_endian)


def _counted(frames: Iterator[bytes], declared: int) -> Iterator[bytes]:
    """Exactly as many frames as the header says, or an error: lengths have been announced by then."""
    count = 0
    for frame in frames:
        count += 1
        if count > declared:
            raise InvalidObjectError(f"the object has more frames than the {declared} that its header says")
        yield frame
    if count != declared:
        raise InvalidObjectError(f"the object has {count} frames, its header says {declared}; it is truncated")


# --- the header ---


def _copied(header: Dataset) -> Dataset:
    """Another data set with the same elements, without tables that were about the old pixel data."""
    made = Dataset()
    try:
        made.update(header)
    except BROKEN as error:
        raise InvalidObjectError(
            f"the header has a broken attribute ({error}); the object can only be sent as it was stored"
        ) from error
    encoding = header.original_encoding
    made.set_original_encoding(encoding[0], encoding[1], header.original_character_set)
    for keyword in _TABLE_KEYWORDS:
        if keyword in made:
            del made[keyword]
    return made


def _updated(header: Dataset, pixel: ImagePixel, decoded: Decoded, source_syntax: str, target_syntax: str) -> Dataset:
    made = _copied(header)
    photometric = pixel.photometric
    if target_syntax not in NATIVE:
        photometric = written_photometric(target_syntax, photometric)
    if photometric != text(header, "PhotometricInterpretation"):
        _set(made, "PhotometricInterpretation", photometric)
    if pixel.is_color:
        _set(made, "PlanarConfiguration", 0)
    is_by_words = source_syntax in WORDS and target_syntax in WORDS
    if not is_by_words and pixel.high_bit != pixel.bits_stored - 1:
        _set(made, "HighBit", pixel.bits_stored - 1)
    certainly_lossy = decoded.is_lossy and uids.transfer_syntax(source_syntax).family is Family.JPEG
    if certainly_lossy and not value_of(made, "LossyImageCompression"):
        _set(made, "LossyImageCompression", "01")
    return made


def _set(made: Dataset, keyword: str, value: object) -> None:
    """A new element: setting the attribute would change the element that the given header shares."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    made[tag] = DataElement(tag, dictionary_VR(tag), value)


def _note_loss(made: Dataset, method: str, ratio: float) -> None:
    """Append this compression to the history (PS3.3 C.7.6.1.1.5). The ratio is that of the first frame."""
    ratios, methods = "LossyImageCompressionRatio", "LossyImageCompressionMethod"
    _set(made, "LossyImageCompression", "01")
    _set(made, ratios, [*_values(made, ratios), f"{ratio:.2f}"])
    _set(made, methods, [*_values(made, methods), method])


def _values(header: Dataset, keyword: str) -> list[str]:
    value = value_of(header, keyword)
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) or not hasattr(value, "__iter__") else [str(one) for one in value]
