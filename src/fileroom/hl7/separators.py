"""The five or six characters that part an HL7 message (v2.5.1 2.5.4, v2.7 2.5.5), as its header gives them.

Headers are often damaged on their way: MSH-2 lost its backslash in a programmer's text, has it twice, or is cut. What is
meant is plain in these cases, and taken so, with a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import Hl7Error, told

_USUAL: Final = b"^~\\&"
_ENCODING_BYTES_MAX: Final = 16
"""Of MSH-2. Five are defined; a separator that never comes shall not make the whole message MSH-2."""


@dataclass(frozen=True, slots=True)
class Separators:
    """One byte each, all ASCII. `truncation` (v2.7) and what is not used are empty."""

    field: bytes = b"|"
    component: bytes = b"^"
    repetition: bytes = b"~"
    escape: bytes = b"\\"
    subcomponent: bytes = b"&"
    truncation: bytes = b""
    warnings: tuple[str, ...] = ()

    @property
    def encoding(self) -> bytes:
        """MSH-2 as it should be."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


USUAL: Final = Separators()


def read_separators(header: bytes) -> Separators:
    """Those of a segment MSH, FHS or BHS. Raises Hl7Error when the byte after its name can separate nothing."""
    name = header[:3].decode("ascii", "replace")
    field = header[3:4]
    if not _can_separate(field):
        found = f"byte {field[0]:02X}H" if field else "nothing"
        raise Hl7Error(
            told(
                "{name}-1, the byte after {name}, is to separate the fields, and {found} cannot; the sender must put | there",
                name=name,
                found=found,
            )
        )
    end = header.find(field, 4, 4 + _ENCODING_BYTES_MAX)
    said = header[4 : end if end >= 0 else 4 + _ENCODING_BYTES_MAX].rstrip()
    if said == _USUAL and field == b"|":
        return USUAL
    return _mended(name, field, said)


def _mended(name: str, field: bytes, said: bytes) -> Separators:
    warnings: list[str] = []
    meant = said
    if said in (b"^~&", b"^~&#"):
        meant = _USUAL + said[3:]  # "^~\&" in a programming language, where \& is &
    elif said[:2] != said[2:4] and said[2:4] == b"\\\\":
        meant = said[:3] + said[4:]  # the backslash written twice
    if not said:
        meant = _USUAL
    chosen: list[bytes] = []
    for place, usual in enumerate((b"^", b"~", b"\\", b"&", b"")):
        given = meant[place : place + 1]
        if not (_can_separate(given) and given != field and given not in chosen):
            given = usual if usual and usual != field and usual not in chosen else b""
        chosen.append(given)
    taken = b"".join(chosen).decode("ascii")
    if said != taken.encode("ascii"):
        warnings.append(
            told(
                "{name}-2 is {said}; it was read as {meant}",
                name=name,
                said=said.decode("latin-1") or "empty",
                meant=taken,
            )
        )
    component, repetition, escape, subcomponent, truncation = chosen
    return Separators(field, component, repetition, escape, subcomponent, truncation, tuple(warnings))


def _can_separate(one: bytes) -> bool:
    return len(one) == 1 and 0x20 < one[0] < 0x7F and not one.isalnum()
