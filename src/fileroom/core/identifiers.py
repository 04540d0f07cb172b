"""AE titles and UIDs as types: validated once at the edge, trusted behind it.

An `AETitle` follows PS3.5 6.2 (VR AE) and PS3.8 9.3.2; a `UID` follows PS3.5 9.1.
"""

from __future__ import annotations

import re
from typing import Final

from fileroom.core.errors import InvalidRequestError

AE_TITLE_CHARS_MAX: Final = 16
UID_CHARS_MAX: Final = 64

IMPLEMENTATION_CLASS_UID: Final = "2.25.168533393623863897635622556413681155381"
"""Names Fileroom in associations and file meta information (PS3.7 D.3.3.2, PS3.10 7.1)."""
IMPLEMENTATION_VERSION_NAME: Final = "FILEROOM_0_1"
"""At most 16 characters."""

_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")


class AETitle(str):
    """1 to 16 characters of the default repertoire, no backslash, no control character, not only spaces."""

    __slots__ = ()

    def __new__(cls, value: str) -> AETitle:
        text = value.strip(" ")
        if not text or len(text) > AE_TITLE_CHARS_MAX:
            raise InvalidRequestError(
                f"{value!r} is not an AE title: it must have 1 to {AE_TITLE_CHARS_MAX} characters that are not spaces"
            )
        if any(not " " <= c <= "~" or c == "\\" for c in text):
            raise InvalidRequestError(
                f"{value!r} is not an AE title: only printable ASCII characters other than the backslash are allowed"
            )
        return super().__new__(cls, text)


class UID(str):
    """1 to 64 digits and dots, at least one digit between dots.

    Leading zeros in a component, which the standard forbids but devices send, are let through: the value is an
    identity to be kept, and never becomes part of a path.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> UID:
        text = value.rstrip("\0 ")
        if len(text) > UID_CHARS_MAX or not _UID.fullmatch(text):
            shown = text if len(text) <= UID_CHARS_MAX else text[:UID_CHARS_MAX] + "..."
            raise InvalidRequestError(
                f"{shown!r} is not a UID: it must have 1 to {UID_CHARS_MAX} characters, only digits and single dots"
            )
        return super().__new__(cls, text)
