"""Identifiers of patients and visits: their form, and which of them are one number space.

HL7 table 0203 has many kinds. Those of medical records (MR, PI, PT, PN, none) are one number space for each assigning
authority, since senders write now one and now another for the same number, and merge segments mostly none.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.worklist.facts import Identifier

RECORD_KINDS: Final = ("MR", "PI", "PT", "PN", "")
"""Kinds that number patients, so that one stands for the other."""
VISIT_KINDS: Final = ("VN", "AN")
"""Kinds that number visits and accounts."""
VALUE_CHARS_MAX: Final = 64
"""Of an identifier or an authority: LO (PS3.5 6.2)."""
IDENTIFIERS_MAX: Final = 50
"""Of one patient in one message; a region's cross-reference has some ten."""


def is_of_records(kind: str) -> bool:
    """Whether an identifier of this kind numbers patients."""
    return kind in RECORD_KINDS


def check_identifier(identifier: Identifier, what: str = "identifier") -> Identifier:
    """The identifier without blanks around. Raises InvalidRequestError for what Patient ID and its issuer cannot hold."""
    cleaned = Identifier(identifier.value.strip(), identifier.authority.strip(), identifier.kind.strip())
    if not cleaned.value:
        raise InvalidRequestError(told("The {what} is empty.", what=what))
    for part in (cleaned.value, cleaned.authority, cleaned.kind):
        if len(part) > VALUE_CHARS_MAX:
            raise InvalidRequestError(
                told(
                    "The {what} has {count} characters; DICOM takes {most}.",
                    what=what,
                    count=len(part),
                    most=VALUE_CHARS_MAX,
                )
            )
        if "\\" in part or not part.isprintable():
            raise InvalidRequestError(
                told("The {what} holds a backslash or a control character, which DICOM does not take.", what=what)
            )
    return cleaned
