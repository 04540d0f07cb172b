"""Associations of nodes while they are open: told within a second when an administrator changes something, and counted.

One watch for each process. It asks one small row every second whether any node has changed, and only then reads them.
"""

from __future__ import annotations

from typing import Final, Protocol

from fileroom.admin.callers import free_slot, renew_slots
from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import read_nodes
from fileroom.db.pool import Pool

LOOK_INTERVAL_S: Final = 1.0
"""How late an association that is open hears of a change."""
_RENEW_LOOKS: Final = 10
"""Slots are renewed at every tenth look, three times before they expire."""


class WatchedAssociation(Protocol):
    """An association that wants to hear of changes."""

    @property
    def slot(self) -> int | None:
        """Its place among those that its node may have, if that is limited."""

    async def nodes_changed(self, nodes: dict[str, Node]) -> None:
        """The nodes by AE title, as they are now."""


class NodeWatch:
    """The open associations of one process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._open: set[WatchedAssociation] = set()
        self._generation: int | None = None
        self._looks = 0

    def enter(self, association: WatchedAssociation) -> None:
        """It is open."""
        self._open.add(association)

    async def leave(self, association: WatchedAssociation) -> None:
        """It is over; its slot is free again."""
        self._open.discard(association)
        if association.slot is not None:
            await free_slot(self._pool, association.slot)

    async def look(self) -> int:
        """Look whether a node has changed, and tell. Returns 0: there is never more to do at once."""
        self._looks += 1
        if self._looks % _RENEW_LOOKS == 0:
            slots = [one.slot for one in self._open if one.slot is not None]
            if slots:
                await renew_slots(self._pool, slots)
        generation = await self._read_generation()
        if generation != self._generation:
            if self._generation is not None and self._open:
                nodes = {node.aet: node for node in await read_nodes(self._pool)}
                for association in list(self._open):
                    await association.nodes_changed(nodes)
            self._generation = generation
        return 0

    async def _read_generation(self) -> int:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(b"SELECT generation FROM node_generation")
            row = await cursor.fetchone()
        return int(row[0]) if row else 0
