"""Into which transfer syntaxes stored instances can be brought for a client that asks for another."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fileroom.dicom import uids
from fileroom.dicom.uids import Family

_ENCODABLE: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN,)
_NOT_DECODABLE: Final = frozenset(
    {Family.MPEG2, Family.MPEG4, Family.HEVC, Family.JPIP, Family.SMPTE_2110, Family.UNKNOWN}
)


def encodable_from(stored: Collection[str]) -> tuple[str, ...]:
    """The syntaxes that instances stored in these can be encoded in, best first."""
    if any(uids.transfer_syntax(uid).family in _NOT_DECODABLE for uid in stored):
        return ()
    return _ENCODABLE
