"""One frame to numbers: stored values of grayscale and palette images, RGB of colour images (PS3.3 C.7.6.3, PS3.5 8).

The codecs give samples; here they get the sign and the depth that the header gives them. What a value means (rescale,
window, palette) is the business of `render`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, TooLargeError
from fileroom.core.limits import RENDER_PIXELS_MAX
from fileroom.pixels import codecs, colour
from fileroom.pixels.codecs import Decoded
from fileroom.pixels.image_pixel import ImagePixel, image_pixel

Array = NDArray[Any]


def decode_frame(header: Dataset, transfer_syntax: str, frame: bytes, *, pixel_keyword: str | None = None) -> Array:
    """Decode one frame (as `frames.frame_bytes` gives it).

    `header` is the data set without pixel data; `pixel_keyword` tells which element held the frame (see `image_pixel`).
    The answer has shape (rows, columns) with stored values, or (rows, columns, 3) with RGB, in the type that Bits
    Allocated and Pixel Representation say; 1-bit pixels are 0 and 1 as uint8.
    Raises InvalidObjectError when frame and header contradict each other or the frame is corrupt, UnsupportedError for
    what is not decoded (video), TooLargeError past RENDER_PIXELS_MAX.
    """
    return decode_pixels(image_pixel(header, pixel_keyword=pixel_keyword), transfer_syntax, frame)


def decode_pixels(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Array:
    """`decode_frame` for a caller that has read the Image Pixel module already."""
    decoded = decode_stored(pixel, transfer_syntax, frame)
    if not pixel.is_color:
        return decoded.samples
    return colour.to_rgb(decoded.samples, decoded.photometric)


def decode_stored(pixel: ImagePixel, transfer_syntax: str, frame: bytes) -> Decoded:
    """The same without conversion to RGB: native and RLE frames in YBR_FULL stay so. For transcoding."""
    if pixel.pixels > RENDER_PIXELS_MAX:
        raise TooLargeError(
            f"a frame of {pixel.rows} x {pixel.columns} pixels is past the limit of {RENDER_PIXELS_MAX}"
        )
    decoded = codecs.decode(pixel, transfer_syntax, frame)
    samples = _shaped(pixel, decoded.samples)
    return dataclasses.replace(decoded, samples=_stored_values(pixel, decoded, samples))


def _shaped(pixel: ImagePixel, samples: Array) -> Array:
    if samples.shape == pixel.shape:
        return samples
    if samples.ndim == 3 and samples.shape == (pixel.rows, pixel.columns, 1):
        return samples[..., 0]
    raise InvalidObjectError(
        f"the frame decodes to {' x '.join(map(str, samples.shape))} samples, but the header says "
        f"{' x '.join(map(str, pixel.shape))}; the object contradicts itself"
    )


def _stored_values(pixel: ImagePixel, decoded: Decoded, samples: Array) -> Array:
    """Bring samples to the type of the header: only Bits Stored count, the highest of them is the sign."""
    if pixel.float_bits or pixel.bits_allocated == 1:
        return samples
    if decoded.is_words:
        return _from_words(pixel, samples)
    return _from_codestream(pixel, decoded, samples)


def _from_words(pixel: ImagePixel, samples: Array) -> Array:
    """Native words: bits outside Bits Stored (retired overlays, garbage) are cut off, the sign is extended."""
    below = pixel.high_bit + 1 - pixel.bits_stored
    above = pixel.bits_allocated - pixel.high_bit - 1
    if not above and not below:
        return samples
    if pixel.is_signed:
        return (samples << above) >> (above + below)
    if below:
        samples = samples >> below
    used: Array = samples & samples.dtype.type((1 << pixel.bits_stored) - 1)
    return used


def _from_codestream(pixel: ImagePixel, decoded: Decoded, samples: Array) -> Array:
    """Codestreams know their own depth and sign, which may differ from the header; the header says what they mean.

    An unsigned codestream of signed pixels holds two's complement in Bits Stored (JPEG, JPEG-LS have no sign). A signed
    codestream of pixels that the header calls unsigned holds the same bits. Lossy decoders overshoot the range.
    """
    if samples.dtype.kind == "f":
        raise InvalidObjectError("the frame decodes to floating point numbers, but the header says integers")
    low, high = pixel.value_range
    if pixel.is_signed and samples.dtype.kind == "u":
        bits = min(decoded.sign_bits or pixel.bits_stored, pixel.bits_stored)
        unused = pixel.bits_allocated - bits
        words = samples.astype(f"u{pixel.dtype.itemsize}").view(pixel.dtype)
        return (words << unused) >> unused if unused else words
    if not pixel.is_signed and samples.dtype.kind == "i":
        used: Array = samples.astype(pixel.dtype) & pixel.dtype.type(high)
        return used
    if decoded.is_lossy and pixel.bits_stored < pixel.bits_allocated:
        samples = np.clip(samples, low, high)
    return samples.astype(pixel.dtype, copy=False)
