"""May the pixels of an object show who the patient is, and what is to be done about it?

Only what is known to be harmless passes. SOP classes stand here in three lists: images that devices compute (text in them
is an exception that they declare), objects without pixels, and pictures (text in them is the rule). A class in none of
them cannot be judged, so its objects cannot be cleaned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from fileroom.core.limits import OVERLAY_GROUPS_MAX
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.regions import Region, device_regions, outside_of_ultrasound_regions
from fileroom.dicom.uids import uid_name
from fileroom.pixels.header_values import integer, text, value_of

_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."


def _classes(*suffixes: str) -> frozenset[str]:
    return frozenset(_STORAGE + suffix for suffix in suffixes)


COMPUTED: Final = _classes(
    "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1",  # CR, DX, mammography, intra-oral
    "2", "2.1", "2.2", "2.3", "2.4", "2.5",  # CT
    "4", "4.1", "4.3", "4.4", "20", "128", "130", "128.1",  # MR, NM, PET
    "6.2",  # enhanced ultrasound volume: the echoes themselves
    "12.1", "12.1.1", "12.2", "12.2.1", "13.1.1", "13.1.2", "13.1.3", "13.1.4", "13.1.5",  # X-ray, tomosynthesis
    "14.1", "14.2", "30", "481.1", "481.2", "66.4", "66.7", "66.8", "77.1.5.4", "77.1.5.7", "77.1.5.8",  # IVOCT, RT, seg, OPT
)  # fmt: skip

WITHOUT_PIXELS: Final = _classes(
    "4.2", "9.1.1", "9.1.2", "9.1.3", "9.2.1", "9.3.1", "9.4.1", "9.5.1", "9.6.1", "9.7.1", "9.7.2", "9.8.1",  # waveforms
    "11.1", "11.2", "11.3", "11.4", "11.5", "11.6", "11.7", "11.8", "11.11", "11.12", "66", "66.1", "66.2", "66.3",
    "66.5", "66.6", "67", "68.1", "68.2", "78.1", "78.2", "78.3", "78.4", "78.5", "78.6", "78.7", "78.8", "79.1", "80.1",
    "81.1", "82.1", "91.1",
    "88.11", "88.22", "88.33", "88.34", "88.35", "88.40", "88.50", "88.59", "88.65", "88.67", "88.68", "88.69", "88.70",
    "88.71", "88.72", "88.73", "88.74", "88.75", "88.76",
    "200.2", "481.3", "481.4", "481.5", "481.6", "481.7", "481.8", "481.9", "481.10", "481.11", "481.12", "481.13",
    "481.14", "481.15", "481.16", "481.17", "481.18", "481.20", "481.23", "481.24", "481.25",
)  # fmt: skip

_PICTURES: Final = {
    "6.1": "ultrasound", "3.1": "ultrasound", "6": "ultrasound", "3": "ultrasound",
    "7": "a screen shot or scan", "7.1": "a screen shot or scan", "7.2": "a screen shot or scan",
    "7.3": "a screen shot or scan", "7.4": "a screen shot or scan",
    "77.1.1": "an endoscopic picture", "77.1.2": "a microscopic picture", "77.1.3": "a microscopic picture",
    "77.1.4": "a photograph", "77.1.5.1": "an ophthalmic photograph", "77.1.5.2": "an ophthalmic photograph",
    "77.1.5.5": "an ophthalmic photograph", "77.1.5.6": "an ophthalmic photograph", "77.1.6": "a slide",
    "77.1.7": "a photograph of skin",
}  # fmt: skip
PICTURES: Final = {_STORAGE + suffix: words for suffix, words in _PICTURES.items()}
_ULTRASOUND: Final = _classes("6.1", "3.1", "6", "3")
_SLIDES: Final = _STORAGE + "77.1.6"

_REASONS: Final = {
    _STORAGE + "104.1": "a PDF document, whose text cannot be cleaned",
    _STORAGE + "104.2": "a CDA document, whose text cannot be cleaned",
    _STORAGE + "104.3": "a 3D model of the patient, which cannot be cleaned",
    _STORAGE + "104.4": "a 3D model of the patient, which cannot be cleaned",
    _STORAGE + "104.5": "a 3D model of the patient, which cannot be cleaned",
    _STORAGE + "9.4.1": "a recording of somebody's voice",
    _STORAGE + "9.4.2": "a recording of somebody's voice",
    _STORAGE + "77.1.1.1": "a video, of which no frame is looked at",
    _STORAGE + "77.1.2.1": "a video, of which no frame is looked at",
    _STORAGE + "77.1.4.1": "a video, of which no frame is looked at",
}
_SCREENS: Final = ("SCREEN", "DOSE", "REPORT", "PROTOCOL", "CSA", "PASTED", "CAPTURE", "WORKSHEET", "FORM")
"""Words of Image Type that computed images have when they are pictures of a screen."""
_HEAD: Final = ("HEAD", "BRAIN", "SKULL", "FACE", "SINUS", "ORBIT", "JAW", "NECK", "EAR", "EYE", "WHOLEBODY")


@dataclass(frozen=True, slots=True)
class PixelWork:
    """What is to be done with the pixels: rectangles to blank, bits of overlays to clear in every word.

    `reading` is a sentence when only somebody who reads the pixels (fileroom.ocr) can say whether there is text; empty
    otherwise. `proof` says why nothing identifying is left, for the report.
    """

    regions: tuple[Region, ...] = ()
    overlay_bits: int = 0
    reading: str = ""
    proof: str = ""
    is_picture: bool = False
    """A reader, where there is one, reads it beside what is known of the device: people type onto pictures."""


def pixel_work(header: Dataset, profile: Profile) -> PixelWork:
    """Judge the pixels by the header. Raises CannotCleanError with the reason and what could be done."""
    sop_class = str(value_of(header, "SOPClassUID") or "").strip("\0 ")
    if sop_class in _REASONS:
        raise CannotCleanError(
            f"It is {_REASONS[sop_class]}. Leave such objects out of what is sent to this destination."
        )
    if Option.VISUAL_FEATURES in profile.options:
        _require_no_face(header, sop_class)
    if sop_class in WITHOUT_PIXELS:
        return PixelWork(proof="no pixels")
    bits = _embedded_overlay_bits(header)
    if sop_class in COMPUTED:
        if not _looks_like_a_screen(header):
            return PixelWork(overlay_bits=bits, proof="computed image")
        what = "shows a screen or has text burned in"
    elif sop_class in PICTURES:
        what = f"is {PICTURES[sop_class]}, which may have text burned in"
    else:
        raise CannotCleanError(
            f"Of objects like it ({uid_name(sop_class) or 'no SOP class'}) it is not known where they may name somebody."
        )
    return _by_rule(header, profile, sop_class, what, bits)


def _by_rule(header: Dataset, profile: Profile, sop_class: str, what: str, bits: int) -> PixelWork:
    if Option.PIXELS not in profile.options:
        raise CannotCleanError(f"It {what}, and the project does not clean pixels. Switch on Clean Pixel Data.")
    rule = device_regions(header, profile.devices)
    if rule is not None:
        return PixelWork(rule.regions, bits, proof=f"device rule {rule.name}", is_picture=True)
    if sop_class in _ULTRASOUND:
        outside = outside_of_ultrasound_regions(header)
        if outside is not None:
            return PixelWork(outside, bits, proof="ultrasound regions", is_picture=True)
    if sop_class == _SLIDES and "VOLUME" in _image_type(header) and text(header, "BurnedInAnnotation") == "NO":
        return PixelWork(overlay_bits=bits, proof="slide without label")
    device = (
        " ".join(filter(None, (text(header, "Manufacturer"), text(header, "ManufacturerModelName")))) or "its device"
    )
    return PixelWork(
        overlay_bits=bits,
        reading=f"It {what}, and there is no rule for {device[:80]}. Add a device rule to the project, or install a reader "
        "of text in images.",
    )


def _looks_like_a_screen(header: Dataset) -> bool:
    if text(header, "BurnedInAnnotation") == "YES" or value_of(header, "ConversionType"):
        return True
    if integer(header, "SamplesPerPixel", 1) > 1:
        return True  # Computed images have one sample; colour is painted on them, mostly with a legend.
    return any(word in token for token in _image_type(header) for word in _SCREENS)


def _image_type(header: Dataset) -> list[str]:
    value = value_of(header, "ImageType")
    if value is None:
        return []
    return [str(one).upper() for one in ([value] if isinstance(value, str) else value)]


def _require_no_face(header: Dataset, sop_class: str) -> None:
    if text(header, "RecognizableVisualFeatures") == "NO" or sop_class in WITHOUT_PIXELS:
        return
    region = text(header, "BodyPartExamined").replace(" ", "")
    told = (text(header, "StudyDescription"), text(header, "SeriesDescription"))
    seen = any(part in region for part in _HEAD) or any(part in words for words in told for part in _HEAD)
    if text(header, "RecognizableVisualFeatures") == "YES" or seen or not region or sop_class in PICTURES:
        raise CannotCleanError(
            "A face might be recognized from it, and faces are not taken out. Leave images of the head and photographs out, "
            "or set Body Part Examined or Recognizable Visual Features where they are known to show none."
        )


def _embedded_overlay_bits(header: Dataset) -> int:
    """Bits of the pixel words that hold overlays (PS3.3 C.9.2, retired form)."""
    bits = 0
    for group in range(0x6000, 0x6000 + 2 * OVERLAY_GROUPS_MAX, 2):
        base = group << 16
        if base | 0x0102 in header and base | 0x3000 not in header and integer(header, base | 0x0100, 1) != 1:
            bits |= 1 << min(max(integer(header, base | 0x0102, 0), 0), 31)
    return bits
