"""A softcopy presentation state (PS3.3 A.33, C.11) read for one frame of one image: what it says about gray levels,
displayed area, rotation and shutter. Its graphics and texts are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidRequestError
from fileroom.pixels.grayscale import GrayscaleState, Step, modality_step, presentation_step, voi_of
from fileroom.pixels.header_values import items, number, numbers, text
from fileroom.pixels.image_pixel import ImagePixel
from fileroom.pixels.masks import Shutter, shutter_of


@dataclass(frozen=True, slots=True)
class DisplayedArea:
    """The part of the image to show, in pixels from 0, right and lower edge excluded. It may reach past the image.

    `aspect` is the height of a pixel divided by its width; None when the state does not say.
    """

    left: float
    top: float
    right: float
    bottom: float
    aspect: float | None = None


@dataclass(frozen=True, slots=True)
class PresentationState:
    """What applies to one frame. `rotation` is clockwise in degrees (0, 90, 180, 270), done before `is_flipped`."""

    grayscale: GrayscaleState
    area: DisplayedArea | None
    rotation: int
    is_flipped: bool
    shutter: Shutter | None


def presentation_state(state: Dataset, header: Dataset, pixel: ImagePixel, index: int) -> PresentationState:
    """Read `state` for frame `index` (from 0) of the image with `header`.

    Raises InvalidRequestError when the state lists images and this is none of them.
    """
    uid = text(header, "SOPInstanceUID")
    _check_refers(state, uid)
    voi_item = _selected(state, "SoftcopyVOILUTSequence", uid, index)
    voi: Step | None = voi_of(voi_item, signed=True) if voi_item is not None else None
    rotation = round(number(state, "ImageRotation") or 0)
    return PresentationState(
        grayscale=GrayscaleState(modality_step(state, -1, pixel), voi, presentation_step(state)),
        area=_area(_selected(state, "DisplayedAreaSelectionSequence", uid, index)),
        rotation=rotation % 360 if rotation % 90 == 0 else 0,
        is_flipped=text(state, "ImageHorizontalFlip") == "Y",
        shutter=shutter_of(state, (pixel.rows, pixel.columns)),
    )


def _check_refers(state: Dataset, uid: str) -> None:
    listed = {
        text(image, "ReferencedSOPInstanceUID")
        for series in items(state, "ReferencedSeriesSequence")
        for image in items(series, "ReferencedImageSequence")
    }
    if listed and uid not in listed:
        raise InvalidRequestError(
            "the presentation state does not refer to this image; choose a presentation state of the same series"
        )


def _selected(state: Dataset, keyword: str, uid: str, index: int) -> Dataset | None:
    """The item for this image and frame: one without references is for all."""
    for item in items(state, keyword):
        references = items(item, "ReferencedImageSequence")
        if not references or any(_refers_to(reference, uid, index) for reference in references):
            return item
    return None


def _refers_to(reference: Dataset, uid: str, index: int) -> bool:
    if text(reference, "ReferencedSOPInstanceUID") != uid:
        return False
    frames = numbers(reference, "ReferencedFrameNumber")
    return not frames or index + 1 in frames


def _area(item: Dataset | None) -> DisplayedArea | None:
    if item is None:
        return None
    corners = numbers(item, "DisplayedAreaTopLeftHandCorner"), numbers(item, "DisplayedAreaBottomRightHandCorner")
    if len(corners[0]) != 2 or len(corners[1]) != 2:
        return None
    columns = sorted((corners[0][0], corners[1][0]))
    rows = sorted((corners[0][1], corners[1][1]))
    return DisplayedArea(columns[0] - 1, rows[0] - 1, columns[1], rows[1], _aspect(item))


def _aspect(item: Dataset) -> float | None:
    spacing = numbers(item, "PresentationPixelSpacing") or numbers(item, "PresentationPixelAspectRatio")
    return spacing[0] / spacing[1] if len(spacing) == 2 and min(spacing) > 0 else None
