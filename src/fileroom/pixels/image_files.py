"""Pictures of 8 bits to the image files that browsers read: JPEG, PNG, GIF (also animated), JPEG 2000.

A colour profile of the object goes along where the format has a place for it (ICC.1 annex B).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fileroom.core.errors import TooLargeError, UnsupportedError
from fileroom.core.limits import ANIMATION_PIXELS_MAX, ICC_PROFILE_BYTES_MAX
from fileroom.pixels.request import GIF, JP2, JPEG, PNG, QUALITY_DEFAULT

Picture = NDArray[np.uint8]

_JPEG_SIDE_MAX: Final = 65500
"""What libjpeg writes; the format itself ends at 65,535."""
_GIF_SIDE_MAX: Final = 65535
_FRAME_TIME_MIN_MS: Final = 20
"""Browsers slow down animations that want to be faster."""
_ICC_PIECE_BYTES: Final = 65519
_PNG_HEADER_BYTES: Final = 33
"""Signature and IHDR; the profile must come before the image data."""
_FULL_CHROMA_QUALITY: Final = 90


def encode_image(picture: Picture, media_type: str, quality: int | None = None, profile: bytes | None = None) -> bytes:
    """One picture, (rows, columns) gray or (rows, columns, 3) RGB, as a file of `media_type`.

    Raises TooLargeError when the format has no room for its size, UnsupportedError for another media type.
    """
    profile = profile if picture.ndim == 3 and profile and len(profile) <= ICC_PROFILE_BYTES_MAX else None
    if media_type == JPEG:
        return _jpeg(picture, quality or QUALITY_DEFAULT, profile)
    if media_type == PNG:
        return _png(picture, profile)
    if media_type == GIF:
        return encode_animation([(picture, 0.0)])
    if media_type == JP2:
        return _jpeg_2000(picture, quality or QUALITY_DEFAULT)
    raise UnsupportedError(f"images are not rendered as {media_type}; ask for image/jpeg or image/png")


def encode_animation(pictures: Iterable[tuple[Picture, float]]) -> bytes:
    """Pictures of one size, each with the milliseconds it is shown, as a GIF that repeats for ever.

    Raises TooLargeError past ANIMATION_PIXELS_MAX for all of them.
    """
    images: list[Image.Image] = []
    durations: list[int] = []
    pixels = 0
    for picture, shown_ms in pictures:
        pixels += picture.shape[0] * picture.shape[1]
        if pixels > ANIMATION_PIXELS_MAX or max(picture.shape[:2]) > _GIF_SIDE_MAX:
            raise TooLargeError(
                f"the animation has more than {ANIMATION_PIXELS_MAX} pixels in all its frames; ask for fewer frames or "
                "a smaller viewport"
            )
        image = Image.fromarray(np.ascontiguousarray(picture))
        durations.append(max(round(shown_ms), _FRAME_TIME_MIN_MS))
        images.append(image if image.mode == "L" else image.quantize(256, Image.Quantize.FASTOCTREE))
    out = io.BytesIO()
    if len(images) == 1:
        images[0].save(out, "GIF")
    else:
        images[0].save(out, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return out.getvalue()


def _jpeg(picture: Picture, quality: int, profile: bytes | None) -> bytes:
    if max(picture.shape[:2]) > _JPEG_SIDE_MAX:
        raise TooLargeError(f"a JPEG has at most {_JPEG_SIDE_MAX} pixels a side; ask for a viewport or for image/png")
    if picture.ndim == 2:
        file = bytes(imagecodecs.jpeg8_encode(picture, quality))
    else:
        subsampling = "444" if quality >= _FULL_CHROMA_QUALITY else "420"
        file = bytes(imagecodecs.jpeg8_encode(picture, quality, subsampling=subsampling))
    return _with_jpeg_profile(file, profile) if profile else file


def _with_jpeg_profile(file: bytes, profile: bytes) -> bytes:
    """APP2 segments behind the first segment, which is JFIF."""
    at = 4 + int.from_bytes(file[4:6], "big")
    pieces = [profile[i : i + _ICC_PIECE_BYTES] for i in range(0, len(profile), _ICC_PIECE_BYTES)]
    segments = [
        b"\xff\xe2" + struct.pack(">H", len(piece) + 16) + b"ICC_PROFILE\0" + bytes([i + 1, len(pieces)]) + piece
        for i, piece in enumerate(pieces)
    ]
    return b"".join([file[:at], *segments, file[at:]])


def _png(picture: Picture, profile: bytes | None) -> bytes:
    file = bytes(imagecodecs.png_encode(picture, 1, strategy=imagecodecs.PNG.STRATEGY.RLE, filter=_png_filter()))
    if not profile:
        return file
    body = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return file[:_PNG_HEADER_BYTES] + chunk + file[_PNG_HEADER_BYTES:]


def _png_filter() -> Any:
    return imagecodecs.PNG.FILTER.SUB


def _jpeg_2000(picture: Picture, quality: int) -> bytes:
    """Quality as peak signal to noise ratio: 100 is lossless, 90 about 48 dB."""
    if quality == 100:
        return bytes(imagecodecs.jpeg2k_encode(picture, level=0, reversible=True, codecformat="jp2"))
    return bytes(imagecodecs.jpeg2k_encode(picture, level=25 + quality // 4, codecformat="jp2"))
