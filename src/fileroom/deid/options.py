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
    """How an option is told: its code in context group 7050 (PS3.16) and the code's meaning."""

    code: str
    meaning: str


BASIC_CODE: Final = "113100"
BASIC_MEANING: Final = "Basic Application Confidentiality Profile"

WORDS: Final[dict[Option, OptionWords]] = {
    Option.PIXELS: OptionWords("113101", "Clean Pixel Data Option"),
    Option.VISUAL_FEATURES: OptionWords("113102", "Clean Recognizable Visual Features Option"),
    Option.GRAPHICS: OptionWords("113103", "Clean Graphics Option"),
    Option.STRUCTURED_CONTENT: OptionWords("113104", "Clean Structured Content Option"),
    Option.DESCRIPTORS: OptionWords("113105", "Clean Descriptors Option"),
    Option.FULL_DATES: OptionWords("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    Option.MODIFIED_DATES: OptionWords("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    Option.PATIENT: OptionWords("113108", "Retain Patient Characteristics Option"),
    Option.DEVICE: OptionWords("113109", "Retain Device Identity Option"),
    Option.UIDS: OptionWords("113110", "Retain UIDs Option"),
    Option.SAFE_PRIVATE: OptionWords("113111", "Retain Safe Private Option"),
    Option.INSTITUTION: OptionWords("113112", "Retain Institution Identity Option"),
}
