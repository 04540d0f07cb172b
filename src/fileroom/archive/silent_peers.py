"""Peers that were asked lately and did not answer in time, so that the next question does not wait for them as long again.

What is known is one process's own and a short time old: losing it costs one wait. Whoever answers is asked at once again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

SILENT_S: Final = 30.0
"""How long a peer is left alone after it said nothing: short enough that nobody has to tell us that it is back."""
KEPT_MAX: Final = 1000
"""As many sources as anybody has, and studies that somebody waits for."""


@dataclass(slots=True)
class SilentPeers:
    """Those of one process, by whatever names them."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, str]] = field(default_factory=dict)

    def note(self, peer: str, reason: str, for_s: float = SILENT_S) -> None:
        """It has not answered; `reason` is told to those who would have asked it meanwhile."""
        now = self.clock()
        self._known = {key: known for key, known in self._known.items() if known[0] > now}
        while len(self._known) >= KEPT_MAX:
            del self._known[next(iter(self._known))]
        self._known[peer] = (now + for_s, reason)

    def reason(self, peer: str) -> tuple[str, float]:
        """Why it is not asked, and for how many seconds more; empty and 0 where it may be asked."""
        until, reason = self._known.get(peer, (0.0, ""))
        left_s = until - self.clock()
        return (reason, left_s) if left_s > 0 else ("", 0.0)

    def answered(self, peer: str) -> None:
        """It is there."""
        self._known.pop(peer, None)
