"""Scopes of tokens in the manner of SMART on FHIR: `patient/*.read`, `user/ImagingStudy.rs`, `system/*.rs`.

Version 1 says read, write or *, version 2 some of c r u d s (SMART App Launch 2.0, Scopes for Clinical Data). `patient/`
narrows to what is about one patient, which the token names. There is no authorization server: a token is made with its scopes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from fileroom.core.access import FhirScope
from fileroom.core.errors import InvalidRequestError, told

KINDS: Final = (
    *("Patient", "ServiceRequest", "ImagingStudy", "DiagnosticReport", "Endpoint", "AuditEvent"),
    *("Binary", "Subscription"),
)
SCOPES_MAX: Final = 30
_SCOPE: Final = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]{1,40})\.(read|write|\*|c?r?u?d?s?)")
_RIGHTS: Final = {"read": "rs", "write": "cud", "*": "cruds"}


def read_scope(text: str) -> FhirScope:
    """One scope. Raises InvalidRequestError."""
    found = _SCOPE.fullmatch(text)
    if found is None or not found[3]:
        raise InvalidRequestError(
            told(
                "{scope} is no scope; write for example patient/*.read, user/ImagingStudy.rs or system/*.rs.",
                scope=repr(text[:60]),
            )
        )
    if found[2] not in ("*", *KINDS):
        raise InvalidRequestError(
            told("There is no {kind} here; scopes name one of {names} or *.", kind=found[2], names=", ".join(KINDS))
        )
    return FhirScope(found[1], found[2], _RIGHTS.get(found[3], found[3]))


def checked_scopes(texts: Iterable[str], patient: int | None) -> list[str] | None:
    """As they are kept, None where there are none. Raises InvalidRequestError, also for a patient that is missing."""
    scopes = list(dict.fromkeys(texts))
    if len(scopes) > SCOPES_MAX:
        raise InvalidRequestError(told("A token has at most {most} scopes.", most=SCOPES_MAX))
    needs_patient = any(read_scope(one).level == "patient" for one in scopes)
    if needs_patient and patient is None:
        raise InvalidRequestError(told("Scopes of the level patient need the number of a patient."))
    if patient is not None and not needs_patient:
        raise InvalidRequestError(told("A patient goes with scopes of the level patient."))
    return scopes or None


def split_scopes(text: str) -> tuple[str, ...]:
    """The scopes of one line, apart by blanks or commas."""
    return tuple(text.replace(",", " ").split())


def stored_scopes(texts: Sequence[str]) -> tuple[FhirScope, ...]:
    """Those of a row; what cannot be understood allows nothing."""
    found = []
    for text in texts:
        try:
            found.append(read_scope(text))
        except InvalidRequestError:
            continue
    return tuple(found)
