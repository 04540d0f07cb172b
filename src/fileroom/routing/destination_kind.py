"""What a kind of destination must be able to do: C-STORE, STOW-RS, a folder, a bucket ... and those of third parties.

A third party's package names its kind in the entry point group `fileroom.destinations`; `routing.kinds` finds it. Every
kind must pass the contract tests of `fileroom.routing.contract`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from fileroom.archive.services import Archive
from fileroom.routing.outgoing import OutgoingObject


class OutcomeKind(enum.StrEnum):
    """What became of an object that was sent."""

    TAKEN = "taken"
    """The destination says that it has it (0000)."""
    WARNED = "warned"
    """It has it, and remarks something (Bxxx)."""
    REFUSED = "refused"
    """It will never take it: sending again is of no use until something is changed (A9xx, Cxxx, no context)."""
    TRY_LATER = "try later"
    """Not now (A7xx, no connection, disk full): again after a while."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object. `cause` is a sentence for people: what happened, and the next step."""

    kind: OutcomeKind
    cause: str = ""
    status: int | None = None
    """The DIMSE status or HTTP code, where there is one."""
    sent_bytes: int = 0


Settle = Callable[[OutgoingObject, Outcome], None]
"""Called once for each object, as soon as its fate is known."""


class Confirmation(enum.StrEnum):
    """What makes a delivery proven, after the destination has taken the object."""

    ANSWER = "answer"
    """Its answer is enough."""
    COMMITMENT = "commitment"
    """Storage commitment (PS3.4 J) must name it as safe."""
    COUNT = "count"
    """A C-FIND (or its like) must find it there."""


class DestinationSession(Protocol):
    """An open way to a destination, used by one lane at a time and reused for many batches."""

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """Send objects of one study, in their order, and settle each. What is not settled when it raises is tried later.

        Raises PeerError, StorageError or DatabaseError when the way itself is broken; the session is then thrown away.
        """

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """Ask whether objects that were taken are safe there: by delivery id, TAKEN or a failure; what is not named is
        not known yet. Only called where the destination's confirmation is not `answer`."""


@dataclass(frozen=True, slots=True)
class KindContext:
    """What a kind is given to work with. `target` are its own fields, checked; secrets are in clear."""

    archive: Archive
    destination: str
    target: Mapping[str, Any] = field(repr=False)
    confirmation: Confirmation = Confirmation.ANSWER


class DestinationKind(Protocol):
    """A kind of destination. It keeps no state of its own."""

    @property
    def name(self) -> str:
        """As it stands in configurations: dicom, stow, folder, bucket, edge, mail, webhook ..."""

    @property
    def secrets(self) -> frozenset[str]:
        """Fields of the target that are sealed in the database and never shown."""

    @property
    def confirmations(self) -> frozenset[Confirmation]:
        """In which ways it can prove a delivery."""

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """The target in its normal form. Raises InvalidRequestError, which names the field and says what would be right."""

    def describe(self, target: Mapping[str, Any]) -> str:
        """Where it leads, in a few words without secrets."""

    def open(self, context: KindContext) -> AbstractAsyncContextManager[DestinationSession]:
        """A way to it. Raises PeerError, StorageError, ConfigurationError."""

    async def probe(self, context: KindContext) -> str:
        """Ask whether it is there, without sending anything that stays: what answered. Raises as `open` does."""
