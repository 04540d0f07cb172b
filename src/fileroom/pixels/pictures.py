"""PNG and GIF files to uncompressed pixels, without loss (PS3.18 10.5.2 and table 10.5.2-1; ISO 15948, GIF89a).

Indexed colours become RGB, transparency is discarded, an animation becomes frames: so the standard has it. Gray PNG files of
1 to 4 bits are widened to 8, those of 16 bits keep them. A file tells its size before anything is inflated, and one that
would be too large is refused by that.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from fileroom.core.errors import InvalidRequestError, TooLargeError, UnsupportedError
from fileroom.core.limits import PICTURE_BYTES_MAX, PICTURE_FRAMES_MAX
from fileroom.dicom import uids
from fileroom.dicomweb.codestream import ImageHeader

_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_SAMPLES: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Samples of a decoded pixel by the colour type of IHDR; palette indices are widened to RGB."""


def read_picture(essence: str, data: memoryview, *, gray: bool) -> ImageHeader:
    """The pixels of an `image/png` or `image/gif` file, all frames one behind the other, little endian.

    `gray`: one sample a pixel is wanted, which is given where every pixel is gray, and refused where one is not.
    Raises InvalidRequestError when the file is damaged or of another kind, TooLargeError past PICTURE_BYTES_MAX when decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of what is a limit to us.
        try:
            if essence == "image/png":
                frames, frame_time_ms = _png(data)[np.newaxis], None
            elif essence == "image/gif":
                frames, frame_time_ms = _gif(data)
            else:
                raise UnsupportedError(f"{essence} is not decoded; send image/png or image/gif")
        except (InvalidRequestError, TooLargeError, UnsupportedError):
            raise
        except Exception as error:
            raise InvalidRequestError(f"the {essence} file is damaged: {str(error)[:200]}") from error
    if gray and frames.ndim == 4:
        if not (np.array_equal(frames[..., 0], frames[..., 1]) and np.array_equal(frames[..., 0], frames[..., 2])):
            raise InvalidRequestError(
                f"the metadata say SamplesPerPixel 1, but the {essence} file has colours; correct the metadata to RGB"
            )
        frames = frames[..., 0]
    bits = 8 * frames.dtype.itemsize
    pixels = np.ascontiguousarray(frames, frames.dtype.newbyteorder("<"))
    return ImageHeader(
        transfer_syntax=uids.EXPLICIT_VR_LITTLE_ENDIAN,
        rows=frames.shape[1],
        columns=frames.shape[2],
        samples=1 if frames.ndim == 3 else 3,
        bits=bits,
        signed=False,
        photometric="MONOCHROME2" if frames.ndim == 3 else "RGB",
        lossy=False,
        codestream=memoryview(pixels.tobytes()),
        frames=len(frames),
        frame_time_ms=frame_time_ms,
    )


def _png(data: memoryview) -> NDArray[Any]:
    if bytes(data[:8]) != _PNG_START or bytes(data[12:16]) != b"IHDR" or len(data) < 33:
        raise InvalidRequestError("the data do not begin as a PNG file; they are damaged or of another media type")
    columns, rows, bits, colour = struct.unpack_from(">IIBB", data, 16)
    _check_size(columns, rows, _PNG_SAMPLES.get(colour, 4) * (2 if bits == 16 else 1))
    picture = imagecodecs.png_decode(bytes(data))
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        picture = picture[..., :-1]  # an alpha channel
    return picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture


def _gif(data: memoryview) -> tuple[NDArray[np.uint8], float | None]:
    if bytes(data[:6]) not in (b"GIF87a", b"GIF89a") or len(data) < 13:
        raise InvalidRequestError("the data do not begin as a GIF file; they are damaged or of another media type")
    columns, rows = struct.unpack_from("<HH", data, 6)
    _check_size(columns, rows, 3)
    frames: list[NDArray[np.uint8]] = []
    durations: set[float] = set()
    with Image.open(io.BytesIO(data), formats=["GIF"]) as file:
        for frame in ImageSequence.Iterator(file):
            if frame.size != (columns, rows):
                raise InvalidRequestError("a frame of the GIF file reaches out of its picture; correct the file")
            _check_size(columns, rows, 3 * (len(frames) + 1))
            if len(frames) == PICTURE_FRAMES_MAX:
                raise TooLargeError(f"the GIF file has more than {PICTURE_FRAMES_MAX} frames; send it in parts")
            frames.append(np.asarray(frame.convert("RGB")))
            durations.add(float(frame.info.get("duration") or 0))
    regular = len(frames) > 1 and len(durations) == 1 and 0.0 not in durations
    return np.stack(frames), durations.pop() if regular else None


def _check_size(columns: int, rows: int, pixel_bytes: int) -> None:
    if not (0 < rows <= 0xFFFF and 0 < columns <= 0xFFFF):
        raise InvalidRequestError(f"the picture has {columns} x {rows} pixels; DICOM takes 1 to 65535 rows and columns")
    if columns * rows * pixel_bytes > PICTURE_BYTES_MAX:
        raise TooLargeError(
            f"the picture of {columns} x {rows} pixels has more than {PICTURE_BYTES_MAX} bytes when decoded; send it as "
            "image/jp2 or application/dicom"
        )
