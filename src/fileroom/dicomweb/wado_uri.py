"""The URI service, WADO-URI: one object by query string (PS3.18 section 9)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, UnsupportedError
from fileroom.core.identifiers import UID
from fileroom.core.limits import VIEWPORT_SIDE_MAX
from fileroom.dicom.display import Window
from fileroom.dicomweb.media_types import AcceptedType, parse_accept
from fileroom.dicomweb.parameters import comma_list, decimal, shown, unique, whole_number
from fileroom.dicomweb.wado_params import FRAME_NUMBER_MAX, Rendering, parse_rendering, window

_DICOM: Final = "application/dicom"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the image: left, top, right and bottom edge as fractions from 0 to 1 of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class WadoUriRequest:
    """One object to be retrieved.

    `accepted` goes to `media_types.choose` with single-part offers; it is empty where the request names no contentType:
    then images are rendered as image/jpeg and other objects sent as application/dicom, unless the Accept header says
    otherwise (PS3.18 9.4, 9.5). `rows` and `columns` are the greatest size of the rendered image, in pixels.
    `rendering` carries annotations, overlays, quality and window.
    """

    study: UID
    series: UID
    instance: UID
    accepted: tuple[AcceptedType, ...] = ()
    frame: int | None = None
    rows: int | None = None
    columns: int | None = None
    region: Region | None = None
    presentation_series: UID | None = None
    presentation_instance: UID | None = None
    rendering: Rendering = field(default_factory=Rendering)
    warnings: tuple[str, ...] = ()


def parse_wado_uri(parameters: Iterable[tuple[str, str]]) -> WadoUriRequest:
    """Read the query string of a WADO-URI request, names and values percent-decoded.

    Raises:
        InvalidRequestError: a required parameter is missing, a value is malformed, or two contradict each other.
        UnsupportedError: the object is to be made anonymous.
        TooLargeError: more parameters than any real request has.
    """
    values = unique(parameters)
    if values.get("requestType") != "WADO":
        raise InvalidRequestError(f"requestType={shown(values.get('requestType', ''))} must be WADO")
    if values.get("anonymize", "no").lower() != "no":
        raise UnsupportedError("anonymize=yes is not done on retrieval; export the study de-identified instead")
    presentation = _optional_uid(values, "presentationUID"), _optional_uid(values, "presentationSeriesUID")
    if (presentation[0] is None) != (presentation[1] is None):
        raise InvalidRequestError("presentationUID and presentationSeriesUID must be given together")
    if presentation[0] and values.keys() & _CONTRADICT_PRESENTATION:
        raise InvalidRequestError("a presentation state sets window and region itself; leave those parameters out")
    return WadoUriRequest(
        study=_uid(values, "studyUID"),
        series=_uid(values, "seriesUID"),
        instance=_uid(values, "objectUID"),
        accepted=_accepted(values),
        frame=_number(values, "frameNumber", FRAME_NUMBER_MAX),
        rows=_number(values, "rows", VIEWPORT_SIDE_MAX),
        columns=_number(values, "columns", VIEWPORT_SIDE_MAX),
        region=_region(values["region"]) if "region" in values else None,
        presentation_instance=presentation[0],
        presentation_series=presentation[1],
        rendering=_rendering(values),
        warnings=tuple(
            f"the parameter {shown(name)} is not known; it was ignored" for name in values if name not in _KNOWN
        ),
    )


_CONTRADICT_PRESENTATION: Final = frozenset({"windowCenter", "windowWidth", "region"})
_KNOWN: Final = _CONTRADICT_PRESENTATION | {
    "requestType",
    "studyUID",
    "seriesUID",
    "objectUID",
    "contentType",
    "charset",
    "anonymize",
    "annotation",
    "overlays",
    "rows",
    "columns",
    "frameNumber",
    "imageQuality",
    "presentationUID",
    "presentationSeriesUID",
    "transferSyntax",
}
_SYNTAX: Final = re.compile(r"[0-9.]{1,64}|\*")


def _uid(values: dict[str, str], name: str) -> UID:
    if name not in values:
        raise InvalidRequestError(
            f"the parameter {name} is missing; requestType, studyUID, seriesUID, objectUID are required"
        )
    try:
        return UID(values[name])
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{name}: {error}") from error


def _optional_uid(values: dict[str, str], name: str) -> UID | None:
    return _uid(values, name) if values.get(name) else None


def _number(values: dict[str, str], name: str, maximum: int) -> int | None:
    return whole_number(name, values[name], maximum, 1) if name in values else None


def _accepted(values: dict[str, str]) -> tuple[AcceptedType, ...]:
    """The content types, with `transferSyntax` put to application/dicom, which alone it is for.

    A syntax that cannot be made gives way to the default one (PS3.18 9.1.2.2).
    """
    syntax = values.get("transferSyntax", "").strip()
    if syntax and not _SYNTAX.fullmatch(syntax):
        raise InvalidRequestError(f"transferSyntax={shown(syntax)} is not a UID")
    content_type = values.get("contentType", "").strip() or (_DICOM if syntax else "")
    if not content_type:
        return ()
    accepted = parse_accept(None, content_type)
    if any(member.multipart for member in accepted):
        raise InvalidRequestError("contentType must not be multipart: the URI service answers with one object")
    preferred = [
        replace(member, transfer_syntax=syntax) for member in accepted if syntax and member.media_type == _DICOM
    ]
    fallback = [
        replace(member, quality=member.quality / 2) if syntax and member.media_type == _DICOM else member
        for member in accepted
    ]
    return (*preferred, *fallback)


def _region(text: str) -> Region:
    parts = comma_list(text)
    if len(parts) != 4:
        raise InvalidRequestError(f"region={shown(text)} must have the form left,top,right,bottom, from 0.0 to 1.0")
    left, top, right, bottom = (decimal("region", part) for part in parts)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidRequestError(
            f"region={shown(text)}: left must be below right, top below bottom, all from 0.0 to 1.0"
        )
    return Region(left, top, right, bottom)


def _rendering(values: dict[str, str]) -> Rendering:
    renamed = {"annotation": "annotation", "overlays": "overlays", "imageQuality": "quality"}
    rendering = parse_rendering((renamed[name], value) for name, value in values.items() if name in renamed)
    return replace(rendering, window=_window(values))


def _window(values: dict[str, str]) -> Window | None:
    center, width = values.get("windowCenter"), values.get("windowWidth")
    if center is None and width is None:
        return None
    if center is None or width is None:
        raise InvalidRequestError("windowCenter and windowWidth must be given together")
    return window(decimal("windowCenter", center), decimal("windowWidth", width))
