"""Colour models of pixel data (PS3.3 C.7.6.3.1.2) brought to RGB: YBR in its kinds, and palettes (C.7.6.3.1.5, C.7.9).

All functions take and give numpy arrays of shape (rows, columns[, 3]).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import LUT_ENTRIES_MAX
from fileroom.pixels.header_values import integer, numbers, value_of

Array = NDArray[Any]

_FULL: Final = "YBR_FULL"
_PARTIAL: Final = "YBR_PARTIAL"


def to_rgb(samples: Array, photometric: str) -> Array:
    """RGB of the same unsigned type. YBR_RCT and YBR_ICT are left alone: decoders undo them inside the codestream."""
    if photometric.startswith(_FULL):
        return _full_range_to_rgb(samples)
    if photometric.startswith(_PARTIAL):
        return _partial_range_to_rgb(samples)
    return samples


def expand_half_chroma(flat: Array, rows: int, columns: int) -> Array:
    """Native YBR_FULL_422: Y1 Y2 Cb Cr for each pair of pixels of a row (PS3.3 C.7.6.3.1.2) to all samples."""
    if columns % 2 or flat.size != rows * columns * 2:
        raise InvalidObjectError(
            f"{flat.size} samples are no YBR_FULL_422 image of {rows} x {columns}; it needs an even number of columns"
        )
    pairs = flat.reshape(rows, columns // 2, 4)
    full = np.empty((rows, columns // 2, 2, 3), flat.dtype)
    full[..., 0] = pairs[..., :2]
    full[..., 1] = pairs[..., 2:3]
    full[..., 2] = pairs[..., 3:4]
    return full.reshape(rows, columns, 3)


class Palette:
    """Red, green and blue lookup tables. `first_value` is the stored value of entry 0; `entries` has shape (n, 3) and
    type uint8 or uint16, `bits` of which are used."""

    __slots__ = ("bits", "entries", "first_value")

    def __init__(self, first_value: int, entries: Array, bits: int) -> None:
        self.first_value = first_value
        self.entries = entries
        self.bits = bits

    def apply(self, stored: Array) -> Array:
        """Colours of stored values; values outside the table take its first or last entry."""
        return np.take(self.entries, self.indices(stored), axis=0)

    def apply_8_bit(self, stored: Array) -> NDArray[np.uint8]:
        """The same as 8 bit colours."""
        table = self.entries
        if table.dtype != np.uint8 or self.bits != 8:
            shift = self.bits - 8
            table = (table >> shift if shift >= 0 else table << -shift).astype(np.uint8)
        return np.take(table, self.indices(stored), axis=0)

    def indices(self, stored: Array) -> Array:
        """The entry of each stored value."""
        last = len(self.entries) - 1
        if self.first_value == 0 and stored.dtype == np.uint8 and last >= 255:
            return stored
        return np.clip(stored.astype(np.int32) - self.first_value, 0, last)


def palette_of(header: Dataset) -> Palette | None:
    """The palette of `header` (plain or segmented), None when it has none. Raises InvalidObjectError when broken."""
    descriptors = [_descriptor(header, color) for color in ("Red", "Green", "Blue")]
    if any(descriptor is None for descriptor in descriptors):
        return None
    columns = []
    first = descriptors[0][1] if descriptors[0] else 0
    for color, descriptor in zip(("Red", "Green", "Blue"), descriptors, strict=True):
        assert descriptor is not None
        columns.append(_table(header, color, descriptor[0], descriptor[2]))
    length = min(len(column) for column in columns)
    if not length:
        raise InvalidObjectError("the palette has no entries; the object must be corrected")
    entries = np.stack([column[:length] for column in columns], axis=1)
    return Palette(first, entries, _used_bits(entries))


def _full_range_to_rgb(samples: Array) -> Array:
    """The inverse of CCIR 601-2 with full range, as PS3.3 C.7.6.3.1.2 gives it for YBR_FULL."""
    if samples.dtype == np.uint8:
        return _through_tables(samples, *_full_range_tables())
    return _by_matrix(samples, offset=0.0, scale=1.0)


def _partial_range_to_rgb(samples: Array) -> Array:
    """YBR_PARTIAL: luminance 16 to 235, chrominance 16 to 240 of 255."""
    return _by_matrix(samples, offset=16.0, scale=255.0 / 219.0, chroma_scale=255.0 / 224.0)


def _by_matrix(samples: Array, *, offset: float, scale: float, chroma_scale: float = 1.0) -> Array:
    if samples.dtype.kind != "u":
        raise InvalidObjectError("YBR pixels must be unsigned; Pixel Representation says that they are signed")
    largest = float(np.iinfo(samples.dtype).max)
    unit = (largest + 1) / 256
    working: Array = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
    luma = (working[..., 0] - offset * unit) * scale
    blue = (working[..., 1] - 128 * unit) * chroma_scale
    red = (working[..., 2] - 128 * unit) * chroma_scale
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    whole: Array = np.clip(np.rint(rgb), 0, largest).astype(samples.dtype)
    return whole


@lru_cache(maxsize=1)
def _full_range_tables() -> tuple[Array, ...]:
    chroma = np.arange(256, dtype=np.float64) - 128
    return (
        np.rint(1.402 * chroma).astype(np.int16),
        np.rint(1.772 * chroma).astype(np.int16),
        (-0.344136 * 65536 * chroma).astype(np.int32),
        (-0.714136 * 65536 * chroma + 32768).astype(np.int32),
    )


def _through_tables(samples: Array, red: Array, blue: Array, green_blue: Array, green_red: Array) -> Array:
    luma = samples[..., 0].astype(np.int16)
    out = np.empty(samples.shape, np.uint8)
    green = ((green_blue[samples[..., 1]] + green_red[samples[..., 2]]) >> 16).astype(np.int16)
    out[..., 0] = np.clip(luma + red[samples[..., 2]], 0, 255)
    out[..., 1] = np.clip(luma + green, 0, 255)
    out[..., 2] = np.clip(luma + blue[samples[..., 1]], 0, 255)
    return out


def _descriptor(header: Dataset, color: str) -> tuple[int, int, int] | None:
    """(number of entries, first value, bits); a count of 0 is 65536, and the first value may be signed."""
    values = numbers(header, f"{color}PaletteColorLookupTableDescriptor")
    if len(values) != 3:
        return None
    count, first, bits = (int(part) for part in values)
    count = LUT_ENTRIES_MAX if count in (0, LUT_ENTRIES_MAX) else count & 0xFFFF
    if integer(header, "PixelRepresentation", 0) == 1 and first > 0x7FFF:
        first -= 0x10000
    if bits not in (8, 16):
        bits = 8 if bits < 12 else 16
    return count, first, bits


def _table(header: Dataset, color: str, count: int, bits: int) -> Array:
    data = value_of(header, f"{color}PaletteColorLookupTableData")
    if data is not None:
        return _words(data, bits, count)
    segments = value_of(header, f"Segmented{color}PaletteColorLookupTableData")
    if segments is None:
        raise InvalidObjectError(f"the {color.lower()} palette has a descriptor but no data")
    return _expand_segments(_words(segments, bits, None), count, bits)


def _words(data: object, bits: int, count: int | None) -> Array:
    """Entries of OW (or, from odd writers, US) data; 8 bit entries stand two in a word or one in each."""
    if isinstance(data, bytes):
        if bits == 8 and (count is None or len(data) < 2 * count):
            return np.frombuffer(data, np.uint8)[:count]
        return np.frombuffer(data[: len(data) // 2 * 2], "<u2")[:count]
    return np.atleast_1d(np.asarray(data)).astype(np.uint16)[:count]


def _used_bits(entries: Array) -> int:
    """Told by the values: writers put 8 bit values in 16 bit entries and say either."""
    return 16 if int(entries.max(initial=0)) > 255 else 8


def _expand_segments(words: Array, count: int, bits: int) -> Array:
    """Segmented palettes (PS3.3 C.7.9.2) to all their entries."""
    out: list[int] = []
    _Segments([int(word) for word in words], count, bits // 8).expand(out)
    return np.asarray(out[:count], dtype=np.uint8 if bits == 8 else np.uint16)


class _Segments:
    """One segmented table: discrete, linear and indirect segments; an indirect one repeats earlier ones."""

    def __init__(self, words: list[int], count: int, word_bytes: int) -> None:
        self._words = words
        self._count = count
        self._word_bytes = word_bytes
        self._starts: set[int] = set()

    def expand(self, out: list[int]) -> None:
        position = 0
        while position + 2 < len(self._words) and len(out) < self._count:
            self._starts.add(position)
            position = self._segment(position, out)

    def _segment(self, position: int, out: list[int], *, copied: bool = False) -> int:
        """Append one segment to `out`; the position of the next."""
        opcode, length = self._words[position], self._words[position + 1]
        if opcode == 0:
            out.extend(self._words[position + 2 : position + 2 + length])
            return position + 2 + length
        if opcode == 1 and out and length:
            first, last = out[-1], self._words[position + 2]
            out.extend(round(first + (last - first) * step / length) for step in range(1, length + 1))
            return position + 3
        if opcode == 2 and not copied:
            return self._repeat(position, length, out)
        raise InvalidObjectError(f"the segmented palette has a segment at entry {position} that cannot stand there")

    def _repeat(self, position: int, segments: int, out: list[int]) -> int:
        """An indirect segment. Its offset counts bytes (C.7.9.2.3); writers that count entries are told by where it
        leads."""
        words = 4 // self._word_bytes
        pieces = self._words[position + 2 : position + 2 + words]
        offset = sum(piece << (8 * self._word_bytes * i) for i, piece in enumerate(pieces))
        in_entries = offset // self._word_bytes
        start = in_entries if in_entries in self._starts else offset
        for _ in range(segments):
            if start not in self._starts or len(out) >= self._count:
                break
            start = self._segment(start, out, copied=True)
        return position + 2 + words
