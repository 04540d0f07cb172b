"""Regions of pixels made black: what is burned into them leaves no trace (PS3.15 E.3.1).

Frames become native, little endian, colour by pixel; everything outside of the regions keeps its value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.dicom.dictionary import tag_of, vr_of
from fileroom.pixels.decode import decode_stored
from fileroom.pixels.encoders import native_bytes, packed_bits
from fileroom.pixels.image_pixel import ImagePixel
from fileroom.transform.changes import shallow


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of every frame, in pixels from the upper left corner, `right` and `bottom` not in it."""

    left: int
    top: int
    right: int
    bottom: int


def blanked_samples(
    pixel: ImagePixel, transfer_syntax: str, frame: bytes, regions: Sequence[Region]
) -> tuple[NDArray[Any], str]:
    """(samples with the regions blanked, their photometric interpretation)."""
    decoded = decode_stored(pixel, transfer_syntax, frame)
    samples = np.array(decoded.samples)
    black = _black(decoded.photometric, samples)
    for one in regions:
        samples[max(one.top, 0) : max(one.bottom, 0), max(one.left, 0) : max(one.right, 0)] = black
    return samples, decoded.photometric


def blanked_frames(
    pixel: ImagePixel, transfer_syntax: str, frames: Iterable[bytes], regions: Sequence[Region]
) -> Iterator[bytes]:
    """Native frames, one after the other, each beginning at a byte."""
    for frame in frames:
        samples, _ = blanked_samples(pixel, transfer_syntax, frame, regions)
        yield packed_bits(samples) if pixel.bits_allocated == 1 else native_bytes(samples)


def blanked_header(header: Dataset, pixel: ImagePixel, photometric: str) -> Dataset:
    """The header that goes with such frames."""
    made = shallow(header)
    values: dict[str, object] = {"PhotometricInterpretation": photometric}
    if pixel.samples_per_pixel > 1:
        values["PlanarConfiguration"] = 0
    if pixel.high_bit != pixel.bits_stored - 1:
        values["HighBit"] = pixel.bits_stored - 1
    for keyword, value in values.items():
        tag = tag_of(keyword) or 0
        made[tag] = DataElement(tag, vr_of(tag), value)
    for tag in (0x7FE00001, 0x7FE00002, 0x7FE00003):
        made.pop(tag, None)
    return made


def as_native(pixel: ImagePixel, photometric: str) -> ImagePixel:
    """The description of such frames."""
    return dataclasses.replace(
        pixel, photometric=photometric, planar_configuration=0, high_bit=max(pixel.bits_stored - 1, 0)
    )


def _black(photometric: str, samples: NDArray[Any]) -> object:
    if photometric == "MONOCHROME1":
        return samples.max() if samples.size else 0
    if photometric.startswith("YBR") and samples.ndim == 3:
        return np.array([0, 128, 128], samples.dtype)
    return samples.dtype.type(0)
