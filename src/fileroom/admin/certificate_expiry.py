"""How long the certificates are good for: for the metrics, the pages that warn, `fileroom doctor` and the log."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from psycopg.rows import dict_row

from fileroom.admin.certificate_uses import Use
from fileroom.core.access import Permission, require
from fileroom.core.clock import Now
from fileroom.core.errors import InvalidRequestError
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool

_log: Final = structlog.get_logger(__name__)


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


async def list_expiries(pool: Pool, settings: Settings, now: dt.datetime) -> list[Expiry]:
    """Of every active certificate and every trusted one, the soonest first. Raises NotAllowedError.

    The file that the settings name stands in place of what is active for the web port.
    """
    require(Permission.SYSTEM_READ)
    named = await asyncio.to_thread(_of_the_file, settings.http_certificate, now) if settings.http_certificate else None
    async with pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            b"""SELECT c.name, array_agg(u.use ORDER BY u.use) AS uses, false AS is_trusted, c.not_after
                FROM certificate c JOIN certificate_use u ON u.certificate = c.id GROUP BY c.id
                UNION ALL SELECT name, '{}', true, not_after FROM trusted_certificate ORDER BY 4, 1"""
        )
        rows = await cursor.fetchall()
    found = [named] if named is not None else []
    for row in rows:
        uses = tuple(Use(use) for use in row["uses"] if named is None or use != Use.WEB)
        if uses or row["is_trusted"]:
            found.append(_expiry(row["name"], uses, row["not_after"], now, is_trusted=row["is_trusted"]))
    return sorted(found, key=lambda one: one.seconds_left)


async def pressing_expiries(pool: Pool, settings: Settings, now: dt.datetime) -> list[Expiry]:
    """Those that end within a month or have ended: what administrators are warned of. Raises NotAllowedError."""
    return [one for one in await list_expiries(pool, settings, now) if one.level is not ExpiryLevel.FINE]


def describe_expiry(one: Expiry) -> str:
    """One sentence with the next step, for log and commands."""
    what = (
        f"The trusted certificate {one.name}"
        if one.is_trusted
        else f"The certificate {one.name} ({', '.join(one.uses)})"
    )
    day = f"{one.not_after:%Y-%m-%d}"
    if one.level is ExpiryLevel.EXPIRED:
        consequence = "whom it vouches for is refused" if one.is_trusted else "browsers and devices refuse it"
        return f"{what} has expired on {day}: {consequence}. Renew it under Admin > Certificates."
    if one.level is ExpiryLevel.FINE:
        return f"{what} is good until {day}"
    return f"{what} expires in {one.days_left} days, on {day}. Renew it under Admin > Certificates."


async def warn_of_expiry(pool: Pool, settings: Settings, now: Now) -> int:
    """Say in the log what ends soon; background work does it once a day. There is never more to do at once."""
    for one in await pressing_expiries(pool, settings, now()):
        tell = _log.error if one.level in (ExpiryLevel.EXPIRED, ExpiryLevel.WEEK) else _log.warning
        tell(
            "certificate_expiry", name=one.name, uses=[*one.uses], days_left=one.days_left, reason=describe_expiry(one)
        )
    return 0


def _expiry(
    name: str, uses: tuple[Use, ...], not_after: dt.datetime, now: dt.datetime, *, is_trusted: bool = False
) -> Expiry:
    return Expiry(name, uses, is_trusted, not_after, (not_after - now).total_seconds())


def _of_the_file(path: str, now: dt.datetime) -> Expiry | None:
    """The certificate that stands in a file; None for one that cannot be read, of which the web worker's log tells."""
    from fileroom.admin.certificate_files import read_upload  # loads cryptography

    try:
        found = read_upload(Path(path).read_bytes()).certificates
    except (OSError, InvalidRequestError):
        return None
    ends = min((one.not_valid_after_utc for one in found), default=None)
    return _expiry(Path(path).name, (Use.WEB,), ends, now) if ends is not None else None
