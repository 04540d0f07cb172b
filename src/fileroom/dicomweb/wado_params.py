"""What a Retrieve request asks for: frames by number, and how an image shall be rendered (PS3.18 8.3.5, 10.4.1).

The values are only read here. Whether a frame exists and what an image looks like in the end is decided where the
pixels are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, TooLargeError
from fileroom.core.limits import FRAME_LIST_MAX, VIEWPORT_SIDE_MAX
from fileroom.dicom.display import Annotation, Viewport, VoiFunction, Window
from fileroom.dicomweb.parameters import boolean, comma_list, decimal, shown, unique, whole_number

FRAME_NUMBER_MAX: Final = 2**31 - 1
"""Number of Frames has VR IS, which ends there (PS3.5 table 6.2-1)."""


class IccProfile(enum.Enum):
    """Which colour space a rendered image shall be in (PS3.18 8.3.5.1.5)."""

    NO = "no"
    YES = "yes"
    SRGB = "srgb"
    ADOBE_RGB = "adobergb"
    ROMM_RGB = "rommrgb"
    DISPLAY_P3 = "displayp3"


@dataclass(frozen=True, slots=True)
class Rendering:
    """How an image shall be rendered. None is always the server's choice; `quality` runs from 1 to 100.

    `overlays`, an extension: the image's overlay planes (PS3.3 C.9.2) are burned in.
    """

    annotations: frozenset[Annotation] = frozenset()
    overlays: bool = False
    quality: int | None = None
    viewport: Viewport | None = None
    window: Window | None = None
    icc_profile: IccProfile | None = None
    warnings: tuple[str, ...] = ()


def parse_rendering(parameters: Iterable[tuple[str, str]], *, thumbnail: bool = False) -> Rendering:
    """Read the query string of a rendered resource, or of a thumbnail, which knows only the viewport's size.

    `accept` is left to `media_types.parse_accept`.

    Raises:
        InvalidRequestError: a value is malformed or a parameter comes twice.
        TooLargeError: more parameters than any real request has.
    """
    values = unique(parameters)
    warnings: list[str] = []
    known = _THUMBNAIL_PARAMETERS if thumbnail else _RENDERING_PARAMETERS
    for name in [name for name in values if name not in known]:
        warnings.append(f"the parameter {shown(name)} is not known here; it was ignored")
        del values[name]
    return Rendering(
        annotations=_annotations(values.get("annotation", ""), warnings),
        overlays=boolean("overlays", values["overlays"]) if "overlays" in values else False,
        quality=whole_number("quality", values["quality"], 100, 1) if "quality" in values else None,
        viewport=parse_viewport(values["viewport"], thumbnail=thumbnail) if "viewport" in values else None,
        window=parse_window(values["window"]) if "window" in values else None,
        icc_profile=_icc_profile(values["iccprofile"]) if "iccprofile" in values else None,
        warnings=tuple(warnings),
    )


def parse_viewport(text: str, *, thumbnail: bool = False) -> Viewport:
    """Read `vw,vh` or `vw,vh,sx,sy,sw,sh`, where each of the last four may be left empty."""
    parts = comma_list(text)
    if len(parts) != 2 and (thumbnail or len(parts) != 6):
        form = "vw,vh" if thumbnail else "vw,vh or vw,vh,sx,sy,sw,sh"
        raise InvalidRequestError(f"viewport={shown(text)} must have the form {form}, in pixels")
    width, height = (whole_number("viewport", part, VIEWPORT_SIDE_MAX, 1) for part in parts[:2])
    x, y, source_width, source_height = (
        decimal("viewport", part) if part else None for part in (parts[2:] or ("", "", "", ""))
    )
    if (x or 0.0) < 0 or (y or 0.0) < 0 or 0.0 in (source_width, source_height):
        raise InvalidRequestError(f"viewport={shown(text)}: sx and sy must not be negative, sw and sh not zero")
    return Viewport(width, height, x or 0.0, y or 0.0, source_width, source_height)


def parse_window(text: str) -> Window:
    """Read `center,width,function`; the function may be left out and is then linear."""
    parts = comma_list(text)
    if len(parts) not in (2, 3):
        raise InvalidRequestError(f"window={shown(text)} must have the form center,width,function")
    try:
        function = _FUNCTIONS[(parts[2] if len(parts) == 3 else "linear").lower()]
    except KeyError:
        raise InvalidRequestError(
            f"window={shown(text)}: the function must be one of {', '.join(_FUNCTIONS)}"
        ) from None
    return window(decimal("window", parts[0]), decimal("window", parts[1]), function)


def window(center: float, width: float, function: VoiFunction = VoiFunction.LINEAR) -> Window:
    """A window whose width its function can have (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    made = Window(center, width, function)
    if not made.is_valid:
        least = "at least 1" if function is VoiFunction.LINEAR else "above 0"
        raise InvalidRequestError(f"window width {width:g} must be {least} for the function {function.value}")
    return made


def parse_frame_list(text: str) -> tuple[int, ...]:
    """Frame numbers from 1, as in `1,3,5`, in the order asked.

    Raises:
        InvalidRequestError: a member is not a frame number.
        TooLargeError: the list is longer than `FRAME_LIST_MAX`.
    """
    parts = comma_list(text)
    if len(parts) > FRAME_LIST_MAX:
        raise TooLargeError(f"the frame list names {len(parts)} frames; at most {FRAME_LIST_MAX} go into one request")
    return tuple(whole_number("frames", part, FRAME_NUMBER_MAX, 1) for part in parts)


_RENDERING_PARAMETERS: Final = frozenset(
    {"accept", "charset", "annotation", "overlays", "quality", "viewport", "window", "iccprofile"}
)
_THUMBNAIL_PARAMETERS: Final = frozenset({"accept", "charset", "viewport"})
_FUNCTIONS: Final = {function.value.lower().replace("_", "-"): function for function in VoiFunction}
"""As a URL writes them: linear, linear-exact, sigmoid."""


def _annotations(text: str, warnings: list[str]) -> frozenset[Annotation]:
    found = set()
    for part in filter(None, comma_list(text)):
        try:
            found.add(Annotation(part.lower()))
        except ValueError:
            warnings.append(f"annotation={shown(part)} is neither patient nor technique; it was ignored")
    return frozenset(found)


def _icc_profile(text: str) -> IccProfile:
    try:
        return IccProfile(text.strip().lower())
    except ValueError:
        raise InvalidRequestError(
            f"iccprofile={shown(text)} must be one of {', '.join(one.value for one in IccProfile)}"
        ) from None
