"""The order in which an edge's objects are stored, although several travel at once and several web workers take them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from fileroom.archive.services import Archive

TURN_S: Final = 5.0
"""How long an object waits for the one before it, whose line may have broken: it comes again within seconds, or much later."""
_LOOK_S: Final = 0.02
_ORDERS_MAX: Final = 1000
"""Remembered; each is one batch of a lane."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An object is stored when those of the same order before `place` are. An empty order: whenever it comes."""

    edge_id: int
    order: str = ""
    place: int = 0


class Turns:
    """Objects that travel side by side are stored in the order in which they were sent.

    A place that does not come (its line broke) holds up those behind it for TURN_S at most. Web workers tell each other by the
    database where there are several.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._through: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._changed = asyncio.Condition()

    async def wait(self, turn: Turn) -> None:
        """Until the place before is through, or TURN_S."""
        if not turn.order or not turn.place:
            return
        key = (turn.edge_id, turn.order)
        ends_at = asyncio.get_running_loop().time() + TURN_S
        while self._through.get(key, -1) < turn.place - 1 and asyncio.get_running_loop().time() < ends_at:
            if self._is_shared and await self._read(key) >= turn.place - 1:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if self._is_shared else TURN_S), self._changed:
                    await self._changed.wait()

    async def through(self, turn: Turn) -> None:
        """It is stored, or refused for good."""
        if not turn.order:
            return
        key = (turn.edge_id, turn.order)
        self._through[key] = max(turn.place, self._through.get(key, -1))
        self._through.move_to_end(key)
        while len(self._through) > _ORDERS_MAX:
            self._through.popitem(last=False)
        async with self._changed:
            self._changed.notify_all()
        if self._is_shared:
            async with self._archive.pool.connection() as connection:
                await connection.execute(
                    b"""INSERT INTO edge_order AS o (edge_id, name, place) VALUES (%s, %s, %s)
                        ON CONFLICT (edge_id, name) DO UPDATE SET place = greatest(o.place, excluded.place), at = now()""",
                    (*key, turn.place),
                )

    @property
    def _is_shared(self) -> bool:
        return self._archive.settings.web_workers != 1

    async def _read(self, key: tuple[int, str]) -> int:
        async with self._archive.pool.connection() as connection:
            cursor = await connection.execute(b"SELECT place FROM edge_order WHERE edge_id = %s AND name = %s", key)
            row = await cursor.fetchone()
        return int(row[0]) if row else -1


async def forget_orders(archive: Archive) -> None:
    """Those that are over. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM edge_order WHERE at < now() - interval '1 hour'")
