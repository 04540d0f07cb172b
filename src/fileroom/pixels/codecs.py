"""One compressed frame to samples and back: the adapter on imagecodecs, the only codec library (PS3.5 8.2).

A decoder gives the samples as the codestream holds them, in shape (rows, columns[, samples]), together with the colour
model they are in then. What Bits Stored, sign and colour mean is left to `decode`; which frames may be encoded how, to
`transcode`. Sizes are checked before a decoder may allocate anything.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fileroom.core.errors import InvalidObjectError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicom.uids import Family
from fileroom.pixels import codestream
from fileroom.pixels.codestream import Codestream
from fileroom.pixels.colour import expand_half_chroma
from fileroom.pixels.image_pixel import ImagePixel

Array = NDArray[Any]

_RLE_HEADER_BYTES: Final = 64
_RLE_SEGMENTS_MAX: Final = 15
_END_OF_IMAGE: Final = b"\xff\xd9"
_JPEG_2000_BITS_MAX: Final = 24
"""Round trips of 25 bits and more differ in the last bits."""
_HTJ2K_BITS_MAX: Final = 16
"""What OpenJPEG reads. OpenJPH takes half the time (CT 512 x 512: 3 instead of 6 ms) and 32 bits, but on corrupt frames
it never ends, or its adapter swallows the error and gives memory that nobody wrote."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Samples as a decoder gave them.

    `photometric` is the colour model of `samples`, which is RGB where the codec has undone its own transform.
    `is_words`: whole words came back, with whatever stood outside Bits Stored. `sign_bits` are the bits per sample of
    a codestream that has its own sign flag (JPEG 2000), else 0.
    """

    samples: Array
    photometric: str
    is_words: bool = False
    is_lossy: bool = False
    sign_bits: int = 0


def decode(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    """Decode one frame.

    Raises InvalidObjectError when the bytes are not what the transfer syntax says or of another size than the header
    says, UnsupportedError for video and for syntaxes without pixels.
    """
    syntax = uids.transfer_syntax(transfer_syntax)
    decoder = _DECODERS.get(syntax.family)
    if decoder is None:
        raise UnsupportedError(f"frames of transfer syntax {syntax.name} are not decoded; ask for the stored bytes")
    try:
        return decoder(pixel, transfer_syntax, frame)
    except (InvalidObjectError, UnsupportedError):
        raise
    except (RuntimeError, ValueError, TypeError, OverflowError, zlib.error) as error:
        raise InvalidObjectError(
            f"the frame does not decode as {syntax.name}: {error}; the object is corrupt or names the wrong syntax"
        ) from error


def can_decode(transfer_syntax: str) -> bool:
    """Is there a decoder for frames of this transfer syntax?"""
    return uids.transfer_syntax(transfer_syntax).family in _DECODERS


# --- native and what is nearly native ---


def _decode_native(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    little = uids.transfer_syntax(transfer_syntax).little_endian
    if transfer_syntax == uids.GE_IMPLICIT_VR_BIG_ENDIAN_PIXELS:
        little = False
    return Decoded(native_samples(pixel, frame, little_endian=little), pixel.photometric, is_words=True)


def native_samples(pixel: ImagePixel, frame: bytes, *, little_endian: bool = True) -> Array:
    """Samples of an uncompressed frame (PS3.5 8.1.1, 8.2), colour by pixel whatever the planar configuration was.

    1-bit pixels become 0 and 1 as uint8.
    """
    needed_bits = pixel.full_frame_bits
    is_half = pixel.frame_bits != needed_bits and len(frame) * 8 < needed_bits
    if is_half:
        needed_bits = pixel.frame_bits
    needed = (needed_bits + 7) // 8
    if len(frame) < needed:
        raise InvalidObjectError(
            f"the frame has {len(frame)} bytes, but {pixel.rows} x {pixel.columns} pixels need {needed}; "
            "it is truncated"
        )
    if pixel.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(frame, np.uint8, needed), bitorder="little")
        return bits[: pixel.pixels * pixel.samples_per_pixel].reshape(pixel.shape)
    kind = pixel.dtype.newbyteorder("<" if little_endian else ">")
    flat = np.frombuffer(frame[:needed], kind).astype(pixel.dtype, copy=False)
    if is_half:
        if pixel.photometric == "YBR_PARTIAL_420":
            raise UnsupportedError("uncompressed YBR_PARTIAL_420 pixels are not decoded")
        return expand_half_chroma(flat, pixel.rows, pixel.columns)
    return _by_pixel(pixel, flat)


def _by_pixel(pixel: ImagePixel, flat: Array) -> Array:
    if pixel.samples_per_pixel > 1 and pixel.planar_configuration == 1:
        planes = flat.reshape(pixel.samples_per_pixel, pixel.rows, pixel.columns)
        return np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return flat.reshape(pixel.shape)


def _decode_deflated_frame(pixel: ImagePixel, _transfer_syntax: str, frame: bytes) -> Decoded:
    """Deflated Image Frame Compression (PS3.5 A.4.13): RFC 1951 around one native frame."""
    size = (pixel.full_frame_bits + 7) // 8
    native = zlib.decompressobj(-zlib.MAX_WBITS).decompress(frame, size)
    return Decoded(native_samples(pixel, native), pixel.photometric, is_words=True)


def _decode_rle(pixel: ImagePixel, _transfer_syntax: str, frame: bytes) -> Decoded:
    """RLE (PS3.5 annex G): one PackBits segment per byte of each sample, most significant byte first, by plane."""
    planes = pixel.samples_per_pixel * max(pixel.bits_allocated // 8, 1)
    segments = int.from_bytes(frame[:4], "little")
    if segments != planes or planes > _RLE_SEGMENTS_MAX:
        raise InvalidObjectError(f"the RLE frame has {segments} segments, but the header asks for {planes}")
    bytes_needed = pixel.pixels * planes
    offsets = struct.unpack_from(f"<{planes}I", frame, 4) if len(frame) >= _RLE_HEADER_BYTES else ()
    if bytes_needed > 128 * len(frame) or not _ascend(offsets, _RLE_HEADER_BYTES, len(frame)):
        raise InvalidObjectError(f"the RLE frame of {len(frame)} bytes has its segments outside; it is corrupt")
    kind = np.dtype(f"<u{max(pixel.bits_allocated // 8, 1)}")
    raw = imagecodecs.dicomrle_decode(frame, kind)
    if len(raw) < bytes_needed:
        raise InvalidObjectError(f"the RLE frame gives {len(raw)} bytes instead of {bytes_needed}; it is corrupt")
    flat = np.frombuffer(raw, kind, bytes_needed // kind.itemsize)
    by_plane = flat.reshape(pixel.samples_per_pixel, pixel.rows, pixel.columns)
    samples = by_plane[0] if pixel.samples_per_pixel == 1 else np.ascontiguousarray(np.moveaxis(by_plane, 0, -1))
    return Decoded(samples.view(pixel.dtype), pixel.photometric, is_words=True)


def _ascend(offsets: tuple[int, ...], low: int, high: int) -> bool:
    """Are there any, in order, all from `low` to below `high`? The decoder trusts them blindly."""
    bounds = (low - 1, *offsets, high)
    return bool(offsets) and all(earlier < later for earlier, later in itertools.pairwise(bounds))


# --- JPEG family ---


def _decode_jpeg(pixel: ImagePixel, _transfer_syntax: str, frame: bytes) -> Decoded:
    """Baseline, extended and lossless. A lossless image is never colour transformed by the codec."""
    found = codestream.describe_jpeg(frame)
    if found.is_jpeg_ls:
        return _decode_jpeg_ls(pixel, _transfer_syntax, frame)
    _check_size(pixel, found)
    is_lossy = not found.is_lossless_jpeg
    if found.components == 1:
        return Decoded(imagecodecs.jpeg8_decode(frame), pixel.photometric, is_lossy=is_lossy)
    if found.is_lossless_jpeg:
        samples = imagecodecs.jpeg8_decode(frame, colorspace="rgb", outcolorspace="rgb")
        return Decoded(samples, pixel.photometric)
    if _holds_rgb(pixel, found):
        samples = imagecodecs.jpeg8_decode(frame, colorspace="rgb", outcolorspace="rgb")
    else:
        samples = imagecodecs.jpeg8_decode(frame, colorspace="ycbcr", outcolorspace="rgb")
    return Decoded(samples, "RGB", is_lossy=is_lossy)


def _holds_rgb(pixel: ImagePixel, found: Codestream) -> bool:
    """Are the components red, green, blue? The Adobe marker decides, then JFIF (always YCbCr), then component names;
    only a stream that says nothing is read as the data set says. RGB is never subsampled."""
    if found.adobe_transform is not None:
        return found.adobe_transform == 0
    if found.has_jfif or found.is_subsampled:
        return False
    return found.component_ids == (0x52, 0x47, 0x42) or pixel.photometric == "RGB"


def _decode_jpeg_ls(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    found = codestream.describe_jpeg(frame)
    if not found.is_jpeg_ls:
        return _decode_jpeg(pixel, transfer_syntax, frame)
    _check_size(pixel, found)
    is_lossy = transfer_syntax == uids.JPEG_LS_NEAR_LOSSLESS
    if not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        frame += _END_OF_IMAGE  # without it the decoder reads zeros behind a truncated frame for seconds
    return Decoded(imagecodecs.jpegls_decode(frame), pixel.photometric, is_lossy=is_lossy)


# --- JPEG 2000 family, JPEG XL ---


def _decode_jpeg_2000(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    """JPEG 2000 and HTJ2K, which share everything but the block coder."""
    found = codestream.describe_jpeg_2000(frame)
    _check_size(pixel, found)
    syntax = uids.transfer_syntax(transfer_syntax)
    bits_max = _HTJ2K_BITS_MAX if syntax.family is Family.HTJ2K else _JPEG_2000_BITS_MAX
    if found.precision > bits_max:
        raise UnsupportedError(f"{syntax.name} of {found.precision} bits is not decoded; ask for the stored bytes")
    samples = imagecodecs.jpeg2k_decode(frame)
    photometric = "RGB" if found.component_transform else _not_transformed(pixel.photometric)
    return Decoded(samples, photometric, is_lossy=syntax.lossy, sign_bits=found.precision)


def _not_transformed(photometric: str) -> str:
    """YBR_RCT and YBR_ICT name a transform of the codestream; without it the components are already RGB."""
    return "RGB" if photometric in ("YBR_RCT", "YBR_ICT") else photometric


def _decode_jpeg_xl(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    _check_size(pixel, codestream.describe_jpeg_xl(frame))
    samples = imagecodecs.jpegxl_decode(frame)
    photometric = "RGB" if pixel.is_color else pixel.photometric
    return Decoded(samples, photometric, is_lossy=uids.transfer_syntax(transfer_syntax).lossy)


_Decoder = Callable[[ImagePixel, str, bytes], Decoded]

_DECODERS: Final[dict[Family, _Decoder]] = {
    Family.NATIVE: _decode_native,
    Family.DEFLATED_FRAME: _decode_deflated_frame,
    Family.RLE: _decode_rle,
    Family.JPEG: _decode_jpeg,
    Family.JPEG_LS: _decode_jpeg_ls,
    Family.JPEG_2000: _decode_jpeg_2000,
    Family.HTJ2K: _decode_jpeg_2000,
    Family.JPEG_XL: _decode_jpeg_xl,
}


def _check_size(pixel: ImagePixel, found: Codestream) -> None:
    if (found.rows, found.columns) != (pixel.rows, pixel.columns):
        raise InvalidObjectError(
            f"the frame holds {found.rows} x {found.columns} pixels, but the header says {pixel.rows} x "
            f"{pixel.columns}; the object contradicts itself"
        )
    if found.components and found.components != pixel.samples_per_pixel:
        raise InvalidObjectError(
            f"the frame has {found.components} components, but Samples per Pixel is {pixel.samples_per_pixel}; "
            "the object contradicts itself"
        )
