"""What a de-identified object says of itself (PS3.3 C.7.1.1, C.12.1; PS3.15 E.3): that, how and by which profile."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.deid.options import BASIC_CODE, BASIC_MEANING, WORDS, Option
from fileroom.deid.profile import Profile
from fileroom.deid.table import EDITION

METHOD: Final = f"Fileroom, DICOM PS3.15 {EDITION} Annex E, Basic Profile"


def set_marks(made: Dataset, profile: Profile, *, blanked: bool) -> None:
    """Set the attributes that tell of the de-identification."""
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = METHOD
    codes = [(BASIC_CODE, BASIC_MEANING)]
    codes += [(WORDS[option].code, WORDS[option].meaning) for option in Option if option in profile.options]
    made.DeidentificationMethodCodeSequence = Sequence([_code(*one) for one in sorted(codes)])
    made.LongitudinalTemporalInformationModified = _dates(profile.options)
    if blanked:
        made.BurnedInAnnotation = "NO"


def _dates(options: frozenset[Option]) -> str:
    if Option.FULL_DATES in options:
        return "UNMODIFIED"
    return "MODIFIED" if Option.MODIFIED_DATES in options else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = "DCM"
    item.CodeMeaning = meaning
    return item
