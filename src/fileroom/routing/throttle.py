"""How fast a destination is sent to: bytes and objects a second, for all lanes of all processes together.

    pace = Pace.of(mbit_s=20, objects_s=0)
    await throttle.wait(destination.id, pace, size=len(chunk))      # before the chunk is sent
    await throttle.wait(destination.id, pace, objects=1)            # before the object is

An account says from when on the destination is free again; what goes puts that moment off by what it costs at the pace (the
virtual scheduling algorithm of ITU-T I.371, a token bucket without a clockwork). Accounts are rows of the database, so
that any number of processes keep one pace together. So that small objects do not cost a statement each, a process takes what
goes in SLICE_S at once and spends it by itself; it never holds more than that. Nothing is reserved while somebody waits: a
lane that is cancelled leaves nothing behind, and a pace that is changed is felt within RECHECK_S.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from pydicom.dataset import Dataset

from fileroom.archive.retrieve import OpenedObject
from fileroom.db.pool import Pool
from fileroom.routing.outgoing import OutgoingObject

SLICE_S: Final = 0.2
"""What a process takes at once: at most five statements a second for each destination, and no burst that a link feels."""
BURST_S: Final = 0.5
"""What may go at once after a pause."""
RECHECK_S: Final = 5.0
"""A long wait is looked at again: the pace may be another one."""
DEBT_MAX_S: Final = 600.0
"""No account is in debt for longer, so that a clock that was set back stops nothing for ever."""
_MBIT_BYTES: Final = 125_000

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pace:
    """At most so much a second; 0: no limit."""

    bytes_s: float = 0
    objects_s: float = 0

    @classmethod
    def of(cls, mbit_s: float = 0, objects_s: float = 0) -> Pace:
        """From the fields of a destination: 1 Mbit/s is 125,000 bytes a second."""
        return cls(mbit_s * _MBIT_BYTES, objects_s)

    @property
    def is_limited(self) -> bool:
        """There is a limit at all."""
        return self.bytes_s > 0 or self.objects_s > 0


@dataclass(frozen=True, slots=True)
class Account:
    """From when on the next byte and the next object may go, in seconds of any clock, and the pace that this was counted at."""

    bytes_free_at: float
    objects_free_at: float
    pace: Pace


def take(account: Account, pace: Pace, size: float, objects: float, now: float) -> tuple[Account, float]:
    """Let so much go now, or say in how many seconds to ask again (0: it goes). Pure.

    What is larger than a second's worth goes at once when the account is free; those after it wait for its debt.
    """
    bytes_at = _at_new_pace(account.bytes_free_at, account.pace.bytes_s, pace.bytes_s, now)
    objects_at = _at_new_pace(account.objects_free_at, account.pace.objects_s, pace.objects_s, now)
    wait = max(bytes_at - now if size else 0.0, objects_at - now if objects else 0.0, 0.0)
    if wait <= 0:
        bytes_at = _after(bytes_at, size, pace.bytes_s, now)
        objects_at = _after(objects_at, objects, pace.objects_s, now)
    return Account(bytes_at, objects_at, pace), wait


class Accounts(Protocol):
    """Where accounts are kept."""

    async def take(self, destination_id: int, pace: Pace, size: float, objects: float) -> float:
        """As the function `take`: 0 when it may go. Raises DatabaseError."""


@dataclass(slots=True)
class AccountsInMemory:
    """Of one process, by its own clock (`loop.time`, or a test's)."""

    clock: Callable[[], float]
    accounts: dict[int, Account] = field(default_factory=dict)

    async def take(self, destination_id: int, pace: Pace, size: float, objects: float) -> float:
        """See `Accounts`."""
        now = self.clock()
        account = self.accounts.get(destination_id, Account(now, now, pace))
        self.accounts[destination_id], wait = take(account, pace, size, objects, now)
        return wait


@dataclass(frozen=True, slots=True)
class AccountsInDatabase:
    """Of all processes, by the clock of the database: one row for each destination."""

    pool: Pool

    async def take(self, destination_id: int, pace: Pace, size: float, objects: float) -> float:
        """See `Accounts`. The row's lock is held for the length of a statement."""
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(
                b"""INSERT INTO throttle_account (destination_id, bytes_free_at, objects_free_at, bytes_s, objects_s)
                    VALUES (%s, now(), now(), %s, %s) ON CONFLICT (destination_id) DO NOTHING""",
                (destination_id, pace.bytes_s, pace.objects_s),
            )
            cursor = await connection.execute(
                b"""SELECT extract(epoch FROM bytes_free_at - clock_timestamp())::float8,
                        extract(epoch FROM objects_free_at - clock_timestamp())::float8, bytes_s, objects_s
                    FROM throttle_account WHERE destination_id = %s FOR UPDATE""",
                (destination_id,),
            )
            row = await cursor.fetchone()
            if row is None:
                return 0.0
            now_account, wait = take(Account(row[0], row[1], Pace(row[2], row[3])), pace, size, objects, 0.0)
            if wait <= 0 or pace != Pace(row[2], row[3]):
                await connection.execute(
                    b"""UPDATE throttle_account SET bytes_free_at = clock_timestamp() + make_interval(secs => %s),
                            objects_free_at = clock_timestamp() + make_interval(secs => %s), bytes_s = %s, objects_s = %s
                        WHERE destination_id = %s""",
                    (
                        now_account.bytes_free_at,
                        now_account.objects_free_at,
                        pace.bytes_s,
                        pace.objects_s,
                        destination_id,
                    ),
                )
            return wait


@dataclass(slots=True)
class _InHand:
    """What this process has taken for a destination and not spent."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    size: float = 0
    objects: float = 0


@dataclass(slots=True)
class Throttle:
    """The paces of one process. It holds a few numbers for each destination, and starts nothing."""

    accounts: Accounts
    sleep: Sleep = asyncio.sleep
    in_hand: dict[int, _InHand] = field(default_factory=dict)

    async def wait(
        self, destination_id: int, pace: Pace | Callable[[], Pace], *, size: int = 0, objects: int = 0
    ) -> float:
        """Return when so many bytes and objects may go; how long that took, in seconds. First come, first served.

        `pace` may be asked again while it waits, where it is a function. Raises DatabaseError.
        """
        ask = pace if callable(pace) else lambda: pace
        if not ask().is_limited:
            return 0.0
        held = self.in_hand.setdefault(destination_id, _InHand())
        waited = 0.0
        async with held.lock:
            while (now := ask()).is_limited:
                # An account without a limit costs nothing.
                missing = max(size - held.size, 0.0) if now.bytes_s else 0.0
                more = max(objects - held.objects, 0.0) if now.objects_s else 0.0
                if not missing and not more:
                    break
                missing, more = _slice(missing, now.bytes_s), _slice(more, now.objects_s)
                pause = await self.accounts.take(destination_id, now, missing, more)
                if pause <= 0:
                    held.size, held.objects = held.size + missing, held.objects + more
                    break
                pause = min(pause, RECHECK_S)
                await self.sleep(pause)
                waited += pause
            held.size, held.objects = max(held.size - size, 0.0), max(held.objects - objects, 0.0)
        return waited


@dataclass(frozen=True, slots=True)
class PacedObject:
    """An outgoing object whose bytes are read at the pace of its destination, whatever kind of session sends it."""

    original: OutgoingObject
    throttle: Throttle
    destination_id: int
    pace: Callable[[], Pace]

    @property
    def delivery_id(self) -> int:
        """As the original's."""
        return self.original.delivery_id

    @property
    def study_instance_uid(self) -> str:
        """As the original's."""
        return self.original.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        """As the original's."""
        return self.original.series_instance_uid

    @property
    def sop_instance_uid(self) -> str:
        """As the original's."""
        return self.original.sop_instance_uid

    @property
    def sop_class_uid(self) -> str:
        """As the original's."""
        return self.original.sop_class_uid

    @property
    def transfer_syntax_uid(self) -> str:
        """As the original's."""
        return self.original.transfer_syntax_uid

    @property
    def file_bytes(self) -> int:
        """As the original's."""
        return self.original.file_bytes

    async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> OpenedObject:
        """The original's bytes, at the pace. There is no `file`: what is sent past Python keeps no pace.

        Objects a second are the lane's to wait for, once for each: a session may open an object twice.
        """
        opened = await self.original.open(transfer_syntax, part10=part10)
        if not self.pace().bytes_s:
            return opened
        return replace(opened, file=None, chunks=self._paced(opened.chunks))

    async def header(self) -> Dataset:
        """As the original's."""
        return await self.original.header()

    async def _paced(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            await self.throttle.wait(self.destination_id, self.pace, size=len(chunk))
            yield chunk


def paced(
    outgoing: OutgoingObject, throttle: Throttle, destination_id: int, pace: Callable[[], Pace]
) -> OutgoingObject:
    """The object as it is read at the destination's pace; itself where there is no limit."""
    return PacedObject(outgoing, throttle, destination_id, pace) if pace().is_limited else outgoing


# --- helpers ---


def _slice(missing: float, per_second: float) -> float:
    return max(missing, per_second * SLICE_S) if missing else 0.0


def _at_new_pace(free_at: float, was: float, now_is: float, now: float) -> float:
    """A debt counted anew at another pace; none where there is no limit any more."""
    if now_is <= 0:
        return now
    debt = (free_at - now) * was / now_is if free_at > now and was > 0 else free_at - now
    return now + min(debt, DEBT_MAX_S)


def _after(free_at: float, amount: float, per_second: float, now: float) -> float:
    return max(free_at, now - BURST_S) + amount / per_second if per_second > 0 else now
