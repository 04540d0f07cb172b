"""VR and keyword of a tag (PS3.6), as far as encoded bytes do not say it themselves.

The table is pydicom's, turned once into what the walks need. Where the standard leaves a choice ("US or SS"), the VR
follows Pixel Representation, or is the one that loses nothing.
"""

from __future__ import annotations

import functools
from typing import Final

from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.datadict import private_dictionary_VR

UNKNOWN: Final = "UN"

_ROWS: Final[dict[int, tuple[str, str]]] = {
    tag: (row[0], row[4]) for tag, row in DicomDictionary.items() if row[0] != "NONE"
}
_TAG_OF: Final[dict[str, int]] = {keyword: tag for tag, (_, keyword) in _ROWS.items() if keyword}
_CHOICES: Final = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW"}
"""As words, nothing is lost that bytes or numbers would have kept."""


def vr_of(tag: int, creator: str = "", *, signed: bool = False) -> str:
    """The VR of `tag`; of a private one when its `creator` is a known one; UN when unknown.

    `signed` is Pixel Representation (0028,0103), which decides between US and SS.
    """
    row = _ROWS.get(tag)
    if row is None:
        return _rare_vr(tag, creator)
    vr = row[0]
    if len(vr) == 2:
        return vr
    return _CHOICES.get(vr) or ("SS" if signed else "US")


def keyword_of(tag: int) -> str:
    """The keyword of `tag`, empty when it has none."""
    row = _ROWS.get(tag) or _repeater(tag)
    return row[1] if row else ""


def tag_of(keyword: str) -> int | None:
    """The tag with this keyword, None when there is none."""
    return _TAG_OF.get(keyword)


def is_private_creator(tag: int) -> bool:
    """Does (gggg,0010-00FF) of an odd group name the owner of a block (PS3.5 7.8.1)?"""
    return tag >> 16 & 1 == 1 and 0x10 <= tag & 0xFFFF <= 0xFF


@functools.lru_cache(maxsize=4096)
def _rare_vr(tag: int, creator: str) -> str:
    """Group lengths, private elements, repeating groups (50xx, 60xx)."""
    if tag & 0xFFFF == 0:
        return "UL"
    if tag >> 16 & 1:
        return "LO" if is_private_creator(tag) else _private_vr(tag, creator)
    row = _repeater(tag)
    return _CHOICES.get(row[0], row[0][:2]) if row else UNKNOWN


def _private_vr(tag: int, creator: str) -> str:
    try:
        vr: str = private_dictionary_VR(tag, creator)
    except KeyError:
        return UNKNOWN
    return _CHOICES.get(vr, vr[:2])


@functools.lru_cache(maxsize=1024)
def _repeater(tag: int) -> tuple[str, str] | None:
    text = f"{tag:08x}"
    for pattern, row in RepeatersDictionary.items():
        if all(wanted in ("x", given) for wanted, given in zip(pattern, text, strict=True)):
            return row[0], row[4]
    return None
