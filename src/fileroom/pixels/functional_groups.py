"""Attributes of one frame, wherever the object keeps them (PS3.3 C.7.6.16): at its top level, in the functional groups
shared by all frames, or in those of the frame."""

from __future__ import annotations

from pydicom.dataset import Dataset

from fileroom.pixels.header_values import first_item, items


def frame_group(header: Dataset, index: int, keyword: str) -> Dataset | None:
    """The first item of functional group `keyword` for frame `index` (from 0); None when the object has none."""
    per_frame = items(header, "PerFrameFunctionalGroupsSequence")
    if 0 <= index < len(per_frame):
        own = first_item(per_frame[index], keyword)
        if own is not None:
            return own
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    return first_item(shared, keyword) if shared is not None else None
