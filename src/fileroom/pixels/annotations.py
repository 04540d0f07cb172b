"""Who is on a picture and how it was made, written into its corners (PS3.18 8.3.5.1.1): `patient`, `technique`.

The typeface that comes with Pillow knows ASCII. Accents are taken off; what is still missing (other scripts, when a name
has no group in Latin letters) is written as question marks, and the patient's ID stands beside it.
"""

from __future__ import annotations

import unicodedata
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from fileroom.dicom.display import Annotation
from fileroom.pixels.header_values import number, value_of
from fileroom.pixels.request import RenderRequest

Picture = NDArray[np.uint8]

_LINES_PER_PICTURE: Final = 40
_SIZE_MIN_PX: Final = 9
_SIZE_MAX_PX: Final = 64
_CHARS_MAX: Final = 64
"""Of one value; LO has as many."""
_LETTERS: Final = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D",
     "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "’": "'", "–": "-", "×": "x", "µ": "u"}
)  # fmt: skip


def annotate(picture: Picture, header: Dataset, request: RenderRequest, index: int) -> Picture:
    """`picture` (rows, columns) or (rows, columns, 3) with the texts that `request` wants of frame `index` (from 0)."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    size = min(max(image.height // _LINES_PER_PICTURE, _SIZE_MIN_PX), _SIZE_MAX_PX)
    font = ImageFont.load_default(size)
    white, black = (255, 0) if image.mode == "L" else ((255, 255, 255), (0, 0, 0))
    margin = max(size // 2, 2)

    def write(lines: list[str], x: int, y: int, anchor: Literal["la", "ld"]) -> None:
        # Above all pixels, light or dark: white letters with a black edge.
        options = {"font": font, "fill": white, "stroke_width": max(size // 12, 1), "stroke_fill": black}
        draw.multiline_text((x, y), "\n".join(lines), anchor=anchor, **options)  # type: ignore[arg-type]  # mixed options

    if Annotation.PATIENT in request.annotations:
        write(patient_lines(header), margin, margin, "la")
    if Annotation.TECHNIQUE in request.annotations:
        write(technique_lines(header, request, index), margin, image.height - margin, "ld")
    written: Picture = np.asarray(image)
    return written


def patient_lines(header: Dataset) -> list[str]:
    """Name, ID, sex and date of birth, as far as they are known."""
    born = _date(header, "PatientBirthDate")
    facts = [_text(header, "PatientSex"), f"born {born}" if born else ""]
    return _known([_name(header), _labelled("ID", _text(header, "PatientID")), "  ".join(filter(None, facts))])


def technique_lines(header: Dataset, request: RenderRequest, index: int) -> list[str]:
    """What was examined, when and how, and which of the images this is."""
    time = _text(header, "StudyTime")
    clock = f"{time[:2]}:{time[2:4]}" if time[:4].isdigit() and len(time) >= 4 else ""
    when = [_text(header, "Modality"), _date(header, "StudyDate"), clock]
    frames = int(number(header, "NumberOfFrames") or 1)
    which = [
        _labelled("Series", _text(header, "SeriesNumber")),
        _labelled("Image", _text(header, "InstanceNumber")),
        f"Frame {index + 1}/{max(frames, index + 1)}" if frames > 1 or index else "",
    ]
    how = [
        _measure(header, "KVP", "kV"),
        _measure(header, "XRayTubeCurrent", "mA"),
        _measure(header, "SliceThickness", "mm"),
        f"C {request.window.center:g} W {request.window.width:g}" if request.window else "",
    ]
    texts = [_text(header, "StudyDescription"), _text(header, "SeriesDescription")]
    return _known(["  ".join(filter(None, line)) for line in (when, [texts[0]], [texts[1]], which, how)])


def _known(lines: list[str]) -> list[str]:
    return [line for line in lines if line]


def _labelled(label: str, text: str) -> str:
    return f"{label} {text}" if text else ""


def _name(header: Dataset) -> str:
    """The group in Latin letters, family name first; another one where that is empty."""
    groups = str(value_of(header, "PatientName") or "").split("=")
    shown = next((group for group in groups if group.strip("^ ")), "")
    family, *others = (part.strip() for part in shown.split("^"))
    rest = " ".join(filter(None, others))
    return _writable(f"{family}, {rest}" if rest else family)


def _text(header: Dataset, keyword: str) -> str:
    value = value_of(header, keyword)
    return _writable(str(value)) if value is not None else ""


def _date(header: Dataset, keyword: str) -> str:
    text = _text(header, keyword)
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 and text.isdigit() else text


def _measure(header: Dataset, keyword: str, unit: str) -> str:
    found = number(header, keyword)
    return f"{found:g} {unit}" if found is not None else ""


def _writable(text: str) -> str:
    """In letters that the typeface has, on one line, and not longer than any real value."""
    plain = unicodedata.normalize("NFKD", text[:_CHARS_MAX].translate(_LETTERS))
    letters = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join(letter if " " <= letter <= "~" else "?" for letter in letters).strip()
