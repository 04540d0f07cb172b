"""Into which transfer syntaxes stored instances may be brought for a client that asks for another.

What is offered here is what the codecs can do in principle; whether it works for one object is seen from its header
(`pixels.transcode.can_transcode`) when it has been chosen.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Final

from fileroom.dicom import uids
from fileroom.dicom.uids import Family
from fileroom.dicomweb.offers import web_transfer_syntax
from fileroom.pixels.transcode import lossless_targets

_NOT_DECODABLE: Final = frozenset(
    {Family.MPEG2, Family.MPEG4, Family.HEVC, Family.JPIP, Family.SMPTE_2110, Family.UNKNOWN}
)


def encodable_from(stored: Collection[str]) -> tuple[str, ...]:
    """The syntaxes that instances stored in these can be encoded in, the plain one first."""
    if any(uids.transfer_syntax(uid).family in _NOT_DECODABLE for uid in stored):
        return ()
    return _targets()


def frames_encodable_from(stored: str) -> tuple[str, ...]:
    """The same for frames that travel alone, where syntaxes that differ only around them are one."""
    return tuple(
        uid
        for uid in encodable_from((stored,))
        if uid == uids.EXPLICIT_VR_LITTLE_ENDIAN or uids.transfer_syntax(uid).encapsulated
    )


@cache
def _targets() -> tuple[str, ...]:
    """Without implicit VR and big endian, which DICOMweb does not allow (PS3.18 8.7.3)."""
    allowed = sorted(uid for uid in lossless_targets() if web_transfer_syntax(uid) == uid)
    plain = uids.EXPLICIT_VR_LITTLE_ENDIAN
    return (plain, *(uid for uid in allowed if uid != plain))
