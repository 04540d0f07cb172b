"""What came over the edge link, for the audit trail: put down by study when nothing more has come for a moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from fileroom.archive.services import Archive
from fileroom.archive.store import StoreOutcome
from fileroom.archive.transfers import ReceivedObjects
from fileroom.core.access import Access

_AFTER_S: Final = 3.0


@dataclass(slots=True)
class EdgeArrivals:
    """Of one peer, in one process."""

    archive: Archive
    sender: Access
    _now: ReceivedObjects | None = None
    _timer: asyncio.TimerHandle | None = None

    def stored(self, outcome: StoreOutcome) -> None:
        """An object is safe."""
        if self._now is None:
            self._now = ReceivedObjects(self.archive, self.sender)
        self._now.stored(outcome)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_AFTER_S, self.report)

    def report(self) -> None:
        """Put it down now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._now is not None:
            self._now.ended()
            self._now = None
