"""What the archive asks of routing when an object arrives: to whom shall it go?

The answer is written in the transaction that stores the object (`index.write`), so that no object is stored without its
deliveries, and none is delivered that was not stored. Routing stands above the archive; it gives its answer through
`ArrivalRules`, which the composition root passes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from fileroom.archive.examine import Claim
from fileroom.dicom.header_scan import ScannedHeader
from fileroom.index.attributes import SCANNED_TAGS


class PlannedDelivery(NamedTuple):
    """One object shall go to one destination."""

    destination_id: int
    rule_id: int | None
    """None where no rule says so."""
    until: str = ""
    """What is waited for before it goes: nothing (empty), `series` or `study` complete."""
    bonus_s: int = 0
    """Seconds by which it stands before what arrives now (STAT), or behind it (negative: bulk)."""
    state: str = "waiting"
    cause: str = ""


class ArrivalRules(Protocol):
    """The rules that are in force in this process."""

    @property
    def tags(self) -> frozenset[int]:
        """Attributes to be scanned: those of the index, and those that the rules look at."""

    @property
    def gathers(self) -> bool:
        """Whether a rule waits until series or studies are complete."""

    def plan(self, header: ScannedHeader, claim: Claim, /) -> Sequence[PlannedDelivery]:
        """Where the object shall go: nowhere, most of the time. Must not fail and takes microseconds."""


class NoRules:
    """Nothing goes anywhere by itself."""

    @property
    def tags(self) -> frozenset[int]:
        """Those of the index."""
        return SCANNED_TAGS

    @property
    def gathers(self) -> bool:
        """No."""
        return False

    def plan(self, _header: ScannedHeader, _claim: Claim) -> Sequence[PlannedDelivery]:
        """Nothing."""
        return ()


NO_RULES: Final = NoRules()
