"""What a caller may ask of a rendered image (PS3.18 8.3.5.1, PS3.3 C.11.2)."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, UnsupportedError

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
JP2: Final = "image/jp2"
MEDIA_TYPES: Final = (JPEG, PNG, GIF, JP2)
"""What can be made; the first is the default."""

QUALITY_DEFAULT: Final = 90


class VoiFunction(enum.Enum):
    """The shape of a window (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


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
    """The answer fits into `width` x `height` pixels, its aspect kept (PS3.18 8.3.5.1.3).

    The source rectangle is in pixels of the image; None is up to the edge. A negative source size mirrors.
    """

    width: int
    height: int
    source_x: float = 0.0
    source_y: float = 0.0
    source_width: float | None = None
    source_height: float | None = None


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """How to render.

    `frame_numbers` count from 1; empty means the first frame, for `image/gif` all. `presentation_state` is a Grayscale
    (or Color) Softcopy Presentation State; it then decides everything that it can say. `quality` is 1 to 100, for JPEG
    and JPEG 2000. `icc_profile`: pass the image's profile on. `enlarge`: fill the viewport even when the image is
    smaller.
    """

    media_type: str = JPEG
    frame_numbers: tuple[int, ...] = ()
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int | None = None
    burn_overlays: bool = False
    presentation_state: Dataset | None = None
    icc_profile: bool = True
    enlarge: bool = True

    def check(self) -> None:
        """Raises UnsupportedError for another media type, InvalidRequestError for impossible values."""
        if self.media_type not in MEDIA_TYPES:
            raise UnsupportedError(
                f"images are not rendered as {self.media_type}; ask for one of {', '.join(MEDIA_TYPES)}"
            )
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InvalidRequestError(f"quality is {self.quality}; it must be from 1 to 100")
        if self.window is not None and not self.window.is_valid:
            raise InvalidRequestError(
                f"a window of width {self.window.width} is impossible: LINEAR needs 1 or more, the others more than 0"
            )
        if self.viewport is not None and (self.viewport.width < 1 or self.viewport.height < 1):
            raise InvalidRequestError("the viewport must be at least one pixel wide and high")
