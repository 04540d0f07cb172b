"""What of a message somebody sees who may not see patients: everything but who the patient is.

Masked are names, dates of birth, addresses and telephone numbers, in the segments that have them. Letters and digits become
dots, so that one still sees whether a field is there, how long it is, and how it is divided.
"""

from __future__ import annotations

import re
from typing import Final

from fileroom.core.access import Access, Permission

MASKED: Final[dict[str, frozenset[int]]] = {
    "PID": frozenset((5, 6, 7, 9, 11, 12, 13, 14, 19, 20, 21, 23, 29)),
    "PD1": frozenset((3, 4)),
    "MRG": frozenset((7,)),
    "NK1": frozenset((2, 4, 5, 6, 16, 26, 30, 31, 32, 33, 37)),
    "GT1": frozenset((3, 4, 5, 6, 7, 8, 12, 16, 17, 18, 19, 42)),
    "IN1": frozenset((16, 18, 19, 36, 44, 49, 52)),
    "IN2": frozenset((1, 2, 6, 8, 40, 49, 52, 63)),
    "ACC": frozenset((7, 10)),
    "OBX": frozenset((5,)),
    "NTE": frozenset((3,)),
}
"""Fields of v2.5.1 chapters 3, 6 and 7. Results and notes are free text, in which a name may stand."""
_SHOWN: Final = re.compile(r"[^|^~\\&\s]")


def sees_patients(access: Access) -> bool:
    """Whether somebody may see who the patients are."""
    return access.allows(Permission.ORDER_READ) or access.allows(Permission.STUDY_VIEW)


def masked(segment: str, number: int, text: str) -> str:
    """The text of a field as somebody sees it who may not see patients. Z segments may hold anything."""
    if segment.startswith("Z") or number in MASKED.get(segment, ()):
        return _SHOWN.sub("•", text)
    return text
