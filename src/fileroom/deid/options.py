"""The options of PS3.15 annex E.3: what may be kept of what the Basic Profile takes away, and what is cleaned beyond it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Option(enum.StrEnum):
    """An option by the name of its column in `confidentiality.tsv`; the last two have no column."""

    SAFE_PRIVATE = "safe_private"
    UIDS = "uids"
    DEVICE = "device"
    INSTITUTION = "institution"
    PATIENT = "patient"
    FULL_DATES = "full_dates"
    MODIFIED_DATES = "modified_dates"
    DESCRIPTORS = "descriptors"
    STRUCTURED_CONTENT = "structured_content"
    GRAPHICS = "graphics"
    PIXELS = "pixels"
    VISUAL_FEATURES = "visual_features"


@dataclass(frozen=True, slots=True)
class OptionWords:
    """How an option is told: its code in context group 7050 (PS3.16), the code's meaning, and plain words."""

    code: str
    meaning: str
    words: str


BASIC_CODE: Final = "113100"
BASIC_MEANING: Final = "Basic Application Confidentiality Profile"

WORDS: Final[dict[Option, OptionWords]] = {
    Option.PIXELS: OptionWords(
        "113101",
        "Clean Pixel Data Option",
        "Blank text that devices write into their images, by what is known of the device",
    ),
    Option.VISUAL_FEATURES: OptionWords(
        "113102",
        "Clean Recognizable Visual Features Option",
        "Let nothing pass from which a face could be seen: images of the head and photographs stay here",
    ),
    Option.GRAPHICS: OptionWords(
        "113103", "Clean Graphics Option", "Keep drawings on images, with the text on them cleaned"
    ),
    Option.STRUCTURED_CONTENT: OptionWords(
        "113104", "Clean Structured Content Option", "Keep structured reports, with their text cleaned"
    ),
    Option.DESCRIPTORS: OptionWords(
        "113105", "Clean Descriptors Option", "Keep descriptions and comments, with what names the patient taken out"
    ),
    Option.FULL_DATES: OptionWords(
        "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
        "Keep dates and times as they are",
    ),
    Option.MODIFIED_DATES: OptionWords(
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
        "Keep the time between examinations: all dates of a patient are moved by the same number of days",
    ),
    Option.PATIENT: OptionWords("113108", "Retain Patient Characteristics Option", "Keep sex, age, size and weight"),
    Option.DEVICE: OptionWords("113109", "Retain Device Identity Option", "Keep which device made the images"),
    Option.UIDS: OptionWords("113110", "Retain UIDs Option", "Keep the UIDs: studies can then be found again by them"),
    Option.SAFE_PRIVATE: OptionWords(
        "113111", "Retain Safe Private Option", "Keep private attributes that are known to be harmless"
    ),
    Option.INSTITUTION: OptionWords("113112", "Retain Institution Identity Option", "Keep the name of the institution"),
}
