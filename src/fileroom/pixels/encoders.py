"""Samples to one compressed frame, for the transfer syntaxes that Fileroom writes (PS3.5 8.2, A.4).

Which samples a syntax takes is told by `refusal`, in words, before anything is encoded. All encoders here are lossless
except JPEG baseline and JPEG 2000 (.91).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import uids
from fileroom.pixels.image_pixel import ImagePixel

Array = NDArray[Any]

NATIVE: Final = frozenset(
    {
        uids.IMPLICIT_VR_LITTLE_ENDIAN,
        uids.EXPLICIT_VR_LITTLE_ENDIAN,
        uids.EXPLICIT_VR_BIG_ENDIAN,
        uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    }
)
WORDS: Final = NATIVE | {uids.RLE_LOSSLESS, uids.ENCAPSULATED_UNCOMPRESSED, uids.DEFLATED_IMAGE_FRAME}
"""Syntaxes that keep whole words, also the bits outside Bits Stored."""

_JPEG_2000_BITS_MAX: Final = 24
_JPEG_XL_EFFORT: Final = 3
"""512 x 512 at 16 bits: 13 ms; effort 7 takes 20 times as long for 3 % less."""


@dataclass(frozen=True, slots=True)
class LossyOptions:
    """An explicit wish to lose information. `quality` is 1 to 100 (JPEG); `psnr_db` the fidelity of JPEG 2000."""

    quality: int = 90
    psnr_db: int = 50


@dataclass(frozen=True, slots=True)
class Target:
    """A transfer syntax that can be written. `method` is its Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1)."""

    bits_allocated: frozenset[int]
    bits_stored_max: int
    encode: Callable[[ImagePixel, Array, LossyOptions], bytes]
    takes_signed: bool = True
    takes_ybr: bool = True
    method: str = ""


def targets() -> dict[str, Target]:
    """What `encode_frame` can write, by transfer syntax; native syntaxes are not frames and are not among them."""
    return dict(_TARGETS)


def encode_frame(pixel: ImagePixel, samples: Array, transfer_syntax: str, options: LossyOptions | None = None) -> bytes:
    """Encode one frame; the answer has even length.

    `samples` have shape (rows, columns[, 3]) and hold stored values, or whole words for the syntaxes in `WORDS`.
    """
    frame = _TARGETS[transfer_syntax].encode(pixel, samples, options or LossyOptions())
    return frame + b"\0" if len(frame) % 2 else frame


def written_photometric(transfer_syntax: str, photometric: str) -> str:
    """The Photometric Interpretation of samples in `photometric` after encoding (PS3.5 8.2)."""
    if photometric != "RGB":
        return "YBR_FULL" if photometric == "YBR_FULL_422" else photometric
    return {
        uids.JPEG_2000_LOSSLESS: "YBR_RCT",
        uids.HTJ2K_LOSSLESS: "YBR_RCT",
        uids.HTJ2K_LOSSLESS_RPCL: "YBR_RCT",
        uids.JPEG_2000: "YBR_ICT",
        uids.JPEG_BASELINE: "YBR_FULL_422",
    }.get(transfer_syntax, "RGB")


def refusal(transfer_syntax: str, pixel: ImagePixel, photometric: str) -> str:
    """Why samples like these cannot be encoded so; empty when they can."""
    target = _TARGETS[transfer_syntax]
    name = uids.uid_name(transfer_syntax)
    if pixel.float_bits:
        return f"{name} holds no floating point pixels"
    if pixel.bits_allocated not in target.bits_allocated:
        return f"{name} does not take pixels with {pixel.bits_allocated} bits allocated"
    if pixel.bits_stored > target.bits_stored_max:
        return f"{name} takes at most {target.bits_stored_max} bits stored, the image has {pixel.bits_stored}"
    if pixel.is_signed and not target.takes_signed:
        return f"{name} takes unsigned pixels only"
    if pixel.samples_per_pixel not in (1, 3):
        return f"{name} takes 1 or 3 samples per pixel, the image has {pixel.samples_per_pixel}"
    if photometric.startswith("YBR_PARTIAL") or (photometric.startswith("YBR") and not target.takes_ybr):
        return f"{name} does not take the colour model {photometric} without loss"
    if transfer_syntax == uids.JPEG_LOSSLESS_SV1 and pixel.bits_stored < 2:
        return f"{name} takes at least 2 bits stored"
    return ""


# --- whole words ---


def _rle(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    """PS3.5 annex G: the planes of bytes, most significant first, each row packed for itself."""
    size = samples.dtype.itemsize
    big_endian = samples.astype(samples.dtype.newbyteorder(">"), copy=False)
    octets = np.ascontiguousarray(big_endian).view(np.uint8).reshape(pixel.rows, pixel.columns, -1, size)
    segments = []
    for sample in range(octets.shape[2]):
        for place in range(size):
            plane = octets[:, :, sample, place].copy()
            packed = bytes(imagecodecs.packbits_encode(plane, axis=-1))
            segments.append(packed + b"\0" if len(packed) % 2 else packed)
    offsets, position = [], 64
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    head = struct.pack("<16I", len(segments), *offsets, *([0] * (15 - len(offsets))))
    return b"".join((head, *segments))


def native_bytes(samples: Array, *, little_endian: bool = True) -> bytes:
    """Samples as they stand in native pixel data, colour by pixel. 1-bit pixels are packed."""
    return samples.astype(samples.dtype.newbyteorder("<" if little_endian else ">"), copy=False).tobytes()


def packed_bits(samples: Array) -> bytes:
    """0 and 1 eight to a byte, the first in the least significant bit (PS3.5 8.1.1)."""
    return np.packbits(samples.reshape(-1), bitorder="little").tobytes()


def _uncompressed(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    return packed_bits(samples) if pixel.bits_allocated == 1 else native_bytes(samples)


def _deflated(pixel: ImagePixel, samples: Array, options: LossyOptions) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(_uncompressed(pixel, samples, options)) + packer.flush()


# --- codestreams ---


def _jpeg_lossless(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    words, bits = _unsigned(pixel, samples)
    space = "rgb" if words.ndim == 3 else None
    return bytes(
        imagecodecs.jpeg8_encode(
            words, lossless=True, predictor=1, bitspersample=bits, colorspace=space, outcolorspace=space
        )
    )


def _jpeg_ls(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    """Without the SPIFF header that the library writes and DICOM does not know. Noise may grow in JPEG-LS."""
    words, _ = _unsigned(pixel, samples)
    return _without_spiff(bytes(imagecodecs.jpegls_encode(words, out=2 * words.nbytes + 4096)))


def _without_spiff(stream: bytes) -> bytes:
    """Leave out APP8 segments (and the second SOI that ends the SPIFF directory) before the frame header."""
    position = 2
    while stream[position : position + 2] in (b"\xff\xe8", b"\xff\xd8"):
        is_segment = stream[position + 1] == 0xE8
        position += 2 + (int.from_bytes(stream[position + 2 : position + 4], "big") if is_segment else 0)
    if stream[position : position + 2] != b"\xff\xf7":
        raise InvalidObjectError("the JPEG-LS encoder gave a stream without frame header; report this image")
    return b"\xff\xd8" + stream[position:]


def _jpeg_2000(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    mct, bits = pixel.photometric == "RGB", pixel.bits_stored
    return bytes(imagecodecs.jpeg2k_encode(samples, 0, reversible=True, codecformat="j2k", mct=mct, bitspersample=bits))


def _htj2k(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, rgb=_transform(pixel)))


def _htj2k_rpcl(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    """Progression by resolution, with tile part length markers (PS3.5 10.17)."""
    parts = imagecodecs.HTJ2K.TILEPART.RESOLUTIONS
    return bytes(imagecodecs.htj2k_encode(samples, reversible=True, rgb=_transform(pixel), tlm=True, tilepart=parts))


def _transform(pixel: ImagePixel) -> bool | None:
    return pixel.photometric == "RGB" if pixel.is_color else None


def _jpeg_xl(pixel: ImagePixel, samples: Array, _options: LossyOptions) -> bytes:
    words = samples.astype(np.uint8) if pixel.bits_stored <= 8 else samples
    bits = pixel.bits_stored
    return bytes(
        imagecodecs.jpegxl_encode(
            words, effort=_JPEG_XL_EFFORT, lossless=True, bitspersample=bits, usecontainer=False, numthreads=1
        )
    )


def _unsigned(pixel: ImagePixel, samples: Array) -> tuple[Array, int]:
    """(words, bits of them) for codecs without a sign. Signed pixels go as whole words of two's complement, so that
    readers which do not extend the sign get the right numbers too."""
    if pixel.is_signed:
        return samples.view(np.dtype(f"u{samples.dtype.itemsize}")), 8 * samples.dtype.itemsize
    return samples.astype(np.uint8) if pixel.bits_stored <= 8 else samples, pixel.bits_stored


# --- with loss ---


def _jpeg_baseline(pixel: ImagePixel, samples: Array, options: LossyOptions) -> bytes:
    if pixel.is_color:
        return bytes(imagecodecs.jpeg8_encode(samples.astype(np.uint8), options.quality, subsampling="422"))
    return bytes(imagecodecs.jpeg8_encode(samples.astype(np.uint8), options.quality))


def _jpeg_2000_lossy(pixel: ImagePixel, samples: Array, options: LossyOptions) -> bytes:
    mct, bits = pixel.photometric == "RGB", pixel.bits_stored
    return bytes(
        imagecodecs.jpeg2k_encode(
            samples, options.psnr_db, reversible=False, codecformat="j2k", mct=mct, bitspersample=bits
        )
    )


_BYTES: Final = frozenset({8, 16})

_TARGETS: Final[dict[str, Target]] = {
    uids.RLE_LOSSLESS: Target(frozenset({8, 16, 32}), 32, _rle),
    uids.ENCAPSULATED_UNCOMPRESSED: Target(frozenset({1, 8, 16, 32}), 32, _uncompressed),
    uids.DEFLATED_IMAGE_FRAME: Target(frozenset({1, 8, 16, 32}), 32, _deflated),
    uids.JPEG_LOSSLESS_SV1: Target(_BYTES, 16, _jpeg_lossless),
    uids.JPEG_LS_LOSSLESS: Target(_BYTES, 16, _jpeg_ls),
    uids.JPEG_2000_LOSSLESS: Target(_BYTES | {32}, _JPEG_2000_BITS_MAX, _jpeg_2000),
    uids.HTJ2K_LOSSLESS: Target(_BYTES, 16, _htj2k),
    uids.HTJ2K_LOSSLESS_RPCL: Target(_BYTES, 16, _htj2k_rpcl),
    uids.JPEG_XL_LOSSLESS: Target(_BYTES, 16, _jpeg_xl, takes_signed=False, takes_ybr=False),
    uids.JPEG_BASELINE: Target(_BYTES, 8, _jpeg_baseline, takes_signed=False, takes_ybr=False, method="ISO_10918_1"),
    uids.JPEG_2000: Target(_BYTES, 16, _jpeg_2000_lossy, takes_ybr=False, method="ISO_15444_1"),
}
