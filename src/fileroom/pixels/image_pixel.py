"""The Image Pixel module (PS3.3 C.7.6.3) as one checked value: what the numbers of a frame mean before any codec.

Everything in this room that needs Rows or Bits Stored asks here; nothing else trusts the header.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError, UnsupportedError
from fileroom.pixels.header_values import integer, text

_INTEGER_BITS: Final = frozenset({1, 8, 16, 32, 64})
_HALF_CHROMA: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_QUARTER_CHROMA: Final = "YBR_PARTIAL_420"

FLOAT_KEYWORDS: Final = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True, slots=True)
class ImagePixel:
    """The attributes that tell how stored bits become numbers.

    `float_bits` is 32 or 64 for Float and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25), else 0.
    `number_of_frames` is 1 when the attribute is absent, empty, no number or less than 1.
    """

    rows: int
    columns: int
    samples_per_pixel: int = 1
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    is_signed: bool = False
    photometric: str = "MONOCHROME2"
    planar_configuration: int = 0
    number_of_frames: int = 1
    float_bits: int = 0

    @property
    def is_color(self) -> bool:
        """Three samples per pixel. PALETTE COLOR has one."""
        return self.samples_per_pixel == 3

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns) or (rows, columns, samples)."""
        if self.samples_per_pixel == 1:
            return (self.rows, self.columns)
        return (self.rows, self.columns, self.samples_per_pixel)

    @property
    def pixels(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The numpy type of stored values, in the byte order of this machine."""
        if self.float_bits:
            return np.dtype(f"f{self.float_bits // 8}")
        return np.dtype(f"{'i' if self.is_signed else 'u'}{max(self.bits_allocated // 8, 1)}")

    @property
    def frame_bits(self) -> int:
        """Bits of one native frame, chroma kept only for every other pixel where the photometric says so."""
        if self.photometric in _HALF_CHROMA and self.samples_per_pixel == 3:
            return self.pixels * 2 * self.bits_allocated
        if self.photometric == _QUARTER_CHROMA and self.samples_per_pixel == 3:
            return self.pixels * 3 // 2 * self.bits_allocated
        return self.full_frame_bits

    @property
    def full_frame_bits(self) -> int:
        """Bits of one native frame with every sample of every pixel."""
        return self.pixels * self.samples_per_pixel * self.bits_allocated

    @property
    def value_range(self) -> tuple[int, int]:
        """The smallest and the largest value that Bits Stored can hold."""
        if self.is_signed:
            return -(1 << (self.bits_stored - 1)), (1 << (self.bits_stored - 1)) - 1
        return 0, (1 << self.bits_stored) - 1


def image_pixel(header: Dataset, *, pixel_keyword: str | None = None) -> ImagePixel:
    """Read and check the module from `header`.

    `pixel_keyword` tells which element holds the pixels when it is known (float elements need it, or the absence of
    Bits Stored with 32 or 64 bits allocated). Raises InvalidObjectError when the module contradicts itself,
    UnsupportedError for depths that nobody has written since ACR-NEMA.
    """
    rows, columns = _positive(header, "Rows"), _positive(header, "Columns")
    samples = integer(header, "SamplesPerPixel", 1)
    if samples not in (1, 3, 4):
        raise InvalidObjectError(f"SamplesPerPixel is {samples}; an image has 1 or 3 samples per pixel")
    float_bits = _float_bits(header, pixel_keyword)
    allocated = float_bits or integer(header, "BitsAllocated", 0)
    if allocated not in _INTEGER_BITS:
        raise UnsupportedError(f"BitsAllocated is {allocated}; pixels of 1, 8, 16, 32 or 64 bits can be decoded")
    stored = allocated if float_bits else integer(header, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise InvalidObjectError(f"BitsStored is {stored} but BitsAllocated {allocated}; the object must be corrected")
    high_bit = integer(header, "HighBit", stored - 1)
    if not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    return ImagePixel(
        rows=rows,
        columns=columns,
        samples_per_pixel=samples,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high_bit,
        is_signed=not float_bits and integer(header, "PixelRepresentation", 0) == 1,
        photometric=_photometric(header, samples),
        planar_configuration=1 if samples > 1 and integer(header, "PlanarConfiguration", 0) == 1 else 0,
        number_of_frames=max(integer(header, "NumberOfFrames", 1), 1),
        float_bits=float_bits,
    )


def _positive(header: Dataset, keyword: str) -> int:
    value = integer(header, keyword, 0)
    if not 1 <= value <= 0xFFFFFFFF:
        raise InvalidObjectError(f"{keyword} is {value or 'absent'}: the object has no image that could be decoded")
    return value


def _float_bits(header: Dataset, pixel_keyword: str | None) -> int:
    if pixel_keyword is not None:
        return FLOAT_KEYWORDS.get(pixel_keyword, 0)
    allocated = integer(header, "BitsAllocated", 0)
    has_no_depth = "BitsStored" not in header and "PixelRepresentation" not in header
    return allocated if allocated in (32, 64) and has_no_depth else 0


def _photometric(header: Dataset, samples: int) -> str:
    return text(header, "PhotometricInterpretation") or ("RGB" if samples == 3 else "MONOCHROME2")
