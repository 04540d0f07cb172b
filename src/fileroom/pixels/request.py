"""What a caller may ask of a rendered image (PS3.18 8.3.5.1, PS3.3 C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.dicom.display import Annotation, Viewport, Window

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
JP2: Final = "image/jp2"
MP4: Final = "video/mp4"
MOVING: Final = frozenset({GIF, MP4})
"""They hold several frames."""
MEDIA_TYPES: Final = (JPEG, PNG, GIF, JP2, MP4)
"""What can be made; the first is the default."""

QUALITY_DEFAULT: Final = 90


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """How to render.

    `frame_numbers` count from 1; empty means the first frame, for GIF and MP4 all. `presentation_state` is a Grayscale
    (or Color) Softcopy Presentation State; it then decides everything that it can say. `quality` is 1 to 100, for JPEG,
    JPEG 2000 and MP4. `annotations` are written into the corners. `icc_profile`: pass the image's profile on.
    `enlarge`: fill the viewport even when the image is smaller.
    """

    media_type: str = JPEG
    frame_numbers: tuple[int, ...] = ()
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int | None = None
    burn_overlays: bool = False
    annotations: tuple[Annotation, ...] = ()
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
