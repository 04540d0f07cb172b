"""Examining an object's bytes while they pass by: is it whole, is it what it claims to be, where does it belong?

The header is scanned as soon as enough of it has come, so that nothing of a large object is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from fileroom.core.errors import InvalidObjectError, InvalidRequestError
from fileroom.core.identifiers import UID
from fileroom.core.limits import HEADER_BYTES_MAX, KIB
from fileroom.dicom.charset import character_set
from fileroom.dicom.header_scan import SPECIFIC_CHARACTER_SET, NeedMoreData, ScannedHeader, scan_header
from fileroom.index.attributes import BY_KEYWORD, SCANNED_TAGS
from fileroom.index.rows import study_and_series_uids

_FIRST_SCAN_BYTES: Final = 32 * KIB
"""Most headers end before this; a longer one is scanned again when it has doubled."""
_SOP_CLASS_UID: Final = BY_KEYWORD["SOPClassUID"].tag
_SOP_INSTANCE_UID: Final = BY_KEYWORD["SOPInstanceUID"].tag
_UID_TAGS: Final = {
    keyword: BY_KEYWORD[keyword].tag for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
}


class MismatchError(InvalidObjectError):
    """The data set is not what the sender announced (PS3.4 B.2.3, status A900)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the sender says the object is.

    `received_by` is the door (dimse, stow, import), `sender` who stood there (AE title and address, file name).
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    received_by: str
    sender: str = ""
    sending_aet: str | None = None
    receiving_aet: str | None = None
    study_instance_uid: str = ""
    """The one study that it may belong to (STOW-RS to a study's own address); empty: any."""
    assumed_charset: str = ""
    """What its text is read in when it names no character set; empty: the default repertoire."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A whole object. `pixel_offset` counts from the start of the data set, None without pixels or when deflated."""

    header: ScannedHeader
    dataset_bytes: int
    digest: bytes
    pixel_offset: int | None
    study_instance_uid: str
    series_instance_uid: str


class Examination:
    """Takes the data set piece by piece; `conclude` tells what it is or why it cannot be kept."""

    def __init__(self, claim: Claim, wanted: frozenset[int] = SCANNED_TAGS) -> None:
        """`wanted` are the tags of the header. Raises InvalidObjectError when already the claim cannot be kept."""
        self._claim = claim
        self._wanted = wanted
        require_uid("SOP Class UID", claim.sop_class_uid)
        require_uid("SOP Instance UID", claim.sop_instance_uid)
        self._digest = hashlib.sha256()
        self._dataset_bytes = 0
        self._head = bytearray()
        self._scan_at = _FIRST_SCAN_BYTES
        self._header: ScannedHeader | None = None

    def feed(self, data: bytes | memoryview) -> None:
        """The next bytes of the data set."""
        self._dataset_bytes += len(data)
        self._digest.update(data)
        if self._header is None and len(self._head) < HEADER_BYTES_MAX:
            self._head += data
            if len(self._head) >= self._scan_at:
                self._scan(complete=False)

    def conclude(self) -> Examined:
        """All bytes have come. Raises InvalidObjectError, MismatchError."""
        header = self._whole_header()
        self._head.clear()
        claim = self._claim
        _require_no_control_characters(header)
        for name, tag, claimed in (
            ("SOP Class UID", _SOP_CLASS_UID, claim.sop_class_uid),
            ("SOP Instance UID", _SOP_INSTANCE_UID, claim.sop_instance_uid),
        ):
            found = header.text(tag)
            if not found:
                raise MismatchError(f"The data set has no {name}; {claimed} was announced.")
            if found != claimed:
                raise MismatchError(f"The data set has {name} {found[:64]}, but {claimed} was announced.")
        study_uid, series_uid = study_and_series_uids(header, claim.sop_class_uid, claim.sop_instance_uid)
        require_uid("Study Instance UID", study_uid)
        require_uid("Series Instance UID", series_uid)
        if claim.study_instance_uid and claim.study_instance_uid != study_uid:
            raise MismatchError(f"The data set belongs to study {study_uid}, not to {claim.study_instance_uid}.")
        pixel = header.pixel_data
        pixel_offset = pixel.value_offset if pixel is not None and not header.inflated else None
        return Examined(header, self._dataset_bytes, self._digest.digest(), pixel_offset, study_uid, series_uid)

    def _scan(self, *, complete: bool) -> None:
        try:
            self._header = scan_header(
                bytes(self._head), self._claim.transfer_syntax_uid, self._wanted, complete=complete
            )
            if self._claim.assumed_charset and SPECIFIC_CHARACTER_SET not in self._header.values:
                self._header = replace(
                    self._header, charset=character_set(self._claim.assumed_charset.encode("ascii", "replace"))
                )
        except NeedMoreData as need:
            self._scan_at = max(need.bytes_needed, 2 * len(self._head))
            return
        if not complete:
            self._head.clear()

    def _whole_header(self) -> ScannedHeader:
        if self._header is None:
            self._scan(complete=self._dataset_bytes <= HEADER_BYTES_MAX)
        header = self._header
        if header is None:
            raise InvalidObjectError("The data set ends before its attributes do: it is truncated. Send it again.")
        if header.truncated or _pixel_data_is_cut(header, self._dataset_bytes):
            raise InvalidObjectError(
                f"The data set ends after {self._dataset_bytes} bytes inside an element: it is truncated. Send it again."
            )
        return header


def require_uid(name: str, value: str) -> None:
    """Raise InvalidObjectError unless `value` is a UID."""
    if not value:
        raise InvalidObjectError(f"The object has no {name}; without it, it cannot be filed.")
    try:
        UID(value)
    except InvalidRequestError as error:
        raise InvalidObjectError(f"The object's {name} cannot be used: {error}.") from None


def _require_no_control_characters(header: ScannedHeader) -> None:
    """Reading text drops control characters; a UID that had some would be taken for another object's."""
    for keyword, tag in _UID_TAGS.items():
        if not header.values.get(tag, b"").strip(b"\0 ").decode("latin-1").isprintable():
            raise InvalidObjectError(f"The object's {keyword} cannot be used: it has control characters.")


def _pixel_data_is_cut(header: ScannedHeader, dataset_bytes: int) -> bool:
    """True when Pixel Data of a stated length runs past the end. (Deflated data sets count in other bytes.)"""
    pixel = header.pixel_data
    if pixel is None or pixel.length is None or header.inflated:
        return False
    return pixel.value_offset + pixel.length > dataset_bytes
