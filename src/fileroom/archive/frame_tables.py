"""Where the frames of objects lie, remembered for a while: the least recently used is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.limits import MIB
from fileroom.pixels.frames import FragmentLayout, FrameTable

TABLES_MAX: Final = 4096
TABLE_BYTES_MAX: Final = 32 * MIB
"""All remembered tables together, per process. A whole-slide image of 100,000 tiles takes 2.4 MB, a CT slice 1 KB."""
_HEADER_BYTES: Final = 4096
"""A `pixel_header` in memory, about."""


@dataclass(frozen=True, slots=True)
class KnownFrames:
    """The frame table of one object, and the part of its header that decoding needs (Image Pixel module, overlays)."""

    table: FrameTable
    pixel_header: Dataset
    pixel_keyword: str

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        layout = self.table.layout
        if not isinstance(layout, FragmentLayout):
            return _HEADER_BYTES
        arrays = (layout.offsets, layout.lengths, layout.first_of_frame)
        return _HEADER_BYTES + sum(array.itemsize * len(array) for array in arrays)


class FrameTables:
    """A bounded memory of frame tables by storage key. Objects never change, so nothing in it can become untrue."""

    def __init__(self, entries_max: int = TABLES_MAX, bytes_max: int = TABLE_BYTES_MAX) -> None:
        self._known: OrderedDict[str, KnownFrames] = OrderedDict()
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> KnownFrames | None:
        """What is remembered of the object under `key`."""
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
        return known

    def put(self, key: str, known: KnownFrames) -> None:
        """Remember it, and forget others until the limits are kept. One that is past the limit alone is not kept."""
        if known.memory_bytes > self._bytes_max:
            return
        before = self._known.pop(key, None)
        self._bytes += known.memory_bytes - (before.memory_bytes if before else 0)
        self._known[key] = known
        while len(self._known) > self._entries_max or self._bytes > self._bytes_max:
            _, forgotten = self._known.popitem(last=False)
            self._bytes -= forgotten.memory_bytes
