"""Who a patient is called by in a project: pseudonyms, shifts of dates and new UIDs. All of it follows from a key.

The same patient gets the same pseudonym, and the same UID the same new one, whichever process asks and however often; from
what leaves nobody finds back without the project's vault.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydicom.dataset import Dataset

from fileroom.deid.errors import CannotCleanError, UnknownPatientError
from fileroom.pixels.header_values import value_of

DICOM_ROOT: Final = "1.2.840.10008."
"""UIDs of the standard itself: SOP classes, transfer syntaxes, well-known frames of reference. They name nobody."""


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """What a patient is called. `shift_days` is added to every date of theirs where dates are moved."""

    patient_id: str
    patient_name: str
    shift_days: int = 0


class Pseudonyms(Protocol):
    """The pseudonyms of a project, as far as they are needed at the moment. Answers from memory."""

    def patient(self, identity: str, /) -> Pseudonym:
        """Of the patient that `identity_of` names. Raises UnknownPatientError when it was not opened before."""

    def uid(self, original: str, /) -> str:
        """The new UID."""

    def hashed(self, text: str, /) -> str:
        """16 hexadecimal digits that stand for a text in this project."""


def identity_of(header: Dataset) -> str:
    """What tells patients apart: the ID with its issuer, without an ID name and birth date. Raises CannotCleanError.

    Objects without any of them count as one patient for each study.
    """
    patient_id = _said(header, "PatientID")
    if patient_id:
        return "\0".join(("id", _said(header, "IssuerOfPatientID").upper(), patient_id))
    name, birth = _said(header, "PatientName").upper(), _said(header, "PatientBirthDate")
    if name:
        return "\0".join(("name", name.rstrip("^"), birth))
    study = _said(header, "StudyInstanceUID")
    if not study:
        raise CannotCleanError(
            "It tells neither a patient nor a study, so no pseudonym can be given. Correct it first."
        )
    return "\0".join(("study", study))


@dataclass(frozen=True, slots=True)
class KeyedPseudonyms:
    """Pseudonyms in memory: `known` by identity, UIDs and hashes by the project's key."""

    key: bytes = field(repr=False)
    known: Mapping[str, Pseudonym] = field(default_factory=dict, repr=False)

    def patient(self, identity: str) -> Pseudonym:
        """See Pseudonyms."""
        found = self.known.get(identity)
        if found is None:
            raise UnknownPatientError(
                "The patient has no pseudonym yet. Open the project's pseudonyms for it, then try again."
            )
        return found

    def uid(self, original: str) -> str:
        """See Pseudonyms."""
        return new_uid(self.key, original)

    def hashed(self, text: str) -> str:
        """See Pseudonyms."""
        return keyed(self.key, b"text", text.encode())[:8].hex()


def new_uid(key: bytes, original: str) -> str:
    """A UID derived from a UUID (PS3.5 B.2) that is an HMAC of the original; UIDs of the standard stay."""
    if not original or original.startswith(DICOM_ROOT):
        return original
    number = int.from_bytes(keyed(key, b"uid", original.encode())[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76  # version 8 and variant of RFC 9562
    number = number & ~(0x3 << 62) | 2 << 62
    return f"2.25.{number}"


def keyed(key: bytes, purpose: bytes, text: bytes) -> bytes:
    """HMAC-SHA-256, other for each purpose."""
    return hmac.digest(key, purpose + b"\0" + text, hashlib.sha256)


def _said(header: Dataset, keyword: str) -> str:
    value = value_of(header, keyword)
    return " ".join(str(value).replace("\0", "").split()) if value is not None else ""
