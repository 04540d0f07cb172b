"""How a person wants to see an image: window, part and size, what is written on it (PS3.3 C.11.2, PS3.18 8.3.5.1)."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass


class VoiFunction(enum.Enum):
    """The shape of a window (PS3.3 C.11.2.1.2, C.11.2.1.3); the values are the terms of VOI LUT Function."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


class Annotation(enum.Enum):
    """What is written on a rendered image (PS3.18 8.3.5.1.1)."""

    PATIENT = "patient"
    TECHNIQUE = "technique"


@dataclass(frozen=True, slots=True)
class Window:
    """A window in units of the modality, after the modality LUT. Width is at least 1 for LINEAR, above 0 otherwise."""

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR

    @property
    def is_valid(self) -> bool:
        """Can it be applied?"""
        if not (math.isfinite(self.center) and math.isfinite(self.width)):
            return False
        return self.width >= 1 if self.function is VoiFunction.LINEAR else self.width > 0


@dataclass(frozen=True, slots=True)
class Viewport:
    """The picture fits into `width` x `height` pixels, its aspect kept (PS3.18 8.3.5.1.3).

    `source_x`, `source_y` are the upper left corner of the part that is shown, in pixels of the image; `source_width`
    and `source_height` its size, None up to the edge. A negative source size mirrors the picture in that direction.
    """

    width: int
    height: int
    source_x: float = 0.0
    source_y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None
