"""What a message may ask for: one `Change` each, made by the mapping of a feed, applied by `apply_change`."""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.worklist.facts import Identifier, OrderFacts, OrderState, PatientFacts, VisitFacts


@dataclass(frozen=True, slots=True)
class PutPatient:
    """A patient, and perhaps a visit, is made or brought up to date (A01 A02 A03 A04 A05 A08 A11 A12 A13 A28 A31)."""

    patient: PatientFacts
    visit: VisitFacts | None = None


@dataclass(frozen=True, slots=True)
class MergePatients:
    """`retired` becomes part of `survivor`, with all that it has (A18 A34 A36 A39 A40)."""

    survivor: PatientFacts
    retired: Identifier


@dataclass(frozen=True, slots=True)
class UnmergePatients:
    """Two that were merged or linked are two again (A37)."""

    one: Identifier
    other: Identifier


@dataclass(frozen=True, slots=True)
class LinkPatients:
    """Two records of one person, each kept as it is (A24)."""

    one: PatientFacts
    other: PatientFacts


@dataclass(frozen=True, slots=True)
class ChangeIdentifier:
    """A patient's identifier is another one now (A46 A47 A49 for accounts)."""

    patient: PatientFacts
    old: Identifier
    new: Identifier


@dataclass(frozen=True, slots=True)
class MoveVisit:
    """A visit, or with None all that `source` has, belongs to another patient now (A35 A41 A43 A44 A45 A50).

    `new_number`: what the visit is called from now on.
    """

    source: Identifier
    target: PatientFacts
    visit: Identifier | None = None
    new_number: Identifier | None = None


@dataclass(frozen=True, slots=True)
class RemoveVisit:
    """A visit was entered by mistake (A23)."""

    patient: PatientFacts
    visit: Identifier


@dataclass(frozen=True, slots=True)
class PutOrder:
    """An order is made or brought up to date; `state` None: as it is, SCHEDULED for a new one.

    `must_be`: "new" (NW: there is none yet), "known" (XO: there is one), "" either.
    """

    order: OrderFacts
    patient: PatientFacts | None = None
    visit: VisitFacts | None = None
    state: OrderState | None = None
    must_be: str = ""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A message that asks for nothing here; `why` is told in the inbox."""

    why: str


Change = (
    PutPatient
    | MergePatients
    | UnmergePatients
    | LinkPatients
    | ChangeIdentifier
    | MoveVisit
    | RemoveVisit
    | PutOrder
    | Nothing
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something changes: a message of a feed, a performed step or a person."""

    who: str
    message: int | None = None
    """The row in the inbox."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of a change, in words without patient data; `subject` and `number` say which row."""

    words: str
    subject: str = ""
    """patient, visit, order or study."""
    number: int = 0
