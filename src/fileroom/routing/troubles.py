"""What is an alarm by itself whenever it happens: a rule that failed on an object, an object that came back in a loop.

It happens while objects are stored, a thousand times a second at worst; so it is counted in memory (`note` waits for nothing)
and written by whoever has the time (`flush`, once a second).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from fileroom.db.pool import Pool
from fileroom.routing.alert_rules import AlertKind

DETAIL_CHARS_MAX: Final = 500
KEPT_DAYS: Final = 7


@dataclass(slots=True)
class Troubles:
    """Those of one process that are not written yet."""

    counted: dict[AlertKind, tuple[int, str]] = field(default_factory=dict)

    def note(self, kind: AlertKind, detail: str) -> None:
        """It happened once more: RULE_ERROR or ROUTING_LOOP. `detail` says to what and why, without patient data."""
        self.counted[kind] = (self.counted.get(kind, (0, ""))[0] + 1, detail[:DETAIL_CHARS_MAX])

    async def flush(self, pool: Pool, now: dt.datetime) -> None:
        """Write what was noted; what cannot be written stays. Raises DatabaseError."""
        while self.counted:
            kind, (number, detail) = next(iter(self.counted.items()))
            async with pool.connection() as connection:
                await connection.execute(
                    b"INSERT INTO routing_trouble (at, kind, number, detail) VALUES (%s, %s, %s, %s)",
                    (now, kind.value, number, detail),
                )
            meanwhile = self.counted[kind][0] - number
            if meanwhile:
                self.counted[kind] = (meanwhile, self.counted[kind][1])
            else:
                del self.counted[kind]
