"""How long the certificates are good for: for the metrics, the pages that warn, `fileroom doctor` and the log."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

from psycopg.rows import dict_row

from fileroom.admin.certificate_uses import Use
from fileroom.core.access import Permission, require
from fileroom.db.pool import Pool


class ExpiryLevel(enum.IntEnum):
    """How urgent it is: the days that are left at most. EXPIRED has none, FINE has more than a month."""

    EXPIRED = 0
    WEEK = 7
    FORTNIGHT = 14
    MONTH = 30
    FINE = 10_000


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a certificate ends. `uses` is empty for one that we trust (`is_trusted`) or that is not active."""

    name: str
    uses: tuple[Use, ...]
    is_trusted: bool
    not_after: dt.datetime
    seconds_left: float

    @property
    def days_left(self) -> int:
        """Whole days; negative when it is over."""
        return int(self.seconds_left // 86_400)

    @property
    def level(self) -> ExpiryLevel:
        """How urgent it is."""
        return level_of(self.seconds_left)


def level_of(seconds_left: float) -> ExpiryLevel:
    """How urgent so many seconds are."""
    if seconds_left <= 0:
        return ExpiryLevel.EXPIRED
    limits = (ExpiryLevel.WEEK, ExpiryLevel.FORTNIGHT, ExpiryLevel.MONTH)
    return next((level for level in limits if seconds_left <= level * 86_400), ExpiryLevel.FINE)


async def list_expiries(pool: Pool, now: dt.datetime) -> list[Expiry]:
    """Of every active certificate and every trusted one, the soonest first. Raises NotAllowedError."""
    require(Permission.SYSTEM_READ)
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT c.name, array_agg(u.use ORDER BY u.use) AS uses, false AS is_trusted, c.not_after
                FROM certificate c JOIN certificate_use u ON u.certificate = c.id GROUP BY c.id
                UNION ALL SELECT name, '{}', true, not_after FROM trusted_certificate ORDER BY 4, 1"""
        )
        return [
            Expiry(
                row["name"],
                tuple(Use(use) for use in row["uses"]),
                row["is_trusted"],
                row["not_after"],
                (row["not_after"] - now).total_seconds(),
            )
            for row in await cursor.fetchall()
        ]


async def pressing_expiries(pool: Pool, now: dt.datetime) -> list[Expiry]:
    """Those that end within a month or have ended: what administrators are warned of. Raises NotAllowedError."""
    return [one for one in await list_expiries(pool, now) if one.level is not ExpiryLevel.FINE]
