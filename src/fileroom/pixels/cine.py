"""How long each frame of a moving picture is shown (PS3.3 C.7.6.5, Cine)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydicom.dataset import Dataset

from fileroom.pixels.header_values import number, numbers

_DEFAULT_MS: Final = 100.0
_MIN_MS: Final = 1.0
_MAX_MS: Final = 65_535.0
"""What GIF and MP4 both can say; nobody looks at one frame of a film for a minute."""


def frame_time_of(header: Dataset) -> Callable[[int, float | None], float]:
    """A function from a frame's index (from 0) to the milliseconds that it is shown.

    By Frame Time Vector, Frame Time, Recommended Display Frame Rate, Cine Rate; if all are missing what the second
    argument says, which is the stream's own opinion, or 100.
    """
    vector = numbers(header, "FrameTimeVector")
    rate = number(header, "RecommendedDisplayFrameRate") or number(header, "CineRate")
    by_rate = 1000.0 / rate if rate and rate > 0 else None
    always = number(header, "FrameTime") or by_rate

    def frame_time(index: int, fallback: float | None = None) -> float:
        time = always or fallback or _DEFAULT_MS
        if len(vector) > 1:
            time = vector[(index + 1) % len(vector)] or vector[1] or time
        return min(max(time, _MIN_MS), _MAX_MS)

    return frame_time
