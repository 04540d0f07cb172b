"""What an odd object is, what must become of it, and how one is put together from a `Body` (elements.py)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from corpus.elements import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, PREAMBLE, Body, file_meta


class Outcome(enum.Enum):
    """What must become of an object."""

    KEPT = "kept"
    """Answered with success, stored, and given back bit-identical."""
    REFUSED = "refused"
    """Answered with one of `statuses` and a comment; not stored; recorded with its reason."""


SUCCESS: Final = "0000"
MISMATCH: Final = "A900"
"""Data set does not match SOP class (PS3.4 B.2.3)."""
NOT_UNDERSTOOD: Final = "C000"
"""Cannot understand: any of C000 to CFFF."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """`statuses` are the families allowed; `patient_name` is how the name must read when the object is found."""

    outcome: Outcome
    why: str
    statuses: tuple[str, ...] = (SUCCESS,)
    firm: bool = True
    patient_name: str | None = None

    def allows(self, status: int) -> bool:
        """True when this C-STORE status is one of the families."""
        return any(_in_family(status, family) for family in self.statuses)


@dataclass(frozen=True, slots=True)
class Announced:
    """What the sender's C-STORE-RQ and presentation context say."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


@dataclass(frozen=True, slots=True)
class OddObject:
    """One object. `data_set_offset` is where the data set begins in `data`."""

    name: str
    data: bytes
    expectation: Expectation
    announced: Announced | None = None
    data_set_offset: int = 0

    @property
    def data_set(self) -> bytes:
        """The data set without preamble and file meta."""
        return self.data[self.data_set_offset :]


def kept(why: str, *, firm: bool = True, patient_name: str | None = None) -> Expectation:
    """The object must be kept."""
    return Expectation(Outcome.KEPT, why, (SUCCESS,), firm, patient_name)


def refused(why: str, *statuses: str, firm: bool = True) -> Expectation:
    """The object must be refused with one of these status families; without any, with either."""
    return Expectation(Outcome.REFUSED, why, statuses or (MISMATCH, NOT_UNDERSTOOD), firm)


def from_body(
    body: Body,
    expectation: Expectation,
    *,
    transfer_syntax: str = "",
    sop_instance: str | None = None,
    sop_class: str | None = None,
    data_set: bytes | None = None,
) -> OddObject:
    """An object that can be sent: the announced UIDs are those of `body` unless others are given."""
    syntax = transfer_syntax or (EXPLICIT_BE if body.coder.big else EXPLICIT_LE if body.coder.explicit else IMPLICIT_LE)
    announced = Announced(
        sop_class or body.sop_class, body.sop_instance if sop_instance is None else sop_instance, syntax
    )
    head = PREAMBLE + file_meta(announced.sop_class_uid, announced.sop_instance_uid, syntax)
    content = body.encoded() if data_set is None else data_set
    return OddObject(body.name, head + content, expectation, announced, len(head))


def file_only(name: str, data: bytes, expectation: Expectation) -> OddObject:
    """An object that only a file can hold."""
    return OddObject(name, data, expectation)


def _in_family(status: int, family: str) -> bool:
    if family == NOT_UNDERSTOOD:
        return status & 0xF000 == 0xC000
    if family in (MISMATCH, "A700"):
        return status & 0xFF00 == int(family, 16)
    return status == int(family, 16)
