"""From stored values to a picture of 256 grays (PS3.4 N.2): modality LUT, VOI LUT, presentation LUT, in this order.

Each step is a function on numbers. For integers of up to 16 bits the chain runs once over the values that occur and its
result is a table; the picture is then one lookup per pixel. Other numbers take the chain themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.limits import LUT_ENTRIES_MAX
from fileroom.dicom.display import VoiFunction, Window
from fileroom.pixels.functional_groups import frame_group
from fileroom.pixels.header_values import first_item, number, numbers, text, value_of
from fileroom.pixels.image_pixel import ImagePixel

Array = NDArray[Any]
Step = Callable[[Array], Array]
"""Numbers to numbers, float64, of any shape."""

_SAMPLE_PIXELS: Final = 65536
_DARK_MAX: Final = 127
_AUTO_LOW, _AUTO_HIGH = 0.2, 99.8
"""Percentiles of an automatic window; single outliers do not darken the image."""

_XA_STORAGE: Final = frozenset({"1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"})


@dataclass(frozen=True, slots=True)
class Lut:
    """A lookup table (PS3.3 C.11.1, C.11.2): `values` from stored value `first` on, of which `bits` are used."""

    first: int
    values: Array
    bits: int

    def apply(self, numbers: Array) -> Array:
        """Values outside the table take its first or last entry."""
        last = len(self.values) - 1
        index = np.clip(np.rint(numbers) - self.first, 0, last).astype(np.int64)
        looked_up: Array = np.take(self.values, index).astype(np.float64)
        return looked_up


@dataclass(frozen=True, slots=True)
class Chain:
    """The three steps. `voi` None means: find a window in the pixels. `presentation` takes and gives 0 to 1."""

    modality: Step | None
    voi: Step | None
    presentation: Step | None
    padding: tuple[int, int] | None = None

    def apply(self, stored: Array, pixel: ImagePixel) -> NDArray[np.uint8]:
        """8 bit grays of `stored`, shape kept."""
        voi = self.voi or self._automatic(stored, pixel)
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and stored.size:
            return self._by_table(stored, voi)
        return self._padded(self._to_gray(stored.astype(np.float64), voi), stored)

    def _to_gray(self, numbers: Array, voi: Step) -> NDArray[np.uint8]:
        unit = voi(self.modality(numbers) if self.modality else numbers)
        if self.presentation:
            unit = self.presentation(unit)
        grays: NDArray[np.uint8] = np.nan_to_num(np.rint(unit * 255)).astype(np.uint8)
        return grays

    def _by_table(self, stored: Array, voi: Step) -> NDArray[np.uint8]:
        low, high = int(stored.min()), int(stored.max())
        domain = np.arange(low, high + 1)
        grays = self._padded(self._to_gray(domain.astype(np.float64), voi), domain)
        unsigned = np.dtype(f"u{stored.dtype.itemsize}")
        table = np.zeros(1 << (8 * stored.dtype.itemsize), np.uint8)
        table[domain & (len(table) - 1)] = grays
        picture: NDArray[np.uint8] = np.take(table, np.ascontiguousarray(stored).view(unsigned))
        return picture

    def _padded(self, grays: NDArray[np.uint8], stored: Array) -> NDArray[np.uint8]:
        """Padding is background (PS3.3 C.7.5.1.1.2): where it would be bright it is made black.

        Dark padding keeps its gray; in MR it is often 0, which also occurs in the image.
        """
        if self.padding is not None:
            grays[(stored >= self.padding[0]) & (stored <= self.padding[1]) & (grays > _DARK_MAX)] = 0
        return grays

    def _automatic(self, stored: Array, pixel: ImagePixel) -> Step:
        """8 bit images show all their values; others from nearly the smallest to nearly the largest pixel."""
        if self.modality is None and not pixel.float_bits and pixel.bits_stored <= 8:
            low, high = pixel.value_range
            return linear_between(float(low), float(high))
        sample = stored.reshape(-1)[:: max(stored.size // _SAMPLE_PIXELS, 1)]
        if self.padding is not None:
            kept = sample[(sample < self.padding[0]) | (sample > self.padding[1])]
            sample = kept if kept.size else sample
        values = sample.astype(np.float64)
        values = self.modality(values) if self.modality else values
        values = values[np.isfinite(values)]
        if not values.size:
            return linear_between(0.0, 1.0)
        low, high = np.percentile(values, (_AUTO_LOW, _AUTO_HIGH))
        if low == high:
            low, high = values.min(), values.max()
        return linear_between(float(low), float(high))


def chain_of(
    header: Dataset, pixel: ImagePixel, index: int, *, window: Window | None = None, state: GrayscaleState | None = None
) -> Chain:
    """What the object says of frame `index` (from 0), overruled by a presentation state and by an asked `window`."""
    if state is not None:
        chosen = window_step(window) if window else state.voi or _identity_voi(state.modality, pixel)
        return Chain(state.modality, chosen, state.presentation, padding_of(header, pixel))
    modality = modality_step(header, index, pixel)
    voi = window_step(window) if window else _voi_step(header, index, pixel)
    inverse = pixel.photometric == "MONOCHROME1" or text(header, "PresentationLUTShape") == "INVERSE"
    return Chain(modality, voi, invert if inverse else None, padding_of(header, pixel))


@dataclass(frozen=True, slots=True)
class GrayscaleState:
    """The grayscale part of a presentation state for one frame. None is identity."""

    modality: Step | None
    voi: Step | None
    presentation: Step | None


# --- modality ---


def modality_step(header: Dataset, index: int, pixel: ImagePixel) -> Step | None:
    """Rescale or Modality LUT (PS3.3 C.11.1), of the frame's functional group first; None is identity."""
    group = frame_group(header, index, "PixelValueTransformationSequence")
    table = None if group is not None else first_item(header, "ModalityLUTSequence")
    if table is not None and not _keeps_stored_values(header):
        lut = lut_of(table, signed=pixel.is_signed)
        if lut is not None:
            return lut.apply
    source = group if group is not None else header
    return _rescale(number(source, "RescaleSlope"), number(source, "RescaleIntercept"))


def _rescale(slope: float | None, intercept: float | None) -> Step | None:
    if slope is None and intercept is None:
        return None
    factor, offset = slope or 1.0, intercept or 0.0
    if factor == 1.0 and offset == 0.0:
        return None
    return lambda numbers: numbers * factor + offset


def _keeps_stored_values(header: Dataset) -> bool:
    """In X-ray angiography the table of logarithmic images is for measuring, not for display (PS3.3 C.8.7.1.1.2)."""
    is_xa = text(header, "SOPClassUID") in _XA_STORAGE
    return is_xa and text(header, "PixelIntensityRelationship") in ("LOG", "DISP")


# --- value of interest ---


def _voi_step(header: Dataset, index: int, pixel: ImagePixel) -> Step | None:
    group = frame_group(header, index, "FrameVOILUTSequence")
    signed = pixel.is_signed or (number(header, "RescaleIntercept") or 0.0) < 0
    for source in [header] if group is None else [group, header]:
        step = voi_of(source, signed=signed)
        if step is not None:
            return step
    return None


def voi_of(source: Dataset, *, signed: bool) -> Step | None:
    """The first VOI LUT, else the first possible window of `source`."""
    table = first_item(source, "VOILUTSequence")
    lut = lut_of(table, signed=signed) if table is not None else None
    if lut is not None:
        return scaled(lut)
    center, width = number(source, "WindowCenter"), number(source, "WindowWidth")
    if center is None or width is None:
        return None
    window = Window(center, width, _function(source))
    return window_step(window) if window.is_valid else None


def window_step(window: Window) -> Step:
    """A window as a function to 0..1 (PS3.3 C.11.2.1.2.1, C.11.2.1.3)."""
    center, width = window.center, window.width
    if window.function is VoiFunction.SIGMOID:
        return lambda numbers: 1.0 / (1.0 + np.exp(np.clip(-4.0 * (numbers - center) / width, -700.0, 700.0)))
    if window.function is VoiFunction.LINEAR_EXACT:
        return lambda numbers: np.clip((numbers - center) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return lambda numbers: (numbers > center - 0.5).astype(np.float64)
    return lambda numbers: np.clip((numbers - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def linear_between(low: float, high: float) -> Step:
    """`low` becomes 0, `high` 1; when they are equal, everything above is 1."""
    span = high - low
    if span <= 0:
        return lambda numbers: (numbers > low).astype(np.float64)
    return lambda numbers: np.clip((numbers - low) / span, 0.0, 1.0)


def scaled(lut: Lut) -> Step:
    """A table to 0..1 of its bits."""
    full = float((1 << lut.bits) - 1)
    return lambda numbers: np.clip(lut.apply(numbers) / full, 0.0, 1.0)


def _identity_voi(modality: Step | None, pixel: ImagePixel) -> Step | None:
    """Without VOI LUT the whole range of modality values is shown (PS3.4 N.2.1.3)."""
    if pixel.float_bits:
        return None
    ends = np.array(pixel.value_range, np.float64)
    values = modality(ends) if modality else ends
    return linear_between(float(values.min()), float(values.max()))


def _function(source: Dataset) -> VoiFunction:
    try:
        return VoiFunction(text(source, "VOILUTFunction") or "LINEAR")
    except ValueError:
        return VoiFunction.LINEAR


# --- presentation ---


def invert(unit: Array) -> Array:
    """Presentation LUT Shape INVERSE, and MONOCHROME1."""
    return 1.0 - unit


def presentation_step(state: Dataset) -> Step | None:
    """Presentation LUT Sequence or Shape of a presentation state (PS3.3 C.11.6); None is identity."""
    table = first_item(state, "PresentationLUTSequence")
    lut = lut_of(table, signed=False) if table is not None else None
    if lut is not None:
        last = len(lut.values) - 1
        step = scaled(Lut(0, lut.values, lut.bits))
        return lambda unit: step(unit * last)
    return invert if text(state, "PresentationLUTShape") == "INVERSE" else None


# --- shared ---


def lut_of(item: Dataset, *, signed: bool) -> Lut | None:
    """LUT Descriptor and LUT Data of an item (PS3.3 C.11.1.1); None when they cannot be used.

    0 entries are 65,536. `signed`: the first value mapped is signed. Data may be US or OW, 8 bit tables may be packed.
    """
    descriptor = numbers(item, "LUTDescriptor")
    data = value_of(item, "LUTData")
    if data is None or len(descriptor) != 3:
        return None
    count, first, bits = (int(part) for part in descriptor)
    count = count & 0xFFFF or LUT_ENTRIES_MAX
    if signed and first > 0x7FFF:
        first -= 0x10000
    values = _entries(data, count, bits)
    if not values.size:
        return None
    used = bits if 8 <= bits <= 16 else 16
    largest = int(values.max())
    return Lut(first, values, max(used, largest.bit_length()) if largest else used)


def _entries(data: object, count: int, bits: int) -> Array:
    if isinstance(data, bytes):
        if bits <= 8 and len(data) < 2 * count:
            return np.frombuffer(data, np.uint8)[:count]
        return np.frombuffer(data[: len(data) // 2 * 2], "<u2")[:count]
    values = np.atleast_1d(np.asarray(data)).astype(np.int64) & 0xFFFF
    return values.astype(np.uint16)[:count]


def padding_of(header: Dataset, pixel: ImagePixel) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit as (smallest, largest) stored value; None when there are none."""
    value = number(header, "PixelPaddingValue")
    if value is None or pixel.float_bits:
        return None
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(int(value), pixel), _as_stored(int(value if limit is None else limit), pixel)]
    return min(ends), max(ends)


def _as_stored(value: int, pixel: ImagePixel) -> int:
    """The value with the sign that the pixels have; writers use US for SS and back."""
    low, high = pixel.value_range
    if low <= value <= high:
        return value
    value &= (1 << pixel.bits_stored) - 1
    return value - (1 << pixel.bits_stored) if pixel.is_signed and value > high else value
